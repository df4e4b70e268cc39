'use strict'

// A network that loses every second answer. What holds after every step of it, whatever the steps before:
//
// 1. the user is known, and the same;
// 2. what fails, fails as the network does: nothing is refused, and nobody is logged out;
// 3. there is a token, unless an answer has arrived that says that the one before is over;
// 4. as soon as the network works, one request succeeds for the same user, with at most one login, and it is
//    sent at most twice.

const { test } = require('node:test')
const assert = require('node:assert/strict')
const { SHORT_LIVED, newPhone, open, restart, stored, weChat, pause } = require('./support')

const OPTIONS = { baseUrl: SHORT_LIVED, timeout: 4000 }
const STEPS = 1000
const SEED = Number(process.env.SEED ?? Date.now() % 1e9)

// mulberry32
function randomFrom(seed) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

async function all(promises) {
  await Promise.allSettled(promises)
  return Promise.all(promises)
}

// What a step began in the background belongs to that step.
async function quiet() {
  const { double } = wx
  const known = () => double.requests.filter(({ statusCode, dropped }) => statusCode || dropped).length
  for (let seen = -1; seen !== double.requests.length + double.logins || known() < double.requests.length; ) {
    seen = double.requests.length + double.logins
    await pause(2)
  }
}

test(`${STEPS} steps with every second answer lost, seed ${SEED}`, async (t) => {
  const random = randomFrom(SEED)
  const draw = (choices) => choices[Math.floor(random() * choices.length)]
  t.diagnostic(`seed ${SEED}`)
  newPhone()
  let wxs = open(OPTIONS)
  const { id } = await wxs.login()
  const counts = { lost: 0, refused: 0, logins: 0, restarts: 0, tokens: new Set() }

  const losing = () => {
    if (random() < 0.5) return undefined
    counts.lost += 1
    return { dropAnswer: true }
  }
  const steps = {
    login: () => wxs.login(),
    refresh: () => wxs.refresh(),
    check: () => wxs.check(),
    request: () => wxs.request({ url: '/user' }),
    change: () => wxs.updateUser({ nickname: `name ${random()}` }),
    several: () => all([1, 2, 3].map(() => wxs.request({ url: '/user' }))),
    copies: () => all([wxs.refresh(), open(OPTIONS).request({ url: '/user' })]),
    idle: () => pause(random() < 0.02 ? 2100 : 0),
    restart: () => {
      wxs = restart(OPTIONS)
      counts.restarts += 1
    },
    killed: async () => {
      draw([steps.login, steps.refresh, steps.request, steps.several])().catch(() => {})
      await pause(random() * 12)
      steps.restart()
    },
  }

  for (let n = 0; n < STEPS; n += 1) {
    if (n % 40 === 0) await weChat('clock', { advance_seconds: 61 }) // it allows 100 logins a minute
    wx.double.onRequest = losing
    const before = stored(SHORT_LIVED).token
    const heard = []
    const { double } = wx // what a killed app has heard counts too
    const from = double.requests.length
    const step = draw(Object.keys(steps))
    try {
      await steps[step]()
    } catch (error) {
      assert.equal(error.code, 'network_error', `step ${n}, ${step}: ${error.stack}`)
      counts.refused += 1
    }
    await quiet()
    heard.push(...double.requests.slice(Math.max(0, from - 20)))
    if (wx.double !== double) heard.push(...wx.double.requests)

    const { token, loggedOut } = stored(SHORT_LIVED)
    assert.deepEqual([wxs.user?.id, loggedOut], [id, false], `step ${n}, ${step}`)
    const saidOver = ({ statusCode, dropped }) => statusCode === 401 && !dropped
    if (!token && before) assert.ok(heard.some(saidOver), `step ${n}, ${step}: no token, and no reason`)
    if (token) counts.tokens.add(token)

    // In the first half damage is mended at once, in the second it may pile up.
    if (n >= STEPS / 2 && random() < 0.9) continue
    wx.double.onRequest = null
    const { logins } = wx.double
    const answer = await wxs.request({ url: '/user', header: { 'x-probe': String(n) } })
    assert.deepEqual([answer.statusCode, answer.data.id], [200, id], `step ${n}, ${step}`)
    const probes = wx.double.requests.filter(({ header }) => header['x-probe'] === String(n)).length
    assert.ok(wx.double.logins - logins <= 1 && probes <= 2, `step ${n}, ${step}`)
    counts.logins += wx.double.logins - logins
  }
  t.diagnostic(JSON.stringify({ ...counts, tokens: counts.tokens.size }))
  assert.ok(counts.lost > STEPS / 4)
  assert.ok(counts.restarts > STEPS / 10)
})
