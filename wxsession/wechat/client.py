"""WeChat's server API, as far as logins, open data and phone numbers need it.

The app secret of code2Session and every access_token are sent in the query, because WeChat
accepts them nowhere else. So nothing that holds a URL may leave this module: every error of
`requests` is translated and raised without a trace of the original, and urllib3's own log lines
lose their query strings (`keep_queries_out_of_logs`, for the whole process).
"""

import hmac
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

import requests
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

from wxsession.common.adapters import TimelyAdapter
from wxsession.common.clock import Timing
from wxsession.common.limits import ConcurrencyLimit
from wxsession.common.metrics import NUMBERS, WECHAT_CALLS, WECHAT_ERRORS
from wxsession.common.wording import Sentence
from wxsession.errors import (
    CodeError,
    SessionKeyStale,
    WeChatTimeout,
    WxSessionError,
)
from wxsession.users.phone_numbers import PhoneNumber
from wxsession.wechat import failures
from wxsession.wechat.apps import Apps
from wxsession.wechat.breaker import Breaker
from wxsession.wechat.failures import AccessTokenRejected, Failure, Failures
from wxsession.wechat.phone_number import phone_number_of

OK = "ok"
"""The outcome of an attempt that did what it was to do."""

CODE2SESSION = "/sns/jscode2session"
STABLE_TOKEN = "/cgi-bin/stable_token"  # noqa: S105 - a path
PHONE_NUMBER = "/wxa/business/getuserphonenumber"

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

_OF_CALL: Mapping[str, Failures] = {
    CODE2SESSION: failures.OF_EVERY_CALL,
    STABLE_TOKEN: _OF_STABLE_TOKEN,
    PHONE_NUMBER: _OF_PHONE_NUMBER,
}

_EVERYDAY = (CodeError, SessionKeyStale, AccessTokenRejected)

_RID = re.compile(r"rid: ([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8})")
_OUR_ADDRESS = re.compile(
    r"invalid ip ([0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7})[ ,]"
)

_log = logging.getLogger(__name__)

T = TypeVar("T")
_Reply = Mapping[str, Any]
"""The JSON object that WeChat replied, in which the errcode is a whole number if there is one."""


class _Call(NamedTuple):
    """A request to one of WeChat's endpoints for one of our apps, as the log names it."""

    appid: str
    path: str

    def __str__(self) -> str:
        return f"{self.appid}: {self.path}"


class Attempt(NamedTuple):
    """One request to WeChat: its errcode or the failure in its place, and how long it took."""

    appid: str
    call: str
    outcome: str
    """``ok``, an errcode, or a name of `failures.WITHOUT_REPLY`."""
    seconds: float
    rid: str | None
    """By which WeChat's support finds a request that was refused."""


@dataclass(frozen=True, slots=True)
class WeChatIdentity:
    """The WeChat user of a code; `unionid` only if the app is on an open platform."""

    openid: str
    session_key: str = field(repr=False)
    unionid: str | None = None


class WeChatClient:
    """Asks WeChat through an injected `requests.Session`, `concurrency` calls at once.

    `timeout` is in seconds, to connect and to read. A call may first wait for its turn, and then
    takes at most `longest_call(timeout)`.
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
        # The environment is read once, for proxies and certificates: `requests` would read it at
        # each call, and copy an empty cookie jar, which takes more time than the call itself.
        surroundings = http.merge_environment_settings(url, {}, stream=True, verify=None, cert=None)
        self._surroundings: Mapping[str, Any] = {**surroundings}
        self._template = http.prepare_request(requests.Request("GET", url))
        self._timeout = timeout
        self._timing = timing
        self._report: Callable[[Attempt], None] = lambda _attempt: None

    def report_to(self, listener: Callable[[Attempt], None]) -> None:
        """Call this with every attempt from now on, in the thread of its caller."""
        self._report = listener

    def ensure_usable(self) -> None:
        """Return unless WeChat is known not to respond.

        Raises:
            WeChatTimeout: WeChat has not responded for a while, and another call is probing it.
        """
        self._breaker.ensure_usable()

    def code2session(self, appid: str, code: str) -> WeChatIdentity:
        """Return the identity that a code of wx.login stands for; the code is spent by that.

        Only a request that cannot have spent the code is repeated: one without a connection, or
        with WeChat's "system error" (-1).
        Source: auth.code2Session in the mini-program documentation.

        Raises:
            CodeError: WeChat refuses the code or its user.
            WeChatError: WeChat did not give a usable response; after `WeChatTimeout` and
                `WeChatUnreachable` the code may be spent.
        """
        parameters = {
            "appid": appid,
            "secret": self._apps.secret(appid),
            "js_code": code,
            "grant_type": "authorization_code",
        }
        call = _Call(appid, CODE2SESSION)
        return self._ask(call, failures.OF_EVERY_CALL, _identity, query=parameters)

    def stable_token(self, appid: str) -> tuple[str, int]:
        """Return an access_token of the app, and its lifetime in seconds.

        In normal mode WeChat returns the same token while it is valid, so a second request does
        not invalidate the first one's token.
        Source: getStableAccessToken in the mini-program documentation.

        Raises:
            WeChatError: WeChat did not return a token.
        """
        body = {
            "grant_type": "client_credential",
            "appid": appid,
            "secret": self._apps.secret(appid),
            "force_refresh": False,
        }
        call = _Call(appid, STABLE_TOKEN)
        return self._ask(call, _OF_STABLE_TOKEN, _token, body=body)

    def phone_number(
        self, appid: str, access_token: str, code: str, openid: str | None = None
    ) -> PhoneNumber:
        """Return the number that a code of the button getPhoneNumber stands for; that spends it.

        With an `openid`, only that user's code is accepted.
        Source: getPhoneNumber in the mini-program documentation.

        Raises:
            InvalidCode: the code is wrong, expired, used, or of another app or user.
            AccessTokenRejected: the access_token is no longer valid; the code still is.
            WeChatError: WeChat did not give a usable response; the code may be spent.
        """
        body = {"code": code} if openid is None else {"code": code, "openid": openid}
        call = _Call(appid, PHONE_NUMBER)
        query = {"access_token": access_token}
        return self._ask(call, _OF_PHONE_NUMBER, _phone_number, query=query, body=body)

    def is_session_key_current(
        self, appid: str, access_token: str, openid: str, session_key: str
    ) -> bool:
        """Return whether this is the session_key that WeChat uses for the user now.

        Source: checkSessionKey in the mini-program documentation.

        Raises:
            AccessTokenRejected: the access_token is no longer valid.
            WeChatError: WeChat did not give a usable response.
        """
        query = _signed(access_token, openid, session_key)
        try:
            call = _Call(appid, "/wxa/checksession")
            return self._ask(call, _OF_SESSION_KEY, lambda _reply: True, query=query)
        except SessionKeyStale:
            return False

    def reset_session_key(
        self, appid: str, access_token: str, openid: str, session_key: str
    ) -> str:
        """Let WeChat replace this session_key, which is invalid from then on; return the new one.

        The new key expires when the old one would have.
        Source: resetUserSessionKey in the mini-program documentation.

        Raises:
            SessionKeyStale: it was not the current one.
            AccessTokenRejected: the access_token is no longer valid.
            WeChatError: WeChat did not give a usable response; the key may still be invalid now.
        """
        query = _signed(access_token, openid, session_key)
        call = _Call(appid, "/wxa/resetusersessionkey")
        return self._ask(call, _OF_SESSION_KEY, _identity, query=query).session_key

    def _ask(
        self,
        call: _Call,
        errors_by_errcode: Failures,
        read: Callable[[_Reply], T | None],
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> T:
        """Return what WeChat's reply says if the call succeeded; with a `body` it is a POST.

        `read` returns that, or None if the reply has not what it should have.

        Raises:
            WxSessionError: the meaning of the errcode in this call.
            WeChatError: there was no usable response.
            Overloaded: no place among the calls was free in time.
        """
        with self._breaker.call() as begun:
            deadline = self._timing.monotonic() + self._timeout[1]
            for attempt in range(BUSY_RETRIES + 1):
                reply, found = self._reply(call, read, query, body, begun)
                if found is not None:
                    return found
                errcode: int = reply["errcode"]
                # The deadline bounds the whole call: a slow -1 is not repeated, see `longest_call`.
                if errcode != failures.BUSY or self._timing.monotonic() > deadline:
                    break
                self._timing.sleep(_BUSY_PAUSE * 2**attempt)
        raise _error_of_errcode(call, errors_by_errcode, errcode, str(reply.get("errmsg", "")))

    def _reply(
        self,
        call: _Call,
        read: Callable[[_Reply], T | None],
        query: Mapping[str, str] | None,
        body: Mapping[str, object] | None,
        begun: int,
    ) -> tuple[_Reply, T | None]:
        """Return WeChat's reply, and what it says unless it has an errcode."""
        found = None
        sent_at = self._timing.monotonic()
        try:
            content = self._fetch(call.path, query, body)
        except (requests.RequestException, HTTPError, _TooLong, _TooLate) as error:
            reply, failure = None, _failure_of(error)
            if isinstance(error, requests.Timeout | ReadTimeoutError | _TooLate):
                self._breaker.not_answered(begun)
        else:
            self._breaker.answered()
            reply, failure = _parsed(content), "unintelligible"
            if reply is not None and not reply.get("errcode"):
                found = read(reply)
                reply = None if found is None else reply  # or the attempt would count as a success
        seconds = self._timing.monotonic() - sent_at
        outcome = failure if reply is None else _kind_of(reply)
        NUMBERS.observe(WECHAT_CALLS, (call.path, outcome), seconds)
        self._report(_attempt(call, reply, failure, seconds))
        if reply is None:
            # Outside the `except`: there the exception with the URL would become the context.
            raise _no_reply(call, failure)
        return reply, found

    def _fetch(
        self, path: str, query: Mapping[str, str] | None, body: Mapping[str, object] | None
    ) -> bytes:
        """Return the content of a response that is small, and complete in time.

        Raises:
            RequestException, HTTPError: there was no response, or the connection broke.
            _TooLong: it has more than `_LONGEST_REPLY` bytes.
            _TooLate: it was not complete within the connect and read timeouts together.
        """
        # The read timeout of `requests` is for each read: a dripping body would never end. The
        # head ends in time by the adapters of `transport`.
        deadline = self._timing.monotonic() + sum(self._timeout)
        request = self._request(path, query, body)
        adapter = self._http.get_adapter(str(request.url))  # it follows no redirect
        with adapter.send(request, timeout=self._timeout, **self._surroundings) as response:
            content = bytearray()
            while chunk := response.raw.read1(_LONGEST_REPLY, decode_content=True):
                content += chunk
                if len(content) > _LONGEST_REPLY:
                    raise _TooLong
                if self._timing.monotonic() > deadline:
                    raise _TooLate
            return bytes(content)

    def _request(
        self, path: str, query: Mapping[str, str] | None, body: Mapping[str, object] | None
    ) -> requests.PreparedRequest:
        request = self._template.copy()
        request.url = f"{str(request.url).rstrip('/')}{path}?{urlencode(query or {})}"
        if body is not None:
            request.method = "POST"
            # With Content-Length: WeChat responds 412 to a chunked request.
            request.prepare_body(None, None, json=body)
        return request


def failure_of(call: str, outcome: str) -> Failure | None:
    """Return what an outcome of an attempt means, and its cure; None if there was no failure."""
    if outcome == OK:
        return None
    if outcome in failures.WITHOUT_REPLY:
        return failures.WITHOUT_REPLY[outcome]
    known = _OF_CALL.get(call, _OF_SESSION_KEY)
    return known.get(int(outcome), failures.UNKNOWN)


def transport(concurrency: int) -> requests.Session:
    """Return the HTTP session for production: it retries to connect, and nothing else.

    It keeps as many connections as there are concurrent calls. A response has to come within the
    read timeout; by way of a proxy of SOCKS, only each part of its head.
    """
    retry = Retry(total=None, connect=CONNECTION_RETRIES, read=False, redirect=0, status=0, other=0)
    session = requests.Session()
    for scheme in "https://", "http://":
        session.mount(scheme, TimelyAdapter(pool_maxsize=concurrency, max_retries=retry))
    return session


def longest_call(timeout: tuple[float, float]) -> float:
    """Return the longest duration of one call in seconds, with all its retries."""
    # The last attempt begins within the read timeout and a pause. It connects, waits for the head
    # of the response, and may wait once more before the part of the body that is too late. One
    # connect timeout and a second, which covers the pause, are to spare.
    connect, read = timeout
    attempt = connect * (CONNECTION_RETRIES + 2) + 2 * read
    return read + attempt + 1


def keep_queries_out_of_logs() -> None:
    """Remove the query strings from urllib3's log records."""
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logger = logging.getLogger(name)
        if _without_query not in logger.filters:
            logger.addFilter(_without_query)


def _without_query(record: logging.LogRecord) -> bool:
    record.msg = re.sub(r"\?[^\s'\"]*", "?…", record.getMessage())
    record.args = None
    return True


def _parsed(body: bytes) -> _Reply | None:
    """Return the JSON object in a body, or None if it is anything else."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not (isinstance(reply, dict) and type(reply.get("errcode", 0)) is int):
        return None  # True is no errcode, though it is an int to Python
    return reply


def _identity(reply: _Reply) -> WeChatIdentity | None:
    openid, session_key, unionid = (reply.get(k) for k in ("openid", "session_key", "unionid"))
    if unionid == "":
        unionid = None  # as an id it would merge all users who have it
    if not (_is_word(openid) and _is_word(session_key) and (unionid is None or _is_word(unionid))):
        return None
    return WeChatIdentity(str(openid), str(session_key), None if unionid is None else str(unionid))


def _token(reply: _Reply) -> tuple[str, int] | None:
    token, seconds = reply.get("access_token"), reply.get("expires_in")
    if not (isinstance(token, str) and token and token.isascii()):
        return None
    if not (type(seconds) is int and 0 < seconds <= _LONGEST_TOKEN_LIFE):
        return None
    return token, seconds


def _phone_number(reply: _Reply) -> PhoneNumber | None:
    info = reply.get("phone_info")
    return phone_number_of(info) if isinstance(info, dict) else None


def _is_word(value: object) -> bool:
    """Return whether this can be an id or key from WeChat: text that is not too long for a row."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_WORD and value.isprintable()


def key_signature(session_key: str, body: str = "") -> str:
    """Return the HMAC in hex that proves to WeChat that we hold a session_key.

    The key is used as text, not decoded. The endpoints about session_keys sign an empty body.
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


def _kind_of(reply: _Reply) -> str:
    """Return the outcome that metrics have for a reply."""
    errcode = reply.get("errcode")
    return "busy" if errcode == failures.BUSY else "refused" if errcode else OK


def _attempt(call: _Call, reply: _Reply | None, failure: str, seconds: float) -> Attempt:
    if reply is None:
        return Attempt(*call, failure, seconds, None)
    if not reply.get("errcode"):
        return Attempt(*call, OK, seconds, None)
    rid = _RID.search(str(reply.get("errmsg", "")))
    return Attempt(*call, str(reply["errcode"]), seconds, rid[1] if rid else None)


def _error_of_errcode(
    call: _Call, errors_by_errcode: Failures, errcode: int, errmsg: str
) -> WxSessionError:
    """Log what an errcode means, with its cure, and return its error, which has both as notes.

    WeChat's support finds a request by its rid; for 40164 the errmsg names the address from which
    WeChat sees the request.
    """
    failure = errors_by_errcode.get(errcode, failures.UNKNOWN)
    error = failure.error()
    # Only these two parts of the errmsg are logged: the rest may repeat the request's parameters.
    rid, address = _RID.search(errmsg), _OUR_ADDRESS.search(errmsg)
    found = Sentence(
        "errcode {errcode}, rid {rid}: {meaning} (it is {address})"
        if address and errcode == failures.ADDRESS_NOT_LISTED
        else "errcode {errcode}, rid {rid}: {meaning}",
        errcode=errcode,
        rid=rid[1] if rid else "none",
        meaning=Sentence(failure.meaning),
        address=address and address[1],
    )
    _tell(call, error, found, failure.cure, errcode=errcode, rid=rid[1] if rid else None)
    return error


def _no_reply(call: _Call, name: str) -> WxSessionError:
    """Log a failure of `failures.WITHOUT_REPLY`, with its cure, and return its error.

    The error has both as notes.
    """
    failure = failures.WITHOUT_REPLY[name]
    error = failure.error()
    found = Sentence(
        "{code}, {name}: {meaning}", code=error.code, name=name, meaning=Sentence(failure.meaning)
    )
    _tell(call, error, found, failure.cure, failure=name)
    return error


def _tell(call: _Call, error: WxSessionError, found: Sentence, cure: str, **facts: object) -> None:
    """Log what went wrong in a call, in words and as fields; note it and its cure on the error."""
    fields = {"appid": call.appid, "call": call.path, "code": error.code, **facts}
    errcode = facts.get("errcode", facts.get("failure"))
    NUMBERS.count(WECHAT_ERRORS, call.path, str(errcode), call.appid)
    _log.log(_level(error), "%s: %s; %s", call, found, cure, extra={"fields": fields})
    error.add_note(found)
    error.add_note(Sentence(cure))


def _level(error: WxSessionError) -> int:
    if isinstance(error, _EVERYDAY):
        return logging.INFO
    return logging.WARNING if error.retryable else logging.ERROR


def _failure_of(error: Exception) -> str:  # noqa: PLR0911 - one for each failure
    """Return the name of an exception in `failures.WITHOUT_REPLY`; never its text or its URL."""
    # From the particular to the general: most of these are subclasses of those further down.
    match _innermost(error):
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


def _innermost(error: Exception) -> BaseException:
    """Return urllib3's own error inside one of `requests`, without its `MaxRetryError`."""
    inner = error.args[0] if error.args else None
    if isinstance(inner, MaxRetryError):
        inner = inner.reason
    return inner if isinstance(inner, HTTPError) else error


class _TooLong(Exception):
    """The body is longer than any response of WeChat's."""


class _TooLate(Exception):
    """The body was not complete in time."""
