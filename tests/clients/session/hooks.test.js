'use strict'

// What an application hears of, and may change, without a wrapper of its own.

const { test } = require('node:test')
const assert = require('node:assert/strict')
const { SERVICE, newPhone, open, stored, sent, refused, end, pause, onRequest } = require('./support')

test('beforeRequest may change what is sent, or return something else, also later', async () => {
  newPhone()
  const hooks = [
    (options) => void (options.header['x-trace'] = '1'),
    (options) => ({ ...options, header: { 'x-trace': '1' } }),
    async (options) => (await pause(1), { ...options, header: { 'x-trace': '1' } }),
  ]
  for (const [n, beforeRequest] of hooks.entries()) {
    const wxs = open({ storageKey: `hook ${n}`, beforeRequest })
    const given = { url: '/user', header: { mine: '1' } }
    assert.equal((await wxs.request(given)).statusCode, 200)
    assert.deepEqual(given, { url: '/user', header: { mine: '1' } })
    assert.equal(sent('/user').at(-1).header['x-trace'], '1')
  }
})

test('beforeRequest is asked once for each request, and not about logins', async () => {
  newPhone()
  const asked = []
  const wxs = open({ beforeRequest: ({ url }) => void asked.push(url) })
  await wxs.login()
  await end(stored().token)
  await wxs.request({ url: '/user' })
  await wxs.updateUser({})
  assert.deepEqual(asked, ['/user'])
})

test('beforeRequest takes the token to no other server', async () => {
  newPhone()
  const wxs = open({ beforeRequest: (options) => ({ ...options, url: 'https://elsewhere.example' }) })
  assert.equal((await refused(wxs.request({ url: '/user' }))).code, 'foreign_url')
  assert.equal(wx.double.requests.length, 0)
})

test('what beforeRequest throws is what the request is refused with', async () => {
  newPhone()
  const thrown = new Error('of the application')
  const beforeRequest = () => {
    throw thrown
  }
  await assert.rejects(open({ beforeRequest }).request({ url: '/user' }), thrown)
})

test('onLoading is told once when something begins, and once when nothing is left', async () => {
  newPhone()
  const told = []
  const wxs = open({ onLoading: (isLoading) => told.push(isLoading) })
  await Promise.all([wxs.request({ url: '/user' }), wxs.request({ url: '/nothing-here' }), wxs.updateUser({})])
  assert.deepEqual(told, [true, false])
  await refused(wxs.request({ url: 'https://elsewhere.example' }))
  assert.deepEqual(told, [true, false, true, false])
  await wxs.request({ url: '/user', loading: false })
  await wxs.header(SERVICE)
  assert.equal(told.length, 4)
})

test('onLoading hears of the end before the caller does', async () => {
  newPhone()
  const told = []
  const wxs = open({ onLoading: (isLoading) => told.push(isLoading) })
  await wxs.request({ url: '/user', success: () => told.push('success') })
  assert.deepEqual(told, [true, false, 'success'])
})

test('onUnauthorized is told once that nobody is logged in, until somebody is', async () => {
  newPhone()
  const told = []
  const wxs = open({ onUnauthorized: ({ code }) => told.push(code) })
  await wxs.login()
  await wxs.logout()
  const asked = () => [wxs.request({ url: '/user' }), wxs.updateUser({}), wxs.header(SERVICE)]
  for (const error of await Promise.all(asked().map(refused))) assert.equal(error.code, 'logged_out')
  assert.deepEqual(told, ['logged_out'])
  await wxs.login()
  await wxs.request({ url: '/user' })
  await wxs.logout()
  await refused(wxs.request({ url: '/user' }))
  assert.deepEqual(told, ['logged_out', 'logged_out'])
})

test('onUnauthorized is told of a user who may not log in, and of a session that no login revives', async () => {
  for (const [path, status, code] of [['/login', 403, 'user_blocked'], ['/user', 401, 'session_ended']]) {
    newPhone()
    const told = []
    const wxs = open({ onUnauthorized: (error) => told.push(error.code) })
    onRequest(path, () => ({ answer: { statusCode: status, data: { code } } }))
    await refused(wxs.request({ url: '/user' }))
    assert.deepEqual(told, [code])
  }
})

test('onUnauthorized is told of no other failure', async () => {
  newPhone()
  const told = []
  const wxs = open({ onUnauthorized: ({ code }) => told.push(code) })
  await wxs.login()
  onRequest('/user', () => ({ answer: { statusCode: 401, data: 'my own 401' } }))
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 401)
  await refused(wxs.bind({ username: `nobody-${process.pid}`, password: 'not the right one' }))
  wx.double.onRequest = () => ({ fail: { errMsg: 'request:fail' } })
  await refused(wxs.request({ url: '/user' }))
  assert.deepEqual(told, [])
})

test('a hook that throws breaks nothing', async (t) => {
  newPhone()
  const log = t.mock.method(console, 'error', () => {})
  const broken = () => {
    throw new Error('a fault of the application')
  }
  const wxs = open({ onLoading: broken, onUnauthorized: broken })
  await wxs.request({ url: '/user' })
  await wxs.logout()
  assert.equal((await refused(wxs.request({ url: '/user' }))).code, 'logged_out')
  assert.equal(log.mock.callCount(), 5)
})
