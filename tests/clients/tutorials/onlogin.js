'use strict'

// As the tutorials have it: POST /onLogin with the code, keep the 3rd_session, send it along.

module.exports = (host) => ({
  key: '3rd_session',

  login(callbacks) {
    wx.login({
      success: function (res) {
        wx.request({
          url: host + '/onLogin',
          method: 'POST',
          data: { code: res.code },
          success: function (res) {
            if (res.data['3rd_session']) {
              wx.setStorageSync('3rd_session', res.data['3rd_session'])
              callbacks.success(res.data)
            } else {
              callbacks.fail(res)
            }
          },
          fail: callbacks.fail,
        })
      },
      fail: callbacks.fail,
    })
  },

  getOrders(callbacks) {
    wx.request({
      url: host + '/orders',
      header: { '3rd-session': wx.getStorageSync('3rd_session') },
      success: (res) => (res.statusCode === 200 ? callbacks.success(res.data) : callbacks.fail(res)),
      fail: callbacks.fail,
    })
  },

  placeOrder(callbacks) {
    wx.request({
      url: host + '/orders',
      method: 'POST',
      data: { '3rd_session': wx.getStorageSync('3rd_session'), item: 'tea' },
      success: (res) => (res.statusCode === 200 ? callbacks.success(res.data) : callbacks.fail(res)),
      fail: callbacks.fail,
    })
  },
})
