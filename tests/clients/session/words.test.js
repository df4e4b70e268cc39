'use strict'

// The words for users: whatever can go wrong has some.

const { test } = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')

const LIB = path.resolve(__dirname, '../../../miniprogram/lib')
const { inWords, words } = require(path.join(LIB, 'zh'))

test('every code of the server has words', () => {
  const codes = process.env.CODES.split(',')
  assert.ok(codes.length > 20)
  for (const code of codes) assert.match(words[code] ?? '', /[\u4e00-\u9fff]/, code)
})

test('every code of this package has words', () => {
  const types = fs.readFileSync(path.join(LIB, 'core.d.ts'), 'utf8')
  const [, said] = /The server's code, or one of this package:([^]*?)\*\//.exec(types)
  const codes = said.match(/(?<=`)[a-z_]+(?=`)/g)
  assert.ok(codes.length >= 15)
  for (const code of codes) assert.match(words[code] ?? '', /[\u4e00-\u9fff]/, code)
})

test('a user is told how long to wait, and a code that nobody knows', () => {
  assert.equal(inWords({ code: 'too_many_attempts', retryAfter: 30 }), '尝试次数过多（请等待 30 秒）')
  assert.equal(inWords({ code: 'too_many_attempts', retryAfter: 61 }), '尝试次数过多（请等待 2 分钟）')
  assert.equal(inWords({ code: 'teapot' }), '出错了（teapot）')
  assert.equal(inWords(new Error('boom')), '出错了（boom）')
})

test('an application may have words of its own', () => {
  const { network_error: ours } = words
  words.network_error = '没网了'
  assert.equal(inWords({ code: 'network_error' }), '没网了')
  words.network_error = ours
})
