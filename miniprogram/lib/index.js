const { buttonError } = require('./buttons')
const { addCalls } = require('./calls')
const core = require('./core')
const { ensure } = require('./errors')
const { createHooks } = require('./hooks')
const { addTransfers } = require('./transfers')

const NEEDED = ['request', 'getStorageSync', 'setStorageSync']
const WRAP_MY = 'wrap it: adapter: alipay(my), of wxsession-miniprogram/alipay'

/** The session of this mini-program with a wxsession server; the same object for all its pages. */
function createSession(options) {
  return core.createSession(options, (session, inner) => {
    const { adapter } = inner.options
    if (adapter) {
      ensure(adapter.login || !adapter.getAuthCode, 'invalid_options', { detail: WRAP_MY })
      NEEDED.forEach(inner.platform.method)
    }
    const enter = createHooks(inner.options)
    addTransfers(session, inner, enter)
    addCalls(session, inner, enter)
  })
}

module.exports = { createSession, buttonError, WxSessionError: core.WxSessionError }
