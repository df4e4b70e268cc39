'use strict'

// A phone that runs the example: its pages are rendered, without a browser, by the package that
// WeChat gives for tests of components; requests and logins are those of ../wx.js.
//
//   const phone = new Phone('alice')
//   const page = await phone.open('profile')      // once it has nothing under way
//   await page.submit({ nickname: 'Alice' })
//   page.text('nickname')
//
// There is one `wx`, so of several phones only the one that was started last can be used.

const assert = require('node:assert/strict')
const { join, sep } = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')

const simulate = require('miniprogram-simulate')
const { createWx } = require('../wx.js')

const { EXAMPLE, SIMULATOR, APPID } = process.env
const PATIENCE = 10000
const EVENT_OF = { chooseAvatar: 'chooseavatar', getPhoneNumber: 'getphonenumber' }

// Without a `window` at its start, the package keeps its tree without a DOM. Later it asks for one
// nevertheless, to hang things into it that nobody looks at.
const nothing = () => ({ addEventListener() {}, appendChild() {}, removeChild() {} })
global.window = global
global.document = {
  createElement: nothing,
  createDocumentFragment: nothing,
  querySelectorAll: () => [],
  getElementsByTagName: () => [],
}

class Phone {
  constructor(user) {
    this.user = user
    this.toasts = []
    this.uploads = []
    this.confirms = true // what the user presses when asked
    this.uploaded = null // what the place for pictures answers, if it does
    this.start(createWx({ simulator: SIMULATOR, user, appid: APPID }))
  }

  start(wx) {
    this.wx = wx
    global.wx = Object.assign(wx, {
      showToast: ({ title }) => this.toasts.push(title),
      showModal: async () => ({ confirm: this.confirms }),
      uploadFile: (options) => {
        this.uploads.push(options.filePath)
        const fail = { errMsg: 'uploadFile:fail' }
        setImmediate(() => (this.uploaded ? options.success(this.uploaded) : options.fail(fail)))
      },
    })
    for (const file of Object.keys(require.cache)) {
      if (file.startsWith(EXAMPLE + sep)) delete require.cache[file]
    }
    this.session = require(join(EXAMPLE, 'session'))
  }

  // The app is killed and started again; what it stored is still there.
  restart() {
    this.start(this.wx.double.restart())
  }

  offline(isOffline) {
    const failing = () => ({ fail: { errMsg: 'request:fail', errno: 600001 } })
    this.wx.double.onRequest = isOffline ? failing : null
  }

  async open(name) {
    const page = this.show(name)
    await page.settled()
    return page
  }

  // Opens a page and does not wait for it.
  show(name) {
    const path = join(EXAMPLE, 'pages', name, name)
    const page = simulate.render(simulate.load(path, { compiler: 'simulate', rootPath: EXAMPLE }))
    page.attach(nothing())
    return new Page(page)
  }

  async phoneCode() {
    return (await post(`${SIMULATOR}/simulator/phone_code`, { user: this.user, appid: APPID })).code
  }
}

class Page {
  constructor(component) {
    this.component = component
  }

  get instance() {
    return this.component.instance
  }

  close() {
    this.component.detach()
  }

  async settled() {
    const deadline = Date.now() + PATIENCE
    while (this.component.data.busy) {
      assert(Date.now() < deadline, 'the page never comes to an end')
      await sleep(1)
    }
  }

  // What the user reads: all texts, or those of one element; undefined if it is not shown.
  text(id) {
    const node = id === undefined ? this.component.toJSON() : this.find(id)
    return node && textOf(node)
  }

  attribute(id, name) {
    return attributesOf(this.find(id))[name]
  }

  buttons() {
    return this.all('wx-button').map(attributesOf)
  }

  // The user presses a button; `detail` is what WeChat then gives, if the button opens something.
  async press(id, detail = {}) {
    this.touch(id, detail)
    await this.settled()
  }

  // The same, and does not wait.
  touch(id, detail = {}) {
    const node = this.find(id)
    assert(node, `there is no #${id}`)
    const { disabled, 'open-type': opens } = attributesOf(node)
    assert(!disabled, `#${id} is disabled`)
    const event = opens ? EVENT_OF[opens.split('|')[0]] : 'tap' // the others go along with it
    assert(node.event[event], `#${id} does nothing on ${event}`)
    this.fire(`#${id}`, event, detail)
  }

  // The user fills in these fields and presses the form's button; the others stay as they are.
  async submit(filled) {
    const inputs = this.all('wx-input').map(attributesOf)
    const value = Object.fromEntries(inputs.map((input) => [input.name, input.value ?? '']))
    for (const name of Object.keys(filled)) assert(name in value, `there is no field ${name}`)
    const [button, ...others] = this.buttons().filter((each) => each['form-type'] === 'submit')
    assert(button && others.length === 0 && !button.disabled)
    this.fire('.form', 'submit', { value: { ...value, ...filled } })
    await this.settled()
  }

  fire(selector, event, detail) {
    this.component.querySelector(selector)._exparserNode.triggerEvent(event, detail)
  }

  find(id) {
    return this.all().find((node) => attributesOf(node).id === id)
  }

  all(tagName) {
    const under = (node) =>
      typeof node === 'string' ? [] : [node, ...node.children.flatMap(under)]
    return under(this.component.toJSON()).filter((node) => !tagName || node.tagName === tagName)
  }
}

function attributesOf(node) {
  return Object.fromEntries(node.attrs.map(({ name, value }) => [name, value]))
}

function textOf(node) {
  return typeof node === 'string' ? node : node.children.map(textOf).join(' ').trim()
}

async function post(url, body, header = {}) {
  const headers = { 'Content-Type': 'application/json', ...header }
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  assert(answer.ok, `${url}: ${answer.status}`)
  return answer.status === 204 ? undefined : answer.json()
}

module.exports = { Phone, post }
