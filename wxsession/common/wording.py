"""What people read, in Chinese: the English text is the key, and stands where it is used.

A sentence with values in it is a template: ``{count} sessions ended.`` What is not in here is
shown in English.
"""

from collections.abc import Mapping
from typing import Final, Self

ENGLISH: Final = "en"
CHINESE: Final = "zh"

_LATER: Final = "请稍后再试。"
_LOG_IN_AGAIN: Final = "请重新登录。"
_SEE_LOG: Final = "原因见服务端日志。"
_SEE_PAGE: Final = "请查阅 /openapi.json。"

IN_CHINESE: Final[Mapping[str, str]] = {
    # The problems: titles and details.
    "The request is not valid.": "请求无效。",
    "See `errors` for every field that is wrong.": "`errors` 列出了每个有误的字段。",
    "A session token is required.": "需要会话令牌。",
    "Send it as Authorization: Bearer <session_token>.": (
        "请用请求头发送：Authorization: Bearer <session_token>。"
    ),
    "The session token is not valid.": "会话令牌无效。",
    "It is malformed, or belongs to no session of this server. Log in again.": (
        "格式不对，或者不属于本服务的任何会话。请重新登录。"
    ),
    "The session has expired.": "会话已过期。",
    "Log in again.": _LOG_IN_AGAIN,
    "The session was ended.": "会话已结束。",
    "The session has a newer token.": "该会话已有更新的令牌。",
    "Use the token of the last refresh, or log in again.": (
        "请使用最近一次刷新得到的令牌，或者重新登录。"
    ),
    "WeChat does not accept this code.": "微信不接受这个 code。",
    "Call wx.login again.": "请重新调用 wx.login。",
    "This code was already used.": "这个 code 已被使用。",
    "This user may not log in.": "该用户不能登录。",
    "The user is blocked.": "该用户已被停用。",
    "Wrong username or password.": "用户名或密码不正确。",
    "There is no such user, or the password is wrong.": "没有这个用户，或者密码不对。",
    "Too many attempts.": "尝试次数过多。",
    "Try again later. A login by WeChat code is still possible after wrong passwords.": (
        "请稍后再试。因密码错误受限时，仍可用微信 code 登录。"
    ),
    "This username is not available.": "该用户名不可用。",
    "Another user has it, or this user already has a username.": (
        "它已被占用，或者该用户已有用户名。"
    ),
    "This WeChat user and this account cannot be bound.": "该微信用户与该账号无法绑定。",
    "The account already has another WeChat user of this app, or the WeChat user already has"
    " another account.": "账号在本小程序已有另一个微信用户，或者该微信用户已有另一个账号。",
    "This is the user's only way to log in.": "这是该用户唯一的登录方式。",
    "Register a username and a password first, or set a new password.": (
        "请先设置用户名和密码，或者重新设置密码。"
    ),
    "A recent login is required.": "需要最近登录过。",
    "Call wx.login, log in, and send this request again within ten minutes.": (
        "请调用 wx.login 重新登录，并在十分钟内重发本请求。"
    ),
    "The data does not match any session_key of this server.": (
        "数据与服务端保留的 session_key 都不匹配。"
    ),
    "Call wx.login, log in, get the data from WeChat again, and send it.": (
        "请调用 wx.login 重新登录，再从微信重新取得数据并发送。"
    ),
    "The data was not made for this login.": "数据不是为本次登录生成的。",
    "It belongs to another app or user, or is too old. Get it from WeChat again.": (
        "它属于其他小程序或用户，或者太旧。请从微信重新取得。"
    ),
    "The ticket is not valid.": "票据无效。",
    "It is unknown, was used, has expired, or is for another audience. Get a new one.": (
        "它不存在、已被使用、已过期，或者不是发给这里的。请换一张新的。"
    ),
    "Nobody has decided yet.": "还没有人确认。",
    "Ask again after the interval, until the code has expired.": (
        "在 code 过期之前，请每隔规定的时间再查询一次。"
    ),
    "Too soon.": "查询太频繁。",
    "Ask again, but not before the interval is over.": "请等规定的间隔过去后再查询。",
    "The user does not let this device in.": "用户拒绝了这台设备登录。",
    "Show that to the user.": "请把这一点告知用户。",
    "The code is not valid.": "code 无效。",
    "It is unknown, was used, or has expired. Let the device get a new one.": (
        "它不存在、已被使用或已过期。请让设备重新获取。"
    ),
    "This API key is not for that.": "这个 API 密钥没有该权限。",
    "Use a key that has the scope, or add the scope in WXSESSION_API_KEYS.": (
        "请使用带有该权限的密钥，或在 WXSESSION_API_KEYS 里加上该权限。"
    ),
    "A valid API key is required.": "需要有效的 API 密钥。",
    "Send a key of WXSESSION_API_KEYS as HTTP Basic (name and key) or as Bearer.": (
        "请发送 WXSESSION_API_KEYS 中的密钥：HTTP Basic（名称和密钥）或 Bearer。"
    ),
    "This message is not accepted as one of WeChat's.": "这条消息不能认定为微信所发。",
    "See `reason`. WXSESSION_PUSH has to be as the mini-program's console: the token, the"
    " EncodingAESKey, and safe mode if there is one.": (
        "原因见 `reason`。WXSESSION_PUSH 要与小程序后台一致：Token、EncodingAESKey，"
        "填了后者就要用安全模式。"
    ),
    "WeChat limits the rate of requests.": "微信限制了请求频率。",
    "Try again later.": _LATER,
    "WeChat is busy.": "微信系统繁忙。",
    "Try again.": "请重试。",
    "WeChat cannot be reached.": "无法连接微信。",
    "Try again. If the code was already used, call wx.login again.": (
        "请重试。如果 code 已被使用，请重新调用 wx.login。"
    ),
    "WeChat did not respond in time.": "微信没有及时响应。",
    "Unexpected response from WeChat.": "微信的响应无法识别。",
    "Call wx.login and try again.": "请调用 wx.login 后重试。",
    "WeChat rejects this server's configuration.": "微信拒绝了本服务的配置。",
    "The reason is in the log of the server.": _SEE_LOG,
    "The server is overloaded.": "服务繁忙。",
    "Try again in a moment.": _LATER,
    "The server is not ready.": "服务尚未就绪。",
    "The schema of its database is missing or too old. The operator has to run"
    " upgrade-database.": "数据库没有表结构或版本过旧，需要运维人员执行 upgrade-database。",
    "The database is not available.": "数据库不可用。",
    "It cannot be reached, is read-only or full, or does not respond. Try again in a moment.": (
        "连不上、只读、已满或没有响应。请稍后再试。"
    ),
    "Not found.": "找不到。",
    "See /openapi.json.": _SEE_PAGE,
    "Method not allowed.": "不支持该请求方法。",
    "The body is too large.": "请求体过大。",
    "Send a smaller one.": "请减小后再发送。",
    "The body has the wrong media type.": "请求体的类型不对。",
    "An unexpected error occurred.": "发生了意外错误。",
    # What commands print.
    "sessions ended": "个会话已结束",
    "sessions deleted": "个会话已删除",
    "sessions and events cleared": "个会话和事件已清除",
    "Delete this user for good?": "彻底删除该用户？",
    "The user is deleted.": "用户已删除。",
    "values resealed": "个值已重新加密",
    "values counted": "个值已统计",
    "events delivered": "个事件已投递",
    "{count} events are delivered again.": "将重新投递 {count} 个事件。",
    "{name} ({role}) opens this link until {moment}, once:": (
        "{name}（{role}）请在 {moment} 之前打开此链接，只能用一次："
    ),
    "The admin is disabled.": "该管理员已被禁用。",
    "The admin may sign in.": "该管理员可以登录了。",
    "no admin has this name": "没有这个名字的管理员",
    "is that of an admin already": "已被另一位管理员使用",
    "needs 1 to {most} characters, and no blanks": "需要 1 到 {most} 个字符，不能有空白",
    "is that of a disabled admin: enable the admin first (`admins enable NAME`)": (
        "对应的管理员已被禁用：请先启用（`admins enable NAME`）"
    ),
    "The user is disabled; {count} sessions ended.": "用户已禁用，结束了 {count} 个会话。",
    "The user may log in.": "用户可以登录了。",
    "The user {user_id} is created.": "已创建用户 {user_id}。",
    "The password of {username} until {moment}: {password}": (
        "{username} 的密码，{moment} 之前有效：{password}"
    ),
    "The wrong passwords are forgotten.": "已清除密码错误次数。",
    "End the sessions of everybody?": "确定结束所有人的会话吗？",
    "End the sessions of all WeChat users of {appid}?": "确定结束 {appid} 所有微信用户的会话吗？",
    "The WeChat user is the user {new_user_id} now.": "该微信用户现在是用户 {new_user_id}。",
    "The WeChat user belongs to the user {new_user_id} now.": (
        "该微信用户现在属于用户 {new_user_id}。"
    ),
    "The user {user_id} is merged into {new_user_id}: no other way to log in was left.": (
        "用户 {user_id} 没有别的登录方式，已合并到 {new_user_id}。"
    ),
    "{count} sessions ended.": "结束了 {count} 个会话。",
    "{count} session_keys reset.": "重置了 {count} 个 session_key。",
    "{count} had been replaced before.": "另有 {count} 个此前已被更换。",
    "{count} could not be reset: add the key that opens them to WXSESSION_SECRET_KEYS, and run this"
    " again.": ("{count} 个无法重置：请把能解开它们的密钥加入 WXSESSION_SECRET_KEYS，再执行一次。"),
    "{count} could not be reset: add the app to WXSESSION_APPS, and run this again.": (
        "{count} 个无法重置：请把小程序加入 WXSESSION_APPS，再执行一次。"
    ),
    "The session is ended.": "会话已结束。",
    "The session was not live.": "该会话本来就已失效。",
    "There are more: --after {id}": "还有更多：--after {id}",
    "Continue with --after {cursor}": "继续查看：--after {cursor}",
    "{sessions} sessions and {events} audit events to delete.": (
        "将删除 {sessions} 个会话、{events} 条审计事件。"
    ),
    "{sessions} sessions, {login_codes} login codes, {tickets} tickets, {device_codes} device"
    " codes, {failed_attempts} failed attempts and {audit_events} audit events deleted in"
    " {batches} batches, {seconds:.1f} s.": (
        "删除了 {sessions} 个会话、{login_codes} 个登录 code、{tickets} 张票据、"
        "{device_codes} 个扫码代码、"
        "{failed_attempts} 条失败计数、{audit_events} 条审计事件，"
        "共 {batches} 批，用时 {seconds:.1f} 秒。"
    ),
    "Time is up, more is left.": "时间到了，还没有删完。",
    "The database is at revision {revision}.": "数据库的版本是 {revision}。",
    "Drop what was added since {revision}?": "要删除 {revision} 之后新增的内容吗？",
    "{count} values resealed.": "重新加密了 {count} 个值。",
    "{count} values cannot be opened: the key that sealed them is not in WXSESSION_SECRET_KEYS. Add"
    " it there, and run this again; `keys status` shows which key it is.": (
        "{count} 个值解不开：加密它们的密钥不在 WXSESSION_SECRET_KEYS 里。请加上它，再执行一次；"
        "`keys status` 会显示是哪个密钥。"
    ),
    # What commands refuse.
    "Another purge is running.": "另一个清理正在运行。",
    "Another process delivers to this webhook.": "另一个进程正在向这个 webhook 投递。",
    "there is no webhook; set WXSESSION_WEBHOOKS": "没有 webhook；请设置 WXSESSION_WEBHOOKS",
    "no webhook has this name; WXSESSION_WEBHOOKS has {names}": (
        "没有这个名称的 webhook；WXSESSION_WEBHOOKS 里有 {names}"
    ),
    "this host's clock and the database's differ by {seconds} seconds; nothing was deleted. Set the"
    " clock of the one that is wrong.": (
        "本机与数据库的时钟相差 {seconds} 秒，没有删除任何数据。请校准不准的那一个。"
    ),
    "the database already has {tables}, which this command did not create; nothing was changed."
    " Rename them, or let WXSESSION_DATABASE_URL name another database": (
        "数据库里已有 {tables}，不是本命令创建的；没有做任何改动。请给它们改名，"
        "或者让 WXSESSION_DATABASE_URL 指向另一个数据库"
    ),
    "the tables of wxsession get names that begin with wxsession_, but SQLite cannot rename what"
    " foreign keys of {tables} refer to; nothing was changed. Drop these foreign keys, run this"
    " again, and create them again": (
        "wxsession 的表要改为以 wxsession_ 开头的名称，但 {tables} 的外键引用了它们，SQLite 无法"
        "随之改名；没有做任何改动。请删除这些外键，再执行一次，然后重建外键"
    ),
    "the table wxsession_version is at revision {revision}, which this version of wxsession does"
    " not know; nothing was changed. Install the version that upgraded this database, or a newer"
    " one": (
        "wxsession_version 表的版本是 {revision}，当前安装的 wxsession 不认识；没有做任何改动。"
        "请安装升级过这个数据库的版本，或更新的版本"
    ),
    "this user was merged into {user_id}": "该用户已并入 {user_id}",
    "no user has this id": "没有这个 id 的用户",
    "another user has this username": "该用户名已被其他用户使用",
    "one of the users is disabled; enable it first": "其中一个用户已被禁用；请先启用",
    "the other user has a WeChat user of this app already": "另一个用户在该小程序已有微信用户",
    "the user would have no way left to log in; `identities move` can do that": (
        "该用户会因此无法登录；可以改用 `identities move`"
    ),
    "no session has this id": "没有这个 id 的会话",
    "has no username, so a password opens nothing": "没有用户名，设置密码没有意义",
    "is that of nobody": "没有用户使用",
    "needs {shortest} to {longest} characters": "需要 {shortest} 到 {longest} 个字符",
    "has an invisible character, U+{code:04X}; leave it out": (
        "含有不可见字符 U+{code:04X}，请去掉"
    ),
    "must not begin or end with a blank, nor have two in a row": (
        "首尾不能有空格，中间不能有连续的空格"
    ),
    "is one of the most common passwords": "是最常见的密码之一",
    "is the username": "与用户名相同",
    "is the one whom the WeChat user belongs to": "就是该微信用户现在所属的用户",
    "has no WeChat user of {appid}": "在 {appid} 没有微信用户",
    "has no WeChat user here": "在这里没有微信用户",
    "not an app of this server": "不是本服务的小程序",
    "is no event, or one that was purged": "没有这个事件，或者已被清理",
    "is no position, or one that was purged": "没有这个位置，或者已被清理",
    "is not what an earlier page had as next": "不是之前某一页给出的 next",
    "must be from 1 to {most}": "必须在 1 到 {most} 之间",
    "was delivered meanwhile, or purged": "已在此期间送达，或者已被清理",
    "is none of this version's: look into migrations/versions": (
        "不是当前版本的修订：请查看 migrations/versions"
    ),
    "is not accepted, or took too long": "未被接受，或者用时太久",
    "would be one more than {most}": "已经有 {most} 个，不能再多",
    "is registered already": "已经注册过",
    "is not the one that the app shows now": "不是验证器现在显示的那个",
    "the database has no schema of this version: run `{flask} upgrade-database`": (
        "数据库没有当前版本的表结构：请执行 `{flask} upgrade-database`"
    ),
    "the database cannot be used; the log says why. Check that it runs, and that"
    " WXSESSION_DATABASE_URL points to it": (
        "数据库无法使用，原因见日志。请确认它在运行，并且 WXSESSION_DATABASE_URL 指向它"
    ),
    "the database did not respond in time; the log says why. Run this again": (
        "数据库没有及时响应，原因见日志。请再执行一次"
    ),
    "WeChat refuses the app; the log says what to correct": (
        "微信拒绝了该小程序，日志里写明了要修正什么"
    ),
    "WeChat could not be asked; the log says why. Run this again later": (
        "无法请求微信，原因见日志。请稍后再执行一次"
    ),
    "{code}: see the log": "{code}：请查看日志",
    # What went wrong at WeChat, and the cures, as docs/zh/errors.md has them.
    "WeChat is busy, also after every retry": "微信系统繁忙，重试后仍然如此",
    "nothing: the client tries again": "无需处理：客户端会重试",
    "the code is wrong, expired, or of another app": "code 错误、已过期，或属于其他小程序",
    "the client calls wx.login again; if no code is taken, WXSESSION_APPS has another appid "
    "than the mini-program": (
        "客户端重新调用 wx.login；如果所有 code 都被拒绝，说明 WXSESSION_APPS 里的 appid 与小"
        "程序不一致"
    ),
    "the code is missing": "缺少 code",
    "the client calls wx.login again": "客户端重新调用 wx.login",
    "the code was exchanged before": "code 已被使用",
    "the client calls wx.login again; if new codes fail as well, another server exchanges them "
    "too": "客户端重新调用 wx.login；如果新的 code 也这样，说明另有服务器在用它换取会话",
    "WeChat considers this user a high risk": "微信认为该用户是高风险用户",
    "nothing: WeChat keeps the user out": "无需处理：微信拦截了该用户",
    "too many calls in this minute": "本分钟内调用太多",
    "find the client that logs in again and again": "找出反复登录的客户端",
    "the app's calls of this day are used up": "小程序当日的调用次数已用完",
    "find out who makes so many; the mini-program's console can reset the count": (
        "找出是谁调用了这么多次；可以在小程序后台清零"
    ),
    "the grant_type is wrong": "grant_type 不正确",
    "correct WXSESSION_APPS, and check what responds at WXSESSION_WECHAT_URL": (
        "修正 WXSESSION_APPS，并检查 WXSESSION_WECHAT_URL 处是谁在响应"
    ),
    "WeChat does not know the appid": "微信不认识这个 appid",
    "correct the appid in WXSESSION_APPS": "修正 WXSESSION_APPS 里的 appid",
    "the app secret is wrong": "AppSecret 错误",
    "correct the secret in WXSESSION_APPS": "修正 WXSESSION_APPS 里的 AppSecret",
    "this server's address is not in the app's IP whitelist": (
        "本服务器的 IP 不在小程序的 IP 白名单里"
    ),
    "add the address in the mini-program's console": "在小程序后台把它加入白名单",
    "the app secret is frozen": "AppSecret 已被冻结",
    "unfreeze it in the mini-program's console": "在小程序后台解冻",
    "the appid is missing": "缺少 appid",
    "the app secret is missing": "缺少 AppSecret",
    "the app may not use this endpoint": "小程序没有该接口的权限",
    "check its permissions in the mini-program's console": "在小程序后台查看接口权限",
    "the app's account is frozen or cancelled": "小程序账号已被冻结或注销",
    "look for notices in the mini-program's console": "在小程序后台查看通知",
    "the app may not fetch access_tokens": "小程序被禁止获取 access_token",
    "check the mini-program's console": "在小程序后台查看",
    "the app's account is frozen": "小程序账号已被冻结",
    "an administrator has to confirm this server's address": "本服务器的 IP 需要管理员确认",
    "let an administrator of the mini-program confirm the address to WeChat": (
        "请小程序管理员在微信里确认该 IP"
    ),
    "an administrator refused this server's address twice, for 24 hours": (
        "管理员两次拒绝了本服务器的 IP，24 小时内不可用"
    ),
    "an administrator refused this server's address, for an hour": (
        "管理员拒绝了本服务器的 IP，1 小时内不可用"
    ),
    "the access_token is not the latest": "access_token 不是最新的",
    "nothing: another one is fetched; see the log if it fails too": (
        "无需处理：会重新获取，获取失败另有日志"
    ),
    "the access_token is wrong": "access_token 无效",
    "the access_token is missing": "缺少 access_token",
    "the access_token has expired": "access_token 已过期",
    "the code is of another user": "code 属于其他用户",
    "the client lets the user press the button again": "客户端请用户重新点击按钮",
    "the code is of another app": "code 属于其他小程序",
    "if no code is taken, WXSESSION_APPS has another appid than the mini-program": (
        "如果所有 code 都被拒绝，说明 WXSESSION_APPS 里的 appid 与小程序不一致"
    ),
    "WeChat has replaced the session_key": "微信已换用另一个 session_key",
    "nothing: the next login brings the new one": "无需处理：下次登录会得到它",
    "an errcode that is not known here": "这里不认识的 errcode",
    "look it up in WeChat's documentation, or ask WeChat with the rid": (
        "查阅微信文档，或把 rid 提供给微信客服"
    ),
    "the name in WXSESSION_WECHAT_URL has no address": "WXSESSION_WECHAT_URL 里的域名解析不出地址",
    "correct it, or this server's DNS": "修正域名，或本服务器的 DNS",
    "no encrypted connection: the certificate is not accepted, or it is not TLS": (
        "无法建立加密连接：证书不被接受，或对方不是 TLS"
    ),
    "check this server's clock and CA certificates, and look for a proxy that opens TLS": (
        "检查本服务器的时钟和 CA 证书，以及是否有解开 TLS 的代理"
    ),
    "nothing listens at the address and port": "该地址和端口无人监听",
    "correct WXSESSION_WECHAT_URL, or the firewall": "修正 WXSESSION_WECHAT_URL，或防火墙",
    "the address cannot be reached from here": "从本服务器到不了该地址",
    "check this server's network: routes, IPv6, firewall": "检查本服务器的网络：路由、IPv6、防火墙",
    "no connection within WXSESSION_WECHAT_TIMEOUT": "在 WXSESSION_WECHAT_TIMEOUT 内没有连上",
    "let the firewall pass connections to WeChat": "让防火墙放行到微信的连接",
    "the proxy named in the environment makes no connection": "环境变量里的代理连不上",
    "correct HTTPS_PROXY or NO_PROXY, or the proxy": "修正 HTTPS_PROXY 或 NO_PROXY，或代理本身",
    "the connection broke before the whole response was there": "响应还没收完，连接就断了",
    "nothing, if it is rare; otherwise look for what cuts connections": (
        "偶尔出现无需处理；否则查找是谁切断了连接"
    ),
    "no whole response within WXSESSION_WECHAT_TIMEOUT": (
        "在 WXSESSION_WECHAT_TIMEOUT 内没有收完响应"
    ),
    "nothing, if it is rare; otherwise check the network, or allow more time": (
        "偶尔出现无需处理；否则检查网络，或放宽超时"
    ),
    "the response is not one of WeChat's": "这不是微信的响应",
    "check what responds at WXSESSION_WECHAT_URL: a proxy, an error page": (
        "检查 WXSESSION_WECHAT_URL 处是谁在响应：代理、错误页面"
    ),
    "errcode {errcode}, rid {rid}: {meaning}": "errcode {errcode}，rid {rid}：{meaning}",
    "errcode {errcode}, rid {rid}: {meaning} (it is {address})": (
        "errcode {errcode}，rid {rid}：{meaning}（IP 是 {address}）"
    ),
    "{code}, {name}: {meaning}": "{code}（{name}）：{meaning}",
    # What the doctor looks at, finds, and advises.
    "settings": "配置",
    "files": "文件",
    "metrics": "指标",
    "database": "数据库",
    "autovacuum": "autovacuum（自动清理）",
    "pooler": "连接池代理",
    "connections": "连接数",
    "clock": "时钟",
    "schema": "表结构",
    "indexes": "索引",
    "proxies": "反向代理",
    "rows": "待清理数据",
    "purge": "定期清理",
    "sealed values": "加密内容",
    "wechat": "微信",
    "{subject}: {found}": "{subject}：{found}",
    "{subject}: {found}; {cure}": "{subject}：{found}；{cure}",
    "valid; {count} apps": "有效，共 {count} 个小程序",
    "WXSESSION_WECHAT_URL is not WeChat's address": "WXSESSION_WECHAT_URL 不是微信的地址",
    "leave it out to ask {host}, unless it is a proxy or the simulator": (
        "去掉它就会请求 {host}；如果它是代理或模拟器，可以保留"
    ),
    "WXSESSION_WECHAT_URL is not https: AppSecrets cross the network in clear": (
        "WXSESSION_WECHAT_URL 不是 https：AppSecret 会明文经过网络"
    ),
    "let it begin with https://": "请改为以 https:// 开头",
    "the password in WXSESSION_DATABASE_URL is an example": (
        "WXSESSION_DATABASE_URL 里的密码是示例密码"
    ),
    "set one of your own: ALTER ROLE … PASSWORD": "请换成自己的密码：ALTER ROLE … PASSWORD",
    "WXSESSION_DIALECTS=all serves dialects with credentials in URLs, and so in logs": (
        "WXSESSION_DIALECTS=all 会开放把凭据放在 URL 里的方言，凭据会因此进入日志"
    ),
    "name the dialects that your clients use": "请只写客户端实际使用的方言",
    "{appid} in WXSESSION_APPS is no appid: wx and 16 hexadecimal digits": (
        "WXSESSION_APPS 里的 {appid} 不是 appid：应为 wx 加 16 位十六进制数字"
    ),
    "the AppSecret of {appid} is none: 32 hexadecimal digits": (
        "{appid} 的 AppSecret 格式不对：应为 32 位十六进制数字"
    ),
    "the AppSecret of {appid} is an example": "{appid} 的 AppSecret 是示例",
    "copy it from the mini-program's console": "请从小程序后台复制",
    "the file of {setting}": "{setting} 指定的文件",
    "the database {path}": "数据库文件 {path}",
    "every user of this machine can read {what}": "本机的所有用户都能读取{what}",
    "run chmod o-r on it": "请对它执行 chmod o-r",
    "nothing secret can be read by everybody": "机密文件都没有对所有用户开放读取权限",
    "off: Prometheus gets nothing": "未开启，Prometheus 得不到数据",
    "prometheus-client is missing: the boards have no data": (
        "没有安装 prometheus-client，看板没有数据"
    ),
    "run pip install 'wxsession[metrics]'": "请执行 pip install 'wxsession[metrics]'",
    "{address} does not respond ({reason}): the boards have no data": (
        "{address} 没有响应（{reason}），看板没有数据"
    ),
    "start the service; if it runs, its log says why it has no metrics": (
        "请启动服务；如果已在运行，日志里写明了为什么没有指标"
    ),
    "another program listens at {address}: the boards have no data": (
        "在 {address} 监听的是另一个程序，看板没有数据"
    ),
    "let WXSESSION_METRICS be another address": "请把 WXSESSION_METRICS 改为别的地址",
    "Prometheus gets them at {address}": "Prometheus 可从 {address} 获取",
    "see the log": "请查看日志",
    "{appid}: WeChat gives an access_token": "{appid}：可以从微信取得 access_token",
    "no answer in time": "没有及时响应",
    "it cannot be used: {said}": "无法使用：{said}",
    "start PostgreSQL, or correct host and port in WXSESSION_DATABASE_URL": (
        "请启动 PostgreSQL，或者改正 WXSESSION_DATABASE_URL 里的主机和端口"
    ),
    "create it with createdb, or correct WXSESSION_DATABASE_URL": (
        "请用 createdb 创建，或者改正 WXSESSION_DATABASE_URL"
    ),
    "create it with createuser, or correct WXSESSION_DATABASE_URL": (
        "请用 createuser 创建，或者改正 WXSESSION_DATABASE_URL"
    ),
    "correct user and password in WXSESSION_DATABASE_URL": (
        "请改正 WXSESSION_DATABASE_URL 里的用户名和密码"
    ),
    "correct the host in WXSESSION_DATABASE_URL, or the DNS": (
        "请改正 WXSESSION_DATABASE_URL 里的主机名，或检查 DNS"
    ),
    "let the firewall pass connections to the database": "请让防火墙放行到数据库的连接",
    "lower WXSESSION_POOL_SIZE, or raise the server's limits": (
        "请减小 WXSESSION_POOL_SIZE，或者提高数据库的连接数上限"
    ),
    "let WXSESSION_DATABASE_URL name another file": "请让 WXSESSION_DATABASE_URL 指向别的文件",
    "let the user of this process write to the file and its folder": (
        "请让运行本进程的用户可以写该文件及其所在目录"
    ),
    "see the log of the database": "请查看数据库的日志",
    "this machine and the database agree": "本机与数据库的时间一致",
    "this machine's clock and the database's differ by {seconds:.0f} seconds: nothing is purged": (
        "本机与数据库的时钟相差 {seconds:.0f} 秒，清理因此停止"
    ),
    "this machine's clock and the database's differ by {seconds:.0f} seconds": (
        "本机与数据库的时钟相差 {seconds:.0f} 秒"
    ),
    "set the one that is wrong, and let NTP keep both": "请校准不准的那一个，并用 NTP 保持同步",
    "the last {count} sessions all come from loopback addresses: those of a proxy, whose limits"
    " everybody shares": (
        "最近 {count} 个会话都来自本机回环地址：那是反向代理的地址，所有人会共用它的限额"
    ),
    "set WXSESSION_TRUSTED_PROXIES to the number of your proxies, and let them send"
    " X-Forwarded-For": (
        "请把 WXSESSION_TRUSTED_PROXIES 设为反向代理的层数，并让它们发送 X-Forwarded-For"
    ),
    "the sessions have the addresses of clients": "会话记录的是客户端的地址",
    "sessions that should be gone are still there, since {oldest}": (
        "应该清理的会话还在，最早的应于 {oldest} 清理"
    ),
    "run purge-sessions every day, by cron or a timer": (
        "请用 cron 或定时器每天执行 purge-sessions"
    ),
    "no session is overdue": "没有逾期未清理的会话",
    "no purge has finished yet": "还没有完成过清理",
    "the last one finished {hours} hours ago": "最近一次完成于 {hours} 小时前",
    "finished {moment:%Y-%m-%d %H:%M}Z": "完成于 {moment:%Y-%m-%d %H:%M}Z",
    "{count} of {all} cannot be opened": "抽查的 {all} 个里有 {count} 个解不开",
    "add the key that sealed them to WXSESSION_SECRET_KEYS; `keys status` shows which": (
        "请把加密它们的密钥加入 WXSESSION_SECRET_KEYS；`keys status` 会显示是哪个"
    ),
    "{count} of {all} are under an older key": "抽查的 {all} 个里有 {count} 个还在用旧密钥",
    "run keys reseal": "请执行 keys reseal",
    "{count} opened": "解开了 {count} 个，全部正常",
    "its encoding is {encoding}": "编码是 {encoding}",
    "create another one with --encoding=UTF8 --template=template0, and move to it": (
        "请用 --encoding=UTF8 --template=template0 另建一个数据库并迁移过去"
    ),
    "PostgreSQL {version} is not maintained": "PostgreSQL {version} 已停止维护",
    "upgrade to {version} or newer": "请升级到 {version} 或更新的版本",
    "it takes no writes: a standby, or default_transaction_read_only is on": (
        "不接受写入：这是备库，或者开启了 default_transaction_read_only"
    ),
    "let WXSESSION_DATABASE_URL lead to the primary: target_session_attrs=read-write": (
        "请让 WXSESSION_DATABASE_URL 指向主库：target_session_attrs=read-write"
    ),
    "{name} is off: a crash of the machine loses sessions that clients have": (
        "{name} 已关闭：机器崩溃时，已经发给客户端的会话会丢失"
    ),
    "set {name} = on": "请设置 {name} = on",
    "{name} is off: the tables grow without end": "{name} 已关闭：表会无限增长",
    "it is off for {table}: the table grows without end": "{table} 关闭了它：这张表会无限增长",
    "run ALTER TABLE {table} RESET (autovacuum_enabled)": (
        "请执行 ALTER TABLE {table} RESET (autovacuum_enabled)"
    ),
    "on": "已开启",
    "the pooler before the database does not support prepared statements": (
        "数据库前面的连接池代理不支持预处理语句"
    ),
    "set max_prepared_statements in PgBouncer (1.21 or newer), or"
    " WXSESSION_PREPARED_STATEMENTS=off": (
        "请设置 PgBouncer（1.21 或更新）的 max_prepared_statements，"
        "或者设置 WXSESSION_PREPARED_STATEMENTS=off"
    ),
    "statements have no time limit on the server": "数据库一侧没有限制语句的执行时间",
    "run ALTER ROLE … SET statement_timeout = '5s', and the same for lock_timeout": (
        "请执行 ALTER ROLE … SET statement_timeout = '5s'，lock_timeout 同样设置"
    ),
    "passes on what is needed": "所需的功能都支持",
    "the role's limit": "该角色的连接数上限",
    "the database's limit": "该数据库的连接数上限",
    "the workers may open {wanted}, and {limit} leaves {left}": (
        "工作进程最多会打开 {wanted} 个连接，而{limit}只允许 {left} 个"
    ),
    "lower WXSESSION_POOL_SIZE or the number of workers, or raise the limit": (
        "请减小 WXSESSION_POOL_SIZE 或工作进程数，或者提高上限"
    ),
    "up to {wanted} of {limit}": "最多用 {wanted} 个，上限 {limit} 个",
    "there is none": "还没有",
    "it is old: {revision}": "版本过旧：{revision}",
    "it is newer than this version: {revision}": "比当前安装的版本新：{revision}",
    "run upgrade-database": "请执行 upgrade-database",
    "install the newest version here as well": "请在这里也安装最新版本",
    "{name} is missing: what needs it is slow": "缺少 {name}：依赖它的操作会很慢",
    "create it as in migrations/versions, or restore the database from a backup": (
        "请照 migrations/versions 创建，或者从备份恢复数据库"
    ),
    "{name} is not valid": "{name} 无效",
    "run REINDEX INDEX {name}": "请执行 REINDEX INDEX {name}",
    "all there": "齐全",
}


class Sentence(str):
    """A template and its values, which are sentences themselves or of no language: in English.

    `in_language` says it in another one.
    """

    __slots__ = ("_template", "_values")
    _template: str
    _values: Mapping[str, object]

    def __new__(cls, template: str, **values: object) -> Self:
        """Return the sentence with its values in it."""
        sentence = super().__new__(cls, template.format(**values))
        sentence._template, sentence._values = template, values
        return sentence

    def in_language(self, language: str) -> str:
        """Return it in a language, or in English if it is not known there."""
        values = {
            name: value.in_language(language) if isinstance(value, Sentence) else value
            for name, value in self._values.items()
        }
        return in_language(self._template, language).format(**values)


def in_language(text: str, language: str) -> str:
    """Return a text in a language, or in English if it is not known there."""
    if isinstance(text, Sentence):
        return text.in_language(language)
    return IN_CHINESE.get(text, text) if language == CHINESE else text


def language_of_locale(environment: Mapping[str, str]) -> str:
    """Return the language of the messages that a terminal wants: that of ``LC_ALL`` or ``LANG``."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if locale := environment.get(name):  # the first that is set decides
            return CHINESE if locale.lower().startswith("zh") else ENGLISH
    return ENGLISH
