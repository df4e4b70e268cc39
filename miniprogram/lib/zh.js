// What a user is told: by the stable `code` of an error, never by its English message.
const BUSY = '服务繁忙，请稍后再试'
const BROKEN = '服务暂时不可用，请稍后再试'
const WECHAT = '暂时无法连接微信，请稍后再试'
const AGAIN = '登录已失效，请重新登录'
const WRONG = '程序出错了，请联系客服'

const words = {
  network_error: '网络不可用，请检查后重试',
  timeout: '网络超时，请重试',
  login_failed: '微信登录失败，请重试',
  logged_out: '你已退出登录，请先登录',
  credentials_required: '请先登录',
  storage_failed: '手机存储空间不足，请清理后重试',
  bad_answer: BROKEN,
  foreign_url: WRONG,
  invalid_options: WRONG,
  not_supported: '当前平台不支持该功能',

  user_declined: '你没有授权',
  privacy_declined: '你没有同意隐私保护指引',
  privacy_undeclared: '该功能暂未开放',
  phone_quota_exhausted: '暂时无法获取手机号，请稍后再试',
  button_failed: '操作失败，请重试',

  bad_credentials: '用户名或密码不正确',
  too_many_attempts: '尝试次数过多',
  username_taken: '该用户名不可用，请换一个',
  identity_bound: '该账号已绑定其他微信，或当前微信已绑定其他账号',
  last_credential: '解绑后将无法登录，请先设置用户名和密码',
  reauthentication_required: '为了账号安全，请重新登录后再试',
  user_blocked: '该账号已被停用',
  invalid_request: '填写的内容不符合要求',
  content_too_large: '填写的内容过长',
  session_key_stale: '授权信息已过期，请重新授权',
  watermark_mismatch: '授权信息已过期，请重新授权',
  authorization_pending: '请在手机上确认登录',
  slow_down: BUSY,
  access_denied: '登录请求被拒绝',
  expired_token: '二维码已失效，请刷新后重试',
  invalid_ticket: '页面已失效，请返回后重试',

  missing_token: AGAIN,
  invalid_token: AGAIN,
  session_expired: AGAIN,
  session_ended: AGAIN,
  session_superseded: AGAIN,
  invalid_code: '微信登录失败，请重试',
  code_used: '微信登录失败，请重试',

  wechat_busy: WECHAT,
  wechat_rate_limited: WECHAT,
  wechat_timeout: WECHAT,
  wechat_unreachable: WECHAT,
  wechat_unintelligible: WECHAT,

  overloaded: BUSY,
  database_unavailable: BROKEN,
  not_ready: BROKEN,
  app_rejected: BROKEN,
  internal_error: BROKEN,
  invalid_api_key: WRONG,
  push_refused: WRONG,
  not_found: WRONG,
  method_not_allowed: WRONG,
  unsupported_media_type: WRONG,
}

/** What to show the user for an error; with how long to wait, where the server says so. */
function inWords(error) {
  const said = words[error.code] || `出错了（${error.code || error.message}）`
  return error.retryAfter ? `${said}（请等待 ${duration(error.retryAfter)}）` : said
}

function duration(seconds) {
  return seconds < 60 ? `${seconds} 秒` : `${Math.ceil(seconds / 60)} 分钟`
}

module.exports = { inWords, words }
