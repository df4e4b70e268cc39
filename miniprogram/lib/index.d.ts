/// <reference types="miniprogram-api-typings" />

export interface SessionOptions {
  /** The address of the server, e.g. `https://login.example.com`. */
  baseUrl: string
  /** The session is kept in wx storage under `<storageKey>:<baseUrl>/`; by default `wxsession`. */
  storageKey?: string
  /** Other origins to which requests may carry the token. */
  origins?: string[]
  /** Which app of the server; by default the one in the Referer that WeChat sends. */
  appid?: string
  /** Timeout of wx.login and of this package's own calls, in ms; by default 15000. */
  timeout?: number
}

export interface User {
  id: string
  username: string | null
  nickname: string | null
  avatar_url: string | null
  /** Masked. */
  phone_number: string | null
  /** Whether the login that returned this user created it. */
  new: boolean
}

export interface Credentials {
  username: string
  password: string
}

/** The result of wx.getUserInfo or wx.getUserProfile. */
export interface UserInfoResult {
  rawData?: string
  signature?: string
  encryptedData?: string
  iv?: string
}

export type LoginOptions = (Credentials | { username?: undefined; password?: undefined }) & {
  userInfo?: UserInfoResult
}

export interface ActiveSession {
  active: true
  /** In seconds. */
  expires_in: number
  /** RFC 3339, of the server's clock. */
  absolute_expires_at: string
  superseded: boolean
  user: User
}

export interface InactiveSession {
  active: false
  code: string
  reason: string | null
}

export interface UserInfoAnswer {
  user: User
  open_data: WechatMiniprogram.IAnyObject | null
}

export interface PhoneNumber {
  /** Masked. */
  phone_number: string
  country_code: string
}

/** The `event.detail` of the button getPhoneNumber. */
export interface PhoneNumberDetail {
  code?: string
  encryptedData?: string
  iv?: string
  errMsg?: string
}

export type RequestOptions = Omit<WechatMiniprogram.RequestOption, 'success' | 'fail' | 'complete'>

export interface RequestCallbacks<T extends string | WechatMiniprogram.IAnyObject | ArrayBuffer> {
  success?: (result: WechatMiniprogram.RequestSuccessCallbackResult<T>) => void
  fail?: (error: WxSessionError) => void
  complete?: (outcome: WechatMiniprogram.RequestSuccessCallbackResult<T> | WxSessionError) => void
}

export interface Session {
  /** The last known user; null if logged out. */
  readonly user: User | null
  /** Log in with wx.login; with credentials the WeChat user is also bound to that account. */
  login(options?: LoginOptions): Promise<User>
  /** Ask the server whether the session is active; never logs in. */
  check(): Promise<ActiveSession | InactiveSession>
  /** Refresh the session now; it is also refreshed in the background before it expires. */
  refresh(): Promise<User>
  /** Log out; after that only `login` logs in again. */
  logout(options?: { everywhere?: boolean }): Promise<void>
  /** wx.request with the session's token; logs in if there is none, or if the session is over. */
  request<T extends string | WechatMiniprogram.IAnyObject | ArrayBuffer = WechatMiniprogram.IAnyObject>(
    options: RequestOptions & RequestCallbacks<T>
  ): Promise<WechatMiniprogram.RequestSuccessCallbackResult<T>>
  /** Bind the WeChat user to an account. */
  bind(credentials: Credentials): Promise<User>
  /** Save a phone number: pass the button's code, or its whole `event.detail`. */
  phoneNumber(source: string | PhoneNumberDetail): Promise<PhoneNumber>
  /** Save a profile; a function is called again if its result belongs to an old session_key. */
  userInfo(
    source: UserInfoResult | (() => UserInfoResult | Promise<UserInfoResult>)
  ): Promise<UserInfoAnswer>
  /** Change the given fields; null clears one. */
  updateUser(changes: { nickname?: string | null; avatar_url?: string | null }): Promise<User>
  /** Listen to changes of the user; returns a function that removes the listener. */
  on(event: 'change', listener: (user: User | null) => void): () => void
}

/** Every promise rejects with this error. */
export class WxSessionError extends Error {
  /**
   * The server's code, or one of this package: `network_error`, `login_failed`, `timeout`, `bad_answer`,
   * `storage_failed`, `logged_out`, `foreign_url`, `invalid_options`.
   */
  readonly code: string
  /** The HTTP status, if the server answered. */
  readonly status?: number
  /** Why the session ended. */
  readonly reason?: string
  /** Seconds after which to try again. */
  readonly retryAfter?: number
  /** The invalid fields. */
  readonly errors?: WechatMiniprogram.IAnyObject[]
  /** WeChat's message. */
  readonly errMsg?: string
  readonly errno?: number
}

/** The session with a server; the same address and storage key return the same object. */
export function createSession(options: SessionOptions): Session
