'use strict'

// What uni-app and Taro make of the examples, run: BUILT is the folder that the tool chain wrote, KIND which of
// them it is, TOOLS where the packages are.

const { after, before, test } = require('node:test')
const assert = require('node:assert/strict')
const { launch } = require('./launch')
const { openFiles } = require('../session/files')
const { ask, eventually } = require('../session/support')

const { SERVICE, KIND, FILES_PORT } = process.env
const MANY = 200
const credentials = { username: `${KIND}-${process.pid}`, password: 'a long password of a test' }

let app
let files
before(async () => {
  files = await openFiles(Number(FILES_PORT))
  await ask(`${SERVICE}/register`, credentials)
  app = await launch(KIND)
})
after(() => {
  files.close()
  app.close()
})

// Where there is no silent login, somebody types a password.
const logIn = () => (app.isSilent ? app.wxs.login() : app.wxs.login(credentials))
const logins = () => app.sent('/login').length
const endSession = () => ask(`${SERVICE}/logout`, { token: app.stored().token })

test('it logs in and requests', async () => {
  if (!app.isSilent) await assert.rejects(app.wxs.request({ url: '/user' }), { code: 'credentials_required' })
  if (!app.isSilent) await logIn()
  const { statusCode, data } = await app.wxs.request({ url: '/user' })
  assert.deepEqual([statusCode, data.id, data.username], [200, app.wxs.user.id, app.isSilent ? null : credentials.username])
  assert.equal(logins(), 1)
})

test('its page shows the user', { skip: KIND !== 'h5' && 'only a browser renders it here' }, async () => {
  await eventually(() => app.text('user') === credentials.username)
})

test(`${MANY} requests at once share one login after the session has expired`, async () => {
  app.store({ expiresAt: Date.now() - 1 })
  const before = logins()
  if (!app.isSilent) await logIn()
  const answers = await Promise.all(Array.from({ length: MANY }, () => app.wxs.request({ url: '/user', loading: false })))
  assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
  assert.equal(logins() - before, 1)
})

test(`${MANY} requests at once share one login after the session has ended elsewhere`, async () => {
  await endSession()
  const before = logins()
  const asked = Array.from({ length: MANY }, () => app.wxs.request({ url: '/user', loading: false }))
  const outcomes = await Promise.allSettled(asked)
  if (app.isSilent) {
    assert.deepEqual(new Set(outcomes.map(({ value }) => value?.statusCode)), new Set([200]))
  } else {
    assert.deepEqual(new Set(outcomes.map(({ reason }) => reason?.code)), new Set(['credentials_required']))
    await Promise.all([logIn(), ...Array.from({ length: MANY }, () => app.wxs.request({ url: '/user' }))])
  }
  assert.equal(logins() - before, 1)
})

test('it uploads with the token, also after the session has ended elsewhere', async () => {
  await endSession()
  if (!app.isSilent) {
    await assert.rejects(app.wxs.uploadFile(app.picture(`${files.url}/pictures`)), { code: 'credentials_required' })
    await logIn()
  }
  const { statusCode, data } = await app.wxs.uploadFile(app.picture(`${files.url}/pictures`))
  assert.equal(statusCode, 200, data)
  assert.equal(JSON.parse(data).url, 'https://cdn.example.com/1')
  assert.equal(files.received.at(-1).content, 'a picture')
})

test('a request of the network that fails is refused, and nobody is logged out', async () => {
  const { token } = app.stored()
  await assert.rejects(app.wxs.request({ url: 'http://127.0.0.1:9/' }), { code: 'foreign_url' })
  assert.equal((await app.wxs.request({ url: '/nothing-here' })).statusCode, 404)
  assert.equal(app.stored().token, token)
})

test('it logs out, and in again', async () => {
  await app.wxs.logout()
  assert.equal(app.wxs.user, null)
  await assert.rejects(app.wxs.request({ url: '/user' }), { code: 'logged_out' })
  await logIn()
  assert.equal((await app.wxs.request({ url: '/user' })).statusCode, 200)
})
