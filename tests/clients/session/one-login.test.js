'use strict'

const { test } = require('node:test')
const assert = require('node:assert/strict')
const { SERVICE, SHORT_LIVED, newPhone, open, restart, stored, store } = require('./support')
const { sent, tokens, ask, check, end, refused, pause, onRequest } = require('./support')

const MANY = 40

const many = (work) => Promise.all(Array.from({ length: MANY }, work))

test('however many requests begin on a cold start, there is one login, and each goes out once', async () => {
  newPhone()
  const wxs = open()
  const answers = await many(() => wxs.request({ url: '/user' }))
  assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
  assert.deepEqual([wx.double.logins, sent('/login').length, sent('/user').length], [1, 1, MANY])
  assert.deepEqual(new Set(tokens('/user')), new Set([stored().token]))
})

test('however many requests begin on an expired token, there is one login, and each goes out once', async () => {
  newPhone()
  const wxs = open({ baseUrl: SHORT_LIVED })
  await wxs.login()
  await pause(2100)
  await many(() => wxs.request({ url: '/user' }))
  assert.deepEqual([wx.double.logins, sent('/login').length, sent('/user').length], [2, 2, MANY])
  assert.deepEqual(new Set(tokens('/user')), new Set([stored(SHORT_LIVED).token]))
  assert.deepEqual(tokens('/login'), [undefined, undefined]) // an expired token is not presented
})

test('however many requests find the session ended, there is one login, and each is repeated once', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  await end(stored().token)
  const answers = await many(() => wxs.request({ url: '/user' }))
  assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
  assert.deepEqual([wx.double.logins, sent('/login').length], [2, 2])
  assert.ok(sent('/user').length <= 2 * MANY)
})

test('calls of every kind share one login', async () => {
  newPhone()
  const wxs = open()
  await Promise.all([wxs.login(), wxs.refresh(), wxs.request({ url: '/user' }), wxs.updateUser({}), wxs.login()])
  assert.deepEqual([wx.double.logins, sent('/login').length, sent('/refresh').length], [1, 1, 0])
})

test('a login that fails is refused to all who waited, is not repeated, and the next one succeeds', async () => {
  newPhone()
  const wxs = open()
  wx.double.onLogin = () => ({ fail: { errMsg: 'login:fail', errno: 5 } })
  const refusals = await many(() => refused(wxs.request({ url: '/user' })))
  assert.deepEqual(new Set(refusals.map(({ code }) => code)), new Set(['login_failed']))
  assert.deepEqual([wx.double.logins, wx.double.requests.length], [1, 0])
  wx.double.onLogin = null
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
})

test('a request with a live token does not wait for a login', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  let release
  wx.double.onLogin = () => new Promise((resolve) => (release = () => resolve()))
  const login = wxs.login()
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
  release()
  await login
})

test('a login with credentials does not share one without; it comes after it', async () => {
  const username = `mallory-${process.pid}`
  const password = 'a long password of a test'
  await ask(`${SERVICE}/register`, { username, password })
  newPhone()
  const wxs = open()
  const [, user] = await Promise.all([wxs.request({ url: '/user' }), wxs.login({ username, password })])
  assert.equal(user.username, username)
  assert.equal(wxs.user.username, username)
  assert.deepEqual([wx.double.logins, sent('/login').length], [2, 2])
})

test('a login with credentials is tried even if the one before it fails', async () => {
  newPhone()
  const wxs = open()
  wx.double.onLogin = () => {
    wx.double.onLogin = null
    return { fail: { errMsg: 'login:fail' } }
  }
  const first = refused(wxs.login())
  const error = await refused(wxs.login({ username: 'nobody-at-all', password: 'a long password' }))
  assert.deepEqual([(await first).code, error.code], ['login_failed', 'bad_credentials'])
})

test('two copies of the module over one storage never disturb each other', async () => {
  newPhone()
  const [one, other] = [open(), open()]
  assert.notEqual(one, other)
  const answers = await many((_, n) => [one, other][n % 2].request({ url: '/user' }))
  assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
  assert.ok(wx.double.logins <= 2)
  const { logins } = wx.double
  await Promise.all([one.refresh(), other.refresh(), one.request({ url: '/user' }), other.request({ url: '/user' })])
  for (const copy of [one, other]) assert.equal((await copy.check()).active, true)
  await one.refresh()
  assert.equal((await other.request({ url: '/user' })).statusCode, 200)
  assert.equal(tokens('/user').at(-1), stored().token)
  assert.equal(wx.double.logins, logins)
})

test('a request whose token another copy has replaced is repeated with that one, without a login', async () => {
  newPhone()
  const [one, other] = [open(), open()]
  await one.login()
  const first = stored().token
  onRequest('/user', async () => {
    wx.double.onRequest = null
    await other.login() // replaces the session
  })
  assert.equal((await one.request({ url: '/user' })).statusCode, 200)
  assert.deepEqual(tokens('/user'), [first, stored().token])
  assert.equal(wx.double.logins, 2)
})

test('a request is repeated once, even if another copy replaces the token each time', async () => {
  newPhone()
  const [one, other] = [open(), open()]
  await one.login()
  onRequest('/user', async () => {
    if (sent('/user').length < 5) await other.login()
    return { answer: { statusCode: 401, data: { code: 'session_ended' } } }
  })
  assert.equal((await refused(one.request({ url: '/user' }))).code, 'session_ended')
  assert.equal(sent('/user').length, 2)
})

test('a logout of one copy is a logout of the other', async () => {
  newPhone()
  const [one, other] = [open(), open()]
  await one.login()
  await other.logout()
  assert.equal(one.user, null)
  assert.equal((await refused(one.request({ url: '/user' }))).code, 'logged_out')
})

test('a login is not stored if another copy logged out meanwhile, and one after that is not held up', async () => {
  newPhone()
  const [one, other] = [open(), open()]
  onRequest('/login', async () => {
    wx.double.onRequest = null
    await other.logout()
    login = one.login()
  })
  let login
  assert.equal((await refused(one.login())).code, 'logged_out')
  const { id } = await login
  assert.equal((await check(stored().token)).user.id, id)
})

test('an app that was killed while it logged in logs in at the next start', async () => {
  newPhone()
  onRequest('/login', () => ({ dropAnswer: true }))
  open({ timeout: 500 }).login().catch(() => {})
  while (sent('/login').length === 0) await pause(5)
  const wxs = restart()
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
  assert.equal(wx.double.logins, 1)
})

test('what lies in the storage and is none of ours does no harm', async () => {
  for (const rubbish of ['rubbish', 7, null, true, [], {}, { token: 7, expiresAt: 'x' }, { token: {}, user: 'x' }]) {
    newPhone()
    wx.double.storage.set(`wxsession:${SERVICE}/`, rubbish)
    assert.equal((await open().request({ url: '/user' })).statusCode, 200)
  }
  newPhone()
  store({ token: 'rubbish', expiresAt: Date.now() + 1e6, refreshAt: Date.now() + 1e6 })
  assert.equal((await open().request({ url: '/user' })).statusCode, 200)
  assert.equal(wx.double.logins, 1)
})
