'use strict'

// The `wx` of a phone, for Node: real requests to real servers, WeChat's part played by the simulator.
//
//   const wx = createWx({ simulator: 'http://127.0.0.1:8001', user: 'alice', appid: 'wx…' })
//
// `wx` is what an app sees; `wx.double` is for tests:
//
//   logins                 how often wx.login was called
//   requests               each {method, url, header, data, statusCode, dropped}, in the order of sending
//   storage                the Map behind wx.setStorageSync
//   sessionKeyExpired      wx.checkSession fails, until the next wx.login
//   files                  the Map of what is in the files of the phone: path to Buffer
//   userInfoDenied         the user refuses wx.getUserInfo and wx.getUserProfile
//   legacyUserInfo         wx.getUserInfo as in 2016: `encryptData`, no `iv`
//   storageThrows          null, 'get', 'set' or 'both'
//   onLogin, onRequest     called with {user, appid}, or with the entry of `requests`, before it is sent; what
//                          they return, or resolve to, decides what becomes of the call:
//                            undefined                   nothing out of the ordinary
//                            {fail: {errMsg, errno}}     it fails so, and is never sent
//                            {answer: {…}}               it is answered so, and is never sent
//                            {dropRequest: true}         it is lost on the way there
//                            {dropAnswer: true}          it arrives, its answer is lost
//                            {twice: true}               it calls back twice
//                            {never: true}               it is sent, and never calls back
//   restart()              the app is killed and started again: a new wx over the same storage, with
//                          controls of its own; nothing of the killed one calls back or is stored any more

const http = require('node:http')
const https = require('node:https')

const PHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)' +
  ' Mobile/15E148 MicroMessenger/8.0.49(0x18003130) NetType/WIFI Language/zh_CN'
const MOST_UNDER_WAY = 10
const PATIENCE = 60000
const PLAIN_ANSWER = { statusCode: 200, header: {}, cookies: [], errMsg: 'request:ok' }
const METHODS = ['OPTIONS', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'TRACE', 'CONNECT'] // and no PATCH

function createWx(device) {
  const { simulator, user, appid, userAgent = PHONE, storage = new Map(), files = new Map() } = device
  const queue = []
  let underWay = 0
  let alive = true

  const double = {
    logins: 0,
    requests: [],
    storage,
    files,
    sessionKeyExpired: false,
    userInfoDenied: false,
    legacyUserInfo: false,
    storageThrows: null,
    onLogin: null,
    onRequest: null,
    restart() {
      alive = false
      return createWx({ ...device, storage, files })
    },
  }

  // Always later, never within the call: so does a device, and an app may count on it unknowingly.
  function callBack(options, { answer, fail, times = 1 }) {
    const once = () => {
      if (!alive) return
      try {
        if (fail) options.fail?.(fail)
        else options.success?.(answer)
      } finally {
        options.complete?.(fail ?? answer)
      }
    }
    for (let n = 0; n < times; n += 1) setImmediate(once)
  }

  // The newer calls return a promise to those who bring no callback.
  function answering(options = {}, outcome) {
    if (options.success || options.fail || options.complete) {
      outcome.then((known) => callBack(options, known))
      return undefined
    }
    return new Promise((resolve, reject) => {
      outcome.then((known) => callBack({ success: resolve, fail: reject }, known))
    })
  }

  async function subjectTo(hook, seen, name, work) {
    const outcome = (await hook?.(seen)) ?? {}
    const times = outcome.never ? 0 : outcome.twice ? 2 : 1
    const lost = outcome.dropRequest ? 'request' : outcome.dropAnswer ? 'answer' : undefined
    const done = outcome.fail || outcome.answer ? outcome : lost === 'request' || !alive ? {} : await work()
    if (done.answer) seen.statusCode = done.answer.statusCode
    seen.dropped = lost
    return lost
      ? { fail: { errMsg: `${name}:fail interrupted`, errno: 600003 }, times }
      : { fail: done.fail, answer: done.answer, times }
  }

  async function askWeChat(name, path, body, timeout = PATIENCE) {
    const asked = { method: 'POST', url: simulator + path, body: JSON.stringify(body), timeout }
    try {
      const reply = JSON.parse((await send(asked)).text)
      return reply.error
        ? { fail: { errMsg: `${name}:fail ${reply.error}` } }
        : { answer: { ...reply, errMsg: `${name}:ok` } }
    } catch (error) {
      return { fail: failure(name, error) }
    }
  }

  async function userInfo(name, options = {}) {
    if (double.userInfoDenied) return { fail: { errMsg: `${name}:fail auth deny` } }
    const legacy = double.legacyUserInfo ? { legacy: true } : {}
    const known = await askWeChat(name, '/simulator/user_info', { user, appid, ...legacy })
    if (options.withCredentials === false && known.answer) {
      for (const secret of ['encryptedData', 'encryptData', 'iv']) delete known.answer[secret]
    }
    return known
  }

  // An eleventh request waits for one of the ten to be answered.
  function advance() {
    while (alive && underWay < MOST_UNDER_WAY && queue.length > 0) {
      underWay += 1
      const start = queue.shift()
      start().finally(() => {
        underWay -= 1
        advance()
      })
    }
  }

  // A transfer of a file counts as a request: what is seen of it, and what a hook does to it, is the same.
  async function deliverFile(name, options, signal, method, exchange) {
    const header = headerOf(options.header, appid, userAgent)
    const seen = { method, url: options.url, header, data: options.formData, statusCode: undefined, dropped: undefined }
    double.requests.push(seen)
    const outcome = await subjectTo(double.onRequest, seen, name, async () => {
      try {
        return { answer: await exchange({ ...header }) }
      } catch (error) {
        return { fail: failure(name, error) }
      }
    })
    if (outcome.answer) outcome.answer = { statusCode: 200, errMsg: `${name}:ok`, ...outcome.answer }
    callBack(options, signal.aborted ? { fail: { errMsg: `${name}:fail abort` } } : outcome)
  }

  function fileTask(name, options, method, exchange) {
    const stop = new AbortController()
    deliverFile(name, options, stop.signal, method, (header) => exchange(header, stop.signal))
    return { abort: () => stop.abort(), onProgressUpdate() {}, offProgressUpdate() {} }
  }

  async function upload({ url, filePath, name, formData, timeout }, header, signal) {
    if (!files.has(filePath)) throw new Error('file not found')
    const form = new FormData()
    for (const [field, value] of Object.entries(formData ?? {})) form.append(field, String(value))
    form.append(name, new Blob([files.get(filePath)]), filePath.split('/').at(-1))
    const encodedForm = new Response(form)
    header['content-type'] = encodedForm.headers.get('content-type')
    const body = Buffer.from(await encodedForm.arrayBuffer())
    const { statusCode, text } = await send({ method: 'POST', url, header, body, timeout, signal })
    return { statusCode, data: text } // as text, whatever its type
  }

  async function download({ url, timeout }, header, signal) {
    const { statusCode, bytes } = await send({ method: 'GET', url, header, timeout, signal })
    const tempFilePath = `http://tmp/${files.size}`
    files.set(tempFilePath, bytes)
    return { statusCode, tempFilePath } // whatever the status: then it is the text of the error
  }

  async function deliver(options, signal) {
    const method = (options.method ?? 'GET').toUpperCase()
    const header = headerOf(options.header, appid, userAgent)
    const asked = { method, url: options.url, header, data: options.data }
    const seen = { ...asked, statusCode: undefined, dropped: undefined }
    double.requests.push(seen)
    const outcome = await subjectTo(double.onRequest, seen, 'request', async () => {
      if (!METHODS.includes(method)) return { fail: { errMsg: `request:fail invalid method ${method}` } }
      const { url, body } = encoded(method, options.url, options.data, header)
      try {
        const sent = { method, url, header, body, timeout: options.timeout, signal }
        const { text, bytes, ...answer } = await send(sent)
        return { answer: { ...answer, data: (options.dataType ?? 'json') === 'json' ? parsed(text) : text } }
      } catch (error) {
        return { fail: failure('request', error) }
      }
    })
    if (outcome.answer) outcome.answer = { ...PLAIN_ANSWER, ...outcome.answer }
    callBack(options, signal.aborted ? { fail: { errMsg: 'request:fail abort' } } : outcome)
  }

  function store(action, name, work) {
    if ([action, 'both'].includes(double.storageThrows)) throw new Error(`${name}:fail`)
    return action === 'set' && !alive ? undefined : work()
  }

  const wx = {
    double,

    login(options = {}) {
      double.logins += 1
      const body = { user, appid }
      const work = () => askWeChat('login', '/simulator/login', body, options.timeout)
      subjectTo(double.onLogin, { ...body }, 'login', work).then((known) => {
        if (known.answer) {
          known.answer = { errMsg: 'login:ok', ...known.answer }
          double.sessionKeyExpired = false // a login renews the session key
        }
        callBack(options, known)
      })
    },

    checkSession: (options) =>
      answering(
        options,
        Promise.resolve(
          double.sessionKeyExpired
            ? { fail: { errMsg: 'checkSession:fail session time out, need relogin' } }
            : { answer: { errMsg: 'checkSession:ok' } },
        ),
      ),

    getUserInfo: (options) => answering(options, userInfo('getUserInfo', options)),
    getUserProfile: (options) => answering(options, userInfo('getUserProfile', options)),

    request(options) {
      const stop = new AbortController()
      queue.push(() => deliver(options, stop.signal))
      advance()
      return { abort: () => stop.abort(), onHeadersReceived() {}, offHeadersReceived() {} }
    },

    uploadFile: (options) =>
      fileTask('uploadFile', options, 'POST', (header, signal) => upload(options, header, signal)),

    downloadFile: (options) =>
      fileTask('downloadFile', options, 'GET', (header, signal) => download(options, header, signal)),

    // The handshake, and nothing of the frames.
    connectSocket(options) {
      const listeners = { Open: [], Close: [], Error: [], Message: [] }
      const tell = (what, result) => listeners[what].forEach((listener) => listener(result))
      const header = headerOf(options.header, appid, userAgent)
      double.requests.push({ method: 'SOCKET', url: options.url, header })
      const secret = { 'Sec-WebSocket-Key': 'd3hzZXNzaW9uLXBob25lMQ==', 'Sec-WebSocket-Version': 13 }
      const outgoing = http.request(options.url.replace(/^ws/, 'http'), {
        headers: { ...header, ...secret, Connection: 'Upgrade', Upgrade: 'websocket' },
        agent: false,
      })
      let socket
      outgoing.on('upgrade', (incoming, opened) => {
        socket = opened
        opened.on('close', () => tell('Close', { code: 1006 }))
        tell('Open', { header: namedAsSent(incoming.rawHeaders) })
      })
      const refused = (errMsg) => {
        tell('Error', { errMsg })
        tell('Close', { code: 1006 })
      }
      outgoing.on('response', ({ statusCode }) => refused(`Unexpected server response: ${statusCode}`))
      outgoing.on('error', ({ code }) => refused(String(code)))
      outgoing.end()
      setImmediate(() => options.success?.({ errMsg: 'connectSocket:ok' }))
      const on = (what) => (listener) => void listeners[what].push(listener)
      return {
        ...{ onOpen: on('Open'), onClose: on('Close'), onError: on('Error'), onMessage: on('Message') },
        close: () => (socket ?? outgoing).destroy(),
        send() {},
      }
    },

    getAccountInfoSync: () => ({ miniProgram: { appId: appid, envVersion: 'develop', version: '' } }),

    // Values are copied on their way in and out: what an app changes later is not in the storage.
    getStorageSync: (key) =>
      store('get', 'getStorageSync', () => (storage.has(key) ? structuredClone(storage.get(key)) : '')),
    setStorageSync: (key, data) =>
      store('set', 'setStorageSync', () => void storage.set(key, structuredClone(data))),
    removeStorageSync: (key) => store('set', 'removeStorageSync', () => void storage.delete(key)),

    getStorage: (options) =>
      stored('getStorage', options, () => {
        const data = wx.getStorageSync(options.key)
        if (!storage.has(options.key)) throw new Error('getStorage:fail data not found')
        return { data }
      }),
    setStorage: (options) => stored('setStorage', options, () => wx.setStorageSync(options.key, options.data)),
    removeStorage: (options) => stored('removeStorage', options, () => wx.removeStorageSync(options.key)),
  }

  function stored(name, options, work) {
    const outcome = new Promise((resolve) => resolve({ answer: { ...work(), errMsg: `${name}:ok` } }))
    return answering(options, outcome.catch((error) => ({ fail: { errMsg: error.message } })))
  }

  // The old packages register for web sockets when they are loaded.
  for (const name of ['sendSocketMessage', 'closeSocket']) wx[name] = () => {}
  for (const what of ['Open', 'Close', 'Message', 'Error']) wx[`onSocket${what}`] = () => {}

  return wx
}

// The Referer is WeChat's and cannot be set; a value that is undefined is not sent.
function headerOf(given, appid, userAgent) {
  const sent = ([name, value]) => value !== undefined && !/^referer$/i.test(name)
  const wanted = Object.entries(given ?? {}).filter(sent)
  const typed = wanted.some(([name]) => /^content-type$/i.test(name))
  return {
    'User-Agent': userAgent,
    ...(typed ? {} : { 'content-type': 'application/json' }), // on GET as well
    ...Object.fromEntries(wanted.map(([name, value]) => [name, String(value)])),
    Referer: `https://servicewechat.com/${appid}/0/page-frame.html`,
  }
}

function encoded(method, url, data, header) {
  if (data === undefined || data === null) return { url }
  const form = (values) =>
    Object.entries(values)
      .map(([name, value]) => [name, typeof value === 'object' ? JSON.stringify(value) : value])
      .map((pair) => pair.map(encodeURIComponent).join('='))
      .join('&')
  if (method === 'GET' || method === 'HEAD') {
    const query = typeof data === 'string' ? data : form(data)
    return { url: query ? `${url}${url.includes('?') ? '&' : '?'}${query}` : url }
  }
  if (typeof data === 'string') return { url, body: data }
  const type = Object.entries(header).find(([name]) => /^content-type$/i.test(name))[1]
  return { url, body: type.includes('x-www-form-urlencoded') ? form(data) : JSON.stringify(data) }
}

function send({ method, url, header = {}, body, timeout = PATIENCE, signal }) {
  return new Promise((resolve, reject) => {
    // A connection for each request: a kept one may be closed by the server just when it is used.
    const { request } = url.startsWith('https:') ? https : http
    // Node does not say of itself how long the body of a DELETE is.
    const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
    const headers = { ...header, ...length }
    const outgoing = request(url, { method, headers, agent: false, signal }, (incoming) => {
      const parts = []
      incoming.on('data', (part) => parts.push(part))
      incoming.on('error', reject)
      incoming.on('end', () =>
        resolve({
          bytes: Buffer.concat(parts),
          statusCode: incoming.statusCode,
          header: namedAsSent(incoming.rawHeaders),
          cookies: incoming.headers['set-cookie'] ?? [],
          text: new TextDecoder().decode(Buffer.concat(parts)), // which drops one BOM
        }),
      )
    })
    const timer = setTimeout(() => outgoing.destroy(new Error('timeout')), timeout)
    outgoing.on('error', reject)
    outgoing.on('close', () => clearTimeout(timer))
    outgoing.end(body)
  })
}

function namedAsSent(raw) {
  const header = {}
  for (let n = 0; n < raw.length; n += 2) {
    header[raw[n]] = raw[n] in header ? `${header[raw[n]]},${raw[n + 1]}` : raw[n + 1]
  }
  return header
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function failure(name, error) {
  return error.message === 'timeout'
    ? { errMsg: `${name}:fail timeout`, errno: 5 }
    : { errMsg: `${name}:fail ${error.code ?? error.message}`, errno: 600001 }
}

module.exports = { createWx }
