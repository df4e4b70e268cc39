// A shop: its orders belong to users of wxsession, and are shipped to the phone numbers of these.

import express from 'express'
import { sessionRequired } from './session.js'
import { signedTokenRequired } from './signed.js'
import { findUser, readEvents } from './users.js'

// In your shop a table; and a row for the cursor, written in the same transaction as the orders.
export const orders = new Set()
let cursor

const app = express()

app.get('/orders', sessionRequired, (request, response) => {
  const { sub } = request.session
  response.json({ orders_of: sub, orders: [...orders].filter(({ user }) => user === sub) })
})

app.post('/orders', sessionRequired, express.json(), (request, response) => {
  const order = { user: request.session.sub, item: request.body.item, parcel: null }
  orders.add(order)
  response.status(201).json(order)
})

app.get('/prices', signedTokenRequired, (request, response) => {
  response.json({ prices_for: request.session.sub, tea: 12 })
})

async function follow() {
  const { events, next } = await readEvents(cursor)
  for (const { event, user_id: id, new_user_id: newId } of events) {
    for (const order of orders) {
      if (order.user !== id) continue
      if (event === 'user.merged') order.user = newId
      if (event === 'user.deleted') orders.delete(order)
    }
  }
  cursor = next
  return events.length
}

async function ship() {
  for (const order of orders) {
    if (order.parcel) continue
    const user = await findUser(order.user)
    if (!user?.phone_number) continue // it waits for the number
    order.user = user.id
    order.parcel = { to: user.nickname, phone: `+${user.country_code} ${user.phone_number}` }
  }
}

async function work() {
  try {
    while (await follow());
    await ship()
  } catch (error) {
    console.error(error) // and again in a second
  }
  setTimeout(work, 1000).unref()
}

export const server = app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1')
work()
