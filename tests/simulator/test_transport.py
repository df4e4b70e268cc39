"""What a server sees of each fault, through `requests`."""

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from urllib3 import HTTPResponse, Timeout
from urllib3.exceptions import (
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)

from wxsession.simulator import Fault, SettableClock, WeChat, wechat_transport
from wxsession.simulator.transport import WeChatAdapter

URL = "https://api.weixin.qq.com/sns/jscode2session"
TIMEOUT = (3, 5)

Query = Callable[..., dict[str, str]]


def ask(
    session: requests.Session, query: dict[str, str], *, stream: bool = False
) -> requests.Response:
    return session.get(URL, params=query, timeout=TIMEOUT, stream=stream)


def test_a_login_goes_through(wechat: WeChat, session: requests.Session, query: Query) -> None:
    response = ask(session, query(wechat.login("alice")))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain"
    assert response.json()["openid"] == wechat.openid("alice")


def test_a_body_can_be_streamed_off_a_real_urllib3_response(
    wechat: WeChat, session: requests.Session, query: Query
) -> None:
    with ask(session, query(wechat.login("alice")), stream=True) as response:
        assert isinstance(response.raw, HTTPResponse)
        body = b""
        while piece := response.raw.read1(7):
            assert len(piece) <= 7
            body += piece
    assert json.loads(body)["openid"] == wechat.openid("alice")


@pytest.mark.parametrize("size", [1, 1000, None])
def test_a_body_can_be_iterated(
    wechat: WeChat, session: requests.Session, query: Query, size: int | None
) -> None:
    response = ask(session, query(wechat.login("alice")), stream=True)
    assert json.loads(b"".join(response.iter_content(size)))["openid"] == wechat.openid("alice")


def failure(session: requests.Session, query: dict[str, str]) -> requests.RequestException:
    with pytest.raises(requests.RequestException) as raised:
        ask(session, query)
    return raised.value


@pytest.mark.parametrize(
    ("fault", "exception"),
    [
        (Fault.CONNECTION_REFUSED, requests.ConnectionError),
        (Fault.CONNECTION_RESET, requests.ConnectionError),
        (Fault.TIMEOUT_AFTER_EXCHANGE, requests.ReadTimeout),
        (Fault.DRIP, requests.ConnectionError),
    ],
)
def test_no_answer_is_an_exception(
    wechat: WeChat,
    session: requests.Session,
    query: Query,
    fault: Fault,
    exception: type[Exception],
) -> None:
    wechat.fail_next(fault)
    asked = query(wechat.login("alice"))
    assert type(failure(session, asked)) is exception
    again = ask(session, asked).json()
    if fault is Fault.CONNECTION_REFUSED:
        assert again["openid"] == wechat.openid("alice"), "nobody was asked, so the code is good"
        assert len(wechat.exchanges) == 1
    else:
        assert again["errcode"] == 40163, "the code was spent"
        assert len(wechat.exchanges) == 2


def test_a_refused_connection_looks_like_a_real_one(
    wechat: WeChat, session: requests.Session, query: Query
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and nobody listens: connections are refused
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/sns/jscode2session"
        asked = query("code", secret="very-secret")
        wechat.fail_next(Fault.CONNECTION_REFUSED)
        seen = []
        with requests.Session() as real:
            for way in (session, real):
                with pytest.raises(requests.ConnectionError) as raised:
                    way.get(url, params=asked, timeout=TIMEOUT)
                seen.append(raised.value)
    simulated, true = seen
    for error in seen:
        assert isinstance(error.args[0], MaxRetryError)
        assert isinstance(error.args[0].reason, NewConnectionError)
        assert "secret=very-secret" in str(error)
        assert error.request is not None
    assert str(simulated) == str(true)


def test_a_reset_connection_looks_like_a_real_one(
    wechat: WeChat, session: requests.Session, query: Query
) -> None:
    wechat.fail_next(Fault.CONNECTION_RESET)
    error = failure(session, query(wechat.login("alice")))
    assert isinstance(error.args[0], ProtocolError)
    assert isinstance(error.args[0].args[1], ConnectionResetError)


def test_a_read_timeout_looks_like_a_real_one(
    wechat: WeChat, session: requests.Session, query: Query
) -> None:
    wechat.fail_next(Fault.TIMEOUT_AFTER_EXCHANGE)
    error = failure(session, query(wechat.login("alice")))
    assert isinstance(error.args[0], ReadTimeoutError)
    assert "HTTPSConnectionPool(host='api.weixin.qq.com', port=443): Read timed out." in str(error)


def test_without_a_read_timeout_the_connection_is_closed_in_the_end(
    wechat: WeChat, session: requests.Session, query: Query
) -> None:
    wechat.fail_next(Fault.TIMEOUT_AFTER_EXCHANGE)
    with pytest.raises(requests.ConnectionError, match="aborted"):
        session.get(URL, params=query(wechat.login("alice")), timeout=None)


def test_connection_retries_are_those_of_requests(wechat: WeChat, query: Query) -> None:
    with wechat_transport(wechat, max_retries=2) as session:
        wechat.fail_next(Fault.CONNECTION_REFUSED, times=2)
        asked = query(wechat.login("alice"))
        assert ask(session, asked).json()["openid"] == wechat.openid("alice")
        wechat.fail_next(Fault.CONNECTION_REFUSED, times=3)
        assert isinstance(failure(session, asked), requests.ConnectionError)


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "body"),
    [
        (Fault.NOT_JSON, 502, "text/html", b"<html>"),
        (Fault.EMPTY, 200, "text/plain", b""),
        (Fault.TRUNCATED, 200, "text/plain", b'{"session_key":"'),
    ],
)
def test_an_answer_that_is_none_comes_as_it_is(  # noqa: PLR0913
    wechat: WeChat,
    session: requests.Session,
    query: Query,
    fault: Fault,
    status: int,
    content_type: str,
    body: bytes,
) -> None:
    wechat.fail_next(fault)
    response = ask(session, query(wechat.login("alice")))
    assert (response.status_code, response.headers["content-type"]) == (status, content_type)
    assert response.content.startswith(body)
    assert int(response.headers["content-length"]) == len(response.content)
    with pytest.raises(requests.JSONDecodeError):
        response.json()


def answer(wechat: WeChat, session: requests.Session, query: Query, fault: Fault) -> object:
    wechat.fail_next(fault)
    return ask(session, query(wechat.login("alice"))).json()


def test_a_wrong_shape_is_json_and_no_object(
    wechat: WeChat, session: requests.Session, query: Query
) -> None:
    assert isinstance(answer(wechat, session, query, Fault.WRONG_SHAPE), list)


@pytest.mark.parametrize(
    ("fault", "keys"),
    [
        (Fault.NO_OPENID, {"session_key", "unionid"}),
        (Fault.NO_SESSION_KEY, {"openid", "unionid"}),
        (Fault.NO_UNIONID, {"session_key", "openid"}),
        (Fault.LEGACY_EXPIRES_IN, {"session_key", "openid", "unionid", "expires_in"}),
        (Fault.LEGACY_ERRCODE, {"session_key", "openid", "unionid", "errcode", "errmsg"}),
        (Fault.LEGACY_HINTS, {"errcode", "errmsg"}),
    ],
)
def test_an_altered_answer_has_other_keys(
    wechat: WeChat, session: requests.Session, query: Query, fault: Fault, keys: set[str]
) -> None:
    wechat.bind_open_platform()
    got = answer(wechat, session, query, fault)
    assert isinstance(got, dict)
    assert set(got) == keys


def test_unknown_keys_leave_the_known_ones_alone(
    wechat: WeChat, session: requests.Session, query: Query
) -> None:
    got = answer(wechat, session, query, Fault.UNKNOWN_KEYS)
    assert isinstance(got, dict)
    assert set(got) > {"session_key", "openid"}
    assert got["openid"] == wechat.openid("alice")


def test_a_huge_answer_is_many_mebibytes_and_announces_nothing(
    wechat: WeChat, session: requests.Session, query: Query
) -> None:
    wechat.fail_next(Fault.HUGE)
    with ask(session, query(wechat.login("alice")), stream=True) as response:
        assert "content-length" not in response.headers
        assert len(response.raw.read1(1024)) <= 1024
        assert sum(map(len, response.iter_content(65536))) > 16 * 1024 * 1024


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_happens_once_and_then_all_is_well(
    wechat: WeChat, session: requests.Session, query: Query, fault: Fault
) -> None:
    wechat.bind_open_platform()
    wechat.fail_next(fault)
    try:
        response = ask(session, query(wechat.login("alice")), stream=True)
        odd = response.status_code, response.content
    except requests.RequestException:
        odd = None
    response = ask(session, query(wechat.login("alice")))
    assert response.json()["openid"] == wechat.openid("alice")
    assert odd != (response.status_code, response.content)


@pytest.mark.parametrize(("delay", "late"), [(4.9, False), (5, True), (60, True)])
def test_an_answer_can_be_late_without_anybody_waiting(
    wechat: WeChat,
    session: requests.Session,
    query: Query,
    delay: float,
    late: bool,  # noqa: FBT001
) -> None:
    wechat.answer_after(delay)
    started = time.monotonic()
    asked = query(wechat.login("alice"))
    if late:
        assert isinstance(failure(session, asked), requests.ReadTimeout)
    else:
        assert ask(session, asked).ok
    assert time.monotonic() - started < 2
    wechat.answer_after(0)
    assert ask(session, query(wechat.login("alice"))).ok


@pytest.mark.parametrize(
    ("timeout", "late"),
    [(5, True), ((1, 5), True), ((1, 7), False), ((7, None), False), (None, False)],
)
def test_a_timeout_may_have_any_form_that_requests_takes(
    wechat: WeChat,
    session: requests.Session,
    query: Query,
    timeout: float | tuple[float, float] | tuple[float, None] | None,
    late: bool,  # noqa: FBT001
) -> None:
    wechat.answer_after(6)
    asked = query(wechat.login("alice"))
    if late:
        with pytest.raises(requests.ReadTimeout):
            session.get(URL, params=asked, timeout=timeout)
    else:
        assert session.get(URL, params=asked, timeout=timeout).ok


def test_a_timeout_of_urllib3_counts_as_well(wechat: WeChat, query: Query) -> None:
    wechat.answer_after(6)
    adapter = WeChatAdapter(wechat)
    request = requests.Request("GET", URL, params=query(wechat.login("alice"))).prepare()
    with pytest.raises(requests.ReadTimeout):
        adapter.send(request, timeout=Timeout(connect=7, read=5))
    assert adapter.send(request, timeout=Timeout(connect=5)).ok
    adapter.close()


def test_in_real_time_somebody_waits(wechat: WeChat, query: Query) -> None:
    wechat.answer_after(0.2)
    with wechat_transport(wechat, real_time=True) as session:
        for timeout in (5, 0.1):
            started = time.monotonic()
            try:
                session.get(URL, params=query(wechat.login("alice")), timeout=timeout)
            except requests.ReadTimeout:
                assert timeout == 0.1
            assert time.monotonic() - started >= min(0.2, timeout)


def test_in_real_time_a_drip_outlasts_every_read_timeout(
    clock: SettableClock, query: Query
) -> None:
    wechat = WeChat({"wx0000000000000001": "secret-one"}, clock, drip=0.01)
    wechat.fail_next(Fault.DRIP)
    with (
        wechat_transport(wechat, real_time=True) as session,
        session.get(URL, params=query(wechat.login("alice")), timeout=0.3, stream=True) as response,
    ):
        started = time.monotonic()
        while time.monotonic() - started < 0.5:
            assert len(response.raw.read1(1024)) == 1


def test_many_threads_can_share_a_session(
    wechat: WeChat, session: requests.Session, query: Query
) -> None:
    codes = [wechat.login(f"user{number % 5}") for number in range(100)]
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda code: ask(session, query(code)).json(), codes))
    assert [found["openid"] for found in answers] == [
        wechat.openid(f"user{number % 5}") for number in range(100)
    ]


def test_the_phone_can_be_played_over_the_same_session(
    wechat: WeChat, session: requests.Session, query: Query
) -> None:
    code = session.post(
        "http://wechat.example/simulator/login", json={"user": "bob"}, timeout=TIMEOUT
    ).json()["code"]
    assert ask(session, query(code)).json()["openid"] == wechat.openid("bob")
