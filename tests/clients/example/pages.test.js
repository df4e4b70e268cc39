'use strict'

// The pages of the example as a user sees them: the package, the service and its answers are real.

const assert = require('node:assert/strict')
const { join } = require('node:path')
const { test } = require('node:test')

const { Phone, post } = require('./phone.js')

const { EXAMPLE, SERVICE, SIMULATOR, APPID } = process.env
const PASSWORD = 'one long password'
const PAGES = ['index', 'profile', 'phone', 'bind']

async function loggedIn(user) {
  const phone = new Phone(user)
  await phone.session.login()
  return phone
}

// The header of another session of that user.
async function loginElsewhere(user) {
  const { code } = await post(`${SIMULATOR}/simulator/login`, { user, appid: APPID })
  const grant = await post(`${SERVICE}/login`, { code })
  return { Authorization: `Bearer ${grant.session_token}` }
}

test('index logs in silently and shows the user', async () => {
  const phone = new Phone('ada')
  const page = phone.show('index')
  assert.equal(page.text('state'), '正在登录…')
  await page.settled()
  assert.equal(page.text('user'), phone.session.user.id)
  assert.equal(page.text('state'), '已登录，7 天内有效')
  assert.equal(page.text('nickname'), '填写头像昵称')
  assert.equal(page.text('error'), undefined)
  assert.equal(phone.wx.double.logins, 1)
})

test('index shows the same session after the app was killed, without another login', async () => {
  const phone = new Phone('bea')
  const before = (await phone.open('index')).text('user')
  phone.restart()
  const page = await phone.open('index')
  assert.equal(page.text('user'), before)
  assert.equal(page.text('state'), '已登录，7 天内有效')
  assert.equal(phone.wx.double.logins, 0)
})

test('index logs in anew if the session was ended elsewhere', async () => {
  const phone = new Phone('bob')
  await phone.open('index')
  await post(`${SERVICE}/logout`, { everywhere: true }, await loginElsewhere('bob'))
  phone.restart()
  assert.equal((await phone.open('index')).text('state'), '已登录，7 天内有效')
  assert.equal(phone.wx.double.logins, 1)
})

test('index shows what the user has, as soon as another page has changed it', async () => {
  const phone = new Phone('cleo')
  const page = await phone.open('index')
  await phone.session.updateUser({ nickname: 'Cleo' })
  assert.equal(page.text('nickname'), 'Cleo')
})

for (const [button, others] of [['log-out', 200], ['log-out-everywhere', 401]]) {
  test(`index: ${button}, and log in again`, async () => {
    const phone = new Phone(button)
    const page = await phone.open('index')
    const user = page.text('user')
    const headers = await loginElsewhere(button)
    await page.press(button)
    assert.equal(page.text('error'), undefined)
    assert.equal(page.text('state'), '未登录')
    assert.equal(page.text('user'), undefined)
    assert.equal((await fetch(`${SERVICE}/check_session`, { headers })).status, others)
    phone.restart()
    const later = await phone.open('index')
    assert.equal(later.text('state'), '未登录')
    assert.equal(phone.wx.double.logins, 0)
    await later.press('log-in')
    assert.equal(later.text('user'), user)
    assert.equal(later.text('state'), '已登录，7 天内有效')
  })
}

test('index: whoever wants to go is asked, is gone, and may begin anew', async () => {
  const phone = new Phone('dora')
  const page = await phone.open('index')
  const sent = () => phone.wx.double.requests.filter(({ method }) => method === 'DELETE')
  phone.confirms = false
  await page.press('delete')
  assert.deepEqual([sent().length, page.text('state')], [0, '已登录，7 天内有效'])
  phone.confirms = true
  await page.press('delete')
  assert.deepEqual([sent().length, page.text('error'), page.text('state')], [1, undefined, '未登录'])
  await page.press('log-in')
  assert.equal(page.text('state'), '已登录，7 天内有效')
})

test('index: without the network a logout is told of, and holds on this phone', async () => {
  const phone = new Phone('dave')
  const page = await phone.open('index')
  phone.offline(true)
  await page.press('log-out')
  assert.equal(page.text('error'), '网络不可用，请检查后重试')
  assert.equal(page.text('state'), '未登录')
  assert.equal(page.text('user'), undefined)
})

test('index tells in words why nobody is logged in, and tries again when asked', async () => {
  const phone = new Phone('emma')
  phone.offline(true)
  const page = await phone.open('index')
  assert.equal(page.text('state'), '未登录')
  assert.equal(page.text('error'), '网络不可用，请检查后重试')
  phone.offline(false)
  await page.press('log-in')
  assert.equal(page.text('error'), undefined)
  assert.match(page.text('state'), /已登录/)
})

test('profile saves nickname and picture, and shows them', async () => {
  const phone = await loggedIn('fay')
  await phone.session.updateUser({ avatar_url: 'https://cdn.example.com/before.png' })
  phone.uploaded = { statusCode: 200, data: '{"url": "https://cdn.example.com/fay.png"}' }
  const page = await phone.open('profile')
  await page.press('choose', { avatarUrl: 'http://tmp/fay.jpeg' })
  assert.equal(page.attribute('picture', 'src'), 'http://tmp/fay.jpeg')
  await page.submit({ nickname: ' Fay ' })
  assert.equal(page.text('error'), undefined)
  assert.deepEqual(phone.uploads, ['http://tmp/fay.jpeg'])
  assert.deepEqual(phone.toasts, ['已保存'])
  phone.restart()
  await phone.session.login()
  const later = await phone.open('profile')
  assert.equal(later.attribute('picture', 'src'), 'https://cdn.example.com/fay.png')
  assert.equal(later.attribute('nickname', 'value'), 'Fay')
})

test('profile: a nickname alone leaves the picture, an empty one is taken away', async () => {
  const phone = await loggedIn('gina')
  await phone.session.updateUser({ nickname: 'Gina', avatar_url: 'https://cdn.example.com/g.png' })
  const page = await phone.open('profile')
  await page.submit({ nickname: '' })
  assert.deepEqual(phone.uploads, [])
  assert.equal(phone.session.user.nickname, null)
  assert.equal(phone.session.user.avatar_url, 'https://cdn.example.com/g.png')
})

for (const [what, answer] of Object.entries({
  'a refusal': { statusCode: 413, data: '{"url": "https://cdn.example.com/no.png"}' },
  'an answer without a url': { statusCode: 200, data: '{}' },
  'an answer that is no JSON': { statusCode: 200, data: '<html>' },
  'no answer': null,
})) {
  test(`profile: ${what} of the place for pictures is told, and nothing is saved`, async () => {
    const phone = await loggedIn(`hana ${what}`)
    phone.uploaded = answer
    const page = await phone.open('profile')
    await page.press('choose', { avatarUrl: 'http://tmp/hana.jpeg' })
    await page.submit({ nickname: 'Hana' })
    assert.equal(page.text('error'), '头像上传失败，请重试')
    assert.equal(phone.session.user.nickname, null)
    assert.equal(page.attribute('picture', 'src'), 'http://tmp/hana.jpeg')
    assert.deepEqual(phone.toasts, [])
  })
}

for (const [detail, words] of [
  [{ errMsg: 'getPhoneNumber:fail user deny' }, '你没有授权'],
  [{ errMsg: 'getPhoneNumber:fail privacy permission is not authorized', errno: 104 }, '你没有同意隐私保护指引'],
  [{ errMsg: 'getPhoneNumber:fail api scope is not declared', errno: 112 }, '该功能暂未开放'],
  [{ errMsg: 'getPhoneNumber:fail', errno: 1400001 }, '暂时无法获取手机号，请稍后再试'],
]) {
  test(`phone: ${detail.errMsg} changes nothing, and is told as what it is`, async () => {
    const phone = await loggedIn(`ida ${detail.errno}`)
    const page = await phone.open('phone')
    const sent = phone.wx.double.requests.length
    await page.press('take', detail)
    assert.equal(page.text('number'), '未授权')
    assert.equal(page.text('error'), words)
    assert.equal(phone.wx.double.requests.length, sent)
  })
}

test('phone: the button asks for the privacy guide, too', async () => {
  const page = await (await loggedIn('ira')).open('phone')
  assert.equal(page.attribute('take', 'open-type'), 'getPhoneNumber|agreePrivacyAuthorization')
})

test('phone: a code leads to the masked number', async () => {
  const phone = await loggedIn('jane')
  const page = await phone.open('phone')
  await page.press('take', { errMsg: 'getPhoneNumber:ok', code: await phone.phoneCode() })
  assert.equal(page.text('error'), undefined)
  assert.match(page.text('number'), /^1\d\d\*{6}\d\d$/)
  assert.equal(page.text('take'), '更换手机号')
})

test('bind: a wrong password is told in words, the right one shows the username', async () => {
  await post(`${SERVICE}/register`, { username: 'kate', password: PASSWORD })
  const phone = await loggedIn('kate')
  const page = await phone.open('bind')
  await page.submit({ username: 'kate', password: 'not the right one' })
  assert.equal(page.text('error'), '用户名或密码不正确')
  assert.equal(page.text('username'), undefined)
  await page.submit({ username: 'kate', password: PASSWORD })
  assert.equal(page.text('error'), undefined)
  assert.equal(page.text('username'), 'kate')
  assert.deepEqual(page.buttons(), [])
  assert.deepEqual(phone.toasts, ['绑定成功'])
})

test('bind: an account that has another WeChat user is told in words', async () => {
  await post(`${SERVICE}/register`, { username: 'lena', password: PASSWORD })
  const [first, second] = [await loggedIn('lena-1'), 'lena-2']
  await first.session.bind({ username: 'lena', password: PASSWORD })
  const page = await (await loggedIn(second)).open('bind')
  await page.submit({ username: 'lena', password: PASSWORD })
  assert.equal(page.text('error'), '该账号已绑定其他微信，或当前微信已绑定其他账号')
})

test('bind: whoever tries too often is told how long to wait', async () => {
  const phone = await loggedIn('mary')
  const page = await phone.open('bind')
  const wrong = { username: 'nobody-of-that-name', password: 'not the right one' }
  for (let n = 0; n < 10; n += 1) await page.submit(wrong)
  assert.equal(page.text('error'), '用户名或密码不正确')
  await page.submit(wrong)
  assert.match(page.text('error'), /^尝试次数过多（请等待 \d+ (秒|分钟)）$/)
})

for (const name of PAGES) {
  test(`${name}: while something is under way, every button is disabled`, async () => {
    const page = await (await loggedIn(`nora-${name}`)).open(name)
    assert(page.buttons().length > 0)
    assert(page.buttons().every((button) => !button.disabled))
    const task = page.instance.run(() => new Promise(setImmediate))
    assert(page.buttons().every((button) => button.disabled))
    await task
    assert(page.buttons().every((button) => !button.disabled))
  })

  test(`${name}: a page that was closed hears of no change any more`, async () => {
    const phone = await loggedIn(`olga-${name}`)
    const page = await phone.open(name)
    let told = 0
    page.instance.setData = () => (told += 1)
    await phone.session.updateUser({ nickname: 'Olga' })
    assert.notEqual(told, 0)
    page.close()
    told = 0
    await phone.session.updateUser({ nickname: 'Olga again' })
    assert.equal(told, 0)
  })
}

for (const name of PAGES.slice(1)) {
  test(`${name}: after a logout there is nothing but the way back`, async () => {
    const phone = await loggedIn(`pia-${name}`)
    const page = await phone.open(name)
    await phone.session.logout()
    assert.equal(page.text(), '尚未登录，去登录')
    assert.deepEqual(page.buttons(), [])
  })
}

test('with simulated.js, the codes are those of the simulated WeChat', async () => {
  const phone = new Phone('alice')
  phone.wx.double.onLogin = () => ({ answer: { code: 'the code is a mock one' } })
  const page = await phone.open('index')
  assert.equal(page.text('error'), '微信登录失败，请重试')
  require(join(EXAMPLE, 'simulated'))
  await page.press('log-in')
  assert.equal(page.text('error'), undefined)
  assert.equal(page.text('state'), '已登录，7 天内有效')
})
