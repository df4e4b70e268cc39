const { WxSessionError } = require('./errors')

// All of it is one value, so that a killed app leaves the one before or the one after. Times are
// this phone's own, in ms: its clock may be wrong, but it is the one they are compared with.
const EMPTY = {
  epoch: 0, // how many logouts there were: what was begun before the last one must not be stored
  loggedOut: false,
  token: null,
  lifetime: 0,
  expiresAt: 0,
  refreshAt: 0,
  user: null,
}

/** What is known of the session: read anew each time, since another page or copy may write it. */
function createStore(key) {
  function read() {
    const stored = guarded(() => wx.getStorageSync(key))
    return Object.assign({}, EMPTY, typeof stored === 'object' ? stored : {})
  }

  function write(changes) {
    const state = Object.assign(read(), changes)
    guarded(() => wx.setStorageSync(key, state))
    return state
  }

  return { read, write }
}

function guarded(access) {
  try {
    return access()
  } catch (error) {
    throw new WxSessionError('storage_failed', { errMsg: String(error) })
  }
}

module.exports = { createStore }
