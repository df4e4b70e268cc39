'use strict'

// Our client, and a back end made by one of the recipes, BACK_END: it answers `orders_of`, and `prices_for` who shows
// a signed token.

const { test } = require('node:test')
const assert = require('node:assert/strict')
const { SERVICE, newPhone, open, stored, ask, end } = require('../session/support')

const { BACK_END } = process.env
const ORDERS = { url: `${BACK_END}/orders` }

const get = (path, headers = {}) => fetch(BACK_END + path, { headers })
const bearer = (token) => ({ Authorization: `Bearer ${token}` })

async function loggedIn() {
  newPhone()
  const wxs = open({ origins: [BACK_END] })
  const { id } = await wxs.login()
  return { wxs, id }
}

test('a user is known, and found again after the session was ended', async () => {
  const { wxs, id } = await loggedIn()
  assert.equal((await wxs.request(ORDERS)).data.orders_of, id)
  await end(stored().token)
  assert.equal((await wxs.request(ORDERS)).data.orders_of, id)
  assert.equal(wx.double.logins, 2)
})

test('nobody else is let in', async () => {
  const { token } = (await loggedIn(), stored())
  const basic = { Authorization: `Basic ${Buffer.from(`shop:${token}`).toString('base64')}` }
  for (const headers of [{}, basic, bearer(`${token}x`), bearer('x'), bearer(''), { Authorization: token }]) {
    const refused = await get('/orders', headers)
    assert.deepEqual([refused.status, refused.headers.get('WWW-Authenticate')], [401, 'Bearer'])
  }
})

test('a signed token is verified, and nothing else is taken for one', { skip: process.env.SIGNED !== '1' }, async () => {
  const { id } = (await loggedIn()).wxs.user
  const { token } = stored()
  const { access_token: signed } = await ask(`${SERVICE}/access_token`, { token })
  assert.equal((await (await get('/prices', bearer(signed))).json()).prices_for, id)
  const [header, claims, signature] = signed.split('.')
  const unsigned = Buffer.from(JSON.stringify({ alg: 'none', typ: 'at+jwt' })).toString('base64url')
  const others = [token, `${unsigned}.${claims}.`, `${header}.${claims}.${signature.replace(/^./, (c) => (c === 'A' ? 'B' : 'A'))}`]
  for (const wrong of [...others, 'x', '']) assert.equal((await get('/prices', bearer(wrong))).status, 401)
  assert.equal((await get('/prices')).status, 401)
  assert.equal((await get('/orders', bearer(signed))).status, 401) // it is no session
})
