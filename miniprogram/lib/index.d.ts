import { WxSessionError } from './core'
import type {
  Callbacks, CoreOptions, CoreSession, Credentials, Data, Header, RequestOptions, RequestResult, User, UserInfoResult,
} from './core'

export * from './core'

export interface SessionOptions extends CoreOptions {
  /**
   * Called before each request, upload, download and socket, with its options; change them, or
   * return others, or a promise of them.
   */
  beforeRequest?: (options: any) => any
  /** Called once, until something succeeds again, when something fails because nobody is logged in. */
  onUnauthorized?: (error: WxSessionError) => void
  /** Called with true when something begins, and with false when nothing is under way any more. */
  onLoading?: (isLoading: boolean) => void
}

export interface Loading {
  /** Whether `onLoading` is told of it; by default true. */
  loading?: boolean
}

export interface UploadOptions extends Loading {
  url: string
  filePath: string
  /** Of a page of H5, beside `filePath`. */
  file?: any
  name: string
  header?: Record<string, any>
  formData?: Record<string, any>
  timeout?: number
  onTask?: (task: any) => void
}

export interface UploadResult {
  /** The body, as text. */
  data: string
  statusCode: number
  errMsg: string
}

export interface DownloadOptions extends Loading {
  url: string
  filePath?: string
  header?: Record<string, any>
  timeout?: number
  onTask?: (task: any) => void
}

export interface DownloadResult {
  tempFilePath: string
  filePath?: string
  statusCode: number
  errMsg: string
}

export interface SocketOptions extends Loading {
  /** With `ws:` or `wss:`, or relative to `baseUrl`. */
  url: string
  header?: Record<string, any>
  protocols?: string[]
  timeout?: number
}

/** What a wx.connectSocket of any platform returns. */
export interface SocketTask {
  send(options: any): any
  close(options?: any): any
  onOpen(listener: (result: any) => void): any
  onClose(listener: (result: any) => void): any
  onMessage(listener: (result: any) => void): any
  onError(listener: (result: any) => void): any
}

export interface UserInfoAnswer {
  user: User
  open_data: Record<string, any> | null
}

export interface PhoneNumber {
  /** Masked. */
  phone_number: string
  country_code: string
}

/** The `event.detail` of a button. */
export interface ButtonDetail {
  errMsg?: string
  errno?: number
}

/** The `event.detail` of the button getPhoneNumber. */
export interface PhoneNumberDetail extends ButtonDetail {
  code?: string
  encryptedData?: string
  iv?: string
}

export interface Identity {
  appid: string
  /** RFC 3339. */
  bound_at: string
  current: boolean
}

export interface ListedSession {
  id: string
  /** Whether it is the session of this phone. */
  current: boolean
  appid: string | null
  created_at: string
  auth_time: string
  expires_in: number
  absolute_expires_at: string
  client_address: string | null
  user_agent: string | null
}

/** Who shows a code of a login on another device. */
export interface AskingDevice {
  client_address: string | null
  user_agent: string | null
  expires_in: number
}

export interface Session extends CoreSession {
  request<T extends Data = Record<string, any>>(
    options: RequestOptions & Loading & Callbacks<RequestResult<T>>
  ): Promise<RequestResult<T>>
  /** wx.uploadFile with the session's token. */
  uploadFile(options: UploadOptions & Callbacks<UploadResult>): Promise<UploadResult>
  /** wx.downloadFile with the session's token. */
  downloadFile(options: DownloadOptions & Callbacks<DownloadResult>): Promise<DownloadResult>
  /** wx.connectSocket with the session's token, which is checked before. */
  connectSocket(options: SocketOptions): Promise<SocketTask>
  /** The header for a request of your own to that address; logs in if there is no session. */
  header(url: string): Promise<Header>
  /** Whether to send a request of your own again, once, with another `header`. */
  isSessionOver(response: { statusCode: number; data?: any; header?: any }, header?: Header): Promise<boolean>
  /** Bind the WeChat user to an account. */
  bind(credentials: Credentials): Promise<User>
  /** Give this user a username and a password; where there is no silent login, create one. */
  register(credentials: Credentials): Promise<User>
  /** Unbind the WeChat user of this app, or of another one, or of all of them. */
  unbind(options?: { appid?: string; all?: boolean; password?: string }): Promise<User>
  /** Change the password; without the current one after a login by code. */
  changePassword(passwords: { password?: string; newPassword: string }): Promise<User>
  /** Delete the user, and log out. */
  deleteUser(options?: { password?: string }): Promise<void>
  /** The apps whose WeChat users lead to this user. */
  identities(): Promise<Identity[]>
  /** The live sessions of this user: 200 at most, `more` says whether there are others. */
  sessions(): Promise<{ sessions: ListedSession[]; more: boolean }>
  endSession(id: string): Promise<void>
  /**
   * The `src` of a web-view that opens this page with the session. The page's origin has to be in
   * WXSESSION_TICKET_AUDIENCES of the server. Open it at once: it is good once, for 60 seconds.
   */
  webView(url: string): Promise<string>
  /** Who asks with this code to be logged in on another device; show it before you approve. */
  askingDevice(userCode: string): Promise<AskingDevice>
  /** Let that device in as this user. */
  approveDevice(userCode: string): Promise<void>
  denyDevice(userCode: string): Promise<void>
  /** Save a phone number: pass the button's code, or its whole `event.detail`. */
  phoneNumber(source: string | PhoneNumberDetail): Promise<PhoneNumber>
  /** Save a profile; a function is called again if its result belongs to an old session_key. */
  userInfo(
    source: UserInfoResult | (() => UserInfoResult | Promise<UserInfoResult>)
  ): Promise<UserInfoAnswer>
  /** Change the given fields; null clears one. */
  updateUser(changes: { nickname?: string | null; avatar_url?: string | null }): Promise<User>
}

/** The error in what a button gave (`event.detail`); null if it succeeded. */
export function buttonError(detail: ButtonDetail): WxSessionError | null

/** The session with a server; the same address and storage key return the same object. */
export function createSession(options: SessionOptions): Session
