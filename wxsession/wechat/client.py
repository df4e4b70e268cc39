"""WeChat's server API, as far as logins, open data and phone numbers need it.

The app secret of code2Session and every access_token travel in the query, because WeChat takes
them from nowhere else. So nothing that holds a URL may leave this module: every failure of
`requests` is told in our own words, raised with no trace of the original, and urllib3's own log
lines lose their query strings.
"""

import hmac
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import DecodeError, HTTPError, ReadTimeoutError
from urllib3.util import Retry

from wxsession.errors import (
    AccessTokenRejected,
    AppRejected,
    CodeUsed,
    InvalidCode,
    SessionKeyStale,
    UserBlocked,
    WeChatBusy,
    WeChatError,
    WeChatRateLimited,
    WeChatTimeout,
    WeChatUnintelligible,
    WeChatUnreachable,
    WxSessionError,
)
from wxsession.limits import ConcurrencyLimit, Places
from wxsession.wechat.breaker import Breaker
from wxsession.wechat.phone_number import PhoneNumber, phone_number_of

CONNECTION_RETRIES = 1
BUSY_RETRIES = 2
_BUSY_PAUSE = 0.1
_LONGEST_REPLY = 64 * 1024
_SYSTEM_ERROR = -1
_LONGEST_TOKEN_LIFE = 24 * 3600

_Meanings = Mapping[int, Callable[[], WxSessionError]]

# The errcodes of auth.code2Session (its page in the mini-program documentation, and 40163,
# 40164, 41002, 41004, 41008, 45009, which it leaves out and WeChat answers all the same). What
# the other calls add to them, or mean otherwise, follows.
_MEANINGS: _Meanings = {
    40029: InvalidCode,
    41008: InvalidCode,
    40163: CodeUsed,
    40226: UserBlocked,
    45011: lambda: WeChatRateLimited(retry_after=60),  # a quota per minute
    45009: lambda: WeChatRateLimited(retry_after=3600),  # a quota per day
    40002: AppRejected,
    40013: AppRejected,
    40125: AppRejected,
    40164: AppRejected,
    40243: AppRejected,
    41002: AppRejected,
    41004: AppRejected,
}
_OF_STABLE_TOKEN: _Meanings = {
    **_MEANINGS,
    **dict.fromkeys((40001, 50004, 50007, 89503, 89506, 89507), AppRejected),
}
_WITH_TOKEN: _Meanings = {
    **_MEANINGS,
    **dict.fromkeys((40001, 40014, 41001, 42001), AccessTokenRejected),
}
# There, 40013 is a code of another app, and 40003 one of another user: the app itself has just
# shown that it is one, by its token. A code that was used is 40029 as well.
_OF_PHONE_NUMBER: _Meanings = {**_WITH_TOKEN, 40003: InvalidCode, 40013: InvalidCode}
_OF_SESSION_KEY: _Meanings = {**_WITH_TOKEN, 87007: SessionKeyStale, 87009: SessionKeyStale}

_EVERYDAY = (InvalidCode, CodeUsed, SessionKeyStale, AccessTokenRejected)

_RID = re.compile(r"rid: ([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8})")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WeChatIdentity:
    """What WeChat says a code stands for; `unionid` only if the app is on an open platform."""

    openid: str
    session_key: str = field(repr=False)
    unionid: str | None = None


class WeChatClient:
    """Asks WeChat over an injected `requests.Session`, `concurrency` calls at once.

    `timeout` is in seconds, to connect and to read; `apps` has the secrets by appid. Each call
    takes as long as WeChat does, and may wait for its turn before: a caller that serves a request
    holds a place of `budget` meanwhile, as everybody does who lets a thread wait.
    """

    def __init__(  # noqa: PLR0913 - each is a setting or a seam
        self,
        http: requests.Session,
        *,
        url: str,
        timeout: tuple[float, float],
        apps: Mapping[str, str],
        concurrency: int,
        budget: Places,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.apps = apps
        self.budget = budget
        limit = ConcurrencyLimit(concurrency, patience=sum(timeout))
        self._breaker = Breaker(limit, lambda: WeChatTimeout(retry_after=ceil(timeout[1])))
        self._http = http
        self._url = url
        self._timeout = timeout
        self._sleep = sleep
        keep_queries_out_of_logs()

    def ensure_usable(self) -> None:
        """Return unless it is known that WeChat does not answer.

        Raises:
            WeChatTimeout: it has not answered for a while, and another call is finding out.
        """
        self._breaker.ensure_usable()

    def code2session(self, appid: str, code: str) -> WeChatIdentity:
        """Return the identity that a code of wx.login stands for; the code is spent by that.

        Repeats only what cannot have spent the code: a connection that was never made, and
        WeChat's "system error" (-1).
        Source: auth.code2Session in the mini-program documentation.

        Raises:
            CodeError: WeChat refuses the code or its user.
            WeChatError: WeChat did not answer the question; after `WeChatTimeout` and
                `WeChatUnreachable` the code may be spent.
        """
        parameters = {
            "appid": appid,
            "secret": self.apps[appid],
            "js_code": code,
            "grant_type": "authorization_code",
        }
        return _identity(self._ask("/sns/jscode2session", _MEANINGS, query=parameters))

    def stable_token(self, appid: str) -> tuple[str, int]:
        """Return an access_token of the app, and for how many seconds it is good.

        Normal mode: the same token again for as long as it is good, so asking twice harms nobody.
        Source: getStableAccessToken in the mini-program documentation.

        Raises:
            WeChatError: WeChat gave none.
        """
        wish = {
            "grant_type": "client_credential",
            "appid": appid,
            "secret": self.apps[appid],
            "force_refresh": False,
        }
        reply = self._ask("/cgi-bin/stable_token", _OF_STABLE_TOKEN, body=wish)
        token, seconds = reply.get("access_token"), reply.get("expires_in")
        if not (isinstance(token, str) and token and token.isascii()):
            raise WeChatUnintelligible(retry_after=5)
        if not (type(seconds) is int and 0 < seconds <= _LONGEST_TOKEN_LIFE):
            raise WeChatUnintelligible(retry_after=5)
        return token, seconds

    def phone_number(self, access_token: str, code: str, openid: str | None = None) -> PhoneNumber:
        """Return the number that a code of the button getPhoneNumber stands for; it is spent then.

        With an `openid`, only that user's code is taken.
        Source: getPhoneNumber in the mini-program documentation.

        Raises:
            InvalidCode: the code is wrong, expired, used, or of another app or user.
            AccessTokenRejected: the access_token is no longer good; the code still is.
            WeChatError: WeChat did not answer the question; the code may be spent.
        """
        wish = {"code": code} if openid is None else {"code": code, "openid": openid}
        reply = self._ask(
            "/wxa/business/getuserphonenumber",
            _OF_PHONE_NUMBER,
            query={"access_token": access_token},
            body=wish,
        )
        told = reply.get("phone_info")
        phone = phone_number_of(told) if isinstance(told, dict) else None
        if phone is None:
            raise WeChatUnintelligible(retry_after=5)
        return phone

    def is_session_key_current(self, access_token: str, openid: str, session_key: str) -> bool:
        """Tell whether this is the session_key that WeChat itself uses for the user now.

        Source: checkSessionKey in the mini-program documentation.

        Raises:
            AccessTokenRejected: the access_token is no longer good.
            WeChatError: WeChat did not answer the question.
        """
        query = _signed(access_token, openid, session_key)
        try:
            self._ask("/wxa/checksession", _OF_SESSION_KEY, query=query)
        except SessionKeyStale:
            return False
        return True

    def reset_session_key(self, access_token: str, openid: str, session_key: str) -> str:
        """Return the session_key that takes the place of this one, which is dead from then on.

        The new one expires when the old one would have.
        Source: resetUserSessionKey in the mini-program documentation.

        Raises:
            SessionKeyStale: it was not the current one.
            AccessTokenRejected: the access_token is no longer good.
            WeChatError: WeChat did not answer the question; the key may be dead all the same.
        """
        query = _signed(access_token, openid, session_key)
        return _identity(
            self._ask("/wxa/resetusersessionkey", _OF_SESSION_KEY, query=query)
        ).session_key

    def _ask(
        self,
        path: str,
        meanings: _Meanings,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Mapping[str, object]:
        """Return the reply to a call that succeeded; one with a `body` is a POST.

        Raises:
            WxSessionError: what the errcode means in this call.
            WeChatError: there was no reply, or none that makes sense.
            Overloaded: no place among the calls was free in time.
        """
        with self._breaker.call() as begun:
            started = time.monotonic()
            for attempt in range(BUSY_RETRIES + 1):
                reply = self._reply(path, query, body, begun)
                errcode = reply.get("errcode", 0)
                if errcode == 0:
                    return reply
                if errcode != _SYSTEM_ERROR:
                    raise _refusal(path, meanings, errcode, str(reply.get("errmsg", "")))
                if time.monotonic() - started > self._timeout[1]:
                    break
                self._sleep(_BUSY_PAUSE * 2**attempt)
        raise WeChatBusy(retry_after=2)

    def _reply(
        self,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, object] | None,
        begun: int,
    ) -> Mapping[str, object]:
        try:
            sent = self._fetch(path, query, body)
        except WeChatTimeout:
            self._breaker.not_answered(begun)
            raise
        except (requests.RequestException, HTTPError) as error:
            failure = _in_own_words(error)
            if isinstance(error, requests.Timeout | ReadTimeoutError):
                self._breaker.not_answered(begun)
        else:
            self._breaker.answered()
            return _parsed(sent)
        # Raised out here, so that not even the hidden context of our error has the URL in it.
        _log.warning("%s: %s", path, failure.code)
        raise failure

    def _fetch(
        self, path: str, query: Mapping[str, str] | None, wish: Mapping[str, object] | None
    ) -> bytes:
        """Return the body of a reply that has come whole within the read timeout, and is small."""
        deadline = time.monotonic() + sum(self._timeout)
        with self._http.request(
            "GET" if wish is None else "POST",
            self._url + path,
            params=query,
            json=wish,  # sent whole: WeChat answers 412 to what has no Content-Length
            timeout=self._timeout,
            allow_redirects=False,
            stream=True,
        ) as response:
            body = bytearray()
            while chunk := response.raw.read1(_LONGEST_REPLY, decode_content=True):
                body += chunk
                if len(body) > _LONGEST_REPLY:
                    raise WeChatUnintelligible(retry_after=5)
                if time.monotonic() > deadline:
                    raise WeChatTimeout(retry_after=1)
            return bytes(body)


def transport(concurrency: int) -> requests.Session:
    """Return what production talks to WeChat with: connections are retried, answers never.

    It keeps as many connections as there are calls at once.
    """
    retry = Retry(total=None, connect=CONNECTION_RETRIES, read=False, redirect=0, status=0, other=0)
    session = requests.Session()
    for scheme in "https://", "http://":
        session.mount(scheme, HTTPAdapter(pool_maxsize=concurrency, max_retries=retry))
    return session


def longest_call(timeout: tuple[float, float]) -> float:
    """Return how many seconds one call takes at most, all its retries included."""
    connect, read = timeout
    one_call = connect * (CONNECTION_RETRIES + 2) + 2 * read
    return read + one_call + 1


def keep_queries_out_of_logs() -> None:
    """Make urllib3's loggers say where they called, and not with which parameters."""
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logger = logging.getLogger(name)
        if _without_query not in logger.filters:
            logger.addFilter(_without_query)


def _without_query(record: logging.LogRecord) -> bool:
    record.msg = re.sub(r"\?[^\s'\"]*", "?…", record.getMessage())
    record.args = None
    return True


def _parsed(body: bytes) -> Mapping[str, object]:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict):
        raise WeChatUnintelligible(retry_after=5)
    return reply


def _identity(reply: Mapping[str, object]) -> WeChatIdentity:
    openid, session_key, unionid = (reply.get(k) for k in ("openid", "session_key", "unionid"))
    if not (isinstance(openid, str) and isinstance(session_key, str) and openid and session_key):
        raise WeChatUnintelligible(retry_after=5)
    return WeChatIdentity(openid, session_key, unionid if isinstance(unionid, str) else None)


def key_signature(session_key: str, body: str = "") -> str:
    """Return what shows that we hold a session_key without telling it: an HMAC, in hex.

    The key goes in as the text it is. The calls that ask about a key sign nothing at all.
    Source: "用户登录态签名" in the mini-program documentation, with its example.
    """
    return hmac.digest(session_key.encode(), body.encode(), "sha256").hex()


def _signed(access_token: str, openid: str, session_key: str) -> dict[str, str]:
    return {
        "access_token": access_token,
        "openid": openid,
        "signature": key_signature(session_key),
        "sig_method": "hmac_sha256",
    }


def _refusal(path: str, meanings: _Meanings, errcode: object, errmsg: str) -> WxSessionError:
    """Return what an errcode means to us; the text is only searched for its rid.

    The rid names the call to WeChat's support; the rest of the text may repeat what was sent.
    """
    meaning = meanings.get(errcode) if isinstance(errcode, int) else None
    error = meaning() if meaning else WeChatUnintelligible(retry_after=5)
    rid = _RID.search(errmsg)
    level = logging.INFO if isinstance(error, _EVERYDAY) else logging.ERROR
    what = errcode if isinstance(errcode, int) else "none"
    _log.log(level, "%s: errcode %s, rid %s", path, what, rid[1] if rid else "none")
    return error


def _in_own_words(error: requests.RequestException | HTTPError) -> WeChatError:
    match error:
        case requests.ConnectTimeout():
            return WeChatUnreachable(retry_after=1)
        case requests.ReadTimeout() | ReadTimeoutError():
            return WeChatTimeout(retry_after=1)
        case requests.exceptions.ContentDecodingError() | DecodeError():
            return WeChatUnintelligible(retry_after=5)
        case requests.ConnectionError() | HTTPError():
            return WeChatUnreachable(retry_after=1)
        case _:
            return WeChatUnintelligible(retry_after=5)
