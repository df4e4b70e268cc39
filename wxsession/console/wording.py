"""What the pages say, in Chinese: the English text is the key, and stands where it is used.

A test finds a Chinese text for whatever the templates and the acts say.
"""

import re
from collections.abc import Mapping
from typing import Final

from wxsession.common.wording import CHINESE, in_language

HAPPENED: Final[Mapping[str, str]] = {
    "user.created": "user created",
    "user.merged": "merged into another user",
    "user.split": "a WeChat user left",
    "user.updated": "profile changed",
    "user.disabled": "user disabled",
    "user.enabled": "user enabled",
    "user.deleted": "user deleted",
    "user.exported": "user exported",
    "identity.bound": "WeChat user bound",
    "identity.unbound": "WeChat user unbound",
    "session.created": "logged in",
    "session.ended": "session ended",
    "phone_number.set": "phone number set",
    "phone_number.shown": "whole phone number shown",
    "password.changed": "password changed",
    "session_key.reset": "session_key replaced",
    "login.failed": "login refused",
    "login.locked": "password locked for a while",
    "login.unlocked": "password unlocked",
    "registration.failed": "registration refused",
    "api_key.refused": "API key refused",
    "push.refused": "message of WeChat refused",
    "push.lost": "message of WeChat lost",
    "deletion.refused": "deletion refused",
    "admin.added": "admin added",
    "admin.reset": "admin reset",
    "admin.disabled": "admin disabled",
    "admin.enabled": "admin enabled",
    "admin.role_changed": "role of an admin changed",
    "admin.signed_in": "admin signed in",
    "admin.signed_out": "admin signed out",
    "admin.refused": "admin refused",
    "admin.passkey_added": "passkey added",
    "admin.passkey_removed": "passkey removed",
    "events.exported": "events exported",
    "events.replayed": "events delivered again",
}
"""What an event says that happened."""

REASONS: Final[Mapping[str, str]] = {
    "logout": "the user logged out",
    "revoked": "an operator ended it",
    "replaced": "the same device logged in again",
    "evicted": "there were too many sessions: the oldest had to go",
    "user_disabled": "the user was disabled",
    "user_deleted": "the user was deleted",
    "password_changed": "the password was changed",
    "token_reused": "an old token was used again: it may have been stolen",
    "unbound": "the WeChat user was unbound from the account",
    "idle": "it was not used for too long",
    "absolute": "it reached its longest life",
    "bind": "by binding an account",
    "unionid": "by the unionid",
    "moved": "an operator moved the WeChat user",
    "username": "got a username",
    "web_view": "in a web-view",
    "reset": "an operator set it",
    "user_authorization_revoke": "the user took the permission back in WeChat",
    "user_info_modified": "WeChat had it removed",
    "bad_credentials": "wrong username, password or code",
    "too_many_attempts": "too many attempts",
    "invalid_code": "WeChat does not know the code",
    "code_used": "the code was used already",
    "user_blocked": "the user is disabled",
    "reauthentication_required": "the login was too long ago",
    "passwords": "too many wrong passwords",
    "codes": "too many wrong codes from one address",
    "registrations": "too many registrations from one address",
    "wechat_rate_limited": "WeChat limits the calls",
    "wechat_busy": "WeChat is busy",
    "wechat_unreachable": "WeChat cannot be reached",
    "wechat_timeout": "WeChat did not answer in time",
    "wechat_unintelligible": "WeChat's answer is not intelligible",
    "app_rejected": "WeChat refuses the app",
    "overloaded": "the server was overloaded",
    "invalid_request": "the request was malformed",
}
"""Why something happened, as an event or a session has it."""

_LOG: Final = "原因见控制台的日志。"
_AGAIN: Final = "请稍后重新打开页面；重复操作之前，先看看已经完成了哪些。"

IN_CHINESE: Final[Mapping[str, str]] = {
    # The frame, and what all screens have.
    "Skip to the content": "跳到正文",
    "Screens": "页面",
    "Sign out": "退出",
    "Your account": "我的账号",
    "More": "更多",
    "Search": "搜索",
    "State": "状态",
    "Since": "创建时间",
    "Until": "截止",
    "From": "来源",
    "When": "时间",
    "Why": "原因",
    "By": "操作人",
    "Event": "事件",
    "Events": "事件",
    "App": "小程序",
    "Name": "名称",
    "None.": "无。",
    "all": "全部",
    "Remove": "移除",
    "What can be done": "操作",
    "enabled": "正常",
    "disabled": "已禁用",
    "live": "有效",
    "ended": "已结束",
    "expired": "已过期",
    "password": "密码",
    # At the door.
    "Sign in": "登录",
    "Password": "密码",
    "Code of your authenticator app": "身份验证器的验证码",
    "Sign in with a passkey": "用通行密钥登录",
    "The name, the password or the code is wrong, or the code was used already: wait for the next"
    " one.": "名称、密码或验证码不对，或者验证码已经用过：请等下一个。",
    "This passkey is not accepted, or it took too long. Try again.": (
        "这个通行密钥未被接受，或者用时太久。请重试。"
    ),
    "The browser has found no passkey of this console.": "浏览器没有找到本控制台的通行密钥。",
    "Lost your phone, or your password?": "手机丢了，或者忘了密码？",
    "Somebody with a shell on the server runs this, and gives you the link that it prints:": (
        "请能登录服务器的人执行这条命令，把输出的链接发给你："
    ),
    "Welcome": "欢迎",
    "Welcome, {name}": "欢迎，{name}",
    "1. Choose a password": "1. 设置密码",
    "At least 8 characters, and none of the common ones.": "至少 8 个字符，不能是常见密码。",
    "2. Scan this with an authenticator app": "2. 用身份验证器扫码",
    "QR code of the secret below": "下面密钥的二维码",
    "Or type this secret into the app:": "或者把这个密钥输入验证器：",
    "The code that the app shows now": "验证器现在显示的验证码",
    "Is it you?": "请确认是你本人",
    "This is not accepted, or the code was used already: wait for the next one.": (
        "未被接受，或者验证码已经用过：请等下一个。"
    ),
    "What you asked for needs your second factor again. It is done as soon as you have shown it,"
    " and for ten minutes nobody asks again.": (
        "这项操作需要再次验证第二因素。验证之后立即执行，此后十分钟内不再询问。"
    ),
    "Go on": "继续",
    "Use a passkey": "使用通行密钥",
    # What fails.
    "That is not accepted.": "提交的内容有误。",
    "Go back, and change it.": "请返回修改。",
    "Your role does not allow that.": "你的角色没有这个权限。",
    "Ask an owner to do it.": "请让 owner 来操作。",
    "This form is not valid any more.": "这个表单已失效。",
    "Nothing was changed. Open the page again, and send the form from there.": (
        "没有任何改动。请重新打开页面，再提交一次。"
    ),
    "It never existed, or was deleted, merged or purged, perhaps by another admin just now.": (
        "它从未存在，或者已被删除、合并或清理，也许是另一位管理员刚刚操作的。"
    ),
    "This link is not valid.": "链接无效。",
    "It was used, or is older than an hour. Ask for a new one; on the server: flask --app wsgi"
    " admins reset NAME": (
        "它已经用过，或者超过了一小时。请索要新的链接；在服务器上执行："
        "flask --app wsgi admins reset NAME"
    ),
    "Too many wrong attempts.": "错误次数过多。",
    "Wait {minutes} minutes, sign in with a passkey, or have the admin reset on the server: flask"
    " --app wsgi admins reset NAME": (
        "请等待 {minutes} 分钟，或用通行密钥登录，或在服务器上重置该管理员："
        "flask --app wsgi admins reset NAME"
    ),
    "The server is busy.": "服务繁忙。",
    "Open the page again in a moment, and look what is done already before you repeat it.": _AGAIN,
    "The database does not respond.": "数据库没有响应。",
    "Open the page again in a moment, and look what is done already before you repeat it. The log"
    " of the console says why.": _AGAIN + _LOG,
    "The database has no schema of this version.": "数据库还没有当前版本的表结构。",
    "Run on the server: flask --app wsgi upgrade-database": (
        "请在服务器上执行：flask --app wsgi upgrade-database"
    ),
    "The log of the console says why.": _LOG,
    "To the console": "返回控制台",
    "Request {id}": "请求 {id}",
    # What a service refuses: the field, and why.
    "name": "名称",
    "code": "验证码",
    "request": "请求",
    "names no host": "没有有效的主机名",
    "has a character that no text has": "含有文本中不能出现的字符",
    "role": "角色",
    "user": "用户",
    "passkey": "通行密钥",
    "is none of viewer, support and owner": "必须是 viewer、support 或 owner",
    "is your own: ask another owner": "是你自己：请让另一位 owner 操作",
    "event": "事件",
    "reason": "原因",
    "appid": "小程序",
    "actor": "操作人",
    "address": "IP 地址",
    "since": "起始时间",
    "until": "截止时间",
    "after": "分页位置",
    "username": "用户名",
    "must have at most 64 characters": "最多 64 个字符",
    "is not the id of a user": "不是用户 ID",
    "is not the id of an event": "不是事件 ID",
    "is not an IPv4 or IPv6 address": "不是 IPv4 或 IPv6 地址",
    "is not a date, or not one with a time": "不是日期和时间",
    # Users.
    "Users": "用户",
    "User": "用户",
    "User id": "用户 ID",
    "Username": "用户名",
    "Nickname": "昵称",
    "Phone number": "手机号",
    "Username, phone number, openid, unionid, id, or how the nickname begins": (
        "用户名、手机号、openid、unionid、ID，或昵称的开头"
    ),
    "disabled only": "仅已禁用",
    "No user.": "没有找到用户。",
    "A nickname is found by how it begins, everything else by the whole of it.": (
        "昵称按开头查找，其他都要完整输入。"
    ),
    "There are more: type more of the nickname.": "还有更多：请多输入几个字。",
    "This is longer than anything that a user can be found by: {longest} characters.": (
        "太长了：用户的任何信息都不超过 {longest} 个字符。"
    ),
    "Disabled since": "禁用时间",
    "Live sessions": "有效会话",
    "WeChat users": "微信用户",
    "Logged out:": "已退出登录：",
    "The temporary password of {username}, shown only now:": (
        "{username} 的临时密码，只显示这一次："
    ),
    "It opens the account until it is changed, at the latest until:": (
        "在修改之前可以登录，最迟到："
    ),
    "Enable": "启用",
    "Disable": "禁用",
    "The user can log in no more, and every session ends at once.": (
        "该用户将无法登录，全部会话立即结束。"
    ),
    "End all sessions": "全部踢下线",
    "The user is logged out everywhere, and may log in again.": (
        "该用户在所有设备上退出登录，之后可以再次登录。"
    ),
    "Unlock": "解除密码锁定",
    "Set a password": "设置密码",
    "The user gets a temporary password, which you see once, and every session ends.": (
        "用户得到一个临时密码，你只能看到这一次；全部会话将结束。"
    ),
    "Show the phone number": "显示完整手机号",
    "Export": "导出",
    "Delete": "删除",
    "Everything that says who this was is deleted for good. This cannot be undone.": (
        "能识别该用户的一切信息将被彻底删除，无法恢复。"
    ),
    # Sessions.
    "Sessions": "会话",
    "No session.": "没有会话。",
    "Begun since": "开始时间不早于",
    "ended ones as well": "包括已结束的",
    "None among the sessions that were looked through.": "已查找的会话中没有符合条件的。",
    "Begun": "开始",
    "End": "踢下线",
    # Admins, and one's own account.
    "Admins": "管理员",
    "Role": "角色",
    "Last login": "上次登录",
    "Last used": "上次使用",
    "Give this link to {name}; it is good once, until:": "请把链接发给 {name}；只能用一次，截止：",
    "Change the role": "修改角色",
    "Reset": "重置",
    "Password, second factors and sessions are forgotten, and you get a new link.": (
        "密码、第二因素和会话都会清除，并生成新的链接。"
    ),
    "The admin can sign in no more, and every session ends at once.": (
        "该管理员将无法登录，全部会话立即结束。"
    ),
    "Add an admin": "添加管理员",
    "Add": "添加",
    "viewer": "viewer（查看）",
    "support": "support（客服）",
    "owner": "owner（所有者）",
    "looks, and sees no whole phone number": "只能查看，看不到完整手机号",
    "also ends sessions, disables, enables and unlocks users, sets passwords, sees phone numbers": (
        "还可以踢下线、禁用、启用和解锁用户，设置密码，查看手机号"
    ),
    "also exports and deletes users, and says who is an admin": (
        "还可以导出和删除用户，管理管理员"
    ),
    "The role is changed.": "角色已修改。",
    "Passkeys": "通行密钥",
    "A passkey is on your phone, your computer or a key: it replaces password and code.": (
        "通行密钥保存在你的手机、电脑或安全密钥里，可以代替密码和验证码。"
    ),
    "Added": "添加时间",
    "Name of the passkey": "通行密钥的名称",
    "my phone": "我的手机",
    "Add a passkey": "添加通行密钥",
    "The browser has made no passkey.": "浏览器没有创建通行密钥。",
    "The passkey is registered.": "通行密钥已添加。",
    "The passkey is removed.": "通行密钥已移除。",
    # What happened.
    "user created": "新用户",
    "merged into another user": "合并到另一个用户",
    "a WeChat user left": "微信用户离开账号",
    "profile changed": "资料变更",
    "user disabled": "用户被禁用",
    "user enabled": "用户被启用",
    "user deleted": "用户被删除",
    "user exported": "导出用户信息",
    "WeChat user bound": "绑定微信用户",
    "WeChat user unbound": "解绑微信用户",
    "logged in": "登录",
    "session ended": "会话结束",
    "phone number set": "手机号变更",
    "whole phone number shown": "查看完整手机号",
    "password changed": "密码变更",
    "session_key replaced": "更换 session_key",
    "login refused": "登录被拒绝",
    "password locked for a while": "密码登录暂时锁定",
    "password unlocked": "密码登录解除锁定",
    "registration refused": "注册被拒绝",
    "API key refused": "API 密钥被拒绝",
    "message of WeChat refused": "微信推送被拒绝",
    "message of WeChat lost": "微信推送丢失",
    "deletion refused": "注销被拒绝",
    "admin added": "添加管理员",
    "admin reset": "重置管理员",
    "admin disabled": "禁用管理员",
    "admin enabled": "启用管理员",
    "role of an admin changed": "修改管理员角色",
    "admin signed in": "管理员登录",
    "admin signed out": "管理员退出",
    "admin refused": "管理员登录被拒绝",
    "passkey added": "添加通行密钥",
    "passkey removed": "移除通行密钥",
    # Why.
    "the user logged out": "用户主动退出",
    "an operator ended it": "被管理员踢下线",
    "the same device logged in again": "同一设备重新登录",
    "there were too many sessions: the oldest had to go": "会话数超过上限，最早的被挤下线",
    "the user was disabled": "用户被禁用",
    "the user was deleted": "用户被删除",
    "the password was changed": "密码已修改",
    "an old token was used again: it may have been stolen": "旧令牌被再次使用，可能已泄露",
    "the WeChat user was unbound from the account": "微信用户已与账号解绑",
    "it was not used for too long": "长时间未使用",
    "it reached its longest life": "达到最长有效期",
    "by binding an account": "绑定账号",
    "by the unionid": "unionid 相同",
    "an operator moved the WeChat user": "管理员移动了微信用户",
    "got a username": "设置了用户名",
    "in a web-view": "在 web-view 中",
    "an operator set it": "由管理员设置",
    "the user took the permission back in WeChat": "用户在微信里撤回了授权",
    "WeChat had it removed": "微信要求清除",
    "wrong username, password or code": "用户名、密码或验证码不对",
    "too many attempts": "尝试次数过多",
    "WeChat does not know the code": "微信不认这个 code",
    "the code was used already": "code 已被使用",
    "the user is disabled": "用户已被禁用",
    "the login was too long ago": "距上次登录太久",
    # The overview.
    "Overview": "概览",
    "Period": "时间范围",
    "last 24h": "最近 24 小时",
    "last 7d": "最近 7 天",
    "last 30d": "最近 30 天",
    "So many events since the last purge are not counted yet: some are missing before this moment."
    " Let purge-sessions run every hour.": (
        "上次清理之后的事件太多，还没有统计完：以下时刻之前的数据不完整。"
        "请让 purge-sessions 每小时运行一次。"
    ),
    "Logins": "登录",
    "Refused logins": "登录失败",
    "counted at": "统计于",
    "counted by the next purge": "由下一次清理统计",
    "Calls to WeChat": "调用微信",
    "{rate} % of them failed": "其中 {rate}% 失败",
    "Last purge": "最近一次清理",
    "complete": "已完成",
    "not complete": "未完成",
    "none yet": "尚未运行",
    "let purge-sessions run every hour": "请让 purge-sessions 每小时运行一次",
    "What the doctor finds": "诊断结果",
    "The doctor finds nothing wrong with settings, files and database.": (
        "设置、文件和数据库都没有发现问题。"
    ),
    "All that was looked at": "检查过的全部项目",
    "Subject": "项目",
    "Found": "结果",
    "What to do": "处理办法",
    "ok": "正常",
    "warning": "警告",
    "fault": "故障",
    "To ask WeChat for the access_token of each app as well, run on the server:": (
        "如果还要向微信获取每个小程序的 access_token，请在服务器上执行："
    ),
    "Refused logins, by reason": "登录失败（按原因）",
    "Ended sessions, by reason": "结束的会话（按原因）",
    "How long WeChat takes": "微信接口耗时",
    "in milliseconds": "毫秒",
    "p50": "中位数",
    "p95": "95 分位",
    "What WeChat refuses, by errcode": "微信返回的错误（按 errcode）",
    "As numbers": "查看数值",
    "Begins": "开始时间",
    "Nothing in this time.": "这段时间没有数据。",
    "Why logins were refused and sessions ended": "登录为什么失败，会话为什么结束",
    "Ended sessions": "结束的会话",
    "Count": "次数",
    # Events.
    "What": "事件",
    "anything": "全部",
    "any": "全部",
    "Reason": "原因",
    "Address": "IP 地址",
    "Clear": "清空",
    "Not before": "起始时间",
    "Before": "截止时间",
    "Without JavaScript, all times are in UTC.": "没有启用 JavaScript，所有时间均为 UTC。",
    "Time": "时间",
    "the user": "用户本人",
    "id of the request, as the log has it": "请求 id，与日志中的一致",
    "None among those until this moment:": "查到这个时刻为止，没有符合条件的：",
    "Search on": "继续查询",
    "Nothing of that kind happened.": "没有符合条件的事件。",
    "All of these as CSV": "全部导出为 CSV",
    # Other events, and reasons.
    "events exported": "导出事件",
    "events delivered again": "重新投递事件",
    "the session that opened it is over": "打开它的会话已结束",
    "too many wrong passwords": "密码错误次数过多",
    "too many wrong codes from one address": "同一地址的无效 code 过多",
    "too many registrations from one address": "同一地址注册过多",
    "WeChat limits the calls": "微信限制了调用频率",
    "WeChat is busy": "微信系统繁忙",
    "WeChat cannot be reached": "无法连接微信",
    "WeChat did not answer in time": "微信没有及时响应",
    "WeChat's answer is not intelligible": "微信的响应无法识别",
    "WeChat refuses the app": "微信拒绝了该小程序",
    "the server was overloaded": "服务繁忙",
    "the request was malformed": "请求格式有误",
    # What became of a call to WeChat that had no reply.
    "dns": "域名解析失败",
    "tls": "TLS 连接失败",
    "refused": "连接被拒绝",
    "no route": "网络不可达",
    "connect timeout": "连接超时",
    "proxy": "代理连接失败",
    "broken": "连接中断",
    "read timeout": "响应超时",
    "unintelligible": "响应无法识别",
    # Apps.
    "Apps": "小程序",
    "default": "默认",
    "AppSecret is refused": "AppSecret 被拒绝",
    "WeChat accepts it": "微信调用正常",
    "the last call failed": "最近一次调用失败",
    "not asked yet": "还没有调用过",
    "Last answer as wanted": "最近一次成功",
    "Access_token valid until": "access_token 有效期至",
    "none yet: the next call that needs one fetches it": "暂无，需要时会自动获取",
    "Calls in 24 hours": "24 小时内的调用",
    "{count} of them failed": "其中 {count} 次失败",
    "Phone numbers this month": "本月获取手机号",
    "{yuan} yuan": "{yuan} 元",
    "Last failure": "最近一次失败",
    "WeChat gives the first 1,000 phone numbers of an app free of charge; the sum here does not"
    " know how many of them are left. Apps and their secrets are set in WXSESSION_APPS.": (
        "每个小程序有 1,000 次免费额度，这里的金额没有扣除剩余额度。"
        "小程序及其 AppSecret 在 WXSESSION_APPS 里设置。"
    ),
    # Webhooks.
    "Webhooks": "Webhook",
    "Delivered until": "已投递到",
    "Waiting": "等待中",
    "Given up": "已放弃",
    "not delivered to yet": "还没有投递过",
    "failed {count} times in a row": "连续失败 {count} 次",
    "takes what it is sent": "接收正常",
    "left alone until": "暂停投递至",
    "Deliver again": "重新投递",
    "Events are delivered by this command, all the time or from a timer:": (
        "事件由下面的命令投递，可以常驻运行，也可以由定时器启动："
    ),
    "There is no webhook. WXSESSION_WEBHOOKS names those who are to be told of events.": (
        "没有 webhook。要把事件通知给其他程序，请设置 WXSESSION_WEBHOOKS。"
    ),
    "Path": "路径",
    "Not delivered to {name}": "没有送达 {name} 的事件",
    "Attempts": "尝试次数",
    "Next attempt": "下次尝试",
    "waits for an earlier event of its user": "等待该用户更早的事件",
    "given up": "已放弃",
    "Everything was delivered.": "所有事件都已送达。",
    "{count} events wait to be delivered.": "有 {count} 个事件等待投递。",
    "its certificate is not valid": "证书无效",
    "did not answer in time": "没有及时响应",
    "could not be reached": "无法连接",
    "answered {status}": "返回了 {status}",
    "its address is not public": "地址不是公网地址",
    # The system.
    "System": "系统",
    "Version": "版本",
    "Schema of the database": "数据库表结构",
    "Purges": "清理记录",
    "Ended": "结束时间",
    "Rows deleted": "删除行数",
    "Took": "用时",
    "{seconds} s": "{seconds} 秒",
    "time was up": "时间到了，没有做完",
    "No purge has run yet.": "还没有运行过清理。",
    "Sealed values, by key of WXSESSION_SECRET_KEYS": (
        "加密的值（按 WXSESSION_SECRET_KEYS 中的密钥）"
    ),
    "Key": "密钥",
    "Values": "数量",
    "unknown key": "未知密钥",
    "key {number}": "第 {number} 个密钥",
    "Not counted yet:": "还没有统计过：",
    "Settings": "设置",
    "What is secret is left out. Bold is what differs from the default.": (
        "不显示机密内容。与默认值不同的以粗体显示。"
    ),
    "Setting": "名称",
    "Value": "值",
}


def say(language: str, text: str, **values: object) -> str:
    """Return a text in a language, with these values in it; in English if it is not known there."""
    said = IN_CHINESE.get(text) if language == CHINESE else None
    said = said or in_language(text, language)
    return said.format(**values) if values else said


def reason(language: str, code: str) -> str:
    """Return why something happened, in words; a code that has none stays as it is."""
    return say(language, REASONS[code]) if code in REASONS else code


def refusal(language: str, text: str) -> str:
    """Return why a receiver did not take an event, as it was noted, in a language."""
    answered = re.fullmatch(r"answered (\d+)", text, re.ASCII)
    return (
        say(language, "answered {status}", status=answered[1]) if answered else say(language, text)
    )


def happened(language: str, event: str) -> str:
    """Return what happened, in words; an event that has none stays as it is."""
    return say(language, HAPPENED[event]) if event in HAPPENED else event
