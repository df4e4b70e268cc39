'use strict'

// One of the six old packages, unmodified, against the service: node conformance/wafer.js <package>

const { called, pause, phone, see, server, tell, use, wechat } = require('./story')
const { SERVICE, SHORT_LIVED, IDLE_SECONDS } = require('./story')

const PACKAGES = {
  'wafer2-client-sdk-2.1.0': { loginWithCode: true },
  // Sends its skey only with `login: true`, and then logs in before every request.
  'wafer2-client-sdk-2.0.0': { loginWithCode: true, logsInEachTime: true, request: { login: true } },
  // Throws in `request` when it has no session; it may also log in by data that the app has got itself.
  'wafer2-client-sdk-1.1.3': { reusesSession: true, needsSession: true, requestLogin: true },
  'wafer2-client-sdk-1.1.1': { storesSkeyAlone: true, hidesErrors: true },
  'wafer-client-sdk-0.8.4': { reusesSession: true },
  'qcloud-weapp-client-sdk-0.7.4': { reusesSession: true, legacyUserInfo: true },
}

const name = process.argv[2]
const its = PACKAGES[name]
const MAGIC = 'F2C224D4-2BCE-4C64-AF9F-A6D872000D1A'
const SLOT = `weapp_session_${MAGIC}`
const LOGIN = '/weapp/login'
const NONSENSE = 'AAAAAAAAAAAAAAAAAAAAAA==' // as long as encrypted data have to be

phone('nobody') // the packages look for `wx` while they are loaded
const sdk = require(name)
sdk.setLoginUrl(SERVICE + LOGIN)

function newPhone(who) {
  const wx = phone(who)
  wx.double.legacyUserInfo = Boolean(its.legacyUserInfo)
  return wx
}

const stored = () => wx.getStorageSync(SLOT)
const skey = () => (its.storesSkeyAlone ? stored() : stored().skey)
const sent = (path) => wx.double.requests.filter((request) => request.url.endsWith(path)).length
const login = (options) => called(sdk.login, options)
const request = (path, options) => called(sdk.request, { url: SERVICE + path, ...its.request, ...options })
const order = (options) => request('/orders', { method: 'POST', ...options })

// What login() tells its fail callback, as far as the package passes it on.
function seeFailure(sentence, failure, error) {
  const said = its.hidesErrors ? Boolean(failure) : /ERR_\w+/.exec(failure?.message)?.[0]
  see(`${sentence}: login() calls fail with ${error}`, said, its.hidesErrors || error)
  const passedOn = /errcode|errmsg|rid:/i.test(JSON.stringify([failure, failure?.message]))
  see("without a word of WeChat's own answer", passedOn, false)
  see('and stores nothing', stored(), '')
}

// The session in the phone is ended on the server before the next request arrives there. A package that
// logs in before each request would not notice otherwise.
function endSessionBeforeNextOrder() {
  wx.double.onRequest = async ({ url, header }) => {
    if (!url.endsWith('/orders')) return
    wx.double.onRequest = null
    await server.end(header['X-WX-Skey'])
  }
}

async function loggedIn(who) {
  newPhone(who)
  const { failure } = await login()
  if (failure) throw new Error(`cannot log in: ${failure.message}`)
  return wx
}

async function theSession() {
  await wechat.setProfile('alice', { nickName: 'Alice' })
  newPhone('alice')
  const { success } = await login()
  see('login() gives the profile that WeChat knows', success?.nickName, 'Alice')
  const session = await server.check(success && skey())
  see('it stores a skey that is a live session', session?.active)
  const user = session.user.id

  const first = await order()
  see('a request arrives in the shop with that session', first.success?.data, { orders_of: user, placed: 1 })
  const shown = await request('/weapp/user')
  see('/weapp/user shows the profile', [shown.success?.data.code, shown.success?.data.data.nickName], [0, 'Alice'])

  const before = sent(LOGIN)
  await login()
  const more = its.reusesSession ? 'without a call, while wx.checkSession passes' : 'by one more call'
  see(`it logs in again ${more}`, sent(LOGIN) - before, its.reusesSession ? 0 : 1)
  see('as the same user', (await server.check(skey())).user.id, user)

  use(wx.double.restart())
  const again = await order()
  see('the session outlives a restart of the app', again.success?.data, { orders_of: user, placed: 2 })
  see(...(its.logsInEachTime ? ['with one login', sent(LOGIN), 1] : ['without a login', sent(LOGIN), 0]))

  const broken = await request('/broken')
  see("the shop's own errors are not taken for the end of a session", broken.success?.statusCode, 500)
  see('and the session is still stored and alive', (await server.check(skey()))?.active)
}

async function codeAlone() {
  if (!its.loginWithCode) return
  newPhone('bob')
  const { success } = await called(sdk.loginWithCode)
  see('loginWithCode() of somebody never seen before succeeds, with an empty userinfo', success, {})
  see('and its session is alive', (await server.check(skey()))?.active)
  see('and opens the shop', (await order()).success?.data.placed, 1)
}

async function dataOfTheApp() {
  if (!its.requestLogin) return
  newPhone('carol')
  const { code } = (await called(wx.login)).success
  const { encryptedData, iv } = await wx.getUserInfo()
  await called(sdk.requestLogin, { loginParams: { code, encryptedData, iv } })
  see('requestLogin() with data that the app has got itself logs in', (await server.check(skey()))?.active)
}

async function noSession() {
  if (its.needsSession) return
  newPhone('dave')
  const answer = await order()
  see('a request without a session logs in by itself and succeeds', answer.success?.data.placed, 1)
  see('with one login', sent(LOGIN), 1)

  newPhone('oscar')
  const answers = await Promise.all(Array.from({ length: 5 }, () => order()))
  const users = new Set(answers.map((each) => each.success?.data.orders_of))
  see('five requests at once of somebody never seen before make one user', users.size, 1)
  see('who has five orders', Math.max(...answers.map((each) => each.success?.data.placed)), 5)
}

async function byPost() {
  newPhone('peggy')
  await login({ method: 'POST' })
  see('login() by POST stores a live session', (await server.check(skey()))?.active)
}

async function endedSession() {
  await loggedIn('erin')
  const before = sent(LOGIN)
  endSessionBeforeNextOrder()
  const answer = await order()
  see('after a logout on the server the next request succeeds', answer.success?.statusCode, 200)
  see('it was run once', answer.success?.data.placed, 1)
  // Beyond the one that it does before each request anyhow.
  see('by one login of its own', sent(LOGIN) - before, its.logsInEachTime ? 2 : 1)

  wx.setStorageSync(SLOT, its.storesSkeyAlone ? 'rubbish' : { ...stored(), skey: 'rubbish' })
  const placed = await order()
  see('a skey that never was one is replaced in the same way', placed.success?.data.placed, 2)
}

async function expiredSession(old, since) {
  await pause(Math.max(0, IDLE_SECONDS + 0.3 - (Date.now() - since) / 1000))
  use(old)
  sdk.setLoginUrl(SHORT_LIVED + LOGIN)
  const before = sent(LOGIN)
  const answer = await called(sdk.request, { url: `${SHORT_LIVED}/orders`, method: 'POST', ...its.request })
  see('after its session expired the next request succeeds, and was run once', answer.success?.data.placed, 1)
  see('by one login of its own', sent(LOGIN) - before, 1)
  sdk.setLoginUrl(SERVICE + LOGIN)
}

// None of the packages knows that it is logging in already. All logins are held until the fifth has begun.
async function storm() {
  await loggedIn('frank')
  const user = (await server.check(skey())).user.id
  await server.end(skey())
  const before = sent(LOGIN)
  let begun = 0
  let release
  const all = new Promise((resolve) => (release = resolve))
  wx.double.onRequest = ({ url }) => {
    if (!url.endsWith(LOGIN)) return undefined
    begun += 1
    if (begun === 5) release()
    return all
  }
  const granted = grantedSkeys()
  const answers = await Promise.all(Array.from({ length: 5 }, () => order()))
  see(
    'five requests at once with an ended session all succeed',
    answers.map((answer) => answer.success?.data.orders_of),
    Array(5).fill(user),
  )
  see('each was run once', Math.max(...answers.map((answer) => answer.success?.data.placed)), 5)
  see('by five logins', sent(LOGIN) - before, 5)
  const alive = await Promise.all(granted.map(async (token) => (await server.check(token))?.active))
  see('whose skeys are five, all of them alive', [new Set(granted).size, ...alive], [5, ...Array(5).fill(true)])
}

function grantedSkeys() {
  const granted = []
  const { request } = wx
  wx.request = (options) =>
    request({
      ...options,
      success(answer) {
        if (options.url.endsWith(LOGIN)) granted.push((answer.data.data ?? answer.data.session).skey)
        options.success(answer)
      },
    })
  return granted
}

async function refusedCode() {
  newPhone('grace')
  await wechat.failNext(40029)
  seeFailure('a code that WeChat refuses', (await login()).failure, 'ERR_GET_SESSION_KEY')
  see('and does not try again by itself', sent(LOGIN), 1)
  await login()
  see('a new code logs in', (await server.check(skey()))?.active)

  await server.end(skey())
  const before = sent(LOGIN)
  await wechat.failNext(40029)
  const answer = await order()
  see('a request that has to log in with a refused code calls fail', Boolean(answer.failure))
  see('after one login', sent(LOGIN) - before, 1)
  if (its.needsSession) await login()
  see('and the order was not placed', (await order()).success?.data.placed, 1)
}

async function weChatDown() {
  await loggedIn('heidi')
  const skeyOfHeidi = skey()
  const before = sent(LOGIN)
  await wechat.outOfOrder(async () => {
    if (its.logsInEachTime) {
      const { success } = await called(wx.request, { url: `${SERVICE}/orders`, header: { 'X-WX-Skey': skeyOfHeidi } })
      see('while WeChat does not answer, a session goes on', success.statusCode, 200)
    } else {
      see('while WeChat does not answer, a session goes on', (await order()).success?.statusCode, 200)
      see('without a login', sent(LOGIN) - before, 0)
    }
    newPhone('ivan')
    seeFailure('while WeChat does not answer', (await login()).failure, 'ERR_GET_SESSION_KEY')
    see('and does not try again by itself', sent(LOGIN), 1)
  })
  await wechat.failNext('NOT_JSON')
  seeFailure('an answer of WeChat that is none', (await login()).failure, 'ERR_GET_SESSION_KEY')
  await login()
  see('when WeChat is back, login() succeeds', (await server.check(skey()))?.active)
}

async function wrongData() {
  newPhone('judy')
  const { getUserInfo } = wx
  const encrypted = its.legacyUserInfo ? 'encryptData' : 'encryptedData'
  wx.getUserInfo = (options) =>
    getUserInfo({ ...options, success: (info) => options.success({ ...info, [encrypted]: NONSENSE }) })
  seeFailure('data that cannot be decrypted', (await login()).failure, 'ERR_IN_DECRYPT_DATA')
}

// By hand, because no package sends these.
async function malformedHeaders() {
  newPhone('mallory')
  const wire = async (header, path) => {
    const { statusCode, data } = (await called(wx.request, { url: SERVICE + path, header })).success
    return { statusCode, code: data.code, error: data.error, magic: data[MAGIC] }
  }
  const { code } = (await called(wx.login)).success
  const noBase64 = { 'X-WX-Encrypted-Data': '%', 'X-WX-IV': '%' }
  for (const [sentence, given, error] of [
    ['no header at all', {}, 'ERR_HEADER_MISSED'],
    ['an empty code', { 'X-WX-Code': '' }, 'ERR_HEADER_MISSED'],
    ['a code that is too long', { 'X-WX-Code': 'x'.repeat(500) }, 'ERR_REQUEST_PARAM'],
    ['data that are no base64', { 'X-WX-Code': code, ...noBase64 }, 'ERR_REQUEST_PARAM'],
    ['a code that WeChat never gave', { 'X-WX-Code': 'never' }, 'ERR_GET_SESSION_KEY'],
  ]) {
    const { statusCode: _, ...told } = await wire(given, LOGIN) // which no package looks at
    see(`a login with ${sentence} is ${error}`, told, { code: -1, error, magic: 1 })
  }
  for (const [sentence, given] of [
    ['no skey', {}],
    ['an empty skey', { 'X-WX-Skey': '' }],
    ['a skey that never was one', { 'X-WX-Skey': 'rubbish' }],
  ]) {
    const expected = { statusCode: 401, code: -1, error: 'ERR_INVALID_SESSION', magic: 1 }
    see(`a request with ${sentence} is ERR_INVALID_SESSION`, await wire(given, '/orders'), expected)
    see('at /weapp/user as well', await wire(given, '/weapp/user'), expected)
  }
}

async function main() {
  sdk.setLoginUrl(SHORT_LIVED + LOGIN)
  const since = Date.now()
  const old = await loggedIn('old').catch((error) => error)
  sdk.setLoginUrl(SERVICE + LOGIN)
  await tell(name, {
    'the session': theSession,
    'a code alone': codeAlone,
    'data of the app': dataOfTheApp,
    'no session': noSession,
    'a login by POST': byPost,
    'an ended session': endedSession,
    'five requests at once': storm,
    'a refused code': refusedCode,
    'WeChat is down': weChatDown,
    'wrong data': wrongData,
    'malformed headers': malformedHeaders,
    'an expired session': () => expiredSession(old, since),
  })
}

main()
