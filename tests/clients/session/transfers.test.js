'use strict'

// Files and sockets with the session's token, and the door for those who have a wrapper of their own.

const { after, before, test } = require('node:test')
const assert = require('node:assert/strict')
const { SERVICE, newPhone, open, stored, store, sent, tokens, end } = require('./support')
const { refused, onRequest } = require('./support')
const { openFiles } = require('./files')

const MANY = 20

let files
before(async () => {
  files = await openFiles()
})
after(() => files.close())

// A phone with a picture, and a session with which it may go to that back end.
function phoneWithPicture(options = {}) {
  newPhone()
  wx.double.files.set('wxfile://picture.jpg', Buffer.from('a picture'))
  const wxs = open({ origins: [files.url], ...options })
  const picture = { url: `${files.url}/pictures`, filePath: 'wxfile://picture.jpg', name: 'file' }
  return { wxs, picture }
}

async function openSocket(wxs, options = {}) {
  const task = await wxs.connectSocket({ url: `${files.url.replace('http', 'ws')}/live`, ...options })
  const outcome = await new Promise((resolve) => {
    task.onOpen(() => resolve('open'))
    task.onError(({ errMsg }) => resolve(errMsg))
  })
  task.close()
  return outcome
}

test('a file is uploaded with the token, after a silent login', async () => {
  const { wxs, picture } = phoneWithPicture()
  const answer = await wxs.uploadFile({ ...picture, formData: { kind: 'avatar' } })
  assert.equal(answer.statusCode, 200)
  assert.deepEqual(JSON.parse(answer.data).fields, { kind: 'avatar' })
  assert.equal(files.received.at(-1).content, 'a picture')
  assert.deepEqual([wx.double.logins, tokens('/pictures')], [1, [stored().token]])
})

test('a file is downloaded with the token', async () => {
  const { wxs } = phoneWithPicture()
  const { statusCode, tempFilePath } = await wxs.downloadFile({ url: `${files.url}/receipt` })
  assert.equal(statusCode, 200)
  assert.equal(String(wx.double.files.get(tempFilePath)), 'paid')
})

test('files that find the session over are sent again, once, after one login', async () => {
  const { wxs, picture } = phoneWithPicture()
  await wxs.login()
  await end(stored().token)
  const work = () => [wxs.uploadFile(picture), wxs.downloadFile({ url: `${files.url}/receipt` })]
  const answers = await Promise.all(Array.from({ length: MANY / 2 }, work).flat())
  assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
  assert.equal(wx.double.logins, 2)
  assert.ok(sent('/pictures').length <= MANY)
})

test('an upload that fails half way is told, is not sent again, and changes nothing', async () => {
  const { wxs, picture } = phoneWithPicture()
  await wxs.login()
  const before = stored()
  onRequest('/pictures', () => ({ dropAnswer: true }))
  const error = await refused(wxs.uploadFile(picture))
  assert.equal(error.message, 'network_error: uploadFile failed, try again')
  assert.match(error.errMsg, /^uploadFile:fail/)
  assert.deepEqual([sent('/pictures').length, stored()], [1, before])
})

test('a file that is not there is told', async () => {
  const { wxs, picture } = phoneWithPicture()
  const error = await refused(wxs.uploadFile({ ...picture, filePath: 'wxfile://gone.jpg' }))
  assert.deepEqual([error.code, error.errMsg], ['network_error', 'uploadFile:fail file not found'])
})

test('files and sockets go to no other server', async () => {
  const { wxs, picture } = phoneWithPicture({ origins: [] })
  const asked = [
    wxs.uploadFile(picture),
    wxs.downloadFile({ url: 'https://elsewhere.example/receipt' }),
    wxs.connectSocket({ url: 'wss://elsewhere.example/live' }),
    wxs.connectSocket({ url: 'wss:elsewhere.example' }),
    wxs.header('https://elsewhere.example'),
  ]
  for (const each of asked) assert.equal((await refused(each)).code, 'foreign_url')
  assert.equal((await refused(wxs.header())).code, 'invalid_options')
  assert.deepEqual([wx.double.logins, wx.double.requests.length], [0, 0])
})

test('a socket is opened with the token, to an address relative to the server as well', async () => {
  const { wxs } = phoneWithPicture()
  assert.equal(await openSocket(wxs), 'open')
  assert.deepEqual(tokens('/live'), [stored().token])
  await openSocket(wxs, { url: '/live', header: { 'x-mine': 1 } })
  const { url, header } = sent('/live').at(-1)
  assert.equal(url, `${SERVICE.replace('http', 'ws')}/live`)
  assert.equal(header['x-mine'], '1')
})

test('a socket is opened with a good token even if the session was ended elsewhere', async () => {
  const { wxs } = phoneWithPicture()
  await wxs.login()
  await end(stored().token)
  assert.equal(await openSocket(wxs), 'open')
  assert.equal(wx.double.logins, 2)
})

test('a socket is tried if the server cannot be asked, and its failure is its own', async () => {
  const { wxs } = phoneWithPicture()
  await wxs.login()
  onRequest('/check_session', () => ({ fail: { errMsg: 'request:fail' } }))
  assert.equal(await openSocket(wxs), 'open')
  wx.connectSocket = ({ fail }) => fail({ errMsg: 'connectSocket:fail too many' })
  const error = await refused(wxs.connectSocket({ url: '/live' }))
  assert.deepEqual([error.code, error.errMsg], ['network_error', 'connectSocket:fail too many'])
})

test('each sending of a request hands out its task', async () => {
  const { wxs, picture } = phoneWithPicture()
  await wxs.login()
  await end(stored().token)
  const handed = []
  await wxs.uploadFile({ ...picture, onTask: (task) => handed.push(typeof task.onProgressUpdate) })
  assert.deepEqual(handed, ['function', 'function'])
  const error = await refused(wxs.request({ url: '/user', onTask: (task) => task.abort() }))
  assert.match(error.errMsg, /abort/)
})

// A wrapper that an application has already: it sends, and asks us for the header and about the answer.
async function wrapped(wxs, options, again = true) {
  const header = await wxs.header(options.url)
  const answer = await new Promise((success, fail) => wx.request({ ...options, header, success, fail }))
  return again && (await wxs.isSessionOver(answer, header)) ? wrapped(wxs, options, false) : answer
}

const SHAPES = [undefined, '<html>401 Authorization Required</html>', { active: false }]

for (const shape of SHAPES) {
  test(`a wrapper finds out that the session is over from ${JSON.stringify(shape) ?? 'our answer'}`, async () => {
    const { wxs } = phoneWithPicture()
    await wxs.login()
    const first = stored().token
    if (shape) {
      onRequest('/user', ({ header }) =>
        header.Authorization.endsWith(first) ? { answer: { statusCode: 401, data: shape } } : undefined,
      )
    }
    await end(first)
    const ask = () => wrapped(wxs, { url: `${SERVICE}/user` })
    const answers = await Promise.all(Array.from({ length: MANY }, ask))
    assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
    assert.deepEqual([wx.double.logins, sent('/check_session').length], [2, shape ? 1 : 0])
  })
}

test('what is not about the session is no reason to log in', async () => {
  const { wxs } = phoneWithPicture()
  const header = await wxs.header(SERVICE)
  const others = [
    ...[{ statusCode: 200, data: { code: 'session_ended' } }, { statusCode: 500, data: '' }],
    ...[{ statusCode: 401, data: { code: 'bad_credentials' } }, { statusCode: 401, data: 'my own 401' }],
  ]
  for (const answer of others) assert.equal(await wxs.isSessionOver(answer, header), false)
  assert.deepEqual([wx.double.logins, stored().token], [1, header.Authorization.slice(7)])
})

test('an answer that comes without its header never costs a good session', async () => {
  const { wxs } = phoneWithPicture()
  await wxs.login()
  const late = { statusCode: 401, data: { code: 'session_ended' } } // to a token of before this login
  const { token } = stored()
  assert.equal(await wxs.isSessionOver(late), true)
  assert.equal(stored().token, token)
  await end(token)
  assert.equal(await wxs.isSessionOver(late), true)
  assert.equal(stored().token, null)
  assert.equal(await wxs.isSessionOver(late), true)
})

for (const reads of [0, 1, 2, 3]) {
  test(`a 401 without its header is about a session that is gone after ${reads} looks at the storage`, async () => {
    const { wxs } = phoneWithPicture()
    await wxs.login()
    const read = wx.getStorageSync
    let left = reads
    wx.getStorageSync = (key) => {
      if (left === 0) store({ token: null }) // by an answer to another request, or another copy of the app
      left -= 1
      return read(key)
    }
    assert.equal(await wxs.isSessionOver({ statusCode: 401, data: '<html>' }), true)
    assert.ok((await wxs.header(SERVICE)).Authorization)
  })
}

test('what is not about the session is not, where there is none', async () => {
  const { wxs } = phoneWithPicture()
  const others = [{ statusCode: 200, data: '' }, { statusCode: 401, data: { code: 'bad_credentials' } }]
  for (const answer of others) assert.equal(await wxs.isSessionOver(answer), false)
})

test('a header is renewed when it is due', async () => {
  const { wxs } = phoneWithPicture()
  await wxs.header(SERVICE)
  const first = stored().token
  store({ expiresAt: Date.now() - 1 })
  const { Authorization } = await wxs.header('/orders')
  assert.notEqual(Authorization, `Bearer ${first}`)
  assert.equal(Authorization, `Bearer ${stored().token}`)
})
