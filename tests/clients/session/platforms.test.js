'use strict'

// Elsewhere than in `wx`: uni and tt, which have the same methods, my, which has others, and a browser, in which
// there is no silent login.

const { test } = require('node:test')
const assert = require('node:assert/strict')
const path = require('node:path')
const { SERVICE, CAPPED, newPhone, load, stored, sent, tokens, ask, end, refused, pause } = require('./support')

const { alipay } = require(path.resolve(__dirname, '../../../miniprogram/lib/alipay'))

const PASSWORD = 'a long password of a test'
const MANY = 20

// A phone on which there is no `wx`, only what is given to us.
function elsewhere(platformOf) {
  const phone = newPhone()
  delete global.wx
  const adapter = platformOf(phone)
  const open = (options) => load().createSession({ baseUrl: SERVICE, adapter, ...options })
  return { phone, adapter, open, inspect: (work) => withPhone(phone, work) }
}

const onAlipay = () =>
  elsewhere((phone) => {
    phone.storageOf = (key) => (phone.double.storage.has(key) ? phone.getStorageSync(key) : null)
    return alipay(alipayOf(phone))
  })

// What looks at `wx.double` may look at this phone.
function withPhone(phone, work) {
  global.wx = phone
  try {
    return work()
  } finally {
    delete global.wx
  }
}

async function account() {
  const credentials = { username: `maud-${process.pid}-${Math.random().toString(36).slice(2)}`, password: PASSWORD }
  await ask(`${SERVICE}/register`, credentials)
  return credentials
}

const only = (phone, ...names) => Object.fromEntries(names.map((name) => [name, phone[name]]))
const STORAGE = ['getStorageSync', 'setStorageSync']

// uni and Taro return a promise too, which is rejected beside the callback.
const promising = (phone) => ({
  ...only(phone, 'login', ...STORAGE),
  request: (options) =>
    new Promise((resolve, reject) =>
      phone.request({
        ...options,
        success: (result) => (options.success(result), resolve(result)),
        fail: (error) => (options.fail(error), reject(error)),
      }),
    ),
})

// What Alipay's documents say of `my`: other names, and a failure for any status but 2xx and for what is not JSON.
const alipayOf = (phone) => ({
  getAuthCode() {},
  getStorageSync: ({ key }) => ({ data: phone.storageOf(key), success: true }),
  setStorageSync: ({ key, data }) => {
    if (phone.storageFull) return phone.storageFull
    phone.setStorageSync(key, data)
    return { success: true }
  },
  request: ({ headers, dataType = 'json', success, fail, ...options }) =>
    phone.request({
      ...{ ...options, header: headers, dataType: 'text' },
      fail: ({ errMsg }) => fail({ error: 12, errorMessage: errMsg }),
      success: ({ statusCode: status, header, data }) => {
        if (status >= 300) return fail({ error: 19, errorMessage: 'http status error', status, headers: header, data })
        if (dataType === 'text') return success({ status, headers: header, data })
        try {
          return success({ status, headers: header, data: JSON.parse(data) })
        } catch {
          return fail({ error: 14, errorMessage: 'JSON parse data error' })
        }
      },
    }),
  uploadFile: ({ fileName, header, success, fail, ...options }) =>
    phone.uploadFile({
      ...{ ...options, name: fileName, header, fail },
      success: ({ statusCode, data }) => success({ statusCode: String(statusCode), data, header: {} }),
    }),
})

test('uni takes the place of wx, and its rejected promises are nobody\'s unhandled ones', async (t) => {
  const unhandled = t.mock.fn()
  process.on('unhandledRejection', unhandled)
  const { phone, open, inspect } = elsewhere(promising)
  const wxs = open()
  await Promise.all(Array.from({ length: MANY }, () => wxs.request({ url: '/user' })))
  inspect(() => assert.deepEqual([phone.double.logins, sent('/login').length], [1, 1]))
  phone.double.onRequest = () => ({ fail: { errMsg: 'request:fail' } })
  assert.equal((await refused(wxs.request({ url: '/user' }))).code, 'network_error')
  await new Promise(setImmediate)
  process.off('unhandledRejection', unhandled)
  assert.equal(unhandled.mock.callCount(), 0)
})

test('methods keep what they belong to', async () => {
  const { open } = elsewhere((phone) => {
    class Platform {
      login(options) {
        assert.ok(this instanceof Platform)
        phone.login(options)
      }
    }
    return Object.assign(new Platform(), only(phone, 'request', ...STORAGE))
  })
  assert.ok((await open().login()).id)
})

for (const [what, options, methods] of [
  ['there is no login', {}, ['request', ...STORAGE]],
  ['the login is not of WeChat', { silentLogin: false }, ['login', 'request', ...STORAGE]],
]) {
  const anonymous = () => elsewhere((phone) => only(phone, ...methods))

  test(`where ${what}, users log in with a password`, async () => {
    const { phone, open, inspect } = anonymous()
    const told = []
    const wxs = open({ ...options, onUnauthorized: ({ code }) => told.push(code) })
    const error = await refused(wxs.request({ url: '/user' }))
    assert.deepEqual([error.code, error.detail], ['credentials_required', 'log in with a password'])
    assert.equal((await refused(wxs.login())).code, 'credentials_required')
    assert.deepEqual([phone.double.requests.length, told], [0, ['credentials_required']])
    const credentials = await account()
    assert.equal((await wxs.login(credentials)).username, credentials.username)
    await Promise.all(Array.from({ length: MANY }, () => wxs.request({ url: '/user' })))
    inspect(() => assert.deepEqual([sent('/login').length, sent('/user').length], [1, MANY]))
    assert.deepEqual([phone.double.logins, wxs.user.username], [0, credentials.username])
  })

  test(`where ${what}, an ended session is told, and the next login works`, async () => {
    const { phone, open, inspect } = anonymous()
    const told = []
    const wxs = open({ ...options, onUnauthorized: ({ code }) => told.push(code) })
    const credentials = await account()
    await wxs.login(credentials)
    await end(inspect(() => stored().token))
    for (const error of await Promise.all([1, 2, 3].map(() => refused(wxs.request({ url: '/user' }))))) {
      assert.equal(error.code, 'credentials_required')
    }
    assert.deepEqual(told, ['credentials_required'])
    await wxs.login(credentials)
    assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
    assert.equal(phone.double.logins, 0)
  })

  test(`where ${what}, whoever registers is logged in`, async () => {
    const { open, inspect } = anonymous()
    const wxs = open(options)
    const username = `nina-${process.pid}-${Math.random().toString(36).slice(2)}`
    const user = await wxs.register({ username, password: PASSWORD })
    assert.deepEqual([user.username, user.new, wxs.user], [username, true, user])
    assert.equal((await wxs.check()).active, true)
    await wxs.refresh()
    assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
    inspect(() => assert.deepEqual(tokens('/register'), [undefined]))
  })

  test(`where ${what}, what needs a recent login says so`, async () => {
    const { phone, open } = anonymous()
    const wxs = open(options)
    await wxs.login(await account())
    phone.double.onRequest = ({ url }) =>
      url.endsWith('/unbind') ? { answer: { statusCode: 403, data: { code: 'reauthentication_required' } } } : undefined
    assert.equal((await refused(wxs.unbind())).code, 'reauthentication_required')
  })
}

test('a session at its absolute end is used to its end where there is no silent login', async () => {
  const { open } = elsewhere((phone) => only(phone, 'request', ...STORAGE))
  const wxs = open({ baseUrl: CAPPED })
  await wxs.login(await account())
  await pause(3200)
  assert.ok((await wxs.refresh()).id)
})

test('my logs in, requests, uploads and logs out through its adapter', async () => {
  const { phone, open, inspect } = onAlipay()
  phone.double.files.set('https://resource/1.image', Buffer.from('a picture'))
  const wxs = open()
  assert.equal((await refused(wxs.request({ url: '/user' }))).code, 'credentials_required')
  const credentials = await account()
  await wxs.login(credentials)
  assert.equal((await wxs.request({ url: '/user' })).data.username, credentials.username)
  const missing = await wxs.request({ url: '/nothing-here' })
  assert.deepEqual([missing.statusCode, missing.data.code], [404, 'not_found'])
  assert.equal((await wxs.request({ url: '/user', dataType: 'text' })).data[0], '{')
  const picture = { url: '/user', filePath: 'https://resource/1.image', name: 'file' }
  assert.equal((await wxs.uploadFile(picture)).statusCode, 415) // our server takes no files
  await end(inspect(() => stored().token))
  assert.equal((await refused(wxs.request({ url: '/user' }))).code, 'credentials_required')
  await wxs.login(credentials)
  phone.double.onRequest = () => ({ fail: { errMsg: 'no network' } })
  const error = await refused(wxs.request({ url: '/user' }))
  assert.deepEqual([error.code, error.errMsg, error.errno], ['network_error', 'request:fail no network', 12])
  phone.double.onRequest = null
  await wxs.logout() // answered without a body
  assert.equal(wxs.user, null)
})

const FULL = { error: 12, errorMessage: 'storage is full' }

for (const [where, answer] of [['on Android', { success: false, ...FULL }], ['on iOS', FULL]]) {
  test(`a storage of my that is full is told ${where}, and what is stored stays`, async () => {
    const { phone, open, inspect } = onAlipay()
    const wxs = open()
    const credentials = await account()
    await wxs.login(credentials)
    const before = structuredClone(inspect(stored))
    phone.storageFull = answer
    for (const call of [() => wxs.check(), () => wxs.logout(), () => wxs.login(credentials)]) {
      const error = await refused(call())
      assert.equal(error.code, 'storage_failed')
      assert.match(error.errMsg, /setStorageSync:fail storage is full$/)
    }
    assert.deepEqual(inspect(stored), before)
    phone.storageFull = null
    await wxs.login(credentials)
    assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
  })
}

test('an adapter that lacks a method is refused by name at once, and nothing is kept of it', async () => {
  const phone = newPhone()
  const { createSession, WxSessionError } = load()
  const whole = only(phone, 'login', 'request', ...STORAGE)
  for (const name of ['request', ...STORAGE]) {
    const adapter = { ...whole, [name]: undefined }
    assert.throws(() => createSession({ baseUrl: SERVICE, adapter }), (error) => {
      assert.equal(error.message, `not_supported: pass an adapter that has ${name}`)
      return error instanceof WxSessionError
    })
  }
  const wxs = createSession({ baseUrl: SERVICE, adapter: whole })
  assert.ok((await wxs.login()).id)
  for (const name of ['uploadFile', 'downloadFile', 'connectSocket']) {
    const error = await refused(wxs[name]({ url: '/' }))
    assert.equal(error.message, `not_supported: pass an adapter that has ${name}`)
  }
  assert.equal((await wxs.request({ url: '/user' })).statusCode, 200)
})

test('my without its adapter is refused with the cure', () => {
  const { createSession } = load()
  const adapter = { request() {}, getStorageSync() {}, setStorageSync() {}, getAuthCode() {} }
  assert.throws(() => createSession({ baseUrl: SERVICE, adapter }), /invalid_options: .*alipay\(my\)/)
})

test('without wx and without an adapter the first use says what is missing', async () => {
  delete global.wx
  const wxs = load().createSession({ baseUrl: SERVICE })
  const error = await refused(wxs.request({ url: '/user' }))
  assert.equal(error.message, 'not_supported: pass an adapter that has getStorageSync')
})

test('the core alone keeps a session', async () => {
  newPhone()
  const core = require(path.resolve(__dirname, '../../../miniprogram/lib/core'))
  const wxs = core.createSession({ baseUrl: SERVICE, storageKey: 'core' })
  const answers = await Promise.all(Array.from({ length: MANY }, () => wxs.request({ url: '/user' })))
  assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
  assert.equal(wx.double.logins, 1)
  assert.equal(wxs.uploadFile, undefined)
})
