'use strict'

// What becomes of many requests on an expired token: node session/storm.js <requests>
//
// The session is over on the server; ours knows from its clock, the old client cannot know. Prints one table, and
// as its last line the same figures as JSON. PATIENT is the address of a service that allows many sessions.

const { newPhone, open, stored, store, sent, ask, weChat } = require('./support')

const { PATIENT } = process.env
const MANY = Number(process.argv[2])

const CLIENTS = {
  'wxsession-miniprogram': () => {
    const wxs = open({ baseUrl: PATIENT })
    const request = () => wxs.request({ url: '/user' })
    const expire = () => {
      store({ expiresAt: Date.now() - 1 }, PATIENT)
      return stored(PATIENT).token
    }
    return { request, expire, isAnswer: ({ data }) => Boolean(data.id), login: '/login', path: '/user' }
  },
  'wafer2-client-sdk 2.1.0': () => {
    const sdk = require('wafer2-client-sdk-2.1.0')
    sdk.setLoginUrl(`${PATIENT}/weapp/login`)
    const url = `${PATIENT}/weapp/user`
    const request = () => new Promise((success, fail) => sdk.request({ url, success, fail }))
    const expire = () => sdk.Session.get().skey
    return { request, expire, isAnswer: ({ data }) => data.code === 0, login: '/weapp/login', path: '/weapp/user' }
  },
}

async function storm(name, phone, { request, isAnswer, login, path }) {
  global.wx = phone
  phone.double.logins = 0
  phone.double.requests.length = 0
  // WeChat allows a user a hundred logins a minute: that is not what is measured here, so minutes pass.
  phone.double.onRequest = async ({ url }) => {
    if (url.endsWith(login) && sent(login).length % 80 === 0) await weChat('clock', { advance_seconds: 61 })
  }
  const begun = Date.now()
  const outcomes = await Promise.allSettled(Array.from({ length: MANY }, request))
  return {
    client: name,
    'requests asked': MANY,
    'wx.login calls': phone.double.logins,
    'login calls': sent(login).length,
    'requests sent': sent(path).length,
    answered: outcomes.filter(({ status, value }) => status === 'fulfilled' && isAnswer(value)).length,
    seconds: Number(((Date.now() - begun) / 1000).toFixed(1)),
  }
}

async function main() {
  const begun = []
  for (const [name, make] of Object.entries(CLIENTS)) {
    const phone = newPhone(`${name} in a storm`)
    const client = make()
    await client.request()
    await ask(`${PATIENT}/logout`, { token: client.expire() })
    begun.push([name, phone, client])
  }
  await weChat('answer_after', { seconds: 0.3 })
  const results = []
  for (const one of begun) results.push(await storm(...one))
  const names = Object.keys(results[0])
  const row = (cells) => `| ${cells.join(' | ')} |`
  console.log(row(names))
  console.log(`|${'---|'.repeat(names.length)}`)
  for (const result of results) console.log(row(Object.values(result)))
  console.log(JSON.stringify(results))
}

main()
