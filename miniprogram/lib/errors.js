/** What every promise of this package is rejected with; `code` is what to branch on. */
class WxSessionError extends Error {
  constructor(code, facts) {
    // Messages are logged and reported: no token, code or password may get into one.
    super(code + (facts && facts.status ? ` (HTTP ${facts.status})` : ''))
    this.name = 'WxSessionError'
    Object.assign(this, facts, { code })
  }
}

/** The error in a server's response; whatever is not in the server's form is a `bad_answer`. */
function errorIn(response) {
  const { statusCode: status, data } = response
  if (!data || typeof data.code !== 'string') return new WxSessionError('bad_answer', { status })
  const { code, reason, errors } = data
  return new WxSessionError(code, { status, reason, errors, retryAfter: retryAfter(response) })
}

// The spelling of a header's name depends on the phone.
function retryAfter({ header }) {
  const headers = header || {}
  const name = Object.keys(headers).find(key => /^retry-after$/i.test(key))
  return Number(headers[name]) || undefined
}

function ensure(isGood, code, facts) {
  if (!isGood) throw new WxSessionError(code, facts)
}

module.exports = { WxSessionError, ensure, errorIn }
