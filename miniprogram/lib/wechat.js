const { WxSessionError, ensure } = require('./errors')

/** The code of wx.login. */
function loginCode(timeout) {
  return promised('login', {}, 'login_failed', timeout).then(({ code } = {}) => {
    ensure(code, 'login_failed')
    return code
  })
}

/** wx.request's result, whatever its status; without `timeout` it takes as long as it takes. */
function request(options, token, timeout) {
  const header = Object.assign({}, options.header)
  Object.keys(header).forEach(name => {
    if (/^authorization$/i.test(name)) delete header[name]
  })
  if (token) header.Authorization = `Bearer ${token}`
  return promised('request', Object.assign({}, options, { header }), 'network_error', timeout)
}

// `wx` is looked up at each call: the module may be loaded before it exists. It may throw, call
// back twice, or never: the timer is ours, since everybody who wants a token waits for this.
function promised(name, options, code, timeout) {
  return new Promise((resolve, reject) => {
    let task
    const timer = timeout && setTimeout(() => {
      reject(new WxSessionError('timeout'))
      if (task && task.abort) task.abort() // else it keeps one of WeChat's ten connections
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
