'use strict'

const { test } = require('node:test')
const assert = require('node:assert/strict')
const { SHORT_LIVED, CAPPED, newPhone, open, restart, stored } = require('./support')
const { sent, tokens, check, end, refused, pause, eventually, answerOnce, onRequest } = require('./support')

const WEEK = 7 * 24 * 3600 * 1000
const START = Date.now()

// The phone's clock stands still, unless it is moved; the server's goes on.
function stopClock(t, now = START) {
  t.mock.timers.enable({ apis: ['Date'], now })
  return { moveTo: (part) => t.mock.timers.setTime(now + part * WEEK) }
}

const settled = () => eventually(async () => sent('/refresh').every(({ statusCode }) => statusCode))

test('a request goes out at once with the token it has, while that is refreshed in the background', async (t) => {
  newPhone()
  const clock = stopClock(t)
  const wxs = open()
  await wxs.login()
  const first = stored().token
  clock.moveTo(0.85)
  let storedMeanwhile
  onRequest('/refresh', async () => {
    await eventually(() => sent('/user')[0]?.statusCode === 200) // it does not wait for the refresh
    storedMeanwhile = stored().token
  })
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
  await eventually(() => stored().token !== first)
  assert.equal(storedMeanwhile, first) // the old token is kept until the new one is stored
  assert.deepEqual([tokens('/user'), tokens('/refresh'), wx.double.logins], [[first], [first], 1])
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
  assert.deepEqual([tokens('/user')[1], sent('/refresh').length], [stored().token, 1])
})

test('many requests begin one refresh', async (t) => {
  newPhone()
  const clock = stopClock(t)
  const wxs = open()
  await wxs.login()
  const first = stored().token
  clock.moveTo(0.85)
  await Promise.all(Array.from({ length: 30 }, () => wxs.request({ url: '/user' })))
  await eventually(() => stored().token !== first)
  assert.deepEqual([sent('/refresh').length, wx.double.logins], [1, 1])
})

for (const [random, early, late] of [[0, 0.499, 0.501], [0.5, 0.649, 0.651], [0.999999, 0.799, 0.801]]) {
  test(`a draw of ${random} makes a refresh due between ${early} and ${late} of the session`, async (t) => {
    newPhone()
    t.mock.method(Math, 'random', () => random)
    const clock = stopClock(t)
    const wxs = open()
    await wxs.login()
    const first = stored().token
    clock.moveTo(early)
    await wxs.request({ url: '/user' })
    await pause(20)
    assert.equal(sent('/refresh').length, 0)
    clock.moveTo(late)
    await wxs.request({ url: '/user' })
    await eventually(() => stored().token !== first)
  })
}

test('phones that logged in together do not refresh together', async (t) => {
  stopClock(t)
  const due = []
  for (let n = 0; n < 20; n += 1) {
    newPhone()
    await open().login()
    due.push((stored().refreshAt - START) / WEEK)
  }
  assert.ok(due.every((part) => part >= 0.5 && part <= 0.8), due.join())
  assert.ok(Math.max(...due) - Math.min(...due) > 0.05, due.join())
})

test('a refresh is begun by a request, and by nothing else', async (t) => {
  newPhone()
  const clock = stopClock(t)
  const wxs = open()
  await wxs.login()
  clock.moveTo(0.85)
  await wxs.check()
  assert.ok(wxs.user)
  await pause(50)
  assert.equal(sent('/refresh').length, 0)
})

test('the clock of the phone may be wrong by years', async (t) => {
  for (const wrong of [-10, 10]) {
    newPhone()
    t.mock.timers.reset()
    const clock = stopClock(t, START + wrong * 365 * 24 * 3600 * 1000)
    const wxs = open()
    await wxs.login()
    clock.moveTo(0.4)
    await wxs.request({ url: '/user' })
    await pause(20)
    assert.deepEqual([sent('/refresh').length, wx.double.logins], [0, 1])
  }
})

test('a clock that was put forward costs one login, one that was put back nothing', async (t) => {
  newPhone()
  const clock = stopClock(t)
  const wxs = open()
  await wxs.login()
  clock.moveTo(2)
  await wxs.request({ url: '/user' })
  assert.equal(wx.double.logins, 2)
  clock.moveTo(-50)
  await wxs.request({ url: '/user' })
  assert.deepEqual([wx.double.logins, sent('/user').every(({ statusCode }) => statusCode === 200)], [2, true])
})

test('a session expires as long after it was asked for as the server says, and a check moves that', async (t) => {
  newPhone()
  const clock = stopClock(t)
  const wxs = open()
  await wxs.login()
  assert.equal(stored().expiresAt, START + WEEK)
  clock.moveTo(0.9)
  await wxs.check()
  assert.ok(stored().expiresAt >= START + 1.8 * WEEK)
})

test('the time that an answer takes is not added to the session', async () => {
  newPhone()
  onRequest('/login', () => pause(300))
  const begun = Date.now()
  await open({ baseUrl: SHORT_LIVED }).login()
  assert.ok(stored(SHORT_LIVED).expiresAt < begun + 2250)
})

test('a background refresh that fails is silent, pauses, and loses nothing', async (t) => {
  newPhone()
  const clock = stopClock(t)
  const wxs = open()
  await wxs.login()
  const first = stored().token
  clock.moveTo(0.85)
  onRequest('/refresh', () => ({ dropAnswer: true }))
  for (let n = 0; n < 5; n += 1) {
    assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
    await settled().catch(() => {})
    await pause(20)
  }
  assert.deepEqual([sent('/refresh').length, stored().token, wx.double.logins], [1, first, 1])
  wx.double.onRequest = null
  clock.moveTo(0.8501)
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
  await eventually(() => stored().token !== first)
  assert.equal((await check(stored().token)).superseded, false)
  assert.equal(wx.double.logins, 1)
})

test('a lost answer of a refresh loses nothing over a restart either', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  const first = stored().token
  onRequest('/refresh', () => ({ dropAnswer: true }))
  assert.equal((await refused(wxs.refresh())).code, 'network_error')
  assert.equal(stored().token, first)
  const again = restart()
  await again.request({ url: '/user' })
  await again.refresh()
  assert.notEqual(stored().token, first)
  assert.equal((await again.request({ url: '/user' })).statusCode, 200)
  assert.equal(wx.double.logins, 0)
})

test('refresh resolves to the user, with the next token stored', async () => {
  newPhone()
  const wxs = open()
  const user = await wxs.login()
  const first = stored().token
  assert.equal((await wxs.refresh()).id, user.id)
  assert.notEqual(stored().token, first)
  assert.deepEqual([wx.double.logins, sent('/refresh').length], [1, 1])
})

test('two refreshes at once are one', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  await Promise.all([wxs.refresh(), wxs.refresh()])
  assert.equal(sent('/refresh').length, 1)
})

test('a refresh of a session that is over, or whose token is invalid, logs in once', async () => {
  newPhone()
  const wxs = open()
  const { id } = await wxs.login()
  await end(stored().token)
  assert.equal((await wxs.refresh()).id, id)
  assert.deepEqual([wx.double.logins, sent('/refresh').length], [2, 1])
  answerOnce('/refresh', 401, { code: 'invalid_token' })
  assert.equal((await wxs.refresh()).id, id)
  assert.deepEqual([wx.double.logins, sent('/refresh').length], [3, 2])
})

test('a refresh that comes too late to matter changes nothing', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  const first = stored().token
  onRequest('/refresh', async () => {
    await open().login() // another copy
  })
  await wxs.refresh()
  assert.equal((await check(stored().token)).active, true)
  assert.notEqual(stored().token, first)
  assert.deepEqual([tokens('/login')[1], wx.double.logins], [first, 2])
})

test('a session that a refresh extends no more is renewed by a login in the background', async (t) => {
  newPhone()
  t.mock.method(Math, 'random', () => 0)
  const wxs = open({ baseUrl: CAPPED })
  await wxs.login()
  const first = stored(CAPPED).token
  await pause(3200)
  onRequest('/login', () => eventually(() => sent('/user')[0]?.statusCode === 200))
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
  await eventually(() => stored(CAPPED).lifetime === 4 && stored(CAPPED).expiresAt > Date.now() + 3000)
  assert.deepEqual([sent('/refresh').length, wx.double.logins], [1, 2])
  assert.deepEqual(tokens('/user'), [first])
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
  assert.equal(wx.double.logins, 2)
})

test('an explicit refresh right after the login is no reason for another login', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  for (let n = 0; n < 3; n += 1) await wxs.refresh()
  assert.equal(wx.double.logins, 1)
})

test('in use, a short-lived session never expires', async () => {
  newPhone()
  const wxs = open({ baseUrl: SHORT_LIVED })
  const begun = Date.now()
  while (Date.now() < begun + 4000) {
    assert.equal((await wxs.request({ url: '/check_session' })).statusCode, 200)
    await pause(100)
  }
  assert.ok(sent('/refresh').length >= 2)
  assert.equal(wx.double.logins, 1)
})
