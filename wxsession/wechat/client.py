"""WeChat's server API, as far as logins, open data and phone numbers need it.

The app secret of code2Session and every access_token travel in the query, because WeChat takes
them from nowhere else. So nothing that holds a URL may leave this module: every failure of
`requests` is told in our own words, raised with no trace of the original, and urllib3's own log
lines lose their query strings (`keep_queries_out_of_logs`, for the whole process).
"""

import hmac
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Retry

from wxsession.clock import Timing
from wxsession.errors import (
    AccessTokenRejected,
    CodeError,
    SessionKeyStale,
    WeChatTimeout,
    WxSessionError,
)
from wxsession.limits import ConcurrencyLimit
from wxsession.users.phone_numbers import PhoneNumber
from wxsession.wechat import failures
from wxsession.wechat.apps import Apps
from wxsession.wechat.breaker import Breaker
from wxsession.wechat.failures import Failures
from wxsession.wechat.phone_number import phone_number_of

CONNECTION_RETRIES = 1
BUSY_RETRIES = 2
_BUSY_PAUSE = 0.1
_LONGEST_REPLY = 64 * 1024
_LONGEST_WORD = 128
_LONGEST_TOKEN_LIFE = 24 * 3600

_OF_STABLE_TOKEN: Failures = {**failures.OF_EVERY_CALL, **failures.OF_STABLE_TOKEN}
_WITH_TOKEN: Failures = {**failures.OF_EVERY_CALL, **failures.WITH_ACCESS_TOKEN}
_OF_PHONE_NUMBER: Failures = {**_WITH_TOKEN, **failures.OF_PHONE_NUMBER}
_OF_SESSION_KEY: Failures = {**_WITH_TOKEN, **failures.OF_SESSION_KEY}

_EVERYDAY = (CodeError, SessionKeyStale, AccessTokenRejected)

_RID = re.compile(r"rid: ([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8})")
_OUR_ADDRESS = re.compile(
    r"invalid ip ([0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7})[ ,]"
)

_log = logging.getLogger(__name__)


class _Call(NamedTuple):
    """One of WeChat's calls, made for one of our apps."""

    appid: str
    path: str

    def __str__(self) -> str:
        return f"{self.appid}: {self.path}"


@dataclass(frozen=True, slots=True)
class WeChatIdentity:
    """What WeChat says a code stands for; `unionid` only if the app is on an open platform."""

    openid: str
    session_key: str = field(repr=False)
    unionid: str | None = None


class WeChatClient:
    """Asks WeChat over an injected `requests.Session`, `concurrency` calls at once.

    `timeout` is in seconds, to connect and to read. Each call takes as long as WeChat does, and may
    wait for its turn before.
    """

    def __init__(
        self,
        http: requests.Session,
        *,
        url: str,
        timeout: tuple[float, float],
        apps: Apps,
        concurrency: int,
        timing: Timing = time,
    ) -> None:
        self._apps = apps
        limit = ConcurrencyLimit(concurrency, timeout=sum(timeout))
        self._breaker = Breaker(limit, lambda: WeChatTimeout(retry_after=ceil(timeout[1])))
        self._http = http
        self._url = url
        self._timeout = timeout
        self._timing = timing

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
            "secret": self._apps.secret(appid),
            "js_code": code,
            "grant_type": "authorization_code",
        }
        call = _Call(appid, "/sns/jscode2session")
        return _identity(call, self._ask(call, failures.OF_EVERY_CALL, query=parameters))

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
            "secret": self._apps.secret(appid),
            "force_refresh": False,
        }
        call = _Call(appid, "/cgi-bin/stable_token")
        reply = self._ask(call, _OF_STABLE_TOKEN, body=wish)
        token, seconds = reply.get("access_token"), reply.get("expires_in")
        if not (isinstance(token, str) and token and token.isascii()):
            raise _unanswered(call, "unintelligible")
        if not (type(seconds) is int and 0 < seconds <= _LONGEST_TOKEN_LIFE):
            raise _unanswered(call, "unintelligible")
        return token, seconds

    def phone_number(
        self, appid: str, access_token: str, code: str, openid: str | None = None
    ) -> PhoneNumber:
        """Return the number that a code of the button getPhoneNumber stands for; it is spent then.

        With an `openid`, only that user's code is taken.
        Source: getPhoneNumber in the mini-program documentation.

        Raises:
            InvalidCode: the code is wrong, expired, used, or of another app or user.
            AccessTokenRejected: the access_token is no longer good; the code still is.
            WeChatError: WeChat did not answer the question; the code may be spent.
        """
        wish = {"code": code} if openid is None else {"code": code, "openid": openid}
        call = _Call(appid, "/wxa/business/getuserphonenumber")
        query = {"access_token": access_token}
        reply = self._ask(call, _OF_PHONE_NUMBER, query=query, body=wish)
        told = reply.get("phone_info")
        phone = phone_number_of(told) if isinstance(told, dict) else None
        if phone is None:
            raise _unanswered(call, "unintelligible")
        return phone

    def is_session_key_current(
        self, appid: str, access_token: str, openid: str, session_key: str
    ) -> bool:
        """Return whether this is the session_key that WeChat itself uses for the user now.

        Source: checkSessionKey in the mini-program documentation.

        Raises:
            AccessTokenRejected: the access_token is no longer good.
            WeChatError: WeChat did not answer the question.
        """
        query = _signed(access_token, openid, session_key)
        try:
            self._ask(_Call(appid, "/wxa/checksession"), _OF_SESSION_KEY, query=query)
        except SessionKeyStale:
            return False
        return True

    def reset_session_key(
        self, appid: str, access_token: str, openid: str, session_key: str
    ) -> str:
        """Return the session_key that takes the place of this one, which is dead from then on.

        The new one expires when the old one would have.
        Source: resetUserSessionKey in the mini-program documentation.

        Raises:
            SessionKeyStale: it was not the current one.
            AccessTokenRejected: the access_token is no longer good.
            WeChatError: WeChat did not answer the question; the key may be dead all the same.
        """
        query = _signed(access_token, openid, session_key)
        call = _Call(appid, "/wxa/resetusersessionkey")
        return _identity(call, self._ask(call, _OF_SESSION_KEY, query=query)).session_key

    def _ask(
        self,
        call: _Call,
        meanings: Failures,
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
            deadline = self._timing.monotonic() + self._timeout[1]
            for attempt in range(BUSY_RETRIES + 1):
                reply = self._reply(call, query, body, begun)
                errcode = reply.get("errcode", 0)
                if errcode == 0:
                    return reply
                if errcode != failures.BUSY or self._timing.monotonic() > deadline:
                    break
                self._timing.sleep(_BUSY_PAUSE * 2**attempt)
        raise _refusal(call, meanings, errcode, str(reply.get("errmsg", "")))

    def _reply(
        self,
        call: _Call,
        query: Mapping[str, str] | None,
        body: Mapping[str, object] | None,
        begun: int,
    ) -> Mapping[str, object]:
        try:
            sent = self._fetch(call.path, query, body)
        except (requests.RequestException, HTTPError, _TooLong, _TooLate) as error:
            reply, what = None, _in_a_word(error)
            if isinstance(error, requests.Timeout | ReadTimeoutError | _TooLate):
                self._breaker.not_answered(begun)
        else:
            self._breaker.answered()
            reply, what = _parsed(sent), "unintelligible"
        if reply is None:
            # Raised out here, so that not even the hidden context of our error has the URL in it.
            raise _unanswered(call, what)
        return reply

    def _fetch(
        self, path: str, query: Mapping[str, str] | None, wish: Mapping[str, object] | None
    ) -> bytes:
        """Return the body of a reply that has come whole within the read timeout, and is small."""
        deadline = self._timing.monotonic() + sum(self._timeout)
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
                    raise _TooLong
                if self._timing.monotonic() > deadline:
                    raise _TooLate
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
    """Return how many seconds one call takes at most, all its retries included.

    The last attempt begins within the read timeout and a pause. It makes its connections, waits
    for the first byte, and may wait once more in front of the byte that comes too late. A second
    and one connect timeout are to spare.
    """
    connect, read = timeout
    attempt = connect * (CONNECTION_RETRIES + 2) + 2 * read
    return read + attempt + 1


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


def _parsed(body: bytes) -> Mapping[str, object] | None:
    """Return the object that a body is, or None if it is anything else."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return reply if isinstance(reply, dict) else None


def _identity(call: _Call, reply: Mapping[str, object]) -> WeChatIdentity:
    openid, session_key, unionid = (reply.get(k) for k in ("openid", "session_key", "unionid"))
    if unionid == "":
        unionid = None  # as an id it would make one user of all who have it
    if not (_is_word(openid) and _is_word(session_key) and (unionid is None or _is_word(unionid))):
        raise _unanswered(call, "unintelligible")
    return WeChatIdentity(str(openid), str(session_key), None if unionid is None else str(unionid))


def _is_word(value: object) -> bool:
    """Return whether this can be an id or a key of WeChat's: a text, not too long for a row."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_WORD and value.isprintable()


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


def _refusal(call: _Call, meanings: Failures, errcode: object, errmsg: str) -> WxSessionError:
    """Return what an errcode means to us, having logged it with its cure.

    The rid names the call to WeChat's support; 40164 also names the address that WeChat sees us
    come from. The rest of the text may repeat what was sent.
    """
    known = errcode if isinstance(errcode, int) else None
    failure = failures.UNKNOWN if known is None else meanings.get(known, failures.UNKNOWN)
    error = failure.error()
    rid, address = _RID.search(errmsg), _OUR_ADDRESS.search(errmsg)
    _log.log(
        _level(error),
        "%s: errcode %s, rid %s: %s%s; %s",
        call,
        "none" if known is None else known,
        rid[1] if rid else "none",
        failure.meaning,
        f" (it is {address[1]})" if address and known == failures.ADDRESS_NOT_LISTED else "",
        failure.cure,
    )
    return error


def _unanswered(call: _Call, what: str) -> WxSessionError:
    """Return what it means to us that there was no answer, having logged it with its cure."""
    failure = failures.WITHOUT_ANSWER[what]
    error = failure.error()
    _log.log(
        _level(error), "%s: %s, %s: %s; %s", call, error.code, what, failure.meaning, failure.cure
    )
    return error


def _level(error: WxSessionError) -> int:
    if isinstance(error, _EVERYDAY):
        return logging.INFO
    return logging.WARNING if error.retryable else logging.ERROR


def _in_a_word(error: Exception) -> str:  # noqa: PLR0911 - a word for each
    """Return which of `failures.WITHOUT_ANSWER` an exception is; never its text, nor its URL."""
    match _reason(error):
        case NameResolutionError():
            return "dns"
        case SSLError() | requests.exceptions.SSLError():
            return "tls"
        case NewConnectionError(__cause__=ConnectionRefusedError()):
            return "refused"
        case NewConnectionError():
            return "no route"
        case ConnectTimeoutError() | requests.ConnectTimeout():
            return "connect timeout"
        case ProxyError() | requests.exceptions.ProxyError():
            return "proxy"
        case _TooLate() | ReadTimeoutError() | requests.ReadTimeout():
            return "read timeout"
        case DecodeError() | requests.exceptions.ContentDecodingError():
            return "unintelligible"
        case requests.ConnectionError() | HTTPError():
            return "broken"
        case _:
            return "unintelligible"


def _reason(error: Exception) -> BaseException:
    """Return what urllib3 gave as the reason, as deep down as it wraps one in another."""
    inner = error.args[0] if error.args else None
    if isinstance(inner, MaxRetryError):
        inner = inner.reason
    return inner if isinstance(inner, HTTPError) else error


class _TooLong(Exception):
    """The body is longer than any answer of WeChat's."""


class _TooLate(Exception):
    """The body goes on dripping after the time for a whole one is over."""
