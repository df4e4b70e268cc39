// The one session of this application, on every platform. Change the address to that of your own
// service; the pages of H5 have to come from the same origin.
import { createSession } from 'wxsession-miniprogram'

export const wxs = createSession({
  baseUrl: 'https://login.example.com',
  // By name: a build for H5 leaves out of `uni` what nobody names.
  adapter: {
    request: uni.request,
    uploadFile: uni.uploadFile,
    getStorageSync: uni.getStorageSync,
    setStorageSync: uni.setStorageSync,
    // Without a login, users type a password: only WeChat's codes mean something to the server.
    // #ifdef MP-WEIXIN
    login: uni.login,
    getAccountInfoSync: uni.getAccountInfoSync,
    // #endif
  },
  onLoading: (isLoading) => (isLoading ? uni.showLoading({ title: '加载中' }) : uni.hideLoading()),
})
