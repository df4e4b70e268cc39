/** Every promise of this package rejects with this error; branch on its `code`. */
class WxSessionError extends Error {
  constructor(code, facts = {}) {
    // Messages are logged and reported: they must not contain a token, a code or a password.
    const { status, detail } = facts
    super(code + (status ? ` (HTTP ${status})` : '') + (detail ? `: ${detail}` : ''))
    this.name = 'WxSessionError'
    Object.assign(this, facts, { code })
  }
}

/** The error in a server's response; `bad_answer` if it does not have the server's format. */
function errorIn(response) {
  const { statusCode: status, data } = response
  if (!data || typeof data.code !== 'string') return new WxSessionError('bad_answer', { status })
  const { code, reason, errors } = data
  return new WxSessionError(code, { status, reason, errors, retryAfter: retryAfter(response) })
}

// Phones differ in the case of header names.
function retryAfter({ header }) {
  const headers = header || {}
  const name = Object.keys(headers).find(key => /^retry-after$/i.test(key))
  return Number(headers[name]) || undefined
}

function ensure(isGood, code, facts) {
  if (!isGood) throw new WxSessionError(code, facts)
}

module.exports = { WxSessionError, ensure, errorIn }
