const { ensure } = require('./errors')

// An ambiguous address (user@host, a backslash, a blank) has no origin.
const ORIGIN = /^https?:\/\/[^/?#\\@\s]+(?=[/?#]|$)/i
const ABSOLUTE = /^([a-z][a-z\d+.-]*:|[/\\]{2})/i

/** A function that returns the address of a request, or throws if the token must not go there. */
function createAddresses(baseUrl, origins) {
  const trusted = [].concat(baseUrl, origins).map(originOf)
  ensure(trusted.indexOf('') < 0 && !/[?#\\\s]/.test(baseUrl), 'invalid_options')
  const base = baseUrl.replace(/\/+$/, '')

  return function addressOf(url) {
    ensure(typeof url === 'string', 'invalid_options')
    if (!ABSOLUTE.test(url)) return `${base}/${url.replace(/^\//, '')}`
    ensure(trusted.indexOf(originOf(url)) >= 0, 'foreign_url')
    return url
  }
}

function originOf(url) {
  const found = ORIGIN.exec(url)
  return found ? found[0].toLowerCase() : ''
}

module.exports = { createAddresses, originOf }
