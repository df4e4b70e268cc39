'use strict'

// Our client, and a back end that answers 401 in words that are not ours, whatever stands between.
//
// BACK_END is its address, CHECKS how often the client has to ask our server to learn that its session is over.

const { test } = require('node:test')
const assert = require('node:assert/strict')
const { SERVICE, newPhone, open, stored, tokens, end } = require('../session/support')

const { BACK_END } = process.env
const CHECKS = Number(process.env.CHECKS)
const MANY = 20

async function loggedIn() {
  newPhone()
  const wxs = open({ origins: [BACK_END] })
  const { id } = await wxs.login()
  return { wxs, id }
}

const sentTo = (start) => wx.double.requests.filter(({ url }) => url.startsWith(start)).length
const costs = () => ({
  checks: sentTo(`${SERVICE}/check_session`),
  logins: [wx.double.logins, sentTo(`${SERVICE}/login`)],
  sent: sentTo(BACK_END),
})

for (const shape of ['active', 'error', 'code', 'html', 'empty']) {
  test(`a session that was ended is found out and renewed; a 401 is ${shape}`, async () => {
    const { wxs, id } = await loggedIn()
    const request = (method) => wxs.request({ url: `${BACK_END}/orders/${shape}?page=2`, method, data: { n: '1' } })
    assert.deepEqual((await request('GET')).data, { orders_of: id })
    for (const method of ['GET', 'POST']) {
      const before = costs()
      const first = stored().token
      await end(first)
      const { statusCode, data } = await request(method)
      assert.deepEqual([statusCode, data], [200, { orders_of: id }])
      assert.notEqual(stored().token, first)
      const after = costs()
      assert.equal(after.checks - before.checks, CHECKS)
      assert.deepEqual(after.logins.map((n, i) => n - before.logins[i]), [1, 1])
      assert.equal(after.sent - before.sent, 2)
    }
  })

  test(`while the session is good a 401 of the application's own is the caller's; it is ${shape}`, async () => {
    const { wxs } = await loggedIn()
    const { token } = stored()
    const { statusCode, data } = await wxs.request({ url: `${BACK_END}/vip/${shape}` })
    assert.equal(statusCode, 401)
    assert.ok(!data.session_token && !JSON.stringify(data).includes('session_'))
    assert.deepEqual(costs(), { checks: 1, logins: [1, 1], sent: 1 })
    assert.equal(stored().token, token)
  })
}

test('many requests at once cost no more questions and no more logins than one', async () => {
  const { wxs } = await loggedIn()
  const first = stored().token
  await end(first)
  const answers = await Promise.all(
    Array.from({ length: MANY }, () => wxs.request({ url: `${BACK_END}/orders/html` })),
  )
  assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
  assert.deepEqual(costs(), { checks: CHECKS, logins: [2, 2], sent: 2 * MANY })
  assert.equal(tokens('/login')[1], undefined) // a token that is over is not presented
})
