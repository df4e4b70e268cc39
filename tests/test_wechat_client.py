"""What WeChat answers, and what it fails to answer, in our own words."""

import logging
import re
import socket
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import responses
from requests.adapters import BaseAdapter, HTTPAdapter

from tests.support.line import HeldLine
from tests.support.settings import APPID, APPS
from tests.support.timing import Sleepless, Stopwatch
from wxsession.errors import (
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
from wxsession.simulator import Fault, WeChat, wechat_transport
from wxsession.wechat.apps import Apps
from wxsession.wechat.breaker import SILENCES
from wxsession.wechat.client import (
    CONNECTION_RETRIES,
    Attempt,
    WeChatClient,
    keep_queries_out_of_logs,
    key_signature,
    longest_call,
    transport,
)
from wxsession.wechat.failures import AccessTokenRejected

URL = "https://api.weixin.qq.com"
ENDPOINT = f"{URL}/sns/jscode2session"

ERRCODES = {
    -1: WeChatBusy,
    40029: InvalidCode,
    41008: InvalidCode,
    40163: CodeUsed,
    40226: UserBlocked,
    45011: WeChatRateLimited,
    45009: WeChatRateLimited,
    40002: AppRejected,
    40013: AppRejected,
    40125: AppRejected,
    40164: AppRejected,
    40243: AppRejected,
    41002: AppRejected,
    41004: AppRejected,
    48001: AppRejected,
    50002: AppRejected,
    99999: WeChatUnintelligible,
}

FAULTS = {
    Fault.TIMEOUT_AFTER_EXCHANGE: WeChatTimeout,
    Fault.DRIP: WeChatTimeout,
    Fault.CONNECTION_REFUSED: WeChatUnreachable,
    Fault.CONNECTION_RESET: WeChatUnreachable,
    Fault.NOT_JSON: WeChatUnintelligible,
    Fault.EMPTY: WeChatUnintelligible,
    Fault.TRUNCATED: WeChatUnintelligible,
    Fault.WRONG_SHAPE: WeChatUnintelligible,
    Fault.NO_OPENID: WeChatUnintelligible,
    Fault.NO_SESSION_KEY: WeChatUnintelligible,
    Fault.HUGE: WeChatUnintelligible,
    Fault.LEGACY_HINTS: InvalidCode,
}

HARMLESS = {Fault.LEGACY_EXPIRES_IN, Fault.LEGACY_ERRCODE, Fault.NO_UNIONID, Fault.UNKNOWN_KEYS}


def client(
    http: requests.Session, *, url: str = URL, concurrency: int = 2, timeout: float = 0.5
) -> WeChatClient:
    keep_queries_out_of_logs()
    return WeChatClient(
        http,
        url=url,
        timeout=(timeout, timeout),
        apps=Apps(APPS),
        concurrency=concurrency,
        timing=Sleepless(),
    )


def failure(asked: WeChatClient, code: str = "0" * 32) -> WxSessionError:
    """Return the error, having seen that nothing about it leads to the app secret."""
    with pytest.raises(WxSessionError) as caught:
        asked.code2session(APPID, code)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert APPS[APPID] not in told
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def test_a_code_stands_for_an_identity(wechat: WeChat) -> None:
    found = client(wechat_transport(wechat)).code2session(APPID, wechat.login("alice"))
    assert (found.openid, found.session_key) == (
        wechat.openid("alice"),
        wechat.session_key("alice"),
    )
    assert found.unionid is None
    assert found.session_key not in repr(found)


def test_the_unionid_comes_along_where_there_is_one(wechat: WeChat) -> None:
    wechat.bind_open_platform(APPID)
    found = client(wechat_transport(wechat)).code2session(APPID, wechat.login("alice"))
    assert found.unionid == wechat.unionid("alice")


@pytest.mark.parametrize(("errcode", "meaning"), ERRCODES.items())
def test_every_errcode_has_a_meaning(
    wechat: WeChat, errcode: int, meaning: type[WxSessionError]
) -> None:
    wechat.fail_next(errcode, times=3)
    error = failure(client(wechat_transport(wechat)))
    assert type(error) is meaning
    if isinstance(error, WeChatError) and meaning is not AppRejected:
        assert error.retry_after


@pytest.mark.parametrize(("fault", "meaning"), FAULTS.items())
def test_every_fault_has_a_meaning(
    wechat: WeChat, fault: Fault, meaning: type[WxSessionError]
) -> None:
    wechat.fail_next(fault)
    error = failure(client(wechat_transport(wechat)), wechat.login("alice"))
    assert type(error) is meaning


@pytest.mark.parametrize("fault", sorted(HARMLESS, key=str))
def test_what_wechat_adds_or_leaves_out_does_no_harm(wechat: WeChat, fault: Fault) -> None:
    wechat.fail_next(fault)
    found = client(wechat_transport(wechat)).code2session(APPID, wechat.login("alice"))
    assert found.openid == wechat.openid("alice")


def test_no_fault_is_forgotten_here() -> None:
    assert set(Fault) == FAULTS.keys() | HARMLESS


def test_a_system_error_is_asked_again_twice(wechat: WeChat) -> None:
    wechat.fail_next(-1, times=2)
    found = client(wechat_transport(wechat)).code2session(APPID, wechat.login("alice"))
    assert found.openid == wechat.openid("alice")
    assert len(wechat.exchanges) == 3


@pytest.mark.parametrize(
    "fault", [Fault.TIMEOUT_AFTER_EXCHANGE, Fault.CONNECTION_RESET, Fault.NOT_JSON, Fault.TRUNCATED]
)
def test_what_may_have_spent_the_code_is_not_asked_again(wechat: WeChat, fault: Fault) -> None:
    wechat.fail_next(fault)
    failure(client(wechat_transport(wechat, max_retries=2)), wechat.login("alice"))
    assert len(wechat.exchanges) == 1


def told(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """Return the one line that the client has logged."""
    lines = [record for record in caplog.records if record.name == "wxsession.wechat.client"]
    assert len(lines) == 1, lines
    assert APPS[APPID] not in caplog.text
    assert "0" * 32 not in caplog.text
    return lines[0]


@pytest.mark.parametrize(
    ("errcode", "level", "words"),
    [
        (40125, "ERROR", "the app secret is wrong; correct the secret in WXSESSION_APPS"),
        (
            40164,
            "ERROR",
            "this server's address is not in the app's IP whitelist (it is 127.0.0.1); add the",
        ),
        (40243, "ERROR", "the app secret is frozen; unfreeze it in the mini-program's console"),
        (50002, "ERROR", "the app's account is frozen or cancelled; look for notices in"),
        (99999, "ERROR", "an errcode that is not known here; look it up"),
        (45011, "WARNING", "too many calls in this minute; find the client that"),
        (-1, "WARNING", "WeChat is busy, also after every retry; nothing: the client"),
        (40029, "INFO", "the code is wrong, expired, or of another app; the client calls"),
    ],
)
def test_a_refusal_is_told_with_its_app_its_rid_its_meaning_and_its_cure(
    wechat: WeChat, caplog: pytest.LogCaptureFixture, errcode: int, level: str, words: str
) -> None:
    wechat.fail_next(errcode, times=3)
    failure(client(wechat_transport(wechat)))
    line = told(caplog)
    rid = r"[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"
    begins = rf"{APPID}: /sns/jscode2session: errcode {errcode}, rid {rid}: {re.escape(words)}"
    assert re.match(begins, line.getMessage()), line.getMessage()
    assert line.levelname == level


@pytest.mark.parametrize(
    ("errmsg", "address"),
    [
        ("invalid ip 47.1.2.3 ipv6 ::ffff:47.1.2.3, not in whitelist", " (it is 47.1.2.3)"),
        ("invalid ip 2001:db8::1 ipv6 2001:db8::1, not in whitelist", " (it is 2001:db8::1)"),
        ("invalid ip c0ffee, not in whitelist", ""),
        ("invalid ip 47.1.2.3\nforged, not in whitelist", ""),
        ("not in whitelist", ""),
    ],
)
def test_of_what_wechat_says_the_rid_and_our_address_alone_are_told(
    caplog: pytest.LogCaptureFixture, errmsg: str, address: str
) -> None:
    with responses.RequestsMock() as mock:
        mock.get(ENDPOINT, json={"errcode": 40164, "errmsg": f"{errmsg}, rid: canary"})
        failure(client(requests.Session()))
    said = told(caplog).getMessage()
    assert (
        f"errcode 40164, rid none: this server's address is not in the app's IP whitelist{address};"
        in said
    )


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (Fault.CONNECTION_REFUSED, "wechat_unreachable, refused"),
        (Fault.CONNECTION_RESET, "wechat_unreachable, broken"),
        (Fault.TIMEOUT_AFTER_EXCHANGE, "wechat_timeout, read timeout"),
        (Fault.DRIP, "wechat_timeout, read timeout"),
        (Fault.NOT_JSON, "wechat_unintelligible, unintelligible"),
        (Fault.NO_OPENID, "wechat_unintelligible, unintelligible"),
        (Fault.HUGE, "wechat_unintelligible, unintelligible"),
    ],
)
def test_a_call_without_an_answer_is_told_in_a_word_of_its_own(
    wechat: WeChat, caplog: pytest.LogCaptureFixture, fault: Fault, word: str
) -> None:
    wechat.fail_next(fault)
    failure(client(wechat_transport(wechat)), wechat.login("alice"))
    said = told(caplog).getMessage()
    assert said.startswith(f"{APPID}: /sns/jscode2session: {word}: ")
    assert "; " in said  # and the cure


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"42",
        b"{",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'{"openid":1,"session_key":"k"}',
        b'{"openid":"","session_key":"k"}',
        b'{"openid":"o","session_key":null}',
        b'{"errcode":"40029"}',
        b'{"errcode":null}',
        b'{"errcode":[]}',
        b'{"errcode":1e400}',
        b'{"errcode":true,"errmsg":"\xc3\xa4"}',
    ],
)
def test_bytes_that_are_no_answer(body: bytes) -> None:
    with responses.RequestsMock() as mock:
        mock.get(ENDPOINT, body=body, content_type="text/plain")
        asked, attempts = client(requests.Session()), list[Attempt]()
        asked.report_to(attempts.append)
        assert type(failure(asked)) is WeChatUnintelligible
    assert [attempt.outcome for attempt in attempts] == ["unintelligible"]


def test_a_reply_without_what_was_asked_for_is_reported_as_no_success() -> None:
    asked, attempts = client(requests.Session()), list[Attempt]()
    asked.report_to(attempts.append)
    with responses.RequestsMock() as mock:
        for method in "GET", "POST":
            mock.add(method, re.compile(URL), json={"errcode": 0, "errmsg": "ok"})
        with pytest.raises(WeChatUnintelligible):
            asked.stable_token(APPID)
        with pytest.raises(WeChatUnintelligible):
            asked.phone_number(APPID, "token", "code")
        with pytest.raises(WeChatUnintelligible):
            asked.reset_session_key(APPID, "token", "openid", "key")
    assert [attempt.outcome for attempt in attempts] == ["unintelligible"] * 3


def test_a_body_that_does_not_unpack_is_no_answer() -> None:
    with responses.RequestsMock() as mock:
        mock.get(ENDPOINT, body=b"not gzip", headers={"Content-Encoding": "gzip"})
        assert type(failure(client(requests.Session()))) is WeChatUnintelligible


@pytest.mark.parametrize("name", ["openid", "session_key", "unionid"])
@pytest.mark.parametrize(
    "value", [7, True, ["x"], {}, "x" * 129, "a\0b", "a\nb", "\ud800", "\u200b"], ids=ascii
)
def test_an_id_that_is_none_is_no_answer(name: str, value: object) -> None:
    reply = {"openid": "o", "session_key": "k", "unionid": "u", name: value}
    with responses.RequestsMock() as mock:
        mock.get(ENDPOINT, json=reply)
        assert type(failure(client(requests.Session()))) is WeChatUnintelligible


@pytest.mark.parametrize("unionid", ["", None])
def test_an_empty_unionid_is_none(unionid: str | None) -> None:
    with responses.RequestsMock() as mock:
        mock.get(ENDPOINT, json={"openid": "o", "session_key": "k", "unionid": unionid})
        assert client(requests.Session()).code2session(APPID, "c").unionid is None


@pytest.mark.parametrize("status", [301, 302, 307, 404, 500, 502])
def test_a_redirect_is_not_followed_and_a_page_is_no_answer(status: int) -> None:
    with responses.RequestsMock() as mock:
        headers = {"Location": "https://elsewhere.example/"}
        mock.get(ENDPOINT, body=b"<html>", status=status, headers=headers)
        assert type(failure(client(requests.Session()))) is WeChatUnintelligible
        assert len(mock.calls) == 1


@pytest.mark.parametrize(
    ("raised", "meaning"),
    [
        (requests.ConnectTimeout, WeChatUnreachable),
        (requests.ReadTimeout, WeChatTimeout),
        (requests.exceptions.SSLError, WeChatUnreachable),
        (requests.exceptions.ProxyError, WeChatUnreachable),
        (requests.exceptions.ContentDecodingError, WeChatUnintelligible),
        (requests.exceptions.InvalidURL, WeChatUnintelligible),
    ],
)
def test_every_failure_of_the_transport_has_a_meaning_and_leaves_no_trace(
    raised: type[requests.RequestException], meaning: type[WxSessionError]
) -> None:
    with responses.RequestsMock() as mock:
        mock.get(ENDPOINT, body=raised(f"{ENDPOINT}?secret={APPS[APPID]}"))
        assert type(failure(client(requests.Session()))) is meaning


def test_a_busy_wechat_is_not_asked_again_when_the_time_for_an_answer_is_over() -> None:
    slow = WeChat(APPS)
    slow.answer_after(0.3)
    slow.fail_next(-1, times=3)
    asked = client(wechat_transport(slow, real_time=True))
    assert type(failure(asked, slow.login("alice"))) is WeChatBusy
    assert len(slow.exchanges) == 2


class SlowlyBusy(BaseAdapter):
    """A WeChat that is busy; after some waits it takes as long for everything as it may."""

    def __init__(self, time: Stopwatch, waits: Sequence[float]) -> None:
        super().__init__()
        self._time = time
        self._waits = iter(waits)

    def send(  # type: ignore[override]
        self, _request: object, *, timeout: tuple[float, float], **_options: object
    ) -> requests.Response:
        """Return a body that comes at once after a wait, or one whose end comes too late."""
        connect, read = timeout
        wait = next(self._waits, None)
        self._time.sleep(connect * (CONNECTION_RETRIES + 1) + read if wait is None else wait)
        body = iter([b'{"errcode"', b": -1}", b""])

        def read1(_amount: int, *, decode_content: bool) -> bytes:
            assert decode_content
            self._time.sleep(read if wait is None else 0)
            return next(body)

        response = requests.Response()
        response.status_code = 200
        response.raw = SimpleNamespace(read1=read1, close=lambda: None)
        return response

    def close(self) -> None:
        """Have nothing to close."""


@pytest.mark.parametrize("timeout", [(3.0, 5.0), (0.5, 0.5), (60.0, 1.0), (1.0, 60.0)])
def test_no_call_takes_longer_than_who_waits_for_one_believes(timeout: tuple[float, float]) -> None:
    connect, read = timeout
    longest = 0.0
    for first, second in product((0.0, 0.4 * read, read - 0.11, read, 1.1 * read), repeat=2):
        time = Stopwatch()
        session = requests.Session()
        session.mount(URL, SlowlyBusy(time, [first, second]))
        asked = WeChatClient(
            session, url=URL, timeout=timeout, apps=Apps(APPS), concurrency=1, timing=time
        )
        assert type(failure(asked)) in {WeChatBusy, WeChatTimeout}
        longest = max(longest, time.seconds)
    assert longest_call(timeout) - connect - 1 < longest < longest_call(timeout)


def test_parameters_are_never_pasted_into_the_url() -> None:
    with responses.RequestsMock() as mock:
        mock.get(ENDPOINT, json={"openid": "o", "session_key": "k"})
        client(requests.Session()).code2session(APPID, "a&secret=b#c d/ä%00")
        assert mock.calls[0].request.params == {  # type: ignore[attr-defined]
            "appid": APPID,
            "secret": APPS[APPID],
            "js_code": "a&secret=b#c d/ä%00",
            "grant_type": "authorization_code",
        }


def test_a_real_refused_connection_is_retried_and_leaves_no_secret_in_any_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with caplog.at_level(logging.DEBUG):
            assert type(failure(client(transport(2), url=url))) is WeChatUnreachable
    assert "Retrying" in caplog.text
    assert ": wechat_unreachable, refused: " in caplog.text
    assert APPS[APPID] not in caplog.text
    assert "0" * 32 not in caplog.text


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Return where a WeChat accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_real_name_that_no_dns_knows_is_told(caplog: pytest.LogCaptureFixture) -> None:
    failure(client(transport(2), url="https://wechat.invalid"))  # RFC 6761: never resolves
    assert ": wechat_unreachable, dns: " in told(caplog).getMessage()


def test_a_real_port_that_speaks_no_tls_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(2):
                with suppress(OSError), server.accept()[0] as connection:
                    connection.recv(1024)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        failure(client(transport(2), url=f"https://127.0.0.1:{server.getsockname()[1]}"))
        server.shutdown(socket.SHUT_RDWR)
        thread.join(30)
    assert ": wechat_unreachable, tls: " in told(caplog).getMessage()


def test_a_real_connection_that_is_never_made_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # and nobody accepts: Linux lets one in and leaves the others waiting
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)  # noqa: FBT003 - as it is
            one.connect_ex(full.getsockname())
        failure(client(transport(2), url=f"http://127.0.0.1:{full.getsockname()[1]}"))
        for one in waiting:
            one.close()
    assert ": wechat_unreachable, connect timeout: " in told(caplog).getMessage()


def test_a_real_silence_ends_at_the_read_timeout(silent_url: str) -> None:
    started = time.monotonic()
    assert type(failure(client(transport(2), url=silent_url))) is WeChatTimeout
    assert time.monotonic() - started < 20


def test_a_real_answer_that_drips_ends_at_the_deadline() -> None:
    asked = WeChat(APPS, drip=0.05)
    asked.fail_next(Fault.DRIP)
    http = wechat_transport(asked, real_time=True)
    started = time.monotonic()
    assert type(failure(client(http), asked.login("alice"))) is WeChatTimeout
    assert time.monotonic() - started < 20


def drip(server: socket.socket) -> None:
    """Accept a connection and begin an answer that goes on for half a minute, byte by byte."""
    with suppress(OSError), server.accept()[0] as connection:  # until nobody reads it any more
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Padding: ")
        for _ in range(600):
            time.sleep(0.05)
            connection.sendall(b".")


@pytest.mark.parametrize("url", [None, "http://wechat.invalid", "https://wechat.invalid"])
def test_a_real_head_that_drips_ends_at_the_read_timeout(url: str | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = f"http://127.0.0.1:{server.getsockname()[1]}"
        http = transport(2)
        if url:  # by way of a proxy
            http.proxies = {"http": here, "https": here}
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        assert type(failure(client(http, url=url or here))) is WeChatTimeout


@pytest.fixture
def line(wechat: WeChat) -> HeldLine:
    return HeldLine(wechat)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


def asking_over(line: HeldLine, *, concurrency: int, timeout: float = 60) -> WeChatClient:
    return client(line.session(), concurrency=concurrency, timeout=timeout)


def exchange(asking: WeChatClient, code: str) -> str:
    """Return how an exchange of a code ends, in one word."""
    try:
        asking.code2session(APPID, code)
    except WxSessionError as error:
        return error.code
    return "ok"


def silence(asking: WeChatClient, wechat: WeChat, line: HeldLine, pool: ThreadPoolExecutor) -> None:
    """Let WeChat leave some calls without an answer, one after the other."""
    for _ in range(SILENCES):
        wechat.fail_next(Fault.TIMEOUT_AFTER_EXCHANGE)
        call = pool.submit(exchange, asking, wechat.login("alice"))
        line.next().set()
        assert call.result(60) == "wechat_timeout"


def test_a_call_waits_for_its_turn_and_is_made(
    wechat: WeChat, line: HeldLine, pool: ThreadPoolExecutor
) -> None:
    asking = asking_over(line, concurrency=2)
    calls = [pool.submit(exchange, asking, wechat.login(f"user-{n}")) for n in range(8)]
    first, second = line.next(), line.next()
    assert line.is_quiet
    first.set()
    second.set()
    for _ in range(6):
        line.next().set()
    assert [call.result(60) for call in calls] == ["ok"] * 8


def test_after_a_few_calls_without_an_answer_one_at_a_time_is_made(
    wechat: WeChat, line: HeldLine, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    asking = asking_over(line, concurrency=8)
    silence(asking, wechat, line, pool)
    asking.ensure_usable()  # for the one that finds out
    finds_out = pool.submit(exchange, asking, wechat.login("alice"))
    let_go = line.next()
    with pytest.raises(WeChatTimeout) as refused:
        asking.ensure_usable()
    assert refused.value.retry_after
    assert exchange(asking, wechat.login("bob")) == "wechat_timeout"
    with pytest.raises(WeChatTimeout):
        asking.stable_token(APPID)
    assert line.is_quiet
    wechat.fail_next(Fault.TIMEOUT_AFTER_EXCHANGE)
    let_go.set()
    assert finds_out.result(60) == "wechat_timeout"

    finds_out = pool.submit(exchange, asking, wechat.login("alice"))
    line.next().set()
    assert finds_out.result(60) == "ok"
    calls = [pool.submit(exchange, asking, wechat.login(f"user-{n}")) for n in range(8)]
    for let_go in [line.next() for _ in calls]:
        let_go.set()
    assert {call.result(60) for call in calls} == {"ok"}
    said = [record.getMessage() for record in caplog.records if record.name.endswith("breaker")]
    assert said == [
        "WeChat does not answer: one call at a time until it does",
        "WeChat answers again",
    ]


def test_whoever_waits_for_a_turn_is_sent_away_when_wechat_does_not_answer(
    wechat: WeChat, line: HeldLine, pool: ThreadPoolExecutor
) -> None:
    asking = asking_over(line, concurrency=1)
    wechat.fail_next(Fault.TIMEOUT_AFTER_EXCHANGE, times=SILENCES)
    calls = [pool.submit(exchange, asking, wechat.login("alice")) for _ in range(SILENCES + 4)]
    for _ in range(SILENCES):
        line.next().set()
    assert {call.result(60) for call in calls} == {"wechat_timeout"}
    assert line.is_quiet


def test_calls_that_others_overtake_say_nothing_about_wechat(
    wechat: WeChat, line: HeldLine, pool: ThreadPoolExecutor
) -> None:
    asking = asking_over(line, concurrency=8)
    slow = [pool.submit(exchange, asking, wechat.login("alice")) for _ in range(SILENCES)]
    held = [line.next() for _ in slow]
    quick = pool.submit(exchange, asking, wechat.login("bob"))
    line.next().set()
    assert quick.result(60) == "ok"
    wechat.fail_next(Fault.TIMEOUT_AFTER_EXCHANGE, times=SILENCES)
    for let_go in held:
        let_go.set()
    assert {call.result(60) for call in slow} == {"wechat_timeout"}
    calls = [pool.submit(exchange, asking, wechat.login("alice")) for _ in range(2)]
    for let_go in [line.next() for _ in calls]:  # both at once
        let_go.set()
    assert {call.result(60) for call in calls} == {"ok"}


def test_a_connection_that_is_not_made_in_time_is_no_answer(wechat: WeChat) -> None:
    class Nowhere(HTTPAdapter):
        def send(self, *_: Any, **__: Any) -> requests.Response:
            raise requests.ConnectTimeout

    session = requests.Session()
    session.mount("https://", Nowhere())
    asking = client(session)
    told = [exchange(asking, wechat.login("alice")) for _ in range(SILENCES)]
    assert told == ["wechat_unreachable"] * SILENCES
    session.mount("https://", line := HeldLine(wechat))
    with ThreadPoolExecutor(1) as pool:
        finds_out = pool.submit(exchange, asking, wechat.login("alice"))
        let_go = line.next()
        assert exchange(asking, wechat.login("bob")) == "wechat_timeout"
        let_go.set()
        assert finds_out.result(60) == "ok"


def test_a_connection_that_is_refused_holds_nobody_up(wechat: WeChat) -> None:
    asking = client(wechat_transport(wechat))
    wechat.fail_next(Fault.CONNECTION_REFUSED, times=2 * SILENCES)
    told = {exchange(asking, wechat.login("alice")) for _ in range(2 * SILENCES)}
    assert told == {"wechat_unreachable"}


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        ('{"foo":"bar"}', "654571f79995b2ce1e149e53c0a33dc39c0a74090db514261454e8dbe432aa0b"),
        ("", "46e043c5525c2d817c44be603d30837a808a1d930d038f6fdc3e62a201fed128"),
    ],
)
def test_the_official_vector_of_a_key_signature(body: str, signature: str) -> None:
    assert key_signature("o0q0otL8aEzpcZL/FT9WsQ==", body) == signature


def test_a_session_key_is_checked_and_reset_by_who_holds_it() -> None:
    wechat = WeChat(APPS)
    wechat.login("alice")
    asking = client(wechat_transport(wechat))
    token, seconds = asking.stable_token(APPID)
    openid, key = wechat.openid("alice"), wechat.session_key("alice")
    assert seconds == 7200
    assert asking.is_session_key_current(APPID, token, openid, key)
    assert not asking.is_session_key_current(APPID, token, openid, wechat.session_key("bob"))
    fresh = asking.reset_session_key(APPID, token, openid, key)
    assert fresh == wechat.session_key("alice") != key
    with pytest.raises(SessionKeyStale):
        asking.reset_session_key(APPID, token, openid, key)
    with pytest.raises(AccessTokenRejected):
        asking.is_session_key_current(APPID, "another", openid, fresh)
