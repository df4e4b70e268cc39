'use strict'

// The client of one tutorial against the service: node conformance/tutorials.js <tutorial>

const { called, person, phone, see, server, tell, use, wechat, SERVICE } = require('./story')

const name = process.argv[2]
const client = require(`../tutorials/${name}`)(SERVICE)

const PASSWORD = 'one long password'

// The only tutorial whose users have an account before they have a phone.
const hasAccounts = name === 'book'
// The only one whose requests log in by themselves.
const logsInOnTheSpot = name === 'code-header'

const token = () => wx.getStorageSync(client.key)
const login = (given) => called(client.login, given)
const getOrders = () => called(client.getOrders)
const placeOrder = () => called(client.placeOrder)
const problem = ({ failure }) => ({ status: failure?.statusCode, code: failure?.data.code ?? failure?.data.error })

// Log in for the first time; return the id of the user.
async function arrive(who) {
  phone(who)
  const account = hasAccounts && (await server.register(who, PASSWORD))
  const { failure } = await login(hasAccounts ? { username: person(who), password: PASSWORD } : {})
  if (failure) throw new Error(`cannot log in: ${JSON.stringify(failure)}`)
  const { user } = await server.check(token())
  if (hasAccounts) see('the WeChat user is bound to the account', user.id, account.user.id)
  return user.id
}

async function theSession() {
  const user = await arrive('alice')
  see('a login stores a token of a live session', (await server.check(token())).active)
  see('which opens the shop', (await getOrders()).success, { orders_of: user, placed: 0 })
  see('for orders too, where the token is in the place of a POST', (await placeOrder()).success?.placed, 1)
  await login()
  see('the next login, by code alone, is of the same user', (await server.check(token())).user.id, user)
}

async function endedSession() {
  const user = await arrive('bob')
  const old = token()
  await server.end(old)
  if (logsInOnTheSpot) {
    see('after a logout on the server a request is logged in by its code', (await placeOrder()).success, {
      orders_of: user,
      placed: 1,
    })
    see('and hands over a new token', [token() !== old, (await server.check(token())).active], [true, true])
    return
  }
  see('after a logout on the server a request is refused', problem(await getOrders()).status, 401)
  see('and so is an order', problem(await placeOrder()).status, 401)
  await login()
  see('and after a login it is answered', (await placeOrder()).success, { orders_of: user, placed: 1 })
}

async function refusedCode() {
  phone('carol')
  const before = await wechat.exchanges()
  await wechat.failNext(40029)
  const refused = await login()
  see('a code that WeChat refuses is no login', Boolean(refused.failure))
  see('and not the fault of a session', problem(refused), { status: 400, code: 'invalid_code' })
  see('and nothing is stored', token(), '')
  see('and WeChat was asked once', (await wechat.exchanges()) - before, 1)
}

async function weChatDown() {
  await arrive('dave')
  const old = wx
  await wechat.outOfOrder(async () => {
    see('while WeChat does not answer, a session goes on', Boolean((await getOrders()).success))
    phone('erin')
    const failed = await login()
    see('and a login fails', problem(failed), { status: 503, code: 'wechat_timeout' })
    see('and nothing is stored', token(), '')
  })
  use(old)
  see('when WeChat is back, a login succeeds', Boolean((await login()).success))
}

const particulars = {
  onlogin: {
    async 'what is malformed'() {
      phone('mallory')
      const send = (data) => called(wx.request, { url: `${SERVICE}/onLogin`, method: 'POST', data })
      for (const data of [{}, { code: 1 }, [], 'no JSON', { code: 'x'.repeat(500) }]) {
        const shown = JSON.stringify(data).slice(0, 20)
        see(`a login with ${shown} is 400`, (await send(data)).success.statusCode, 400)
      }
    },
  },

  book: {
    async 'a bound user'() {
      const user = await arrive('grace')
      // Base libraries differ in what they make of a value that is not there.
      for (const given of [{}, { username: '', password: '' }, { username: 'undefined', password: 'undefined' }]) {
        const { code } = (await called(wx.login)).success
        const { data } = (await called(wx.request, { url: `${SERVICE}/login`, data: { ...given, code } })).success
        const known = (await server.check(data.sessionId))?.user.id
        see(`is known by the code alone, with credentials ${JSON.stringify(Object.values(given))}`, known, user)
      }
    },

    async 'wrong credentials'() {
      await server.register('frank', PASSWORD)
      phone('frank')
      const wrong = await login({ username: person('frank'), password: 'another password' })
      see('a wrong password is no login', problem(wrong), { status: 401, code: 'bad_credentials' })
      see('and nothing is stored', token(), '')
      const half = await login({ username: person('frank') })
      see('a username without a password is no login', problem(half).status, 400)
    },
  },

  'fetch-code': {
    async 'the profile'() {
      await wechat.setProfile('grace', { nickName: 'Grace' })
      await arrive('grace')
      see('what wx.getUserInfo gave is accepted', (await called(client.sendUserInfo)).success, { status: 'OK' })
      see('and the nickname is known', (await server.check(token())).user.nickname, 'Grace')
    },

    async 'a user who refuses'() {
      const user = await arrive('heidi')
      wx.double.userInfoDenied = true
      const { success, failure } = await called(client.sendUserInfo)
      see('a user who refuses is no failure', success ?? failure.data, { status: 'OK' })
      see('and the session of the first step is good', (await getOrders()).success?.orders_of, user)
    },

    async 'an anonymous user'() {
      await arrive('ivan')
      const { userInfo } = await wx.getUserInfo()
      see('WeChat gives the same name to everybody today', userInfo.nickName, '微信用户')
      see('which is accepted', (await called(client.sendUserInfo)).success, { status: 'OK' })
      see('and stored as no nickname', (await server.check(token())).user.nickname, null)
    },

    async 'forged data'() {
      await arrive('judy')
      const { getUserInfo } = wx
      wx.getUserInfo = (options) =>
        getUserInfo({
          ...options,
          success: (info) => options.success({ ...info, rawData: info.rawData.replace('微信用户', 'Eve') }),
        })
      const { failure } = await called(client.sendUserInfo)
      see('data that the signature does not fit are refused', failure?.data.status, 'FAILED')
      see('with a code', failure?.data.error, 'session_key_stale')
      see('and the session goes on', Boolean((await getOrders()).success))
      await server.end(token())
      const ended = await called(client.sendUserInfo)
      see('data with an ended session are refused', ended.failure?.data, { status: 'FAILED', error: 'session_ended' })
    },
  },

  'code-header': {
    async 'no code wasted'() {
      await arrive('grace')
      const [before, old] = [await wechat.exchanges(), token()]
      await getOrders()
      see('with a live token the code is not exchanged', (await wechat.exchanges()) - before, 0)
      see('and the token stays', token(), old)
    },

    async 'neither code nor token'() {
      phone('heidi')
      const { success } = await called(wx.request, { url: `${SERVICE}/orders`, header: { mycode: '', token: '' } })
      see('a request with neither code nor token is refused', success.statusCode, 401)
      see('and is handed no token', 'token' in success.header, false)
    },
  },
}

tell(`tutorial ${name}`, {
  'the session': theSession,
  'an ended session': endedSession,
  'a refused code': refusedCode,
  'WeChat is down': weChatDown,
  ...particulars[name],
})
