const { WxSessionError } = require('./errors')

// What can be read in two ways (user@host, a backslash, a blank) has no origin.
const ORIGIN = /^https?:\/\/[^/?#\\@\s]+(?=[/?#]|$)/i
const ABSOLUTE = /^([a-z][a-z\d+.-]*:|[/\\]{2})/i

/** A function that gives the address of a request, or throws if our token must not go there. */
function createAddresses(baseUrl, origins) {
  const trusted = [].concat(baseUrl, origins).map(originOf)
  if (trusted.indexOf('') >= 0 || /[?#\\\s]/.test(baseUrl)) {
    throw new WxSessionError('invalid_options')
  }
  const base = baseUrl.replace(/\/+$/, '')

  return function addressOf(url) {
    if (typeof url !== 'string') throw new WxSessionError('invalid_options')
    if (!ABSOLUTE.test(url)) return `${base}/${url.replace(/^\//, '')}`
    if (trusted.indexOf(originOf(url)) < 0) throw new WxSessionError('foreign_url')
    return url
  }
}

function originOf(url) {
  const found = ORIGIN.exec(url)
  return found ? found[0].toLowerCase() : ''
}

module.exports = { createAddresses }
