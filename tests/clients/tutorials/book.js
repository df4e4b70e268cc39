'use strict'

// The book's login: the page's form gives username and password the first time, later there is only the code.

module.exports = (host) => ({
  key: 'sessionId',

  login(options) {
    wx.login({
      success(res) {
        wx.request({
          url: host + '/login',
          data: { username: options.username, password: options.password, code: res.code },
          success(res) {
            if (res.statusCode !== 200) return options.fail(res)
            wx.setStorageSync('sessionId', res.data.sessionId)
            options.success(res.data)
          },
          fail: options.fail,
        })
      },
      fail: options.fail,
    })
  },

  getOrders(callbacks) {
    wx.request({
      url: host + '/orders',
      header: { 'session-id': wx.getStorageSync('sessionId') },
      success: (res) => (res.statusCode === 200 ? callbacks.success(res.data) : callbacks.fail(res)),
      fail: callbacks.fail,
    })
  },

  placeOrder(callbacks) {
    wx.request({
      url: host + '/orders',
      method: 'POST',
      header: { 'session-id': wx.getStorageSync('sessionId') },
      data: { item: 'tea' },
      success: (res) => (res.statusCode === 200 ? callbacks.success(res.data) : callbacks.fail(res)),
      fail: callbacks.fail,
    })
  },
})
