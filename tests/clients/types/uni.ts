// The types of uni-app: `uni` is an adapter, whole or by its methods.

import { createSession } from 'wxsession-miniprogram'

const wxs = createSession({ baseUrl: 'https://x.example', adapter: uni })
createSession({
  baseUrl: 'https://x.example',
  adapter: { request: uni.request, getStorageSync: uni.getStorageSync, setStorageSync: uni.setStorageSync },
})
wxs.request({ url: '/orders' }).then(({ data }) => uni.showToast({ title: String(data.total) }))
