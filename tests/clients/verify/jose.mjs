// What a back end in Node does with a signed access token: prints the claims that jose verified.
import { createRemoteJWKSet, jwtVerify } from 'jose'

const { ISSUER, TOKEN } = process.env
const metadata = await (await fetch(`${ISSUER}/.well-known/oauth-authorization-server`)).json()
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri))
const { payload, protectedHeader } = await jwtVerify(TOKEN, keys, {
  issuer: ISSUER,
  audience: ISSUER,
  typ: 'at+jwt',
  algorithms: ['ES256'],
})
console.log(JSON.stringify({ payload, protectedHeader }))
