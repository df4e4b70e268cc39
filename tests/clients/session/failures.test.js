'use strict'

const { test } = require('node:test')
const assert = require('node:assert/strict')
const { newPhone, open, stored, sent, weChat, check } = require('./support')
const { refused, pause, eventually, answerOnce, onRequest } = require('./support')

const TIMEOUT = 500

// Each call, with the path that it asks.
const CALLS = {
  '/login': (wxs) => wxs.login(),
  '/refresh': (wxs) => wxs.refresh(),
  '/check_session': (wxs) => wxs.check(),
  '/logout': (wxs) => wxs.logout(),
  '/bind': (wxs) => wxs.bind({ username: 'x', password: 'y' }),
  '/user_info': (wxs) => wxs.userInfo(() => ({})),
  '/phone_number': (wxs) => wxs.phoneNumber('x'),
  '/user': (wxs) => wxs.updateUser({}),
}

// After anything that went wrong: the next request of somebody who is not logged out succeeds.
async function goesOn(wxs) {
  wx.double.onRequest = null
  wx.double.onLogin = null
  if (stored()?.loggedOut) await wxs.login()
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
  assert.ok((await check(stored().token)).active)
}

for (const [path, call] of Object.entries(CALLS)) {
  test(`${path}: an answer that is not ours is refused, and does no harm`, async () => {
    const isGrant = ['/login', '/refresh', '/bind'].includes(path)
    const grant = { session_token: 'x', expires_in: 60, user: { id: 'x' } }
    const answers = [
      ...[[200, '<html>'], [200, ''], [200, null], [200, []], [200, 'null'], [200, {}], [200, undefined]],
      ...[[502, '<html>'], [500, null], [404, {}], [401, '<html>'], [401, {}], [302, ''], [204, '']],
      ...(isGrant ? [{ session_token: 7 }, { expires_in: 'x' }, { expires_in: undefined }, { user: {} }] : []).map(
        (change) => [200, { ...grant, ...change }],
      ),
      [500, { code: 7 }],
    ].filter(([status]) => path !== '/logout' || status !== 204)
    for (const [statusCode, data] of answers) {
      newPhone()
      const wxs = open()
      await wxs.login()
      const { token } = stored()
      onRequest(path, () => ({ answer: { statusCode, data } }))
      assert.equal((await refused(call(wxs))).code, 'bad_answer', JSON.stringify([statusCode, data]))
      if (path !== '/logout') assert.equal(stored().token, token)
      await goesOn(wxs)
    }
  })

  test(`${path}: a network that fails is told with its errMsg and errno`, async () => {
    newPhone()
    const wxs = open()
    await wxs.login()
    onRequest(path, () => ({ fail: { errMsg: 'request:fail interrupted', errno: 600003 } }))
    const { code, errMsg, errno, status } = await refused(call(wxs))
    assert.deepEqual([code, errMsg, errno], ['network_error', 'request:fail interrupted', 600003])
    assert.equal(status, undefined)
    await goesOn(wxs)
  })

  test(`${path}: a request that never calls back is given up, and holds up nobody`, async () => {
    newPhone()
    const wxs = open({ timeout: TIMEOUT })
    await wxs.login()
    onRequest(path, () => ({ never: true }))
    assert.equal((await refused(call(wxs))).code, 'timeout')
    await goesOn(wxs)
  })

  test(`${path}: a request that calls back twice counts once`, async () => {
    newPhone()
    const wxs = open()
    await wxs.login()
    const before = sent(path).length
    onRequest(path, () => ({ twice: true }))
    await call(wxs).catch(() => {})
    assert.equal(sent(path).length - before, 1)
    await goesOn(wxs)
  })

  for (const action of ['get', 'set', 'both']) {
    test(`${path}: a storage whose ${action} throws is told, and what is stored stays usable`, async () => {
      newPhone()
      const wxs = open()
      await wxs.login()
      const before = structuredClone(stored())
      wx.double.storageThrows = action
      if (action === 'set' && ['/bind', '/phone_number', '/user_info'].includes(path)) {
        const grant = { session_token: 'x', expires_in: 60 }
        answerOnce(path, 200, { ...grant, user: { ...wxs.user, nickname: 'New' }, phone_number: '1' })
      }
      const error = await refused(call(wxs))
      assert.equal(error.code, 'storage_failed')
      assert.match(error.errMsg, /:fail/)
      assert.equal(action === 'set' ? wxs.user.id : wxs.user, action === 'set' ? before.user.id : null)
      wx.double.storageThrows = null
      assert.deepEqual(stored(), before)
      await goesOn(wxs)
    })
  }
}

test('a request over a storage that throws is refused', async () => {
  newPhone()
  const wxs = open()
  for (const action of ['get', 'set']) {
    wx.double.storageThrows = action
    assert.equal((await refused(wxs.request({ url: '/user' }))).code, 'storage_failed')
    assert.equal(sent('/user').length, 0)
  }
  wx.double.storageThrows = null
  await goesOn(wxs)
})

test('a storage that silently keeps nothing does not have the server asked again and again', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  wx.setStorageSync = () => {}
  answerOnce('/check_session', 401, { code: 'session_ended', reason: 'logout' })
  assert.deepEqual(await wxs.check(), { active: false, code: 'session_ended', reason: 'logout' })
  assert.equal(sent('/check_session').length, 1)
})

test('wx.login that fails is told with its errMsg and errno', async () => {
  newPhone()
  const wxs = open()
  wx.double.onLogin = () => ({ fail: { errMsg: 'login:fail blocked', errno: 1402101 } })
  const { code, errMsg, errno } = await refused(wxs.login())
  assert.deepEqual([code, errMsg, errno], ['login_failed', 'login:fail blocked', 1402101])
  await goesOn(wxs)
})

test('wx.login that brings no code has failed', async () => {
  for (const answer of [{}, { code: '' }, { errMsg: 'login:ok' }]) {
    newPhone()
    const wxs = open()
    wx.double.onLogin = () => ({ answer })
    assert.equal((await refused(wxs.login())).code, 'login_failed')
    assert.equal(wx.double.requests.length, 0)
    await goesOn(wxs)
  }
})

test('wx.login that never calls back is given up, and holds up nobody', async () => {
  newPhone()
  const wxs = open({ timeout: TIMEOUT })
  wx.double.onLogin = () => ({ never: true })
  const refusals = await Promise.all([1, 2, 3].map(() => refused(wxs.request({ url: '/user' }))))
  assert.deepEqual(refusals.map(({ code }) => code), ['timeout', 'timeout', 'timeout'])
  assert.equal(wx.double.logins, 1)
  await goesOn(wxs)
})

test('wx.login that calls back twice logs in once', async () => {
  newPhone()
  const wxs = open()
  wx.double.onLogin = () => ({ twice: true })
  await wxs.login()
  await pause(20)
  assert.equal(sent('/login').length, 1)
})

test('a login that is answered too late is not waited for, and does no harm', async () => {
  newPhone()
  const wxs = open({ timeout: TIMEOUT })
  onRequest('/login', () => pause(3 * TIMEOUT))
  assert.equal((await refused(wxs.login())).code, 'timeout')
  await goesOn(wxs)
  const { token } = stored()
  await pause(3 * TIMEOUT)
  assert.equal(stored().token, token)
})

test('a request of the app has no time limit of ours', async () => {
  newPhone()
  const wxs = open({ timeout: TIMEOUT })
  onRequest('/user', () => pause(2 * TIMEOUT))
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
})

test('a wx that throws, or has not what is called, is told', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  const { request, login } = wx
  wx.request = () => {
    throw new Error('request:fail parameter error')
  }
  const error = await refused(wxs.request({ url: '/user' }))
  assert.deepEqual([error.code, /parameter error/.test(error.errMsg)], ['network_error', true])
  wx.request = request
  delete wx.login
  assert.equal((await refused(wxs.login())).code, 'credentials_required')
  wx.login = login
  await goesOn(wxs)
  delete global.wx
  assert.equal((await refused(wxs.request({ url: '/user' }))).code, 'not_supported')
})

test('a failure without any particulars is told', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  const { request } = wx
  wx.request = ({ fail }) => fail()
  assert.equal((await refused(wxs.request({ url: '/user' }))).code, 'network_error')
  wx.request = request
  await goesOn(wxs)
})

test('a code that WeChat refuses is refused by its code, and not tried again', async () => {
  newPhone()
  const wxs = open()
  await weChat('fail_next', { fault: 40029, times: 1 })
  const { code, status } = await refused(wxs.request({ url: '/user' }))
  assert.deepEqual([code, status, wx.double.logins], ['invalid_code', 400, 1])
  await goesOn(wxs)
})

test('while WeChat wants fewer logins there are none, and then there are again', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  newPhone()
  const wxs = open()
  await weChat('fail_next', { fault: 45011, times: 1 })
  const first = await refused(wxs.request({ url: '/user' }))
  assert.deepEqual([first.code, first.status], ['wechat_rate_limited', 429])
  assert.ok(first.retryAfter >= 1)
  t.mock.timers.tick(100)
  for (const call of [CALLS['/login'], CALLS['/refresh'], CALLS['/user'], (w) => w.request({ url: '/user' })]) {
    const { code, status, retryAfter } = await refused(call(wxs))
    assert.deepEqual([code, status, retryAfter], ['wechat_rate_limited', 429, first.retryAfter])
  }
  t.mock.timers.tick(first.retryAfter * 1000 - 200)
  assert.equal((await refused(wxs.login())).retryAfter, 1)
  assert.deepEqual([wx.double.logins, wx.double.requests.length], [1, 1])
  t.mock.timers.tick(100)
  await goesOn(wxs)
})

for (const [status, header, seconds] of [
  [503, { 'Retry-After': '30' }, 30],
  [429, { 'retry-after': '30' }, 30],
  [429, { 'Retry-After': '999999999' }, 3600],
  [503, { 'Retry-After': 'Wed, 21 Oct 2026 07:28:00 GMT' }, 1],
  [503, {}, 1],
]) {
  const said = JSON.stringify(header)
  test(`logins pause for ${seconds} s after a ${status} with ${said}, of a login or a refresh`, async (t) => {
    for (const path of ['/login', '/refresh']) {
      t.mock.timers.reset()
      t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
      newPhone()
      const wxs = open()
      await wxs.login()
      answerOnce(path, status, { code: 'overloaded' }, header)
      await refused(CALLS[path](wxs))
      t.mock.timers.tick(seconds * 1000 - 1)
      const { logins } = wx.double
      const error = await refused(wxs.login())
      assert.deepEqual([error.code, error.status, error.retryAfter], ['overloaded', status, 1])
      assert.equal(wx.double.logins, logins)
      assert.equal((await wxs.request({ url: '/user' })).statusCode, 200) // the session it has goes on
      t.mock.timers.tick(1)
      await wxs.login()
    }
  })
}

test('a background refresh obeys the pause, and is silent about it', async (t) => {
  const now = Date.now()
  t.mock.timers.enable({ apis: ['Date'], now })
  newPhone()
  const wxs = open()
  await wxs.login()
  const { token } = stored()
  t.mock.timers.setTime(now + 0.85 * 7 * 24 * 3600 * 1000)
  answerOnce('/refresh', 503, { code: 'overloaded' }, { 'Retry-After': '60' })
  for (let n = 0; n < 5; n += 1) {
    assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
    await pause(20)
  }
  t.mock.timers.tick(30000)
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
  await pause(20)
  assert.deepEqual([sent('/refresh').length, stored().token], [1, token])
  t.mock.timers.tick(40000)
  await wxs.request({ url: '/user' })
  await eventually(() => stored().token !== token)
})

test('too many wrong passwords of one account hold up that account, and not the way by code', async () => {
  newPhone()
  const wxs = open()
  const data = { code: 'too_many_attempts' }
  answerOnce('/login', 429, data, { 'Retry-After': '600' })
  const mine = { username: 'peggy', password: 'a long password' }
  await refused(wxs.login(mine))
  const error = await refused(wxs.login(mine))
  assert.deepEqual([error.code, error.retryAfter, wx.double.logins], ['too_many_attempts', 600, 1])
  assert.equal((await refused(wxs.login({ ...mine, username: 'quentin' }))).code, 'bad_credentials')
  await goesOn(wxs)
})
