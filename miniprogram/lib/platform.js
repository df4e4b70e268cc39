const { WxSessionError, ensure } = require('./errors')

/** What this package uses of wx, or of the adapter that is given in its place. */
function createPlatform(adapter) {
  // `wx` is looked up at each use, because the module may be loaded before it exists.
  const all = () => adapter || (typeof wx === 'undefined' ? {} : wx)

  function has(name) {
    return typeof all()[name] === 'function'
  }

  function method(name) {
    ensure(has(name), 'not_supported', { detail: `pass an adapter that has ${name}` })
    return (...args) => all()[name](...args)
  }

  // It may throw, call back twice, or never; without a timer of our own everything would then wait
  // forever. Without a `limit` only wx's own holds.
  function call(name, options, code, limit) {
    return new Promise((resolve, reject) => {
      const run = method(name)
      let task
      const refuse = (reason, facts) => {
        clearTimeout(timer)
        const detail = `${name} failed, try again`
        reject(new WxSessionError(reason, Object.assign({ detail }, facts)))
      }
      const timer = limit && setTimeout(() => {
        refuse('timeout')
        if (task && task.abort) task.abort() // otherwise it occupies one of WeChat's ten connections
      }, limit)
      const success = result => {
        clearTimeout(timer)
        resolve(result)
      }
      const fail = ({ errMsg, errno } = {}) => refuse(code, { errMsg, errno })
      try {
        task = run(Object.assign({}, options, { success, fail, complete: undefined }))
        if (task && task.catch) task.catch(() => {}) // some return a promise beside the callbacks
      } catch (error) {
        fail({ errMsg: String(error) })
      }
      if (options.onTask) options.onTask(task)
    })
  }

  /** The result of wx.request, wx.uploadFile or wx.downloadFile, whatever its status. */
  function send(name, options, token, limit) {
    const header = authorized(options.header, token)
    return call(name, Object.assign({}, options, { header }), 'network_error', limit)
  }

  function appid() {
    try {
      return all().getAccountInfoSync().miniProgram.appId
    } catch (error) {
      return undefined // old phones, and pages outside of WeChat
    }
  }

  return { has, method, call, send, appid }
}

/** The header with this token, and no other. */
function authorized(given, token) {
  const header = Object.assign({}, given)
  Object.keys(header).forEach(name => {
    if (/^authorization$/i.test(name)) delete header[name]
  })
  if (token) header.Authorization = `Bearer ${token}`
  return header
}

module.exports = { createPlatform, authorized }
