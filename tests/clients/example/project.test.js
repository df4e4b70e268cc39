'use strict'

// The files of the example: what DevTools would complain about.

const assert = require('node:assert/strict')
const { existsSync, readdirSync, readFileSync } = require('node:fs')
const { basename, join } = require('node:path')
const { test } = require('node:test')

const { createWx } = require('../wx.js')

const { EXAMPLE } = process.env
const read = (path) => readFileSync(join(EXAMPLE, path), 'utf8')
const files = readdirSync(EXAMPLE, { recursive: true }).filter(
  (path) => !/^(node_modules|miniprogram_npm)\b/.test(path),
)
const { pages } = JSON.parse(read('app.json'))

test('every JSON file can be read', () => {
  const found = files.filter((path) => path.endsWith('.json'))
  assert(found.length >= 4 + pages.length)
  for (const path of found) assert.equal(typeof JSON.parse(read(path)), 'object', path)
})

test('app.json names exactly the pages that there are, and each has its files', () => {
  const found = files.filter((path) => path.endsWith('.wxml'))
  assert.deepEqual([...pages].sort(), found.map((path) => path.replace(/\.wxml$/, '')).sort())
  for (const page of pages) {
    for (const suffix of ['js', 'json']) assert(existsSync(join(EXAMPLE, `${page}.${suffix}`)))
    assert.deepEqual(JSON.parse(read(`${page}.json`)).usingComponents, {}) // it is a Component()
  }
  assert.equal(JSON.parse(read('app.json')).sitemapLocation, 'sitemap.json')
})

test('every link leads to a page', () => {
  for (const page of pages) {
    for (const [, url] of read(`${page}.wxml`).matchAll(/\burl="\/([^"]*)"/g)) {
      assert(pages.includes(url), `${page}: ${url}`)
    }
  }
})

for (const page of pages) {
  test(`${basename(page)}: every handler that the page names is there`, () => {
    const named = [...read(`${page}.wxml`).matchAll(/\s(?:bind|catch):?\w+="([^"]*)"/g)]
    assert.notEqual(named.length, 0)
    const { methods } = definitionOf(page)
    for (const [, name] of named) assert.equal(typeof methods[name], 'function', name)
  })
}

function definitionOf(page) {
  let defined
  global.wx = createWx({})
  global.Behavior = (definition) => definition
  global.Component = (definition) => (defined = definition)
  require(join(EXAMPLE, page))
  return defined
}

test('modern JavaScript is compiled for old phones', () => {
  const { setting } = JSON.parse(read('project.config.json'))
  assert.deepEqual([setting.es6, setting.enhance], [true, true])
})

test('DevTools finds the package where npm has put it: a copy, and no link', () => {
  const { setting } = JSON.parse(read('project.config.json'))
  const [relation] = setting.packNpmRelationList
  assert(setting.packNpmManually)
  const { dependencies } = JSON.parse(read(relation.packageJsonPath))
  for (const name of Object.keys(dependencies)) {
    const [entry] = readdirSync(join(EXAMPLE, 'node_modules'), { withFileTypes: true }).filter(
      (each) => each.name === name,
    )
    assert(entry?.isDirectory(), name)
  }
})

test('nobody but session.js knows the service, and nobody logs in past the package', () => {
  const scripts = files.filter((path) => path.endsWith('.js') && path !== 'simulated.js')
  for (const path of scripts) {
    assert(!/\bwx\.(login|request|checkSession)\b/.test(read(path)), path)
    if (path !== 'session.js') assert(!/createSession|wxsession-miniprogram'/.test(read(path)), path)
  }
})

test('the simulated WeChat takes no part until somebody wants it', () => {
  const scripts = files.filter((path) => path.endsWith('.js'))
  for (const path of scripts) assert(!/^[^/]*require\('[./]*simulated'/m.test(read(path)), path)
})
