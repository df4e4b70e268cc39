'use strict'

// A back end of its own that keeps files and opens sockets, and lets only our sessions in:
//
//   const files = await openFiles()                // asks SERVICE about each token
//   files.url, files.received, files.close()
//
//   POST /pictures   the form field `file`         200 {"url", "size", "fields"}
//   GET  /receipt                                  200, a text
//   any upgrade                                    101
//
// Without a good session each of them is answered as SERVICE answers /check_session.

const crypto = require('node:crypto')
const http = require('node:http')

const { SERVICE } = process.env
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const CORS = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': 'authorization, content-type' }

async function openFiles(port = 0) {
  const received = []
  const sockets = new Set()

  async function refusalOf({ headers }) {
    const { authorization = '' } = headers
    const answer = await fetch(`${SERVICE}/check_session`, { headers: { authorization } })
    return answer.ok ? null : { status: answer.status, body: await answer.text() }
  }

  const server = http.createServer(async (request, response) => {
    const parts = []
    for await (const part of request) parts.push(part)
    const refusal = request.method === 'OPTIONS' ? null : await refusalOf(request)
    const say = (status, type, body) => response.writeHead(status, { ...CORS, 'Content-Type': type }).end(body)
    if (request.method === 'OPTIONS') return say(204, 'text/plain')
    if (refusal) return say(refusal.status, 'application/problem+json', refusal.body)
    if (request.method === 'GET') return say(200, 'text/plain', 'paid')
    const type = request.headers['content-type']
    const form = await new Response(Buffer.concat(parts), { headers: { 'content-type': type } }).formData()
    const picture = form.get('file')
    const fields = Object.fromEntries([...form].filter(([name]) => name !== 'file'))
    received.push({ name: picture.name, content: await picture.text(), fields })
    return say(200, 'application/json', JSON.stringify({ url: 'https://cdn.example.com/1', size: picture.size, fields }))
  })

  server.on('upgrade', async (request, socket) => {
    sockets.add(socket)
    const refusal = await refusalOf(request)
    if (refusal) return socket.end(`HTTP/1.1 ${refusal.status} Unauthorized\r\nContent-Length: 0\r\n\r\n`)
    const accept = crypto.createHash('sha1').update(request.headers['sec-websocket-key'] + GUID).digest('base64')
    return socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
  })

  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
  const close = () => {
    for (const socket of sockets) socket.destroy()
    server.closeAllConnections()
    server.close()
  }
  return { url: `http://127.0.0.1:${server.address().port}`, received, close }
}

module.exports = { openFiles }
