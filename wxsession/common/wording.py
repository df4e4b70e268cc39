"""What people read, in Chinese: the English text is the key, and stands where it is used.

A sentence with values in it is a template: ``{count} sessions ended.`` What is not in here is
shown in English.
"""

from collections.abc import Mapping
from typing import Final

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
    "Register a username and a password first.": "请先设置用户名和密码。",
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
}


def in_language(text: str, language: str) -> str:
    """Return a text in a language, or in English if it is not known there."""
    return IN_CHINESE.get(text, text) if language == CHINESE else text


def language_of_locale(environment: Mapping[str, str]) -> str:
    """Return the language of the messages that a terminal wants: that of ``LC_ALL`` or ``LANG``."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if locale := environment.get(name):  # the first that is set decides
            return CHINESE if locale.lower().startswith("zh") else ENGLISH
    return ENGLISH
