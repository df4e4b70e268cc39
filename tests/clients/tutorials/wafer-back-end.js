'use strict'

// A back end of the first generation: it knows nothing about logins, and asks the session server about everything.
// It answers GET /login and GET /user, in the wire of the packages of its time.

const http = require('node:http')
const { json } = require('node:stream/consumers')

const MAGIC = 'F2C224D4-2BCE-4C64-AF9F-A6D872000D1A'

// A name and a key in the address of the session server are sent as HTTP Basic, as curl sends them.
function ask(sessionServer, interfaceName, para) {
  const call = { version: 1, componentName: 'MA', interface: { interfaceName, para } }
  return new Promise((resolve, reject) => {
    const request = http.request(sessionServer, { method: 'POST' }, (answer) => json(answer).then(resolve, reject))
    request.on('error', reject)
    request.end(JSON.stringify(call))
  })
}

async function login(sessionServer, headers) {
  const { returnCode, returnMessage, returnData } = await ask(sessionServer, 'qcloud.cam.id_skey', {
    code: headers['x-wx-code'],
    encrypt_data: headers['x-wx-encrypted-data'] ?? headers['x-wx-encrypt-data'],
    iv: headers['x-wx-iv'],
  })
  return returnCode === 0
    ? { [MAGIC]: 1, session: { id: returnData.id, skey: returnData.skey } }
    : { [MAGIC]: 1, error: 'ERR_LOGIN_FAILED', message: `${returnCode} ${returnMessage}` }
}

async function user(sessionServer, headers) {
  const { returnCode, returnData } = await ask(sessionServer, 'qcloud.cam.auth', {
    id: headers['x-wx-id'],
    skey: headers['x-wx-skey'],
  })
  if (returnCode === 0) return returnData.user_info
  const over = returnCode === 60011 || returnCode === 60012
  return { [MAGIC]: 1, error: over ? 'ERR_INVALID_SESSION' : 'ERR_CHECK_LOGIN_FAILED', message: String(returnCode) }
}

function start(sessionServer) {
  const views = { '/login': login, '/user': user }
  const server = http.createServer(async (request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(await views[request.url](sessionServer, request.headers)))
  })
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      resolve({ url: `http://127.0.0.1:${server.address().port}`, stop: () => server.close() })
    })
  })
}

module.exports = { ask, start }
