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

app.post('/login', express.json(), async (request, response) => {
  const asked = new URLSearchParams({
    appid: 'wx0123456789abcdef',
    secret: 'app-secret',
    js_code: request.body.code,
    grant_type: 'authorization_code'
  })
  const answer = await fetch(`${process.env.WECHAT_URL}/sns/jscode2session?${asked}`)
  const { openid, session_key: sessionKey, errmsg } = await answer.json()
  if (!openid) return response.status(400).json({ error: errmsg })
  let found = await pool.query('SELECT id FROM users WHERE openid = $1', [openid])
  if (found.rows.length === 0) {
    found = await pool.query('INSERT INTO users (openid) VALUES ($1) RETURNING id', [openid])
  }
  regenerate(request, { userId: found.rows[0].id, sessionKey }, () => response.json({ user: found.rows[0] }))
})

app.post('/refresh', (request, response) => {
  const { userId } = request.session
  if (!userId) return response.status(401).json({ active: false })
  regenerate(request, { userId }, () => response.json({ user: { id: userId } }))
})

// Another session in the place of this one, as the documentation has it after a login.
function regenerate (request, content, done) {
  request.session.regenerate((error) => {
    if (error) throw error
    Object.assign(request.session, content)
    request.session.save(done)
  })
}

app.listen(Number(process.argv[2]), '127.0.0.1')
