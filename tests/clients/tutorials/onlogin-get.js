'use strict'

// The older way of the same tutorial: the code goes into the query, for GET is what wx.request does by itself.

const onlogin = require('./onlogin')

module.exports = (host) => ({
  ...onlogin(host),

  login(callbacks) {
    wx.login({
      success: function (res) {
        if (!res.code) return callbacks.fail(res)
        wx.request({
          url: host + '/onLogin',
          data: { code: res.code },
          success: function (res) {
            if (!res.data['3rd_session']) return callbacks.fail(res)
            wx.setStorageSync('3rd_session', res.data['3rd_session'])
            callbacks.success(res.data)
          },
          fail: callbacks.fail,
        })
      },
      fail: callbacks.fail,
    })
  },
})
