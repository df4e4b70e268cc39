const { originOf } = require('./addresses')
const { buttonError } = require('./buttons')
const { attempt, expectData, expectUser } = require('./core')
const { ensure } = require('./errors')

/** Add to a session the other calls of the server: about the account, the profile, the devices. */
function addCalls(session, inner, enter) {
  const { addressOf, isSilent, keep, logInFor, read, save, send, sendWithToken } = inner
  const { timeout } = inner.options

  return Object.assign(session, {
    bind: ({ username, password } = {}) => exchange('/bind', { username, password }),

    register: ({ username, password } = {}) => {
      const account = { username, password }
      if (isSilent() || read().token) return exchange('/register', account)
      return enter(() => { // where there is no silent login, an account is the way to begin
        const { epoch } = read()
        const sentAt = Date.now()
        return send('/register', null, account).then(expectData).then(grant => {
          return keep(grant, sentAt, epoch, grant.expires_in).user
        })
      })
    },

    changePassword: ({ password, newPassword } = {}) => {
      return exchange('/password', { password, new_password: newPassword }, 'PUT')
    },

    unbind: ({ appid, all, password } = {}) => afterLogin('reauthentication_required', context => {
      return call(context, '/unbind', { appid, all, password })
    }, (context, { user }) => saveUser(context, user)),

    deleteUser: ({ password } = {}) => afterLogin('reauthentication_required', context => {
      return call(context, '/user', { password }, 'DELETE')
    }, ({ epoch }) => {
      // Only `login` may create another user for whoever has just gone.
      if (read().epoch === epoch) save({ epoch: epoch + 1, loggedOut: true, token: null, user: null })
    }),

    identities: () => enter(() => {
      return call({}, '/identities', undefined, 'GET').then(({ identities }) => identities)
    }),

    sessions: () => enter(() => call({}, '/sessions', undefined, 'GET')),

    endSession: id => enter(() => {
      ensure(typeof id === 'string' && id, 'invalid_options', { detail: 'endSession needs an id' })
      return call({}, `/sessions/${encodeURIComponent(id)}`, undefined, 'DELETE').then(noop)
    }),

    askingDevice: userCode => enter(() => call({}, '/device_logins/show', { user_code: userCode })),

    approveDevice: userCode => decide(userCode, true),

    denyDevice: userCode => decide(userCode, false),

    webView: url => enter(() => {
      const own = originOf(addressOf(''))
      const audience = originOf(url) || own
      const path = `/${String(url).slice(originOf(url).length).replace(/^\//, '')}`
      ensure(typeof url === 'string' && !/^\/[/\\]|\s/.test(path), 'invalid_options')
      ensure(originOf(url) || url[0] === '/', 'invalid_options')
      return call({}, '/tickets', { audience }).then(({ ticket }) => {
        ensure(ticket, 'bad_answer')
        if (audience === own) return `${addressOf('/web-view')}?ticket=${ticket}&to=${encodeURIComponent(path)}`
        const [page, ...rest] = path.split('#')
        const end = rest.length ? `#${rest.join('#')}` : ''
        return `${audience}${page}${page.indexOf('?') < 0 ? '?' : '&'}ticket=${ticket}${end}`
      })
    }),

    userInfo: source => {
      const isFunction = typeof source === 'function'
      // Called synchronously: WeChat allows some functions only while a tap is handled.
      const ask = context => Promise.resolve(isFunction ? source() : source)
        .then(result => call(context, '/user_info', result))
      return afterLogin(isFunction && 'session_key_stale', ask, (context, response) => {
        return saveUser(context, response.user, response)
      })
    },

    phoneNumber: source => enter(() => {
      const context = {}
      const isCode = typeof source === 'string'
      const refusal = isCode ? null : buttonError(source)
      if (refusal) throw refusal
      return call(context, '/phone_number', isCode ? { code: source } : source).then(response => {
        const { token, user } = read()
        const { phone_number } = response
        ensure(phone_number, 'bad_answer')
        if (token === context.token) save({ user: Object.assign({}, user, { phone_number }) })
        return response
      })
    }),

    updateUser: changes => enter(() => {
      const context = {}
      return call(context, '/user', changes).then(user => saveUser(context, user))
    }),
  })

  /** The body of our server's response. */
  function call(context, path, data, method = 'POST') {
    const wanted = { method, url: addressOf(path), data }
    return sendWithToken(context, 'request', wanted, timeout).then(response => {
      return response.statusCode === 204 ? {} : expectData(response)
    })
  }

  function decide(userCode, approve) {
    return enter(() => call({}, '/device_logins/decide', { user_code: userCode, approve }).then(noop))
  }

  /** Call `ask`; if it fails with `code`, log in (unless that was just done) and call it again. */
  function afterLogin(code, ask, finish) {
    const context = {}
    return enter(() => attempt(() => ask(context)).catch(error => {
      if (error.code !== code || !isSilent()) throw error
      return Promise.resolve(context.loggedIn || logInFor(context)).then(() => ask(context))
    }).then(response => finish(context, response)))
  }

  /** The user, after a call that gives the session its next token. */
  function exchange(path, data, method) {
    const sentAt = Date.now() // at the latest: a login may come before the call
    const ask = context => call(context, path, data, method)
    return afterLogin('reauthentication_required', ask, (context, grant) => {
      const { token, lifetime } = read()
      // Another request has replaced the session meanwhile.
      if (token !== context.token) return saveUser(context, grant.user)
      return keep(grant, sentAt, context.epoch, lifetime).user
    })
  }

  /** Store the user of a response, unless somebody else has logged in meanwhile. */
  function saveUser(context, user, response = user) {
    expectUser(user)
    const state = read()
    const isSame = state.token === context.token || (state.user && state.user.id === user.id)
    if (state.epoch === context.epoch && isSame) save({ user })
    return response
  }
}

function noop() {}

module.exports = { addCalls }
