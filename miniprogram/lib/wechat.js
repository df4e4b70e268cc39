const { WxSessionError, ensure } = require('./errors')

/** The code of wx.login. */
function loginCode(timeout) {
  return promised('login', {}, 'login_failed', timeout).then(({ code } = {}) => {
    ensure(code, 'login_failed')
    return code
  })
}

/** The result of wx.request, whatever its status; without `timeout` only wx's own limit holds. */
function request(options, token, timeout) {
  const header = Object.assign({}, options.header)
  Object.keys(header).forEach(name => {
    if (/^authorization$/i.test(name)) delete header[name]
  })
  if (token) header.Authorization = `Bearer ${token}`
  return promised('request', Object.assign({}, options, { header }), 'network_error', timeout)
}

// `wx` is looked up at each call, because the module may be loaded before it exists. It may throw,
// call back twice, or never; without a timer of our own every request would then wait forever.
function promised(name, options, code, timeout) {
  return new Promise((resolve, reject) => {
    let task
    const timer = timeout && setTimeout(() => {
      reject(new WxSessionError('timeout'))
      if (task && task.abort) task.abort() // otherwise it occupies one of WeChat's ten connections
    }, timeout)
    const success = result => {
      clearTimeout(timer)
      resolve(result)
    }
    const fail = ({ errMsg, errno } = {}) => {
      clearTimeout(timer)
      reject(new WxSessionError(code, { errMsg, errno }))
    }
    try {
      task = wx[name](Object.assign({}, options, { success, fail, complete: undefined }))
    } catch (error) {
      fail({ errMsg: String(error) })
    }
  })
}

module.exports = { loginCode, request }
