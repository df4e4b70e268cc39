'use strict'

// A back end in Express that asks wxsession whose session a token is: node express.js <port>
//
// SERVICE is where it asks, API_KEY how. `/orders/<shape>` is for users; `/vip/<shape>` refuses every user, by a
// rule of its own. A 401 has that shape.

const express = require('express')

const { SERVICE, API_KEY } = process.env

const REFUSALS = {
  active: (response) => response.json({ active: false }),
  error: (response) => response.json({ error: 'unauthorized' }),
  code: (response) => response.json({ code: 401 }),
  html: (response) => response.send('<html><body>Please log in.</body></html>'),
  empty: (response) => response.end(),
}

const refuse = ({ params }, response) => REFUSALS[params.shape](response.status(401))

async function authenticate(request, response, next) {
  const token = (request.get('Authorization') ?? '').replace('Bearer ', '')
  const asked = await fetch(`${SERVICE}/introspect`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${API_KEY}` },
    body: new URLSearchParams({ token }),
  })
  const session = await asked.json()
  if (!session.active) return refuse(request, response)
  request.user = session.sub
  return next()
}

const app = express()
app.get('/alive', (request, response) => response.end())
app.use('/:place/:shape', authenticate)
app.all('/orders/:shape', (request, response) => response.json({ orders_of: request.user }))
app.all('/vip/:shape', refuse)
app.listen(Number(process.argv[2]), '127.0.0.1')
