// What a user is told. Those of the package, and one of our own.
const { inWords, words } = require('wxsession-miniprogram/zh')

words.upload_failed = '头像上传失败，请重试'

module.exports = { inWords }
