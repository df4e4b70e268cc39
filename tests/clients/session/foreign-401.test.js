'use strict'

// A 401 in words that are not our server's: of a back end that asked about the token, of a proxy, or of the
// application itself. The client cannot know which, so it asks our server, once.

const { test } = require('node:test')
const assert = require('node:assert/strict')
const { newPhone, open, stored, sent, tokens, end, pause, onRequest } = require('./support')

const MANY = 20
const ADDRESS = 'https://api.example.com/orders'
const ORDERS = { answer: { statusCode: 200, data: { orders: [] } } }

const SHAPES = [
  { active: false },
  { error: 'unauthorized' },
  { code: 401 },
  { code: 'unauthorized', message: 'please log in' },
  { code: 'missing_token' }, // somebody on the way took it off
  { code: 'invalid_api_key' },
  '<html><center><h1>401 Authorization Required</h1></center></html>',
  'session_ended',
  '',
  null,
  undefined,
]

// A back end that has introspected the token, or relies on a proxy that did: it takes no token of `over`.
function backEnd(data, over = new Set()) {
  onRequest('/orders', async ({ header }) => {
    await pause(Math.random() * 30) // the answers come one by one
    const isOver = over.has(header.Authorization.replace('Bearer ', ''))
    return isOver ? { answer: { statusCode: 401, data } } : ORDERS
  })
  return over
}

// The application's own 401, whoever asks.
const refusing = (data) => onRequest('/orders', () => ({ answer: { statusCode: 401, data } }))

async function loggedIn() {
  newPhone()
  const wxs = open({ origins: ['https://api.example.com'] })
  const { id } = await wxs.login()
  return { wxs, id, request: () => wxs.request({ url: ADDRESS }) }
}

const costs = () => ({ checks: sent('/check_session').length, logins: wx.double.logins, sent: sent('/orders').length })

for (const data of SHAPES) {
  const shape = JSON.stringify(data)

  test(`a session that is over is found out from a 401 of ${shape}, and logged in again`, async () => {
    const { wxs, id, request } = await loggedIn()
    const first = stored().token
    backEnd(data).add(first)
    await end(first)
    assert.equal((await request()).statusCode, 200)
    assert.deepEqual(costs(), { checks: 1, logins: 2, sent: 2 })
    assert.deepEqual(tokens('/orders'), [first, stored().token])
    assert.equal(wxs.user.id, id)
  })

  test(`while the session is good a 401 of ${shape} is the caller's, and logs nobody in`, async () => {
    const { request } = await loggedIn()
    const { token } = stored()
    refusing(data)
    const answer = await request()
    assert.deepEqual([answer.statusCode, answer.data], [401, data])
    assert.deepEqual(costs(), { checks: 1, logins: 1, sent: 1 })
    assert.equal(stored().token, token)
  })
}

test('however many requests find the session over, there is one check and one login', async () => {
  const { request } = await loggedIn()
  const first = stored().token
  backEnd('<html>').add(first)
  await end(first)
  const answers = await Promise.all(Array.from({ length: MANY }, request))
  assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
  assert.deepEqual(costs(), { checks: 1, logins: 2, sent: 2 * MANY })
})

test('requests that are refused together ask together', async () => {
  const { request } = await loggedIn()
  const waiting = []
  wx.double.onRequest = ({ url }) => {
    if (url.endsWith('/check_session')) return pause(50)
    return new Promise((resolve) => {
      waiting.push(resolve)
      if (waiting.length === 10) for (const answer of waiting) answer({ answer: { statusCode: 401, data: '' } })
    })
  }
  const answers = await Promise.all(Array.from({ length: 10 }, request))
  assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([401]))
  assert.deepEqual(costs(), { checks: 1, logins: 1, sent: 10 })
})

test('a 401 that stays after the login is handed on, and nothing begins again', async () => {
  const { request } = await loggedIn()
  await end(stored().token)
  refusing({ error: 'unauthorized' })
  assert.equal((await request()).statusCode, 401)
  assert.deepEqual(costs(), { checks: 1, logins: 2, sent: 2 })
})

test('a request that began with a login is handed its 401 without a question', async () => {
  newPhone()
  const wxs = open({ origins: ['https://api.example.com'] })
  refusing('')
  assert.equal((await wxs.request({ url: ADDRESS })).statusCode, 401)
  assert.deepEqual(costs(), { checks: 0, logins: 1, sent: 1 })
})

for (const [what, outcome] of Object.entries({
  'is lost': { dropAnswer: true },
  'is a 503': { answer: { statusCode: 503, data: { code: 'overloaded' } } },
  'is a 401 of a stranger too': { answer: { statusCode: 401, data: '<html>' } },
})) {
  test(`where the answer of the check ${what}, nobody is logged out, and the 401 is handed on`, async () => {
    const { wxs, request } = await loggedIn()
    const { token } = stored()
    wx.double.onRequest = ({ url }) => (url === ADDRESS ? { answer: { statusCode: 401, data: '' } } : outcome)
    assert.equal((await request()).statusCode, 401)
    assert.deepEqual(costs(), { checks: 1, logins: 1, sent: 1 })
    assert.equal(stored().token, token)
    wx.double.onRequest = null
    assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
  })
}

test('a token that was refreshed meanwhile is tried without a question', async () => {
  const { wxs, request } = await loggedIn()
  const first = stored().token
  onRequest('/orders', async ({ header }) => {
    if (!header.Authorization.endsWith(first)) return ORDERS
    await wxs.refresh()
    return { answer: { statusCode: 401, data: { active: false } } }
  })
  assert.equal((await request()).statusCode, 200)
  assert.deepEqual(costs(), { checks: 0, logins: 1, sent: 2 })
})

test('a logout while the server is asked ends the matter', async () => {
  const { wxs, request } = await loggedIn()
  wx.double.onRequest = async ({ url }) => {
    if (url === ADDRESS) return { answer: { statusCode: 401, data: '' } }
    wx.double.onRequest = null
    await wxs.logout()
    return undefined
  }
  await assert.rejects(request(), { code: 'logged_out' })
  assert.deepEqual(costs(), { checks: 1, logins: 1, sent: 1 })
})
