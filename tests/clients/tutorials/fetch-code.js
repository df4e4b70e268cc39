'use strict'

// In two steps: the code for a session_id, then all that wx.getUserInfo gave, to be verified on the server.

module.exports = (host) => ({
  key: 'session_id',

  login(callbacks) {
    wx.login({
      success: function (res) {
        wx.request({
          url: host + '/api/fetch_code',
          method: 'POST',
          data: { code: res.code },
          success: function (res) {
            if (!res.data.session_id) return callbacks.fail(res)
            wx.setStorageSync('session_id', res.data.session_id)
            callbacks.success(res.data)
          },
          fail: callbacks.fail,
        })
      },
      fail: callbacks.fail,
    })
  },

  sendUserInfo(callbacks) {
    function send(data) {
      wx.request({
        url: host + '/api/login',
        method: 'POST',
        data: { data: data, session_id: wx.getStorageSync('session_id') },
        success: (res) => (res.data.status === 'OK' ? callbacks.success(res.data) : callbacks.fail(res)),
        fail: callbacks.fail,
      })
    }
    wx.getUserInfo({
      success: send,
      fail: send, // the user refused: there is an errMsg and nothing else
    })
  },

  getOrders(callbacks) {
    wx.request({
      url: host + '/orders',
      header: { 'session-id': wx.getStorageSync('session_id') },
      success: (res) => (res.statusCode === 200 ? callbacks.success(res.data) : callbacks.fail(res)),
      fail: callbacks.fail,
    })
  },

  placeOrder(callbacks) {
    wx.request({
      url: host + '/orders',
      method: 'POST',
      data: { session_id: wx.getStorageSync('session_id'), item: 'tea' },
      success: (res) => (res.statusCode === 200 ? callbacks.success(res.data) : callbacks.fail(res)),
      fail: callbacks.fail,
    })
  },
})
