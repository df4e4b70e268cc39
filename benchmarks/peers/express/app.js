// express-session with connect-pg-simple; DISABLE_TOUCH=1 leaves a session that was only read alone.
'use strict'

const connectPgSimple = require('connect-pg-simple')
const express = require('express')
const session = require('express-session')
const pg = require('pg')

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
const PgSession = connectPgSimple(session)
const app = express()

app.get('/alive', (request, response) => response.json({ alive: true }))

app.use(session({
  store: new PgSession({ pool, disableTouch: process.env.DISABLE_TOUCH === '1' }),
  secret: process.env.SECRET_KEY,
  resave: false,
  saveUninitialized: false,
  cookie: { maxAge: 30 * 24 * 60 * 60 * 1000 }
}))

app.get('/check', async (request, response) => {
  const found = await pool.query('SELECT id, name FROM users WHERE id = $1', [request.session.userId])
  if (found.rows.length === 0) return response.status(401).json({ active: false })
  response.json({ active: true, user: found.rows[0] })
})

app.listen(Number(process.argv[2]), '127.0.0.1')
