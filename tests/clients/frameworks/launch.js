'use strict'

// Starts what a tool chain has built, on a phone or in a browser without a screen:
//
//   const app = await launch('mp-weixin')    // or 'weapp', 'h5'
//
//   wxs          the session of the application: the tests add a line to its session.js that hands it out
//   isSilent     whether it logs in without a password
//   sent(end)    the requests whose address ends so
//   stored(), store(changes)    what the client keeps
//   picture(url) the options of an upload
//   text(id)     what the page shows, in a browser

const fs = require('node:fs')
const { createRequire } = require('node:module')
const path = require('node:path')
const vm = require('node:vm')
const { createWx } = require('../wx')
const { eventually } = require('../session/support')

const { SERVICE, SIMULATOR, APPID, BUILT, TOOLS } = process.env
const KEY = `wxsession:${SERVICE}/`

function launch(kind) {
  return kind === 'h5' ? launchInBrowser() : launchOnPhone()
}

async function launchOnPhone() {
  const phone = createWx({ simulator: SIMULATOR, user: `somebody with ${BUILT}`, appid: APPID })
  const { double } = phone
  double.files.set('wxfile://picture.jpg', Buffer.from('a picture'))
  const device = { platform: 'ios', system: 'iOS 17.5', SDKVersion: '3.7.0', language: 'zh_CN', pixelRatio: 2 }
  const screen = { windowWidth: 375, windowHeight: 667, screenWidth: 375, screenHeight: 667, statusBarHeight: 20 }
  const info = () => ({ ...device, ...screen, safeArea: { top: 0, bottom: 667, left: 0, right: 375 } })
  const names = ['getSystemInfoSync', 'getAppBaseInfo', 'getDeviceInfo', 'getWindowInfo', 'getSystemSetting']
  Object.assign(phone, Object.fromEntries(names.map((name) => [name, info])), {
    canIUse: () => true,
    getLaunchOptionsSync: () => ({ path: 'pages/index/index', query: {}, scene: 1001 }),
    getEnterOptionsSync: () => ({ path: 'pages/index/index', query: {}, scene: 1001 }),
    ...Object.fromEntries(['showLoading', 'hideLoading', 'onWindowResize', 'onAppShow', 'onAppHide'].map((name) => [name, () => {}])),
  })
  let application = {}
  Object.assign(global, {
    wx: phone,
    App: (options) => (application = options),
    Page() {},
    Component() {},
    Behavior: (options) => options,
    getApp: () => application,
    getCurrentPages: () => [],
  })
  require(path.join(BUILT, 'app.js'))
  require(path.join(BUILT, 'pages/index/index.js'))
  application.onLaunch?.(phone.getLaunchOptionsSync())
  return {
    wxs: global.wxsession,
    isSilent: true,
    sent: (end) => double.requests.filter(({ url }) => url.endsWith(end)),
    stored: () => double.storage.get(KEY),
    store: (changes) => double.storage.set(KEY, { ...double.storage.get(KEY), ...changes }),
    picture: (url) => ({ url, filePath: 'wxfile://picture.jpg', name: 'file' }),
    close() {},
  }
}

// The pages come from the origin of the service, as they have to: it speaks no CORS.
async function launchInBrowser() {
  const { JSDOM, ResourceLoader } = createRequire(path.join(TOOLS, 'package.json'))('jsdom')
  class Styles extends ResourceLoader {
    fetch() {
      return Promise.resolve(Buffer.from('')) // how the page looks is not what is tested
    }
  }
  const html = fs.readFileSync(path.join(BUILT, 'index.html'), 'utf8')
  const [script, entry] = /<script type="module"[^>]* src="([^"]+)"[^>]*><\/script>/.exec(html)
  const dom = new JSDOM(html.replace(script, ''), {
    ...{ url: `${SERVICE}/`, pretendToBeVisual: true, runScripts: 'dangerously', resources: new Styles() },
    beforeParse(window) {
      window.matchMedia = () => ({ matches: false, addListener() {}, addEventListener() {} })
      window.CSS = { supports: () => false }
      window.fetch = async () => ({}) // of a hint to load something early
    },
  })
  const { window } = dom
  const requests = []
  const { open } = window.XMLHttpRequest.prototype
  window.XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    requests.push({ method, url })
    return open.call(this, method, url, ...rest)
  }
  await runModule(dom.getInternalVMContext(), path.join(BUILT, entry))
  await eventually(() => window.wxsession) // the page is loaded when it is shown
  const { wxsession, localStorage, document } = window
  const stored = () => JSON.parse(localStorage.getItem(KEY)).data // that is how uni keeps it there
  return {
    wxs: wxsession,
    isSilent: false,
    sent: (end) => requests.filter(({ url }) => url.endsWith(end)),
    stored,
    store: (changes) =>
      localStorage.setItem(KEY, JSON.stringify({ type: 'object', data: { ...stored(), ...changes } })),
    picture: (url) => ({
      ...{ url, filePath: 'blob:picture', name: 'file' },
      file: new window.File(['a picture'], 'picture.jpg'),
    }),
    text: (id) => document.getElementById(id)?.textContent,
    close: () => window.close(),
  }
}

// A browser's modules: jsdom has none.
async function runModule(context, entry) {
  const modules = new Map()

  function load(file) {
    const known = modules.get(file)
    if (known) return known
    const imported = (specifier) => load(path.resolve(path.dirname(file), specifier))
    const module = new vm.SourceTextModule(fs.readFileSync(file, 'utf8'), {
      context,
      identifier: file,
      initializeImportMeta: (meta) => (meta.url = `${SERVICE}/${path.relative(BUILT, file)}`),
      importModuleDynamically: (specifier) => evaluated(imported(specifier)),
    })
    modules.set(file, module)
    return module
  }

  async function evaluated(module) {
    const linker = (specifier, { identifier }) => load(path.resolve(path.dirname(identifier), specifier))
    if (module.status === 'unlinked') await module.link(linker)
    await module.evaluate()
    return module
  }

  await evaluated(load(entry))
}

module.exports = { launch }
