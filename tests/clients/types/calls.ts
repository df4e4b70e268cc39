// Every call as it is meant, and wrong uses, each of which has to be refused by the compiler.

import { createSession, WxSessionError } from '../../../miniprogram/lib/index'
import type { Session, User } from '../../../miniprogram/lib/index'

const wxs: Session = createSession({ baseUrl: 'https://login.example.com' })
createSession({ baseUrl: 'https://x.example', storageKey: 's', origins: ['https://y.example'], appid: 'wx', timeout: 1 })

async function everyCall(): Promise<User | null> {
  let user: User = await wxs.login()
  user = await wxs.login({ username: 'carol', password: 'secret' })
  user = await wxs.login({ userInfo: await wx.getUserProfile({ desc: 'to greet you' }) })
  user = await wxs.refresh()
  const nothing: void = await wxs.logout()
  await wxs.logout({ everywhere: true })

  const session = await wxs.check()
  if (session.active) user = session.user
  else console.log(session.code, session.reason, nothing)

  const { data, statusCode, header } = await wxs.request<{ orders: string[] }>({ url: '/orders' })
  const first: string | undefined = data.orders[0]
  const status: number = statusCode
  await wxs.request({
    url: '/orders',
    method: 'POST',
    data: { first, status },
    header: { ...header, 'x-mine': '1' },
    timeout: 5000,
    success: (result) => console.log(result.statusCode),
    fail: (error) => console.log(error.code, error.errMsg),
    complete: () => console.log('done'),
  })

  user = await wxs.bind({ username: 'carol', password: 'secret' })
  const phone = await wxs.phoneNumber('code')
  const digits: string = phone.phone_number + phone.country_code
  await wxs.phoneNumber({ code: digits, errMsg: 'getPhoneNumber:ok' })
  const known = await wxs.userInfo(() => wx.getUserProfile({ desc: 'to greet you' }))
  user = known.user
  await wxs.userInfo({ rawData: '{}', signature: 'x' })
  user = await wxs.updateUser({ nickname: 'Carol', avatar_url: null })

  const off: () => void = wxs.on('change', (changed) => console.log(changed ? changed.nickname : 'logged out'))
  off()
  return wxs.user
}

Page({
  async onLoad() {
    try {
      this.setData({ user: await everyCall() })
    } catch (error) {
      if (error instanceof WxSessionError && error.code === 'wechat_rate_limited') console.log(error.retryAfter)
    }
  },
  async onPhone(event: WechatMiniprogram.ButtonGetPhoneNumber) {
    await wxs.phoneNumber(event.detail)
  },
})

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
// @ts-expect-error both are needed
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
console.log(wxs.user.id)
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
