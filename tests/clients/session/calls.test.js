'use strict'

const { test } = require('node:test')
const assert = require('node:assert/strict')
const { SERVICE, newPhone, load, open, restart, stored, sent, tokens } = require('./support')
const { ask, check, end, weChat, refused, answerOnce, onRequest } = require('./support')

const PASSWORD = 'a long password of a test'

async function account(username) {
  const { session_token: token } = await ask(`${SERVICE}/register`, { username, password: PASSWORD })
  assert.ok(token)
}

const unique = (name) => `${name}-${process.pid}-${Math.random().toString(36).slice(2)}`

test('the module may be loaded, and a session be made, before wx exists', () => {
  delete global.wx
  assert.equal(open().user, null)
})

test('a login resolves to the user, who is known from then on and after a restart', async () => {
  newPhone()
  const wxs = open()
  assert.equal(wxs.user, null)
  const user = await wxs.login()
  assert.equal(user.new, true)
  assert.deepEqual(wxs.user, user)
  assert.deepEqual(restart().user, user)
  assert.equal((await check(stored().token)).user.id, user.id)
})

test('a login that presents a live token replaces its session', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  const first = stored().token
  await wxs.login()
  assert.deepEqual(tokens('/login'), [undefined, first])
  assert.equal((await check(first)).reason, 'replaced')
  assert.ok((await check(stored().token)).active)
})

test('a login sends the appid of the mini-program by itself', async () => {
  newPhone()
  await open().login()
  assert.equal(sent('/login')[0].data.appid, process.env.APPID)
})

test('a login sends the appid of the options, whatever WeChat says', async () => {
  newPhone()
  wx.getAccountInfoSync = () => ({ miniProgram: { appId: 'wxffffffffffffffff' } })
  await open({ appid: process.env.APPID }).login()
  assert.equal(sent('/login')[0].data.appid, process.env.APPID)
})

test('a login sends no appid where the phone is too old to tell it', async () => {
  newPhone()
  delete wx.getAccountInfoSync
  await open().login()
  assert.equal('appid' in JSON.parse(JSON.stringify(sent('/login')[0].data)), false)
})

test('a login with credentials logs in and binds; wrong ones are refused', async () => {
  const username = unique('carol')
  await account(username)
  newPhone()
  const wxs = open()
  const error = await refused(wxs.login({ username, password: 'not the password' }))
  assert.deepEqual([error.code, error.status], ['bad_credentials', 401])
  assert.equal((await wxs.login({ username, password: PASSWORD })).username, username)
})

test('a login takes what wx.getUserInfo gave', async () => {
  const user = unique('dora')
  newPhone(user)
  await weChat('profile', { user, nickName: 'Dora' })
  await open().login()
  const userInfo = await wx.getUserInfo()
  assert.equal((await open().login({ userInfo })).nickname, 'Dora')
})

test('two pages get the same session, other servers and other keys get others', () => {
  const { createSession } = load()
  const one = createSession({ baseUrl: SERVICE })
  assert.equal(createSession({ baseUrl: `${SERVICE}/` }), one)
  assert.notEqual(createSession({ baseUrl: SERVICE, storageKey: 'other' }), one)
  assert.notEqual(createSession({ baseUrl: 'https://login.example.com' }), one)
})

test('two servers under one storage key do not get to see the token of each other', async () => {
  newPhone()
  await open().login()
  const other = open({ baseUrl: SERVICE.replace('127.0.0.1', 'localhost') })
  assert.equal(other.user, null)
  assert.equal((await other.check()).code, 'missing_token')
})

test('a check resolves to what the server says, and needs no network without a token', async () => {
  newPhone()
  const wxs = open()
  assert.deepEqual(await wxs.check(), { active: false, code: 'missing_token', reason: null })
  assert.equal(wx.double.requests.length, 0)
  await wxs.login()
  const { active, user, expires_in: seconds } = await wxs.check()
  assert.ok(active && seconds > 0)
  assert.deepEqual(wxs.user, user)
})

test('a check of a dead session says so and never logs in; the next request does', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  await end(stored().token)
  assert.deepEqual(await wxs.check(), { active: false, code: 'session_ended', reason: 'logout' })
  assert.deepEqual([wx.double.logins, stored().token], [1, null])
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
  assert.deepEqual([wx.double.logins, sent('/user').length], [2, 1])
})

test('a check that finds another token in the storage asks about that one', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  const first = stored().token
  onRequest('/check_session', async () => {
    wx.double.onRequest = null
    await load().createSession({ baseUrl: SERVICE }).login() // another copy, which replaces the session
  })
  assert.equal((await wxs.check()).active, true)
  assert.deepEqual(tokens('/check_session'), [first, stored().token])
})

test('a request resolves to the result of wx.request, whatever the status', async () => {
  newPhone()
  const wxs = open()
  const { statusCode, data, header, errMsg } = await wxs.request({ url: 'user' })
  assert.deepEqual([statusCode, data.id, errMsg], [200, wxs.user.id, 'request:ok'])
  assert.ok(header['Content-Type'])
  assert.equal((await wxs.request({ url: '/nothing-here' })).statusCode, 404)
  const changed = await wxs.request({ url: `${SERVICE}/user`, method: 'POST', data: { nickname: 'Eve' } })
  assert.equal(changed.data.nickname, 'Eve')
})

test('a request carries our token and no other, and the headers it was given', async () => {
  newPhone()
  await open().request({ url: '/user', header: { AUTHORIZATION: 'Bearer x', 'x-mine': '1' } })
  const [{ header }] = sent('/user')
  assert.equal(header.Authorization, `Bearer ${stored().token}`)
  assert.deepEqual([header.AUTHORIZATION, header['x-mine']], [undefined, '1'])
})

test('a request calls back, before its promise is settled', async () => {
  newPhone()
  const wxs = open()
  const called = []
  const note = (name) => (result) => called.push([name, result])
  const callbacks = { success: note('success'), fail: note('fail'), complete: note('complete') }
  const result = await wxs.request({ url: '/user', ...callbacks })
  assert.deepEqual(called, [['success', result], ['complete', result]])

  called.length = 0
  const error = await refused(wxs.request({ url: 'https://elsewhere.example', ...callbacks }))
  assert.deepEqual(called, [['fail', error], ['complete', error]])
})

test('a request whose callback throws is answered all the same', async (t) => {
  newPhone()
  const log = t.mock.method(console, 'error', () => {})
  const complete = t.mock.fn()
  const success = () => {
    throw new Error('a fault of the page')
  }
  assert.equal((await open().request({ url: '/user', success, complete })).statusCode, 200)
  assert.deepEqual([complete.mock.callCount(), log.mock.callCount()], [1, 1])
})

test('a failure that was handed to a callback is not an unhandled rejection as well', async (t) => {
  newPhone()
  const unhandled = t.mock.fn()
  process.on('unhandledRejection', unhandled)
  await new Promise((complete) => void open().request({ url: 'https://elsewhere.example', complete }))
  await new Promise(setImmediate)
  process.off('unhandledRejection', unhandled)
  assert.equal(unhandled.mock.callCount(), 0)
})

for (const code of ['session_expired', 'session_ended', 'session_superseded', 'invalid_token']) {
  test(`a request that is answered ${code} is repeated once, after one login`, async () => {
    newPhone()
    const wxs = open()
    await wxs.login()
    const first = stored().token
    answerOnce('/user', 401, { code })
    assert.equal((await wxs.request({ url: '/user' })).data.id, wxs.user.id)
    assert.deepEqual(tokens('/user'), [first, stored().token])
    assert.equal(wx.double.logins, 2)
  })

  test(`a request that is always answered ${code} is refused after one repeat`, async () => {
    newPhone()
    const wxs = open()
    await wxs.login()
    onRequest('/user', () => ({ answer: { statusCode: 401, data: { code, reason: 'idle' } } }))
    const error = await refused(wxs.request({ url: '/user' }))
    assert.deepEqual([error.code, error.status, error.reason], [code, 401, 'idle'])
    assert.deepEqual([sent('/user').length, wx.double.logins], [2, 2])
  })

  test(`a request that began with a login does not log in again for ${code}`, async () => {
    newPhone()
    onRequest('/user', () => ({ answer: { statusCode: 401, data: { code } } }))
    assert.equal((await refused(open().request({ url: '/user' }))).code, code)
    assert.deepEqual([sent('/user').length, wx.double.logins], [1, 1])
  })
}

test('a request is repeated after nothing else', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  const others = [
    [401, { code: 'bad_credentials' }],
    [403, { code: 'session_ended' }],
    [400, { code: 'session_expired' }],
    [200, { code: 'session_expired' }],
    [500, { code: 'internal_error' }],
    [409, { code: 'session_key_stale' }],
    [403, { code: 'reauthentication_required' }],
  ]
  for (const [statusCode, data] of others) {
    wx.double.requests.length = 0
    onRequest('/thing', () => ({ answer: { statusCode, data } }))
    const answer = await wxs.request({ url: '/thing' })
    assert.deepEqual([answer.statusCode, answer.data], [statusCode, data])
    assert.equal(wx.double.requests.length, 1)
  }
  assert.equal(wx.double.logins, 1)
  assert.ok(stored().token)
})

test('a token that became invalid is not dropped if the stored one is another', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  onRequest('/user', async () => {
    wx.double.onRequest = null
    await wxs.refresh()
    return { answer: { statusCode: 401, data: { code: 'invalid_token' } } }
  })
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
  assert.deepEqual([tokens('/user')[1], wx.double.logins], [stored().token, 1])
})

test('the token goes to no other server', async () => {
  newPhone()
  const wxs = open({ origins: ['https://api.example.com'] })
  await wxs.login()
  const { host } = new URL(SERVICE)
  const foreign = [
    ...['https://elsewhere.example/', '//elsewhere.example/', '\\\\elsewhere.example', '/\\elsewhere.example'],
    ...[`http://${host}@elsewhere.example/`, `http://${host}.elsewhere.example/`, `http://${host}\\@elsewhere.example`],
    ...[`https://${host}/`, `${SERVICE}0/user`, `ws://${host}/`, 'HTTPS:elsewhere.example', 'javascript:1'],
    ...['https://api.example.com:444/', 'https://api.example.com.elsewhere.example', 'https://api.example.com@x/'],
    ...['http://api.example.com/', 'https://API.example.com\t.elsewhere.example', 'https:///elsewhere.example'],
  ]
  wx.double.requests.length = 0
  for (const url of foreign) assert.equal((await refused(wxs.request({ url }))).code, 'foreign_url', url)
  assert.equal(wx.double.requests.length, 0)
})

test('what looks relative stays on the server, and named origins are allowed', async () => {
  newPhone()
  const wxs = open({ origins: ['https://api.example.com'] })
  await wxs.login()
  wx.double.requests.length = 0
  wx.double.onRequest = () => ({ answer: { data: {} } })
  const urls = ['@elsewhere.example', '.elsewhere.example', ' https://elsewhere.example', ':1@elsewhere.example', '']
  for (const url of urls) await wxs.request({ url })
  for (const { url } of wx.double.requests) assert.ok(url.startsWith(`${SERVICE}/`), url)
  await wxs.request({ url: 'HTTPS://API.example.com/x' })
  assert.ok(wx.double.requests.at(-1).header.Authorization)
})

test('a base URL may have a path', async () => {
  newPhone()
  wx.double.onRequest = () => ({ fail: { errMsg: 'request:fail' } })
  await refused(open({ baseUrl: 'https://example.com/auth/' }).login())
  assert.equal(wx.double.requests[0].url, 'https://example.com/auth/login')
})

test('options that make no sense are refused', async () => {
  const { createSession, WxSessionError } = load()
  const wrong = [
    ...[undefined, {}, { baseUrl: '' }, { baseUrl: 'login.example.com' }, { baseUrl: 'ftp://x' }, { baseUrl: 7 }],
    ...[{ baseUrl: 'https://x?y' }, { baseUrl: 'https://a@b' }, { baseUrl: 'https://x', origins: ['x'] }],
    ...[{ baseUrl: 'https://x', storageKey: 7 }, { baseUrl: 'https://x', timeout: 0 }],
    ...[{ baseUrl: 'https://x', origins: [''] }, { baseUrl: 'https://x', origins: [undefined] }],
  ]
  for (const options of wrong) {
    assert.throws(() => createSession(options), (e) => e instanceof WxSessionError && e.code === 'invalid_options')
  }
  newPhone()
  const wxs = open()
  for (const options of [undefined, {}, { url: 7 }]) {
    assert.equal((await refused(wxs.request(options))).code, 'invalid_options')
  }
  assert.throws(() => wxs.on('login', () => {}), { code: 'invalid_options' })
})

test('bind makes the WeChat user belong to the account', async () => {
  const username = unique('frank')
  await account(username)
  newPhone()
  const wxs = open()
  const before = await wxs.login()
  const user = await wxs.bind({ username, password: PASSWORD })
  assert.notEqual(user.id, before.id)
  assert.deepEqual([user.username, wxs.user], [username, user])
})

test('bind goes on with the next token, and logs in for nothing', async () => {
  const username = unique('fred')
  await account(username)
  newPhone()
  const wxs = open()
  await wxs.login()
  await wxs.bind({ username, password: PASSWORD })
  assert.equal((await wxs.check()).superseded, false)
  const [bind, check] = [sent('/bind')[0], sent('/check_session').at(-1)]
  assert.notEqual(bind.header.Authorization, check.header.Authorization)
  assert.equal(wx.double.logins, 1)
})

test('bind logs in once if the last login is too long ago, and asks once more', async () => {
  const username = unique('grace')
  await account(username)
  newPhone()
  const wxs = open()
  await wxs.login()
  answerOnce('/bind', 403, { code: 'reauthentication_required' })
  assert.equal((await wxs.bind({ username, password: PASSWORD })).username, username)
  assert.deepEqual([wx.double.logins, sent('/bind').length], [2, 2])
})

test('bind gives up if a login is not enough, and logs in for nothing else', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  onRequest('/bind', () => ({ answer: { statusCode: 403, data: { code: 'reauthentication_required' } } }))
  assert.equal((await refused(wxs.bind({ username: 'x', password: 'y' }))).code, 'reauthentication_required')
  assert.deepEqual([wx.double.logins, sent('/bind').length], [2, 2])
  wx.double.onRequest = null
  const error = await refused(wxs.bind({ username: unique('nobody'), password: PASSWORD }))
  assert.deepEqual([error.code, wx.double.logins], ['bad_credentials', 2])
})

test('what is wrong with a request is told', async () => {
  newPhone()
  const error = await refused(open().bind())
  assert.deepEqual([error.code, error.status], ['invalid_request', 400])
  assert.ok(error.errors.length > 0)
})

test('a phone number is taken by its code or by what the button gave, and is known of the user', async () => {
  const user = unique('heidi')
  newPhone(user)
  const wxs = open()
  await wxs.login()
  const { code } = await weChat('phone_code', { user })
  const answer = await wxs.phoneNumber(code)
  assert.deepEqual(Object.keys(answer).sort(), ['country_code', 'phone_number'])
  assert.equal(wxs.user.phone_number, answer.phone_number)
  const { user: known } = await wxs.check()
  assert.equal(known.phone_number, answer.phone_number)
  const detail = await weChat('phone_code', { user })
  assert.deepEqual(await wxs.phoneNumber({ ...detail, errMsg: 'getPhoneNumber:ok' }), answer)
})

test('userInfo takes a result, a function that returns one, and one that promises one', async () => {
  const user = unique('ivan')
  newPhone(user)
  await weChat('profile', { user, nickName: 'Ivan' })
  const wxs = open()
  await wxs.login()
  const result = await wx.getUserInfo()
  for (const source of [result, () => result, () => wx.getUserInfo()]) {
    const { user: known, open_data: data } = await wxs.userInfo(source)
    assert.deepEqual([known.nickname, data.nickName, wxs.user], ['Ivan', 'Ivan', known])
  }
})

test('userInfo calls its function at once, while the tap is being handled', async () => {
  newPhone()
  let asked = false
  const done = open().userInfo(() => {
    asked = true
    return {}
  })
  assert.ok(asked)
  await done
})

test('a session_key that WeChat changed is cured by one login, and data that are asked for anew', async () => {
  const user = unique('judy')
  newPhone(user)
  const wxs = open()
  await wxs.login()
  onRequest('/user_info', async ({ data }) => {
    wx.double.onRequest = null
    data.signature = '0'.repeat(40) // as if signed under a key that the server never saw
    data.encryptedData = 'A'.repeat(data.encryptedData.length - 2) + '=='
  })
  let asked = 0
  const { user: known } = await wxs.userInfo(() => {
    asked += 1
    return wx.getUserInfo()
  })
  assert.equal(known.id, wxs.user.id)
  assert.deepEqual([asked, wx.double.logins, sent('/user_info').map((r) => r.statusCode)], [2, 2, [409, 200]])
})

test('data that were made before this very login are asked for anew without another', async () => {
  newPhone()
  answerOnce('/user_info', 409, { code: 'session_key_stale' })
  let asked = 0
  await open().userInfo(() => {
    asked += 1
    return wx.getUserInfo()
  })
  assert.deepEqual([asked, wx.double.logins], [2, 1])
})

test('stale data are refused if they come as they are, or are stale again', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  onRequest('/user_info', () => ({ answer: { statusCode: 409, data: { code: 'session_key_stale' } } }))
  assert.equal((await refused(wxs.userInfo({}))).code, 'session_key_stale')
  assert.deepEqual([wx.double.logins, sent('/user_info').length], [1, 1])
  assert.equal((await refused(wxs.userInfo(() => ({})))).code, 'session_key_stale')
  assert.deepEqual([wx.double.logins, sent('/user_info').length], [2, 3])
})

test('what the function of userInfo throws or is refused is handed on', async () => {
  newPhone()
  const wxs = open()
  const thrown = new Error('of the page')
  const throwing = () => {
    throw thrown
  }
  await assert.rejects(wxs.userInfo(throwing), thrown)
  wx.double.userInfoDenied = true
  await assert.rejects(wxs.userInfo(() => wx.getUserInfo()), { errMsg: 'getUserInfo:fail auth deny' })
})

test('updateUser changes what it is given', async () => {
  newPhone()
  const wxs = open()
  const user = await wxs.updateUser({ nickname: 'Ken' })
  assert.deepEqual([user.nickname, wxs.user], ['Ken', user])
  assert.equal((await wxs.updateUser({ avatar_url: 'https://example.com/k.png' })).nickname, 'Ken')
  assert.equal((await wxs.updateUser({ nickname: null })).nickname, null)
})

test('listeners are told of every change of the user, until they are taken off', async () => {
  newPhone()
  const wxs = open()
  const told = []
  const off = wxs.on('change', (user) => told.push(user?.nickname ?? user?.id ?? user))
  const { id } = await wxs.login()
  await wxs.updateUser({ nickname: 'Liz' })
  await wxs.check()
  await wxs.request({ url: '/user' })
  await wxs.logout()
  assert.deepEqual(told, [id, 'Liz', null])
  off()
  off()
  await wxs.login()
  assert.equal(told.length, 3)
})

test('a listener that throws, or takes itself off, breaks nothing', async (t) => {
  newPhone()
  const log = t.mock.method(console, 'error', () => {})
  const wxs = open()
  const told = t.mock.fn()
  wxs.on('change', () => {
    throw new Error('a fault of the page')
  })
  const off = wxs.on('change', () => off())
  wxs.on('change', told)
  await wxs.login()
  assert.deepEqual([told.mock.callCount(), log.mock.callCount()], [1, 1])
  assert.ok(stored().token)
})
