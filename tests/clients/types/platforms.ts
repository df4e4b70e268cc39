// What the platforms' own types say fits: their globals as an adapter, their events, their options.

import { createSession } from 'wxsession-miniprogram'

const wxs = createSession({ baseUrl: 'https://x.example', adapter: wx })

Page({
  async onPhone(event: WechatMiniprogram.ButtonGetPhoneNumber) {
    await wxs.phoneNumber(event.detail)
    const options: WechatMiniprogram.RequestOption = { url: '/orders' }
    await wxs.request({ url: options.url, method: options.method ?? 'GET', data: options.data ?? {} })
    await wxs.userInfo(() => wx.getUserProfile({ desc: 'to greet you' }))
  },
})
