// Whose session is it? Asked for each request (RFC 7662), where the metadata says (RFC 8414).

import * as client from 'openid-client'

const { WXSESSION, API_KEY_NAME, API_KEY } = process.env

const OPTIONS = {
  algorithm: 'oauth2',
  timeout: 5,
  // Without https only on your own machine.
  execute: WXSESSION.startsWith('http://') ? [client.allowInsecureRequests] : [],
}

let found
function configuration() {
  const authentication = client.ClientSecretBasic(API_KEY)
  found ??= client.discovery(new URL(WXSESSION), API_KEY_NAME, undefined, authentication, OPTIONS)
  found.catch(() => { found = undefined }) // the next request looks again
  return found
}

export const tokenOf = (request) => request.get('Authorization')?.match(/^Bearer +(\S+)$/i)?.[1]

export function refuse(response) {
  response.set('WWW-Authenticate', 'Bearer').sendStatus(401)
}

// Never a 401: the client would log in, and that would not help.
export function askLater(response, error) {
  console.error(error)
  response.set('Retry-After', '1').sendStatus(503)
}

export async function sessionRequired(request, response, next) {
  const token = tokenOf(request)
  if (!token) return refuse(response)
  try {
    request.session = await client.tokenIntrospection(await configuration(), token)
  } catch (error) {
    return askLater(response, error)
  }
  return request.session.active ? next() : refuse(response)
}
