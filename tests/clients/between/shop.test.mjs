// From a mini-program's login to a parcel: the Express shop of the recipes, which has nothing but an API key, and
// follows its users wherever their ids go.
//
// WXSESSION, API_KEY_NAME and API_KEY are the shop's; PORT is where it listens.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, test } from 'node:test'
import { orders, server } from '../../../recipes/express/shop.js'
import { findUser } from '../../../recipes/express/users.js'

const require = createRequire(import.meta.url)
const { createWx } = require('../wx')
const { open, pause, stored, tokens, weChat } = require('../session/support')

const { SIMULATOR, APPID, OTHER_APPID, PORT } = process.env
const SHOP = `http://127.0.0.1:${PORT}`
const NUMBER = '13912345678'
const ACCOUNT = { username: 'alice', password: 'a long password of a test' }

after(() => server.close())

// What the shop does of its own accord takes it about two seconds, and longer where the machine is busy.
async function eventually(holds) {
  for (let n = 0; !holds(); n += 1) {
    assert.ok(n < 1200, `it never came to hold: ${holds}`)
    await pause(50)
  }
}

// Alice, in one of the shop's mini-programs.
function customer(appid) {
  const phone = createWx({ simulator: SIMULATOR, user: 'alice', appid })
  global.wx = phone
  const wxs = open({ origins: [SHOP] })
  const request = async (method, data) => (await wxs.request({ url: `${SHOP}/orders`, method, data })).data
  return {
    wxs,
    holds: () => { global.wx = phone },
    buys: (item) => request('POST', { item }),
    looks: () => request('GET'),
  }
}

const ordersOf = (id) => [...orders].filter(({ user }) => user === id)
const parcelOf = (wanted) => [...orders].find(({ item }) => item === wanted).parcel

test('an order is shipped to the number of its user, whoever that user becomes', async () => {
  const alice = customer(APPID)
  const { id } = await alice.wxs.register(ACCOUNT)
  await alice.wxs.updateUser({ nickname: 'Alice' })

  // It waits for the number, of which the mini-program itself is shown a part alone.
  assert.deepEqual(await alice.buys('tea'), { user: id, item: 'tea', parcel: null })
  await weChat('set_phone_number', { user: 'alice', phone_number: NUMBER })
  const { code } = await weChat('phone_code', { user: 'alice' })
  const { phone_number: masked } = await alice.wxs.phoneNumber(code)
  assert.notEqual(masked, NUMBER)
  await eventually(() => parcelOf('tea'))
  assert.deepEqual(parcelOf('tea'), { to: 'Alice', phone: `+86 ${NUMBER}` })

  // In the other mini-program she is somebody else, until she says who she is.
  const other = customer(OTHER_APPID)
  const { id: otherId } = await other.wxs.login()
  assert.notEqual(otherId, id)
  assert.deepEqual(await other.buys('coffee'), { user: otherId, item: 'coffee', parcel: null })
  orders.add({ user: otherId, item: 'bread', parcel: { to: 'Alice, long ago' } })
  const token = stored().token
  await other.wxs.bind(ACCOUNT)
  await eventually(() => ordersOf(otherId).length === 0) // by the event
  orders.add({ user: otherId, item: 'milk', parcel: null }) // of a request that was under way meanwhile
  await eventually(() => parcelOf('coffee') && parcelOf('milk')) // by the redirect
  assert.deepEqual([parcelOf('coffee'), parcelOf('milk')], [parcelOf('tea'), parcelOf('tea')])
  const { orders_of: user, orders: hers } = await other.looks()
  assert.deepEqual([user, hers.map(({ item }) => item)], [id, ['tea', 'coffee', 'bread', 'milk']])
  assert.notEqual(tokens('/orders').at(-1), token) // she has proved the password
  assert.deepEqual([ordersOf(otherId), (await findUser(otherId)).id], [[], id])

  // The other mini-program is unbound again: what was bought stays with the account.
  await other.wxs.unbind({ password: ACCOUNT.password })
  await other.wxs.logout()
  await other.wxs.login()
  const { orders_of: third, orders: none } = await other.looks()
  assert.ok(![id, otherId].includes(third))
  assert.deepEqual(none, [])
  await other.buys('sugar')

  // She leaves: the shop forgets her, and nobody else.
  alice.holds()
  await alice.wxs.deleteUser({ password: ACCOUNT.password })
  await eventually(() => ordersOf(id).length === 0)
  assert.equal(await findUser(id), undefined)
  assert.deepEqual([...orders].map(({ item }) => item), ['sugar'])
})
