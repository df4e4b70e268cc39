'use strict'

// What a phone has to load and to understand: node session/measure.js <file>…
//
// Prints, as JSON, for each file its size after terser; fails if one is not ES2015.

const fs = require('node:fs')
const { parse } = require('acorn')
const { minify } = require('terser')

async function main() {
  const sizes = {}
  for (const file of process.argv.slice(2)) {
    const source = fs.readFileSync(file, 'utf8')
    parse(source, { ecmaVersion: 2015, sourceType: 'script' })
    const { code } = await minify(source, { ecma: 2015, toplevel: true })
    sizes[file] = Buffer.byteLength(code)
  }
  console.log(JSON.stringify(sizes))
}

main()
