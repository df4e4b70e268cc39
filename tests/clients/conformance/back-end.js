'use strict'

// A package of the first generation, with a back end of its time, which asks our service at /mina_auth/:
// node conformance/back-end.js <package>

const { called, phone, see, server, tell, wechat, SERVICE } = require('./story')
const { ask, start } = require('../tutorials/wafer-back-end')

const name = process.argv[2]
const SESSION_SERVER = `${SERVICE.replace('//', `//back-end:${process.env.API_KEY}@`)}/mina_auth/`
const legacyUserInfo = name === 'qcloud-weapp-client-sdk-0.7.4'
const SLOT = 'weapp_session_F2C224D4-2BCE-4C64-AF9F-A6D872000D1A'

phone('nobody') // the packages look for `wx` while they are loaded
const sdk = require(name)

const stored = () => wx.getStorageSync(SLOT)
const login = () => called(sdk.login)
const sent = (path) => wx.double.requests.filter((request) => request.url.endsWith(path)).length

function newPhone(who) {
  phone(who).double.legacyUserInfo = legacyUserInfo
}

async function main() {
  const backEnd = await start(SESSION_SERVER)
  const showUser = () => called(sdk.request, { url: `${backEnd.url}/user` })
  const call = (interfaceName, para) => ask(SESSION_SERVER, interfaceName, para)
  sdk.setLoginUrl(`${backEnd.url}/login`)

  await tell(`a back end with ${name}`, {
    async 'the session'() {
      await wechat.setProfile('alice', { nickName: 'Alice' })
      newPhone('alice')
      await login()
      see('a login stores the id and the skey of a live session', (await server.check(stored().skey)).active)
      const { success } = await showUser()
      see('the back end knows the user by the session', success?.data.nickName, 'Alice')
      see('and by the openId', typeof success?.data.openId, 'string')
    },

    async 'an ended session'() {
      newPhone('bob')
      await login()
      await server.end(stored().skey)
      const before = sent('/login')
      const { success } = await showUser()
      see('after a logout on the server the next request succeeds', typeof success?.data.openId, 'string')
      see('by one login of its own', sent('/login') - before, 1)
    },

    async 'a refused code'() {
      newPhone('carol')
      await wechat.failNext(40029)
      const { failure } = await login()
      see('a code that WeChat refuses is 40029', failure?.message.includes('40029'))
      see('and nothing is stored', stored(), '')
    },

    async 'WeChat is down'() {
      newPhone('dave')
      await login()
      await wechat.outOfOrder(async () => {
        see('while WeChat does not answer, a session goes on', (await showUser()).success?.statusCode, 200)
        newPhone('erin')
        see('a login is 1005', (await login()).failure?.message.includes('1005'))
        see('and nothing is stored', stored(), '')
      })
      see('when WeChat is back, a login succeeds', Boolean((await login()).success))
    },

    async 'what is malformed'() {
      newPhone('frank')
      await login()
      const { id, skey } = stored()
      const code = async (...given) => (await call(...given)).returnCode
      see('id and skey are accepted', await code('qcloud.cam.auth', { id, skey }), 0)
      see('the id of another session is 60012', await code('qcloud.cam.auth', { id: 'x', skey }), 60012)
      const nobody = await ask(`${SERVICE}/mina_auth/`, 'qcloud.cam.auth', { id, skey })
      see('a back end without a key is told nothing', [nobody.returnCode, nobody.returnData], [1007, {}])
      see('an skey that never was one is 60012', await code('qcloud.cam.auth', { id, skey: 'rubbish' }), 60012)
      see('a missing skey is 1007', await code('qcloud.cam.auth', { id }), 1007)
      const fresh = (await called(wx.login)).success.code
      const data = 'AAAAAAAAAAAAAAAAAAAAAA=='
      const wrong = { code: fresh, encrypt_data: data, iv: data }
      see('data that cannot be decrypted are 60021', await code('qcloud.cam.id_skey', wrong), 60021)
      const secret = { appid: 'wx0123456789abcdef', secret: 'x', qcloud_appid: '1', ip: '::1', cdb_ip: '::1' }
      const answer = await call('qcloud.cam.initdata', secret)
      see('nobody sets an app secret', [answer.returnCode, answer.returnMessage], [1007, 'unknown interface'])
    },
  })
  backEnd.stop()
}

main()
