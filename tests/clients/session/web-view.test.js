'use strict'

// A page in a web-view gets the session by a ticket, in an address without the token.

const { test } = require('node:test')
const assert = require('node:assert/strict')
const { SERVICE, newPhone, open, stored, sent, ask, end, refused, answerOnce } = require('./support')

const SHOP = 'https://shop.example.com'
const TICKET = 'wxt_a-ticket'
const redeem = (ticket) =>
  ask(`${SERVICE}/tickets/redeem`, { token: 'an-api-key-that-is-made-up-for-tests', ticket, audience: SHOP })

test('the page of another origin gets a ticket that its back end redeems, and never the token', async () => {
  newPhone()
  const wxs = open()
  const { id } = await wxs.login()
  const src = new URL(await wxs.webView(`${SHOP}/cart?item=1&item=2#top`))
  assert.ok(!src.href.includes(stored().token))
  assert.deepEqual([src.origin, src.pathname, src.hash], [SHOP, '/cart', '#top'])
  assert.deepEqual(src.searchParams.getAll('item'), ['1', '2'])
  const told = await redeem(src.searchParams.get('ticket'))
  assert.deepEqual([told.status, told.active, told.sub], [200, true, id])
  assert.equal((await redeem(src.searchParams.get('ticket'))).code, 'invalid_ticket')
})

test('without a session it logs in first, and again if the session is over', async () => {
  newPhone()
  const wxs = open()
  await wxs.webView(SHOP)
  await end(stored().token)
  assert.match(await wxs.webView(SHOP), /^https:\/\/shop\.example\.com\/\?ticket=wxt_/)
  assert.equal(wx.double.logins, 2)
})

test('a page of the server itself is opened by the server, which goes on to it', async () => {
  const pages = {
    '/orders?page=2#top': '/orders?page=2#top',
    [`${SERVICE}/orders`]: '/orders',
    [SERVICE]: '/',
    [`${SERVICE}?page=2`]: '/?page=2',
    [`${SERVICE}/订单`]: '/订单',
  }
  for (const [url, to] of Object.entries(pages)) {
    newPhone()
    const wxs = open()
    answerOnce('/tickets', 200, { ticket: TICKET, expires_in: 60 })
    const src = new URL(await wxs.webView(url))
    assert.equal(`${src.origin}${src.pathname}`, `${SERVICE}/web-view`)
    assert.deepEqual([...src.searchParams], [['ticket', TICKET], ['to', to]])
    assert.deepEqual(JSON.parse(JSON.stringify(sent('/tickets')[0].data)), { audience: SERVICE })
  }
})

test('an origin that the server does not know is refused, and nothing else is sent', async () => {
  newPhone()
  const wxs = open()
  const error = await refused(wxs.webView('https://evil.example.com/'))
  assert.deepEqual([error.code, error.errors[0].field], ['invalid_request', 'audience'])
})

test('what is no address of a page is refused before anything is sent', async () => {
  newPhone()
  const wxs = open()
  for (const url of [undefined, null, 7, '', 'orders', '//evil.example.com', '/\\evil', 'javascript:alert(1)',
    `${SERVICE}//evil`, `${SERVICE}/a b`, 'https://a@evil.example.com/']) {
    assert.equal((await refused(wxs.webView(url))).code, 'invalid_options')
  }
  assert.equal(wx.double.requests.length, 0)
})
