// Every call as it is meant, and wrong uses, each of which has to be refused by the compiler.

// Compiled with nothing but the package installed, and with the types of WeChat, of uni-app, of both.

import { buttonError, createSession, WxSessionError } from 'wxsession-miniprogram'
import type { Session, User } from 'wxsession-miniprogram'
import { alipay } from 'wxsession-miniprogram/alipay'
import { createSession as createCore } from 'wxsession-miniprogram/core'
import { inWords, words } from 'wxsession-miniprogram/zh'

const wxs: Session = createSession({ baseUrl: 'https://login.example.com' })
createSession({ baseUrl: 'https://x.example', storageKey: 's', origins: ['https://y.example'], appid: 'wx', timeout: 1 })

createSession({
  baseUrl: 'https://x.example',
  silentLogin: false,
  beforeRequest: async (options) => ({ ...options, header: { ...options.header, 'x-mine': '1' } }),
  onUnauthorized: (error) => say(inWords(error)),
  onLoading: (isLoading) => say(isLoading),
})
const platform = { request() {}, login() {}, getStorageSync: (key: string) => key, setStorageSync() {} }
createSession({ baseUrl: 'https://x.example', adapter: platform })
createSession({ baseUrl: 'https://x.example', adapter: alipay({}) })
createCore({ baseUrl: 'https://x.example' }).request({ url: '/orders' })
words.network_error = 'no network'

declare function say(...what: unknown[]): void
declare function profile(): Promise<{ rawData: string; signature: string; encryptedData: string; iv: string }>

export async function everyCall(): Promise<User | null> {
  let user: User = await wxs.login()
  user = await wxs.login({ username: 'carol', password: 'secret' })
  user = await wxs.login({ userInfo: await profile() })
  user = await wxs.refresh()
  const nothing: void = await wxs.logout()
  await wxs.logout({ everywhere: true })

  const session = await wxs.check()
  if (session.active) user = session.user
  else say(session.code, session.reason, nothing)

  const { data, statusCode, header } = await wxs.request<{ orders: string[] }>({ url: '/orders' })
  const first: string | undefined = data.orders[0]
  const status: number = statusCode
  await wxs.request({
    url: '/orders',
    method: 'POST',
    data: { first, status },
    header: { ...header, 'x-mine': '1' },
    timeout: 5000,
    success: (result) => say(result.statusCode),
    fail: (error) => say(error.code, error.errMsg),
    complete: () => say('done'),
  })

  user = await wxs.bind({ username: 'carol', password: 'secret' })
  const phone = await wxs.phoneNumber('code')
  const digits: string = phone.phone_number + phone.country_code
  await wxs.phoneNumber({ code: digits, errMsg: 'getPhoneNumber:ok' })
  const known = await wxs.userInfo(() => profile())
  user = known.user
  await wxs.userInfo({ rawData: '{}', signature: 'x' })
  user = await wxs.updateUser({ nickname: 'Carol', avatar_url: null })

  const off: () => void = wxs.on('change', (changed) => say(changed ? changed.nickname : 'logged out'))
  off()
  return wxs.user
}

export async function transfers(): Promise<string> {
  const { statusCode, data } = await wxs.uploadFile({
    ...{ url: '/pictures', filePath: 'wxfile://1', name: 'file', formData: { kind: 1 }, loading: false },
    onTask: (task) => task.onProgressUpdate(() => {}),
  })
  const { tempFilePath } = await wxs.downloadFile({ url: '/receipt', fail: (error) => say(error.code) })
  const socket = await wxs.connectSocket({ url: 'wss://x.example/live' })
  socket.onOpen(() => socket.send({ data }))
  const header = await wxs.header('/orders')
  const isOver: boolean = await wxs.isSessionOver({ statusCode, data }, header)
  return `${header.Authorization}${isOver}${tempFilePath}`
}

export async function account(): Promise<void> {
  const user: User = await wxs.register({ username: 'carol', password: 'secret' })
  await wxs.changePassword({ password: 'secret', newPassword: 'another' })
  await wxs.changePassword({ newPassword: 'a third one' })
  const [first] = await wxs.identities()
  if (first) await wxs.unbind({ appid: first.appid })
  await wxs.unbind()
  const { client_address: from } = await wxs.askingDevice('BCDF-GHJK-LMNP')
  await (from ? wxs.approveDevice('BCDF-GHJK-LMNP') : wxs.denyDevice('BCDF-GHJK-LMNP'))
  const src: string = await wxs.webView('https://shop.example.com/cart')
  const { sessions, more } = await wxs.sessions()
  for (const { id, current } of sessions) if (!current) await wxs.endSession(id)
  await wxs.deleteUser()
  await wxs.deleteUser({ password: 'secret' })
  say(user.id, more)
}

export async function failures(): Promise<void> {
  try {
    await everyCall()
  } catch (error) {
    if (error instanceof WxSessionError && error.code === 'wechat_rate_limited') say(error.retryAfter, error.detail)
  }
  const problem = buttonError({ errMsg: 'getPhoneNumber:fail user deny', errno: 104 })
  if (problem) say(problem.code)
}

// @ts-expect-error an address is needed
createSession({})
// @ts-expect-error origins are a list
createSession({ baseUrl: 'https://x.example', origins: 'https://y.example' })
// @ts-expect-error no such option
createSession({ baseUrl: 'https://x.example', now: () => 0 })
// @ts-expect-error a username needs a password
wxs.login({ username: 'carol' })
// @ts-expect-error a password needs a username
wxs.login({ password: 'secret' })
// @ts-expect-error it is userInfo here
wxs.login({ user_info: {} })
// @ts-expect-error the new one is needed
wxs.bind({ username: 'carol' })
// @ts-expect-error an address is needed
wxs.request({ data: {} })
// @ts-expect-error wx.request knows no PATCH
wxs.request({ url: '/user', method: 'PATCH' })
// @ts-expect-error there is only one event
wxs.on('login', () => {})
// @ts-expect-error it may be null
wxs.on('change', (user: User) => user.id)
// @ts-expect-error it may be null
say(wxs.user.id)
// @ts-expect-error it is read-only
wxs.user = null
// @ts-expect-error a number is no code
wxs.phoneNumber(13800000000)
// @ts-expect-error a name is text
wxs.updateUser({ nickname: 7 })
// @ts-expect-error of an active session alone
wxs.check().then((session) => session.user)
// @ts-expect-error an option has a name
wxs.logout(true)
// @ts-expect-error not a name of a user's field
wxs.login().then((user) => user.openid)
// @ts-expect-error it needs what is called
createSession({ baseUrl: 'https://x.example', adapter: { request() {} } })
// @ts-expect-error a path is needed
wxs.uploadFile({ url: '/pictures', name: 'file' })
// @ts-expect-error the new one is needed
wxs.changePassword({ password: 'secret' })
// @ts-expect-error an id is text
wxs.endSession(7)
// @ts-expect-error the core has no more than the session
createCore({ baseUrl: 'https://x.example' }).uploadFile({ url: '/pictures', filePath: 'x', name: 'file' })
// @ts-expect-error the core has no hooks
createCore({ baseUrl: 'https://x.example', onLoading: () => {} })
