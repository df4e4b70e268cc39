'use strict'

// What every story is told with: a phone, the servers around it, and sentences that hold or do not.
//
// SERVICE, SHORT_LIVED and SIMULATOR are addresses: of the service, of one whose sessions live for
// IDLE_SECONDS without use, and of the simulated WeChat.

const { isDeepStrictEqual } = require('node:util')
const { createWx } = require('../wx')

const { SERVICE, SHORT_LIVED, SIMULATOR, APPID } = process.env
const IDLE_SECONDS = Number(process.env.IDLE_SECONDS)
const PATIENCE = 10000

// Say one sentence, and what was seen if it does not hold; the rest of the story is told all the same.
// Without a third argument the second has to be true, and not just something.
function see(sentence, actual, ...wanted) {
  const expected = wanted.length > 0 ? wanted[0] : true
  const holds = isDeepStrictEqual(actual, expected)
  if (!holds) process.exitCode = 1
  const seen = holds ? '' : `: ${JSON.stringify(actual)}, and not ${JSON.stringify(expected)}`
  console.log(`  ${holds ? 'ok ' : 'NOT'} ${sentence}${seen}`)
}

// Tell chapters one after the other: all, or those that the command line names after its first argument. One
// that breaks off is a failure, and does not stop the others.
async function tell(title, chapters) {
  const wanted = process.argv.slice(3)
  console.log(title)
  let ended = false
  process.on('exit', () => ended || see('the story comes to its end', ended)) // Node leaves when nothing is awaited
  for (const [name, chapter] of Object.entries(chapters)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue
    try {
      await chapter()
    } catch (error) {
      process.exitCode = 1
      console.log(`  NOT ${name}: ${error.message ?? JSON.stringify(error)}`)
    }
  }
  ended = true
}

// Everybody is somebody else in every run: one service may hear the same story twice.
const person = (who) => `${who} with ${process.argv[2]}, run ${process.pid}`

// A new phone becomes the `wx` of everybody; hand an old one to `use` to take it up again.
function phone(who) {
  return use(createWx({ simulator: SIMULATOR, user: person(who), appid: APPID }))
}

function use(wx) {
  global.wx = wx
  return wx
}

// Call something that answers by callbacks; resolve to what it said. Without an answer the chapter fails, for
// a client that hangs is as bad as one that is refused; and a second answer fails the story, however late.
function called(call, options = {}) {
  return new Promise((resolve, reject) => {
    const hung = setTimeout(() => reject(new Error('it never calls back')), PATIENCE)
    let answers = 0
    const say = (what) => {
      clearTimeout(hung)
      answers += 1
      if (answers > 1) see('a call calls back once', answers, 1)
      resolve(what)
    }
    try {
      call({ ...options, success: (success) => say({ success }), fail: (failure) => say({ failure }) })
    } catch (error) {
      clearTimeout(hung)
      reject(error)
    }
  })
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000))

async function post(url, body, headers = {}) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}: ${await answer.text()}`)
  return answer.status === 204 ? null : answer.json()
}

const bearer = (token) => ({ Authorization: `Bearer ${token}` })

// The service, as its operator or another client sees it.
const server = {
  async check(token) {
    const answer = await fetch(`${SERVICE}/check_session`, { headers: bearer(token) })
    return answer.ok ? await answer.json() : null
  },
  end: (token) => post(`${SERVICE}/logout`, {}, bearer(token)),
  register: (who, password) => post(`${SERVICE}/register`, { username: person(who), password }),
}

const wechat = {
  setProfile: (who, fields) => post(`${SIMULATOR}/simulator/profile`, { user: person(who), ...fields }),
  failNext: (fault, times = 1) => post(`${SIMULATOR}/simulator/fail_next`, { fault, times }),
  exchanges: async () => (await (await fetch(`${SIMULATOR}/simulator/exchanges`)).json()).exchanges,
  // Slower than the service has patience for, until the work is done.
  async outOfOrder(work) {
    await post(`${SIMULATOR}/simulator/answer_after`, { seconds: 1.5 })
    try {
      return await work()
    } finally {
      await post(`${SIMULATOR}/simulator/answer_after`, { seconds: 0 })
    }
  },
}

module.exports = {
  ...{ SERVICE, SHORT_LIVED, IDLE_SECONDS },
  ...{ see, tell, person, phone, use, called, pause, server, wechat },
}
