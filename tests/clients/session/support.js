'use strict'

// What the promises of our client are tested with: new phones, fresh modules, and the real server.
//
// SERVICE, SHORT_LIVED (idle sessions of 2 s), CAPPED (sessions of 5 s, idle ones of 4 s) and SIMULATOR are
// addresses.

const assert = require('node:assert/strict')
const path = require('node:path')
const { createWx } = require('../wx')

const { SERVICE, SHORT_LIVED, CAPPED, SIMULATOR, APPID } = process.env
const CLIENT = process.env.CLIENT ?? path.resolve(__dirname, '../../../miniprogram/lib')

let people = 0

// A phone of a person never seen before, unless one is named.
function newPhone(user = `person ${process.pid}-${(people += 1)}`) {
  global.wx = createWx({ simulator: SIMULATOR, user, appid: APPID })
  return global.wx
}

// The module as an app has it that was just started.
function load() {
  for (const name of Object.keys(require.cache)) if (name.startsWith(CLIENT)) delete require.cache[name]
  return require(CLIENT)
}

function open(options = {}) {
  return load().createSession({ baseUrl: SERVICE, ...options })
}

// The app is killed, and started again.
function restart(options) {
  global.wx = global.wx.double.restart()
  return open(options)
}

const keyOf = (baseUrl = SERVICE) => `wxsession:${baseUrl}/`
const stored = (baseUrl) => wx.double.storage.get(keyOf(baseUrl))
const store = (changes, baseUrl) =>
  wx.double.storage.set(keyOf(baseUrl), { ...wx.double.storage.get(keyOf(baseUrl)), ...changes })
const sent = (end) => wx.double.requests.filter((request) => request.url.endsWith(end))
const tokens = (end) => sent(end).map(({ header }) => header.Authorization?.replace('Bearer ', ''))

async function ask(url, { token, ...content } = {}, method = 'POST') {
  const headers = { 'Content-Type': 'application/json', ...(token ? { Authorization: `Bearer ${token}` } : {}) }
  const answer = await fetch(url, { method, headers, body: method === 'GET' ? undefined : JSON.stringify(content) })
  const text = await answer.text()
  return { status: answer.status, ...(text ? JSON.parse(text) : {}) }
}

const check = (token) => ask(`${SERVICE}/check_session`, { token }, 'GET')
const end = (token) => ask(`${SERVICE}/logout`, { token })
const weChat = (path, content) => ask(`${SIMULATOR}/simulator/${path}`, content)

// Return what a promise is rejected with: always an error of ours, and never with a secret in its message.
async function refused(promise) {
  const error = await promise.then(
    (value) => assert.fail(`it was to be refused: ${JSON.stringify(value)}`),
    (reason) => reason,
  )
  assert.equal(error.name, 'WxSessionError', error.stack)
  assert.ok(error instanceof Error)
  assert.equal(typeof error.code, 'string')
  assert.match(error.message, /^[a-z_]+( \(HTTP \d+\))?(: [\w ,:()/-]+)?$/)
  return error
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function eventually(holds) {
  for (let n = 0; n < 400; n += 1) {
    if (await holds()) return
    await pause(10)
  }
  assert.fail(`it never came to hold: ${holds}`)
}

// What the next call of this path is answered, in place of the server's own answer; the later ones reach it.
function answerOnce(end, statusCode, data, header = {}) {
  let done = false
  wx.double.onRequest = ({ url }) => {
    if (done || !url.endsWith(end)) return undefined
    done = true
    return { answer: { statusCode, data, header } }
  }
}

// A number of the hook: what to do with each call of this path.
function onRequest(end, outcome) {
  wx.double.onRequest = (request) => (request.url.endsWith(end) ? outcome(request) : undefined)
}

module.exports = {
  ...{ SERVICE, SHORT_LIVED, CAPPED, SIMULATOR, APPID },
  ...{ newPhone, load, open, restart, stored, store, sent, tokens, ask, check, end, weChat, refused },
  ...{ pause, eventually, answerOnce, onRequest },
}
