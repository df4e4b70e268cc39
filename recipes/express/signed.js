// For requests that cannot wait for an answer of wxsession: a signed token (RFC 9068), verified here.

import { createRemoteJWKSet, jwtVerify } from 'jose'
import { askLater, refuse, tokenOf } from './session.js'

const { WXSESSION } = process.env

// Kept for five minutes; an unknown key is asked for at once, and after a second again.
const caching = { cacheMaxAge: 300_000, cooldownDuration: 1000 }
const keys = createRemoteJWKSet(new URL(`${WXSESSION}/.well-known/jwks.json`), caching)
const demanded = { issuer: WXSESSION, audience: WXSESSION, typ: 'at+jwt', algorithms: ['ES256'] }

// What is wrong with a token; anything else is wrong with the way to the keys.
const ofTheToken = /^ERR_(JWT|JWS|JWKS_NO_MATCHING|JOSE_ALG|JOSE_NOT_SUPPORTED)/

export async function signedTokenRequired(request, response, next) {
  try {
    const { payload } = await jwtVerify(tokenOf(request) ?? '', keys, demanded)
    request.session = payload
  } catch (error) {
    return ofTheToken.test(error.code) ? refuse(response) : askLater(response, error)
  }
  return next()
}
