const { createAddresses } = require('./addresses')
const { WxSessionError, ensure, errorIn } = require('./errors')
const { createPlatform } = require('./platform')
const { createStore } = require('./store')

// The codes of a 401 after which a request is sent again, once, with another token.
const SESSION_OVER = /^(session_(expired|ended|superseded)|invalid_token)$/

const RENEWAL_PAUSE = 10000 // ms
const MAX_BACKOFF = 3600 // s

const sessions = {}

/** The session of this mini-program with a wxsession server; the same object for all its pages. */
function createSession(options, extend = noop) {
  const { baseUrl, storageKey = 'wxsession', origins = [], adapter, timeout = 15000 } = options || {}
  const addressOf = createAddresses(baseUrl, origins)
  ensure(typeof storageKey === 'string' && timeout > 0, 'invalid_options')
  const key = `${storageKey}:${addressOf('')}`
  if (!sessions[key]) {
    const given = Object.assign({}, options, { timeout })
    sessions[key] = newSession(key, addressOf, createPlatform(adapter), given, extend)
  }
  return sessions[key]
}

function newSession(key, addressOf, platform, options, extend) {
  const { appid, timeout, silentLogin } = options
  const { read, write } = createStore(key, platform)
  const listeners = new Set()
  const inFlight = {} // 'login', 'renewal' or a token that is checked: {epoch, promise}, shared
  let pausedUntil = 0 // no renewal in the background before this time: the last one failed
  let backoff = null // {until, error, username?}: the server is too busy for logins

  const session = {
    get user() {
      try {
        return read().user
      } catch (error) {
        return null
      }
    },

    login: credentials => attempt(() => logIn(credentials)).then(userOf),

    refresh: () => attempt(renew).then(userOf),

    check: () => attempt(check),

    logout: ({ everywhere } = {}) => attempt(() => {
      const { token, epoch } = read()
      save({ epoch: epoch + 1, loggedOut: true, token: null, user: null })
      if (!token) return
      return send('/logout', token, { everywhere: Boolean(everywhere) }).then(response => {
        if (response.statusCode !== 204) throw errorIn(response)
      })
    }),

    request: (wanted = {}) => withCallbacks(wanted, attempt(() => {
      return sendWithToken({}, 'request', wanted)
    })),

    on(event, listener) {
      ensure(event === 'change', 'invalid_options')
      const notifyListener = user => notify(listener, user) // the same listener may be added twice
      listeners.add(notifyListener)
      return () => {
        listeners.delete(notifyListener)
      }
    },
  }

  // What rest.js adds its methods with.
  extend(session, {
    addressOf, askOnce, drop, isSilent, keep, logInFor, options, platform, problemOf, read, save,
    send, sendWithToken, tokenFor,
  })
  return session

  // --- Logging in ------------------------------------------------------------------------------

  /** The state after a login. A caller that needs one while one is in flight shares it. */
  function logIn(options) {
    const { username, password, userInfo } = options || {}
    const { epoch } = read()
    const other = shared('login', epoch)
    if (other && !username && !password && !userInfo) return other
    if (other) return other.catch(noop).then(() => logIn(options))
    ensureNotBackingOff(username)
    ensure(isSilent() || username, 'credentials_required', { detail: 'log in with a password' })
    return share('login', epoch, (isSilent() ? loginCode() : Promise.resolve({})).then(codes => {
      const state = ensureEpoch(epoch)
      const token = isLive(state) ? state.token : null // the server ends the session it replaces
      const sentAt = Date.now()
      const body = Object.assign(codes, { username, password, user_info: userInfo })
      return send('/login', token, body).then(response => {
        const grant = grantIn(response, username)
        return keep(grant, sentAt, epoch, grant.expires_in)
      })
    }))
  }

  /** The code of wx.login, and the app whose it is: a gateway may drop the Referer that says so. */
  function loginCode() {
    return platform.call('login', {}, 'login_failed', timeout).then(({ code } = {}) => {
      ensure(code, 'login_failed')
      return { code, appid: appid || platform.appid() }
    })
  }

  /** Whether a login needs no credentials: elsewhere than in WeChat there is no code for it. */
  function isSilent() {
    return silentLogin !== false && platform.has('login')
  }

  /** Log in for a request: at most once for each, and not after a logout. */
  function logInFor(context) {
    const { epoch, loggedOut } = ensureEpoch(context.epoch)
    ensure(!loggedOut || shared('login', epoch), 'logged_out')
    context.loggedIn = true
    return logIn()
  }

  /** The state after a refresh, or after a login if a refresh no longer extends the session. */
  function renew() {
    const before = read()
    const { epoch, token, lifetime } = before
    const other = shared('login', epoch) || shared('renewal', epoch)
    if (other) return other
    if (!token) return logInFor({ epoch })
    ensureNotBackingOff()
    const sentAt = Date.now()
    // Until its response is stored the old token stays: asked again with it, the server gives the
    // same new one, so neither a lost response nor a killed app loses the session.
    return share('renewal', epoch, send('/refresh', token).then(response => {
      const problem = tokenProblem(response)
      if (problem) drop(token)
      const now = read()
      if (now.epoch === epoch && now.token && now.token !== token) return now // by another page
      if (problem) return logInFor({ epoch })
      const grant = grantIn(response)
      const after = keep(grant, sentAt, epoch, lifetime)
      return hasGained(grant, before, sentAt) || !isSilent() ? after : logInFor({ epoch })
    }))
  }

  /** Store a grant; if there was a logout since it was requested, end its session instead. */
  function keep({ session_token: token, expires_in: seconds, user }, sentAt, epoch, lifetime) {
    ensure(typeof token === 'string' && seconds >= 0, 'bad_answer')
    expectUser(user)
    if (read().epoch !== epoch) {
      send('/logout', token).catch(noop)
      throw new WxSessionError('logged_out')
    }
    return save({
      token,
      user,
      lifetime,
      loggedOut: false,
      expiresAt: sentAt + seconds * 1000,
      // Phones that logged in at the same time must not all refresh at the same time.
      refreshAt: sentAt + seconds * 1000 * (0.5 + 0.3 * Math.random()),
    })
  }

  function grantIn(response, username) {
    const status = response.statusCode
    if (status === 429 || status === 503) {
      const error = errorIn(response)
      const seconds = Math.min(error.retryAfter || 1, MAX_BACKOFF)
      backoff = { error, until: Date.now() + seconds * 1000 }
      // Too many wrong passwords for one account do not stop logins without a password.
      if (error.code === 'too_many_attempts') backoff.username = username
    }
    return expectData(response)
  }

  function ensureNotBackingOff(username) {
    const left = backoff ? (backoff.until - Date.now()) / 1000 : 0
    if (left <= 0 || (backoff.username && backoff.username !== username)) return
    const { error } = backoff
    throw new WxSessionError(error.code, Object.assign({}, error, { retryAfter: Math.ceil(left) }))
  }

  // --- Requests --------------------------------------------------------------------------------

  /**
   * Send a request with a token; again with another one, once, if its session has ended.
   *
   * `name` is that of the method of wx; `context` keeps what has happened to this request.
   */
  function sendWithToken(context, name, wanted, limit) {
    const url = addressOf(wanted.url)
    return attempt(() => tokenFor(context)).then(token => {
      context.token = token
      const asked = Object.assign({}, wanted, { url })
      return platform.send(name, asked, token, limit).then(response => {
        return attempt(() => problemOf(context, response)).then(problem => {
          if (!problem) return response
          drop(token)
          if (context.problem) throw problem
          context.problem = problem
          return sendWithToken(context, name, wanted, limit)
        })
      })
    })
  }

  /** The error of the token, if the response says that its session has ended; otherwise null. */
  function problemOf({ token, epoch, loggedIn, problem }, response) {
    const error = errorIn(response)
    if (error.status !== 401 || error.code === 'bad_credentials') return null
    if (SESSION_OVER.test(error.code)) return error
    // A 401 of a back end or a proxy, in any format: only our server knows whether the session has
    // ended. It is asked once for all requests with this token, and not about a new token.
    if (problem || loggedIn) return null
    const isStored = () => token && read().token === token
    return Promise.resolve(isStored() && askOnce(token, epoch))
      .then(() => isStored() ? null : error, noop)
  }

  /** Ask the server about a token; who asks about the same one meanwhile shares the response. */
  function askOnce(token, epoch) {
    return shared(token, epoch) || share(token, epoch, attempt(check))
  }

  function tokenFor(context) {
    const state = ensureEpoch(context.epoch)
    context.epoch = state.epoch
    if (isLive(state)) {
      renewInBackground(state)
      return state.token
    }
    if (context.loggedIn) throw context.problem || new WxSessionError('session_expired')
    return logInFor(context).then(({ token }) => token)
  }

  function renewInBackground({ epoch, refreshAt }) {
    const now = Date.now()
    if (now < refreshAt || now < pausedUntil || shared('login', epoch)) return
    attempt(renew).catch(() => {
      pausedUntil = Date.now() + RENEWAL_PAUSE
    })
  }

  /** What the server says about the session. */
  function check() {
    const { token, loggedOut } = read()
    if (!token) {
      return { active: false, code: loggedOut ? 'logged_out' : 'missing_token', reason: null }
    }
    const sentAt = Date.now()
    return send('/check_session', token).then(response => {
      const problem = tokenProblem(response)
      if (problem) {
        drop(token)
        const { code, reason = null } = problem
        const now = read().token // the same one, if the storage keeps nothing
        return now && now !== token ? check() : { active: false, code, reason }
      }
      const body = expectData(response)
      expectUser(body.user)
      if (read().token === token) {
        save({ user: body.user, expiresAt: sentAt + body.expires_in * 1000 })
      }
      return body
    })
  }

  /** Our server's response to one of its own calls. */
  function send(path, token, data = {}) {
    const wanted = { method: 'POST', url: addressOf(path), data }
    return platform.send('request', wanted, token, timeout)
  }

  // --- State and shared promises ---------------------------------------------------------------

  function save(changes) {
    const before = read().user
    const state = write(changes)
    if (JSON.stringify(before) !== JSON.stringify(state.user)) {
      listeners.forEach(notifyListener => notifyListener(state.user))
    }
    return state
  }

  /** Forget a token that was refused, unless another one has been stored meanwhile. */
  function drop(token) {
    if (read().token === token) save({ token: null })
  }

  /** The state, if there was no logout since `epoch`. */
  function ensureEpoch(epoch) {
    const state = read()
    ensure(epoch === undefined || state.epoch === epoch, 'logged_out')
    return state
  }

  function shared(name, epoch) {
    const entry = inFlight[name]
    return entry && entry.epoch === epoch ? entry.promise : null
  }

  function share(name, epoch, promise) {
    const entry = { epoch, promise }
    const forget = () => {
      if (inFlight[name] === entry) delete inFlight[name]
    }
    inFlight[name] = entry
    promise.then(forget, forget) // before its other callbacks: they may need the next one
    return promise
  }
}

// absolute_expires_at is by the server's clock, which cannot be compared with this phone's. But if
// a refresh did not move the expiry, the session has reached its absolute end.
function hasGained(grant, before, sentAt) {
  const remained = (before.expiresAt - sentAt) / 1000
  return grant.expires_in > remained + 1 || grant.expires_in >= before.lifetime - 1
}

function isLive({ token, expiresAt }) {
  return token && Date.now() < expiresAt
}

/** The error, if the response is a 401 because of the token; otherwise null. */
function tokenProblem(response) {
  const error = errorIn(response)
  return error.status === 401 && SESSION_OVER.test(error.code) ? error : null
}

function expectData(response) {
  const { statusCode, data } = response
  if (statusCode > 201 || !data || typeof data !== 'object') throw errorIn(response)
  return data
}

function expectUser(user) {
  ensure(user && typeof user.id === 'string', 'bad_answer')
}

/** A promise of what `work` returns or throws; `work` is called synchronously. */
function attempt(work) {
  return new Promise(resolve => resolve(work()))
}

function withCallbacks({ success, fail, complete }, result) {
  const end = callback => outcome => {
    notify(callback, outcome)
    notify(complete, outcome)
  }
  if (success || fail || complete) result.then(end(success), end(fail))
  return result
}

// An error in a listener or a callback is logged, and does not stop anything else.
function notify(listener, value) {
  try {
    if (listener) listener(value)
  } catch (error) {
    console.error(error)
  }
}

function userOf({ user }) {
  return user
}

function noop() {}

module.exports = {
  attempt, createSession, expectData, expectUser, notify, tokenProblem, withCallbacks, WxSessionError,
}
