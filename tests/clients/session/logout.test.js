'use strict'

const { test } = require('node:test')
const assert = require('node:assert/strict')
const { newPhone, open, restart, stored, sent, tokens, check, refused } = require('./support')
const { pause, eventually, onRequest } = require('./support')

const isLoggedOut = (wxs) => {
  assert.deepEqual([wxs.user, stored().token, stored().user], [null, null, null])
  assert.ok(!JSON.stringify([...wx.double.storage]).includes('wxs_'))
}

// Each kind of call that needs a session.
const NEEDING = {
  request: (wxs) => wxs.request({ url: '/user' }),
  refresh: (wxs) => wxs.refresh(),
  bind: (wxs) => wxs.bind({ username: 'x', password: 'y' }),
  userInfo: (wxs) => wxs.userInfo({}),
  phoneNumber: (wxs) => wxs.phoneNumber('x'),
  updateUser: (wxs) => wxs.updateUser({}),
}

test('a logout ends the session here and on the server', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  const { token } = stored()
  assert.equal(await wxs.logout(), undefined)
  isLoggedOut(wxs)
  assert.deepEqual(tokens('/logout'), [token])
  assert.equal((await check(token)).reason, 'logout')
})

test('a logout everywhere ends the sessions of other phones too', async () => {
  const user = `olivia-${process.pid}`
  newPhone(user)
  await open().login()
  const { token } = stored()
  newPhone(user)
  const wxs = open()
  await wxs.login()
  await wxs.logout({ everywhere: true })
  assert.equal((await check(token)).reason, 'logout')
})

test('a logout takes the event of a button for no options, and needs no session', async () => {
  newPhone()
  const wxs = open()
  await wxs.logout({ type: 'tap', detail: {} })
  assert.equal(wx.double.requests.length, 0)
  await wxs.login()
  await wxs.logout({ type: 'tap', detail: {} })
  isLoggedOut(wxs)
})

for (const [name, call] of Object.entries(NEEDING)) {
  test(`after a logout, and after a restart, ${name} is refused until login() is called`, async () => {
    newPhone()
    let wxs = open()
    await wxs.login()
    await wxs.logout()
    wx.double.requests.length = 0
    assert.equal((await refused(call(wxs))).code, 'logged_out')
    assert.deepEqual([wx.double.requests.length, wx.double.logins], [0, 1])
    wxs = restart()
    assert.equal((await refused(call(wxs))).code, 'logged_out')
    assert.deepEqual(await wxs.check(), { active: false, code: 'logged_out', reason: null })
    assert.deepEqual([wx.double.requests.length, wx.double.logins], [0, 0])
    await wxs.login()
    assert.equal((await restart().request({ url: '/user' })).statusCode, 200)
  })
}

test('after a logout a login that fails leaves the user logged out', async () => {
  newPhone()
  const wxs = open()
  await wxs.logout()
  wx.double.onLogin = () => ({ fail: { errMsg: 'login:fail' } })
  await refused(wxs.login())
  assert.equal((await refused(wxs.request({ url: '/user' }))).code, 'logged_out')
})

test('after a logout, requests that begin while login() is under way wait for it', async () => {
  newPhone()
  const wxs = open()
  await wxs.logout()
  const [, answer] = await Promise.all([wxs.login(), wxs.request({ url: '/user' })])
  assert.deepEqual([answer.statusCode, wx.double.logins], [200, 1])
})

test('the storage is cleared before the server is told, and stays so if that fails', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  onRequest('/logout', () => {
    isLoggedOut(wxs)
    return { fail: { errMsg: 'request:fail', errno: 600001 } }
  })
  const error = await refused(wxs.logout())
  assert.deepEqual([error.code, error.errno], ['network_error', 600001])
  isLoggedOut(wxs)
  onRequest('/logout', () => ({ answer: { statusCode: 200, data: '<html>' } }))
  await wxs.login()
  assert.equal((await refused(wxs.logout())).code, 'bad_answer')
  isLoggedOut(wxs)
})

test('wx.login that comes back after a logout is not used', async () => {
  newPhone()
  const wxs = open()
  wx.double.onLogin = () => wxs.logout()
  assert.equal((await refused(wxs.login())).code, 'logged_out')
  assert.equal(sent('/login').length, 0)
  isLoggedOut(wxs)
})

for (const [name, call] of Object.entries({ login: (wxs) => wxs.login(), ...NEEDING })) {
  test(`a login that is answered after a logout brings nothing back, begun by ${name}`, async () => {
    newPhone()
    const wxs = open()
    let answered
    onRequest('/login', async (request) => {
      wx.double.onRequest = (next) => void (answered = next)
      await wxs.logout()
      assert.ok(request)
    })
    assert.equal((await refused(call(wxs))).code, 'logged_out')
    isLoggedOut(wxs)
    await eventually(() => answered?.statusCode === 204) // the token that came late is ended
    const [late] = tokens('/logout').slice(-1)
    assert.equal((await check(late)).reason, 'logout')
    assert.equal((await refused(wxs.request({ url: '/user' }))).code, 'logged_out')
  })
}

test('a refresh that is answered after a logout brings nothing back', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  onRequest('/refresh', async () => {
    wx.double.onRequest = (request) => (request.url.endsWith('/logout') ? { dropRequest: true } : undefined)
    await refused(wxs.logout())
    wx.double.onRequest = null
  })
  assert.equal((await refused(wxs.refresh())).code, 'logged_out')
  isLoggedOut(wxs)
  await eventually(() => sent('/logout').at(-1).statusCode === 204)
  assert.equal((await check(tokens('/logout').at(-1))).reason, 'logout')
  assert.equal(wx.double.logins, 1)
})

test('a refresh that is refused after a logout logs nobody in', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  onRequest('/refresh', () => wxs.logout())
  assert.equal((await refused(wxs.refresh())).code, 'logged_out')
  assert.equal(wx.double.logins, 1)
  isLoggedOut(wxs)
})

test('a request that is under way at the logout is not repeated, even if somebody logs in after it', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  onRequest('/user', async () => {
    wx.double.onRequest = null
    await wxs.logout()
    await wxs.login()
  })
  assert.equal((await refused(wxs.request({ url: '/user' }))).code, 'logged_out')
  assert.deepEqual([sent('/user').length, wx.double.logins], [1, 2])
  assert.ok((await wxs.check()).active)
})

test('what an answer says about the user is forgotten if it comes after a logout', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  for (const [path, call] of Object.entries({ '/user': NEEDING.updateUser, '/check_session': (w) => w.check() })) {
    await wxs.login()
    wx.double.onRequest = async (request) => {
      if (!request.url.endsWith(path)) return undefined
      const { user } = wxs
      wx.double.onRequest = null
      await wxs.logout()
      return { answer: { data: { active: true, expires_in: 60, ...user, user } } }
    }
    await call(wxs)
    isLoggedOut(wxs)
  }
})

test('a call that needs a fresh login does not get one after a logout', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  onRequest('/bind', async () => {
    await wxs.logout()
    return { answer: { statusCode: 403, data: { code: 'reauthentication_required' } } }
  })
  assert.equal((await refused(NEEDING.bind(wxs))).code, 'logged_out')
  assert.equal(wx.double.logins, 1)
  await pause(20)
  isLoggedOut(wxs)
})
