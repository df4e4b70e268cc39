// The one session of this application. Change the address to that of your own service.
import Taro from '@tarojs/taro'
import { createSession } from 'wxsession-miniprogram'

export const wxs = createSession({
  baseUrl: 'https://login.example.com',
  adapter: Taro,
  silentLogin: process.env.TARO_ENV === 'weapp', // only WeChat's codes mean something to the server
  onLoading: (isLoading) => (isLoading ? Taro.showLoading({ title: '加载中' }) : Taro.hideLoading()),
})
