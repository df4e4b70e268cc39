'use strict'

// The account behind the session: its name, its password, its apps, its devices, its end.

const { test } = require('node:test')
const assert = require('node:assert/strict')
const { SERVICE, APPID, newPhone, open, stored, sent, tokens, ask, check } = require('./support')
const { refused, answerOnce, onRequest, weChat } = require('./support')

const PASSWORD = 'a long password of a test'
const unique = (name) => `${name}-${process.pid}-${Math.random().toString(36).slice(2)}`
const account = (name) => ({ username: unique(name), password: PASSWORD })
const logInByPassword = (credentials) => ask(`${SERVICE}/login`, credentials)

test('register gives the user a name, and goes on with the next token without a login', async () => {
  newPhone()
  const wxs = open()
  const { id } = await wxs.login()
  const first = stored().token
  const carol = account('carol')
  const user = await wxs.register(carol)
  assert.deepEqual([user.id, user.username, wxs.user], [id, carol.username, user])
  assert.notEqual(stored().token, first)
  assert.equal((await wxs.check()).superseded, false)
  assert.equal(wx.double.logins, 1)
  assert.equal((await logInByPassword(carol)).user.id, id)
})

test('register logs in first if there is no session, and once more if the login is too long ago', async () => {
  newPhone()
  const wxs = open()
  answerOnce('/register', 403, { code: 'reauthentication_required' })
  await wxs.register(account('dave'))
  assert.deepEqual([wx.double.logins, sent('/register').length], [1, 2]) // that login was just now
  newPhone()
  const other = open()
  await other.login()
  answerOnce('/register', 403, { code: 'reauthentication_required' })
  await other.register(account('dave'))
  assert.deepEqual([wx.double.logins, sent('/register').length], [2, 2])
})

test('a name that is taken, and a bad password, are told; the session stays', async () => {
  newPhone()
  const wxs = open()
  const emma = account('emma')
  await ask(`${SERVICE}/register`, emma)
  assert.equal((await refused(wxs.register(emma))).code, 'username_taken')
  assert.equal((await refused(wxs.register({ username: unique('e'), password: 'short' }))).code, 'invalid_request')
  assert.equal((await refused(wxs.register())).code, 'invalid_request')
  assert.ok((await check(stored().token)).active)
})

test('changePassword changes it, and goes on with the next token', async () => {
  newPhone()
  const wxs = open()
  const frank = account('frank')
  await wxs.register(frank)
  const before = stored().token
  const error = await refused(wxs.changePassword({ password: 'not the right one', newPassword: PASSWORD }))
  assert.equal(error.code, 'bad_credentials')
  const newPassword = 'another long password'
  await wxs.changePassword({ password: PASSWORD, newPassword })
  assert.notEqual(stored().token, before)
  assert.equal((await wxs.check()).superseded, false)
  assert.equal(wx.double.logins, 1)
  assert.equal((await logInByPassword(frank)).code, 'bad_credentials')
  assert.ok((await logInByPassword({ ...frank, password: newPassword })).session_token)
})

test('changePassword without the current one works after a login by code, which it does itself', async () => {
  newPhone()
  const wxs = open()
  const grace = account('grace')
  await wxs.register(grace)
  answerOnce('/password', 403, { code: 'reauthentication_required' }) // the login is too long ago
  const newPassword = 'a password after the forgotten one'
  await wxs.changePassword({ newPassword })
  assert.deepEqual([wx.double.logins, sent('/password').length], [2, 2])
  assert.ok((await logInByPassword({ ...grace, password: newPassword })).session_token)
})

test('identities are the apps that lead to the user; unbind takes one away', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  assert.equal((await refused(wxs.unbind())).code, 'last_credential')
  await wxs.register(account('grace'))
  const [{ appid, current, bound_at: boundAt }, ...others] = await wxs.identities()
  assert.deepEqual([appid, current, others, typeof boundAt], [APPID, true, [], 'string'])
  const user = await wxs.unbind()
  assert.deepEqual([user.id, wxs.user], [wxs.user.id, user])
  assert.deepEqual(await wxs.identities(), [])
})

test('unbind logs in once if the last login is too long ago, and takes the names of the server', async () => {
  newPhone()
  const wxs = open()
  await wxs.register(account('heidi'))
  answerOnce('/unbind', 403, { code: 'reauthentication_required' })
  await wxs.unbind({ appid: APPID, password: PASSWORD })
  assert.deepEqual([wx.double.logins, sent('/unbind').length], [2, 2])
  assert.deepEqual(sent('/unbind')[1].data, { appid: APPID, all: undefined, password: PASSWORD })
})

test('sessions are those of all devices; another one can be ended', async () => {
  newPhone()
  const wxs = open()
  const ivan = account('ivan')
  await wxs.register(ivan)
  const other = await logInByPassword(ivan)
  const { sessions, more } = await wxs.sessions()
  assert.deepEqual([sessions.length, more], [2, false])
  assert.deepEqual(sessions.map(({ current }) => current).sort(), [false, true])
  assert.equal(await wxs.endSession(other.session_id), undefined)
  assert.equal((await check(other.session_token)).reason, 'revoked')
  assert.equal((await wxs.sessions()).sessions.length, 1)
  for (const id of [undefined, '', 7]) assert.equal((await refused(wxs.endSession(id))).code, 'invalid_options')
})

test('deleteUser leaves nobody logged in, and only a login begins anew', async () => {
  newPhone()
  const told = []
  const wxs = open()
  wxs.on('change', (user) => told.push(user))
  const { id } = await wxs.login()
  await wxs.register(account('judy'))
  const { token } = stored()
  assert.equal(await wxs.deleteUser({ password: PASSWORD }), undefined)
  const { method, data } = sent('/user').at(-1)
  assert.deepEqual([method, data, tokens('/user')], ['DELETE', { password: PASSWORD }, [token]])
  assert.deepEqual([wxs.user, told.at(-1), stored().token], [null, null, null])
  assert.equal((await check(token)).reason, 'user_deleted')
  assert.equal((await refused(wxs.request({ url: '/user' }))).code, 'logged_out')
  assert.equal(wx.double.logins, 1)
  const anew = await wxs.login()
  assert.deepEqual([anew.new, anew.id === id], [true, false])
})

test('deleteUser logs in once if the last login is too long ago', async () => {
  newPhone()
  const wxs = open()
  await wxs.login()
  answerOnce('/user', 403, { code: 'reauthentication_required' })
  await wxs.deleteUser()
  assert.deepEqual([wx.double.logins, sent('/user').length], [2, 2])
  assert.equal((await check(tokens('/user')[1])).reason, 'user_deleted')
})

test('a deleteUser that is refused, or does not arrive, leaves the user logged in', async () => {
  newPhone()
  const wxs = open()
  await wxs.register(account('kate'))
  const { id } = wxs.user
  const stays = async () => {
    await refused(wxs.deleteUser({ password: 'wrong' }))
    assert.equal(wxs.user.id, id)
    assert.equal((await check(stored().token)).user.id, id)
  }
  await stays()
  onRequest('/user', () => ({ dropRequest: true }))
  await stays()
})

const BUTTONS = [
  [{ errMsg: 'getPhoneNumber:fail user deny' }, 'user_declined'],
  [{ errMsg: 'getPhoneNumber:fail:user cancel' }, 'user_declined'],
  [{ errMsg: 'getPhoneNumber:fail jsapi has no permission', errno: 102 }, 'button_failed'],
  [{ errMsg: 'getPhoneNumber:fail', errno: 1400001 }, 'phone_quota_exhausted'],
  [{ errMsg: 'getPhoneNumber:fail api scope is not declared', errno: 112 }, 'privacy_undeclared'],
  [{ errMsg: 'getPhoneNumber:fail privacy permission is not authorized', errno: 104 }, 'privacy_declined'],
]

for (const [detail, code] of BUTTONS) {
  test(`a button that says ${JSON.stringify(detail)} is told as ${code}, without the network`, async () => {
    newPhone()
    const wxs = open()
    const error = await refused(wxs.phoneNumber(detail))
    assert.deepEqual([error.code, error.errMsg, error.errno], [code, detail.errMsg, detail.errno])
    assert.deepEqual([wx.double.logins, wx.double.requests.length], [0, 0])
  })
}

test('of a button that succeeded there is no error', () => {
  const { buttonError } = require('../../../miniprogram/lib')
  assert.equal(buttonError({ errMsg: 'agreePrivacyAuthorization:ok' }), null)
  assert.equal(buttonError({ code: 'x' }), null)
})

test('a phone number of a realtime button is taken like any other', async () => {
  const user = unique('judy')
  newPhone(user)
  const { code } = await weChat('phone_code', { user })
  const { phone_number: number } = await open().phoneNumber({ errMsg: 'getRealtimePhoneNumber:ok', code })
  assert.ok(number.includes('*'))
})
