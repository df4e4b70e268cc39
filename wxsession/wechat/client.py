"""WeChat's server API, as far as a login needs it.

The app secret travels in the query, because WeChat takes it from nowhere else. So nothing that
holds a URL may leave this module: every failure of `requests` is told in our own words, raised
with no trace of the original, and urllib3's own log lines lose their query strings.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import DecodeError, HTTPError, ReadTimeoutError
from urllib3.util import Retry

from wxsession.errors import (
    AppRejected,
    CodeUsed,
    InvalidCode,
    UserBlocked,
    WeChatBusy,
    WeChatError,
    WeChatRateLimited,
    WeChatTimeout,
    WeChatUnintelligible,
    WeChatUnreachable,
    WxSessionError,
)
from wxsession.wechat.slots import Slots

CONNECTION_RETRIES = 1
BUSY_RETRIES = 2
_BUSY_PAUSE = 0.1
_LONGEST_REPLY = 64 * 1024
_SYSTEM_ERROR = -1

# The errcodes of auth.code2Session (its page in the mini-program documentation, and 40163,
# 40164, 41002, 41004, 41008, 45009, which it leaves out and WeChat answers all the same).
_MEANINGS: Mapping[int, Callable[[], WxSessionError]] = {
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

_RID = re.compile(r"rid: ([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8})")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WeChatIdentity:
    """What WeChat says a code stands for; `unionid` only if the app is on an open platform."""

    openid: str
    session_key: str = field(repr=False)
    unionid: str | None = None


class WeChatClient:
    """Asks WeChat over an injected `requests.Session`.

    `timeout` is in seconds, to connect and to read; `apps` has the secrets by appid.
    """

    def __init__(  # noqa: PLR0913 - each is a setting or a seam
        self,
        http: requests.Session,
        *,
        url: str,
        timeout: tuple[float, float],
        apps: Mapping[str, str],
        slots: Slots,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.apps = apps
        self.slots = slots
        self._http = http
        self._url = url
        self._timeout = timeout
        self._sleep = sleep
        keep_queries_out_of_logs()

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
        started = time.monotonic()
        for attempt in range(BUSY_RETRIES + 1):
            reply = self._get("/sns/jscode2session", parameters)
            if reply.get("errcode") != _SYSTEM_ERROR:
                return _identity(reply)
            if time.monotonic() - started > self._timeout[1]:
                break
            self._sleep(_BUSY_PAUSE * 2**attempt)
        raise WeChatBusy(retry_after=2)

    def _get(self, path: str, parameters: Mapping[str, str]) -> Mapping[str, object]:
        try:
            return _parsed(self._fetch(path, parameters))
        except (requests.RequestException, HTTPError) as error:
            failure = _in_own_words(error)
        # Raised out here, so that not even the hidden context of our error has the URL in it.
        _log.warning("%s: %s", path, failure.code)
        raise failure

    def _fetch(self, path: str, parameters: Mapping[str, str]) -> bytes:
        """Return the body of a reply that has come whole within the read timeout, and is small."""
        deadline = time.monotonic() + sum(self._timeout)
        with self._http.get(
            self._url + path,
            params=parameters,
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


def transport() -> requests.Session:
    """Return what production talks to WeChat with: connections are retried, answers never."""
    retry = Retry(total=None, connect=CONNECTION_RETRIES, read=False, redirect=0, status=0, other=0)
    session = requests.Session()
    session.mount("https://", HTTPAdapter(pool_maxsize=64, max_retries=retry))
    session.mount("http://", HTTPAdapter(pool_maxsize=64, max_retries=retry))
    return session


def longest_call(timeout: tuple[float, float]) -> float:
    """Return how many seconds `code2session` takes at most, all its retries included."""
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
    errcode = reply.get("errcode", 0)
    if errcode != 0:
        raise _refusal(errcode, str(reply.get("errmsg", "")))
    openid, session_key, unionid = (reply.get(k) for k in ("openid", "session_key", "unionid"))
    if not (isinstance(openid, str) and isinstance(session_key, str) and openid and session_key):
        raise WeChatUnintelligible(retry_after=5)
    return WeChatIdentity(openid, session_key, unionid if isinstance(unionid, str) else None)


def _refusal(errcode: object, errmsg: str) -> WxSessionError:
    """Return what an errcode means to us; the text is only searched for its rid.

    The rid names the call to WeChat's support; the rest of the text may repeat what was sent.
    """
    meaning = _MEANINGS.get(errcode) if isinstance(errcode, int) else None
    error = meaning() if meaning else WeChatUnintelligible(retry_after=5)
    rid = _RID.search(errmsg)
    level = logging.INFO if isinstance(error, (InvalidCode, CodeUsed)) else logging.ERROR
    what = errcode if isinstance(errcode, int) else "none"
    _log.log(level, "code2Session: errcode %s, rid %s", what, rid[1] if rid else "none")
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
