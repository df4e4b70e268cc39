// The one session of this mini-program. Change the address to that of your own service.
const { createSession } = require('wxsession-miniprogram')

module.exports = createSession({ baseUrl: 'https://login.example.com' })
