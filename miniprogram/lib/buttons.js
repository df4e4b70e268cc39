const { WxSessionError } = require('./errors')

// What WeChat means by the `errno` of a button, or of a function that needs the privacy guide.
const MEANINGS = {
  104: ['privacy_declined', 'the user declined the privacy guide'],
  112: ['privacy_undeclared', 'declare it in the privacy guide of the mini-program'],
  1400001: ['phone_quota_exhausted', 'buy more phone numbers in the console of WeChat'],
}

/** The error in what a button gave (`event.detail`), or a function of wx; null if it succeeded. */
function buttonError({ errMsg = '', errno } = {}) {
  if (!errMsg || /:ok$/.test(errMsg)) return null
  const refused = /deny|denied|cancel/i.test(errMsg) ? ['user_declined'] : ['button_failed']
  const [code, detail] = MEANINGS[errno] || refused
  return new WxSessionError(code, { detail, errMsg, errno })
}

module.exports = { buttonError }
