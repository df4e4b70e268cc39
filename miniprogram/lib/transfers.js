const { attempt, tokenProblem, withCallbacks } = require('./core')
const { WxSessionError } = require('./errors')
const { authorized } = require('./platform')

/** Add to a session what goes to any address of yours: files, sockets, requests of a wrapper. */
function addTransfers(session, inner, enter) {
  const { addressOf, askOnce, drop, platform, problemOf, read } = inner
  const { sendWithToken, tokenFor } = inner
  const { beforeRequest } = inner.options

  const transfer = name => (given = {}) => withCallbacks(given, enter(() => {
    return prepare(given, wanted => sendWithToken({}, name, wanted))
  }, given.loading))

  return Object.assign(session, {
    request: transfer('request'),
    uploadFile: transfer('uploadFile'),
    downloadFile: transfer('downloadFile'),

    connectSocket: (given = {}) => enter(() => prepare(given, wanted => {
      const twin = String(wanted.url).replace(/^ws(s?:)/i, 'http$1') // whose origin is looked up
      const url = addressOf(twin).replace(/^http/i, 'ws')
      const connect = platform.method('connectSocket')
      // A refused handshake does not say why: the token has to be known to be good beforehand.
      return session.check().catch(noop).then(() => tokenFor({})).then(token => {
        const header = authorized(wanted.header, token)
        return new Promise((resolve, reject) => {
          const fail = ({ errMsg, errno } = {}) => {
            const detail = 'connectSocket failed, try again'
            reject(new WxSessionError('network_error', { detail, errMsg, errno }))
          }
          resolve(connect(Object.assign({}, wanted, { url, header, success: noop, fail })))
        })
      })
    }), given.loading),

    header: url => enter(() => {
      addressOf(url)
      return Promise.resolve(tokenFor({})).then(token => authorized({}, token))
    }, false),

    isSessionOver: (response, header) => attempt(() => {
      const { epoch, token } = read()
      const { Authorization = '' } = header || {}
      const sent = Authorization.slice(7) || token
      if (!Authorization && tokenProblem(response)) {
        // It may answer a token that was replaced meanwhile: the stored one need not be over.
        return token ? askOnce(token, epoch).then(yes, yes) : true
      }
      return Promise.resolve(problemOf({ token: sent, epoch }, response)).then(problem => {
        if (problem) drop(sent)
        return Boolean(problem)
      })
    }),
  })

  /** Do `work` with the options of a request as beforeRequest leaves them. */
  function prepare(given, work) {
    if (!beforeRequest) return work(given)
    const wanted = Object.assign({}, given, { header: Object.assign({}, given.header) })
    return Promise.resolve(beforeRequest(wanted)).then((changed = wanted) => work(changed))
  }
}

function yes() {
  return true
}

function noop() {}

module.exports = { addTransfers }
