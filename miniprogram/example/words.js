// What a user is told: by the stable `code` of an error, never by its English message.
const BUSY = '服务繁忙，请稍后再试'
const WECHAT = '暂时无法连接微信，请稍后再试'

const WORDS = {
  network_error: '网络不可用，请检查后重试',
  timeout: '网络超时，请重试',
  login_failed: '微信登录失败，请重试',
  logged_out: '你已退出登录，请先登录',
  bad_credentials: '用户名或密码不正确',
  too_many_attempts: '尝试次数过多',
  identity_bound: '该账号已绑定其他微信，或当前微信已绑定其他账号',
  user_blocked: '该账号已被停用',
  invalid_request: '填写的内容不符合要求',
  upload_failed: '头像上传失败，请重试',
  overloaded: BUSY,
  wechat_busy: WECHAT,
  wechat_rate_limited: WECHAT,
  wechat_timeout: WECHAT,
  wechat_unreachable: WECHAT,
}

function inWords(error) {
  const words = WORDS[error.code] || `出错了（${error.code || error.message}）`
  return error.retryAfter ? `${words}（请等待${duration(error.retryAfter)}）` : words
}

function duration(seconds) {
  return seconds < 60 ? `${seconds} 秒` : `${Math.ceil(seconds / 60)} 分钟`
}

module.exports = { inWords }
