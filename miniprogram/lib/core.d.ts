/** What this package calls of `wx`; `uni`, `tt` and `Taro` have the same. */
export interface Adapter {
  request(options: any): any
  getStorageSync(key: string): any
  setStorageSync(key: string, data: any): any
  /** Without it, logins need a username and a password. */
  login?(options: any): any
  getAccountInfoSync?(): any
  uploadFile?(options: any): any
  downloadFile?(options: any): any
  connectSocket?(options: any): any
}

export interface CoreOptions {
  /** The address of the server, e.g. `https://login.example.com`. */
  baseUrl: string
  /** The session is kept in wx storage under `<storageKey>:<baseUrl>/`; by default `wxsession`. */
  storageKey?: string
  /** Other origins to which requests may carry the token. */
  origins?: string[]
  /** Which app of the server; by default that of `wx.getAccountInfoSync`. */
  appid?: string
  /** Timeout of wx.login and of this package's own calls, in ms; by default 15000. */
  timeout?: number
  /** What is called in the place of `wx`: `uni`, `tt`, `Taro`, `alipay(my)`. */
  adapter?: Adapter
  /** Whether a login may use `wx.login`; by default, if there is one. */
  silentLogin?: boolean
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

export type Header = Record<string, string>

/** What `wx.request` may return as its data. */
export type Data = string | Record<string, any> | ArrayBuffer

export interface Callbacks<Result> {
  success?: (result: Result) => void
  fail?: (error: WxSessionError) => void
  complete?: (outcome: Result | WxSessionError) => void
}

/** The options of `wx.request`; those of your platform that are not named here are passed on. */
export interface RequestOptions {
  /** Relative to `baseUrl`, or within its origin or `origins`. */
  url: string
  data?: Data
  header?: Record<string, any>
  method?: 'OPTIONS' | 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE' | 'TRACE' | 'CONNECT'
  timeout?: number
  dataType?: 'json' | '其他'
  responseType?: 'text' | 'arraybuffer'
  enableChunked?: boolean
  enableCache?: boolean
  enableHttp2?: boolean
  enableQuic?: boolean
  /** Called with the task of each sending: to abort it, or to see its progress. */
  onTask?: (task: any) => void
}

export interface RequestResult<T extends Data = Record<string, any>> {
  data: T
  statusCode: number
  header: Record<string, any>
  cookies?: string[]
  errMsg: string
}

export interface CoreSession {
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
  request<T extends Data = Record<string, any>>(
    options: RequestOptions & Callbacks<RequestResult<T>>
  ): Promise<RequestResult<T>>
  /** Listen to changes of the user; returns a function that removes the listener. */
  on(event: 'change', listener: (user: User | null) => void): () => void
}

/** Every promise rejects with this error. */
export class WxSessionError extends Error {
  /**
   * The server's code, or one of this package: `network_error`, `login_failed`, `timeout`, `bad_answer`,
   * `storage_failed`, `logged_out`, `credentials_required`, `foreign_url`, `invalid_options`,
   * `not_supported`; of a button: `user_declined`, `privacy_declined`, `privacy_undeclared`,
   * `phone_quota_exhausted`, `button_failed`.
   */
  readonly code: string
  /** The HTTP status, if the server answered. */
  readonly status?: number
  /** Why the session ended. */
  readonly reason?: string
  /** Seconds after which to try again. */
  readonly retryAfter?: number
  /** The invalid fields. */
  readonly errors?: Record<string, any>[]
  /** What to do, where this package knows. */
  readonly detail?: string
  /** WeChat's message. */
  readonly errMsg?: string
  readonly errno?: number
}

/** The session with a server; the same address and storage key return the same object. */
export function createSession(options: CoreOptions): CoreSession
