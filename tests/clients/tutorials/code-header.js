'use strict'

// There is no login: every request carries a code and the token of last time, and keeps the token that it is
// handed.

module.exports = (host) => {
  function request(options) {
    wx.login({
      success(res) {
        wx.request({
          url: host + options.url,
          method: options.method,
          data: options.data,
          header: { mycode: res.code, token: wx.getStorageSync('token') },
          success(res) {
            if (res.header.token) wx.setStorageSync('token', res.header.token)
            if (res.statusCode === 200) options.success(res.data)
            else options.fail(res)
          },
          fail: options.fail,
        })
      },
      fail: options.fail,
    })
  }

  return {
    key: 'token',
    login: (callbacks) => request({ url: '/orders', ...callbacks }),
    getOrders: (callbacks) => request({ url: '/orders', ...callbacks }),
    placeOrder: (callbacks) => request({ url: '/orders', method: 'POST', data: { item: 'tea' }, ...callbacks }),
  }
}
