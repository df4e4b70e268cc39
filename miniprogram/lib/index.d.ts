/// <reference types="miniprogram-api-typings" />

export interface SessionOptions {
  /** The address of the server, e.g. `https://login.example.com`. */
  baseUrl: string
  /** The session is kept in wx storage under `<storageKey>:<baseUrl>/`; by default `wxsession`. */
  storageKey?: string
  /** Other origins to which requests may carry the token. */
  origins?: string[]
  /** Which app of the server; by default the one that WeChat names in the Referer. */
  appid?: string
  /** After how many ms wx.login and this package's own calls are given up; by default 15000. */
  timeout?: number
}

export interface User {
  id: string
  username: string | null
  nickname: string | null
  avatar_url: string | null
  /** Masked. */
  phone_number: string | null
  /** Whether the login that told this made the user. */
  new: boolean
}

export interface Credentials {
  username: string
  password: string
}

/** What wx.getUserInfo or wx.getUserProfile gives. */
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

/** What the button getPhoneNumber hands over in `event.detail`. */
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
  /** Log in by wx.login; with credentials the WeChat user is bound to that account as well. */
  login(options?: LoginOptions): Promise<User>
  /** Ask the server whether the session is good; never logs in. */
  check(): Promise<ActiveSession | InactiveSession>
  /** Renew the session now; it is renewed ahead of its expiry anyway. */
  refresh(): Promise<User>
  /** Log out; after that nothing logs in but `login`. */
  logout(options?: { everywhere?: boolean }): Promise<void>
  /** wx.request with the session's token; logs in if there is none, or if a 401 shows it is over. */
  request<T extends string | WechatMiniprogram.IAnyObject | ArrayBuffer = WechatMiniprogram.IAnyObject>(
    options: RequestOptions & RequestCallbacks<T>
  ): Promise<WechatMiniprogram.RequestSuccessCallbackResult<T>>
  /** Let the WeChat user belong to an account. */
  bind(credentials: Credentials): Promise<User>
  /** Take a phone number: the button's code, or its whole `event.detail`. */
  phoneNumber(source: string | PhoneNumberDetail): Promise<PhoneNumber>
  /** Save a profile; a function is asked again if its result was made under an old session_key. */
  userInfo(
    source: UserInfoResult | (() => UserInfoResult | Promise<UserInfoResult>)
  ): Promise<UserInfoAnswer>
  /** Change what is given; null clears it. */
  updateUser(changes: { nickname?: string | null; avatar_url?: string | null }): Promise<User>
  /** Be told of the user when it changes; returns what takes the listener off. */
  on(event: 'change', listener: (user: User | null) => void): () => void
}

/** What every promise is rejected with. */
export class WxSessionError extends Error {
  /**
   * The server's, or one of this package: `network_error`, `login_failed`, `timeout`, `bad_answer`,
   * `storage_failed`, `logged_out`, `foreign_url`, `invalid_options`.
   */
  readonly code: string
  /** The HTTP status, if the server answered. */
  readonly status?: number
  /** Why the session ended. */
  readonly reason?: string
  /** Seconds until it makes sense to try again. */
  readonly retryAfter?: number
  /** The fields that are wrong. */
  readonly errors?: WechatMiniprogram.IAnyObject[]
  /** What WeChat said. */
  readonly errMsg?: string
  readonly errno?: number
}

/** The session with a server; for the same address and storage key always the same object. */
export function createSession(options: SessionOptions): Session
