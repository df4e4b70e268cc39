const { WxSessionError } = require('./errors')

// It is stored as one value, so that an app that is killed leaves either the old or the new state.
// Times are in ms by this phone's clock: it may be wrong, but they are only compared with itself.
const EMPTY = {
  epoch: 0, // the number of logouts: what was requested before the last one must not be stored
  loggedOut: false,
  token: null,
  lifetime: 0,
  expiresAt: 0,
  refreshAt: 0,
  user: null,
}

/** The stored session; read again each time, because another page or copy may write it. */
function createStore(key, platform) {
  function read() {
    const stored = guarded(() => platform.method('getStorageSync')(key))
    return Object.assign({}, EMPTY, typeof stored === 'object' ? stored : {})
  }

  function write(changes) {
    const state = Object.assign(read(), changes)
    guarded(() => platform.method('setStorageSync')(key, state))
    return state
  }

  return { read, write }
}

function guarded(access) {
  try {
    return access()
  } catch (error) {
    if (error instanceof WxSessionError) throw error
    throw new WxSessionError('storage_failed', { errMsg: String(error) })
  }
}

module.exports = { createStore }
