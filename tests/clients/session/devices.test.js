'use strict'

// A PC shows a code; the phone says who asks, and lets it in or turns it away.

const { test } = require('node:test')
const assert = require('node:assert/strict')
const { SERVICE, newPhone, open, ask, check, refused } = require('./support')

const begin = () => ask(`${SERVICE}/device_logins`)
const poll = (deviceCode) => ask(`${SERVICE}/device_logins/token`, { device_code: deviceCode })

test('the phone says who asks, and lets the PC in', async () => {
  newPhone()
  const wxs = open()
  const pc = await begin()
  const asking = await wxs.askingDevice(pc.user_code)
  assert.equal(asking.client_address, '127.0.0.1')
  assert.match(asking.user_agent, /node|undici/)
  assert.equal(await wxs.approveDevice(pc.user_code), undefined)
  const grant = await poll(pc.device_code)
  assert.equal(grant.user.id, wxs.user.id)
  assert.ok((await check(grant.session_token)).active)
  assert.equal((await refused(wxs.approveDevice(pc.user_code))).code, 'expired_token')
})

test('the phone turns the PC away', async () => {
  newPhone()
  const wxs = open()
  const pc = await begin()
  await wxs.denyDevice(pc.user_code)
  assert.equal((await poll(pc.device_code)).code, 'access_denied')
})

test('a code that nobody shows is told as such', async () => {
  newPhone()
  const error = await refused(open().askingDevice('BCDF-GHJK-LMNP'))
  assert.deepEqual([error.code, error.status], ['expired_token', 400])
})
