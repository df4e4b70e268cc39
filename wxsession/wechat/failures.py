"""WeChat's failures: their meaning and their cure, in the words of the log and docs/en/errors.md.

The errcodes are those of auth.code2Session: the ones on its page in the mini-program
documentation, and others that WeChat returns as well (40163, 40164, 41002, 41004, 41008, 45009,
and 48001 and 50002 of the global table). The other endpoints add errcodes, or change their meaning.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from wxsession.errors import (
    AppRejected,
    CodeUsed,
    InvalidCode,
    SessionKeyStale,
    UserBlocked,
    WeChatBusy,
    WeChatRateLimited,
    WeChatTimeout,
    WeChatUnintelligible,
    WeChatUnreachable,
    WxSessionError,
)


class AccessTokenRejected(AppRejected):
    """WeChat refuses the access_token (40001, 40014, 41001, 42001): it expired, or was replaced.

    Another one may do, so this never leaves `AccessTokens.use`.
    """


class Failure(NamedTuple):
    """The error for the caller, its meaning, and what an operator can do about it."""

    error: Callable[[], WxSessionError]
    meaning: str
    cure: str


Failures = Mapping[int, Failure]

_SETTING = "correct WXSESSION_APPS, and check what responds at WXSESSION_WECHAT_URL"
_CONSOLE = "the mini-program's console"

BUSY = -1
ADDRESS_NOT_LISTED = 40164

OF_EVERY_CALL: Failures = {
    BUSY: Failure(
        partial(WeChatBusy, retry_after=2),
        "WeChat is busy, also after every retry",
        "nothing: the client tries again",
    ),
    40029: Failure(
        InvalidCode,
        "the code is wrong, expired, or of another app",
        "the client calls wx.login again; if no code is taken, WXSESSION_APPS has another appid"
        " than the mini-program",
    ),
    41008: Failure(InvalidCode, "the code is missing", "the client calls wx.login again"),
    40163: Failure(
        CodeUsed,
        "the code was exchanged before",
        "the client calls wx.login again; if new codes fail as well, another server exchanges"
        " them too",
    ),
    40226: Failure(
        UserBlocked,
        "WeChat considers this user a high risk",
        "nothing: WeChat keeps the user out",
    ),
    45011: Failure(
        partial(WeChatRateLimited, retry_after=60),
        "too many calls in this minute",
        "find the client that logs in again and again",
    ),
    45009: Failure(
        partial(WeChatRateLimited, retry_after=3600),
        "the app's calls of this day are used up",
        f"find out who makes so many; {_CONSOLE} can reset the count",
    ),
    40002: Failure(AppRejected, "the grant_type is wrong", _SETTING),
    40013: Failure(
        AppRejected, "WeChat does not know the appid", "correct the appid in WXSESSION_APPS"
    ),
    40125: Failure(AppRejected, "the app secret is wrong", "correct the secret in WXSESSION_APPS"),
    ADDRESS_NOT_LISTED: Failure(
        AppRejected,
        "this server's address is not in the app's IP whitelist",
        f"add the address in {_CONSOLE}",
    ),
    40243: Failure(AppRejected, "the app secret is frozen", f"unfreeze it in {_CONSOLE}"),
    41002: Failure(AppRejected, "the appid is missing", _SETTING),
    41004: Failure(AppRejected, "the app secret is missing", _SETTING),
    48001: Failure(
        AppRejected, "the app may not use this endpoint", f"check its permissions in {_CONSOLE}"
    ),
    50002: Failure(
        AppRejected, "the app's account is frozen or cancelled", f"look for notices in {_CONSOLE}"
    ),
}
_CONFIRM = "let an administrator of the mini-program confirm the address to WeChat"
OF_STABLE_TOKEN: Failures = {
    40001: OF_EVERY_CALL[40125],
    50004: Failure(AppRejected, "the app may not fetch access_tokens", f"check {_CONSOLE}"),
    50007: Failure(AppRejected, "the app's account is frozen", f"check {_CONSOLE}"),
    89503: Failure(AppRejected, "an administrator has to confirm this server's address", _CONFIRM),
    89506: Failure(
        AppRejected,
        "an administrator refused this server's address twice, for 24 hours",
        _CONFIRM,
    ),
    89507: Failure(
        AppRejected, "an administrator refused this server's address, for an hour", _CONFIRM
    ),
}
WITH_ACCESS_TOKEN: Failures = {
    errcode: Failure(
        AccessTokenRejected, meaning, "nothing: another one is fetched; see the log if it fails too"
    )
    for errcode, meaning in {
        40001: "the access_token is not the latest",
        40014: "the access_token is wrong",
        41001: "the access_token is missing",
        42001: "the access_token has expired",
    }.items()
}
# Here 40013 is a code of another app, and 40003 a code of another user: the valid access_token
# shows that the appid is right. A used code is 40029 as well.
OF_PHONE_NUMBER: Failures = {
    40003: Failure(
        InvalidCode,
        "the code is of another user",
        "the client lets the user press the button again",
    ),
    40013: Failure(
        InvalidCode,
        "the code is of another app",
        "if no code is taken, WXSESSION_APPS has another appid than the mini-program",
    ),
}
OF_SESSION_KEY: Failures = {
    errcode: Failure(
        SessionKeyStale,
        "WeChat has replaced the session_key",
        "nothing: the next login brings the new one",
    )
    for errcode in (87007, 87009)
}
UNKNOWN = Failure(
    partial(WeChatUnintelligible, retry_after=5),
    "an errcode that is not known here",
    "look it up in WeChat's documentation, or ask WeChat with the rid",
)

_unreachable = partial(WeChatUnreachable, retry_after=1)

WITHOUT_REPLY: Mapping[str, Failure] = {
    "dns": Failure(
        _unreachable,
        "the name in WXSESSION_WECHAT_URL has no address",
        "correct it, or this server's DNS",
    ),
    "tls": Failure(
        _unreachable,
        "no encrypted connection: the certificate is not accepted, or it is not TLS",
        "check this server's clock and CA certificates, and look for a proxy that opens TLS",
    ),
    "refused": Failure(
        _unreachable,
        "nothing listens at the address and port",
        "correct WXSESSION_WECHAT_URL, or the firewall",
    ),
    "no route": Failure(
        _unreachable,
        "the address cannot be reached from here",
        "check this server's network: routes, IPv6, firewall",
    ),
    "connect timeout": Failure(
        _unreachable,
        "no connection within WXSESSION_WECHAT_TIMEOUT",
        "let the firewall pass connections to WeChat",
    ),
    "proxy": Failure(
        _unreachable,
        "the proxy named in the environment makes no connection",
        "correct HTTPS_PROXY or NO_PROXY, or the proxy",
    ),
    "broken": Failure(
        _unreachable,
        "the connection broke before the whole response was there",
        "nothing, if it is rare; otherwise look for what cuts connections",
    ),
    "read timeout": Failure(
        partial(WeChatTimeout, retry_after=1),
        "no whole response within WXSESSION_WECHAT_TIMEOUT",
        "nothing, if it is rare; otherwise check the network, or allow more time",
    ),
    "unintelligible": Failure(
        partial(WeChatUnintelligible, retry_after=5),
        "the response is not one of WeChat's",
        "check what responds at WXSESSION_WECHAT_URL: a proxy, an error page",
    ),
}
