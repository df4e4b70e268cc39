// The types of Taro, which is an adapter.

import Taro from '@tarojs/taro'
import { createSession } from 'wxsession-miniprogram'

const wxs = createSession({ baseUrl: 'https://x.example', adapter: Taro })
wxs.request({ url: '/orders' }).then(({ data }) => Taro.showToast({ title: String(data.total) }))
