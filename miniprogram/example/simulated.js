// For trying things out: the codes come from the simulated WeChat of `make run`, which knows none
// that DevTools gives. Never upload a mini-program in which this takes part.
const SIMULATOR = 'http://127.0.0.1:8001'

Object.defineProperty(wx, 'login', {
  value: ({ success, fail }) => {
    wx.request({
      url: `${SIMULATOR}/simulator/login`,
      method: 'POST',
      data: { user: 'alice' },
      success: ({ data }) => success({ code: data.code, errMsg: 'login:ok' }),
      fail,
    })
  },
})

// Its codes are those of the first app of the service, whatever the AppID of this project is.
Object.defineProperty(wx, 'getAccountInfoSync', { value: () => ({ miniProgram: {} }) })
