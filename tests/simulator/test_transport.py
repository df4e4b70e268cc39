"""A session whose every request goes to a WeChat in this process."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from urllib3 import HTTPResponse, Timeout
from urllib3.exceptions import (
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)

from tests.simulator.support import APPS, login_query, token_body
from wxsession.simulator import Fault, SettableClock, WeChat, wechat_transport
from wxsession.simulator.transport import WeChatAdapter

BASE = "https://api.weixin.qq.com"
URL, TOKEN = f"{BASE}/sns/jscode2session", f"{BASE}/cgi-bin/stable_token"
PHONE = f"{BASE}/wxa/business/getuserphonenumber"
TIMEOUT = (3, 5)


def exchange(
    session: requests.Session, code: str, *, stream: bool = False, timeout: Any = TIMEOUT
) -> requests.Response:
    return session.get(URL, params=login_query(code), timeout=timeout, stream=stream)


def failure(session: requests.Session, code: str) -> requests.RequestException:
    with pytest.raises(requests.RequestException) as raised:
        exchange(session, code)
    return raised.value


def test_a_login_goes_through(wechat: WeChat, session: requests.Session) -> None:
    response = exchange(session, wechat.login("alice"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain"
    assert response.json()["openid"] == wechat.openid("alice")


def test_a_body_can_be_streamed_from_a_real_urllib3_response(
    wechat: WeChat, session: requests.Session
) -> None:
    with exchange(session, wechat.login("alice"), stream=True) as response:
        assert isinstance(response.raw, HTTPResponse)
        body = b""
        while chunk := response.raw.read1(7):
            assert len(chunk) <= 7
            body += chunk
    assert json.loads(body)["openid"] == wechat.openid("alice")


def test_a_body_can_be_iterated(wechat: WeChat, session: requests.Session) -> None:
    for size in (1, 1000, None):
        response = exchange(session, wechat.login("alice"), stream=True)
        body = json.loads(b"".join(response.iter_content(size)))
        assert body["openid"] == wechat.openid("alice"), size


def test_a_refused_connection_looks_like_a_real_one(
    wechat: WeChat, session: requests.Session
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and nobody listens: connections are refused
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/sns/jscode2session"
        query = login_query("code", secret="very-secret")
        wechat.fail_next(Fault.CONNECTION_REFUSED)
        errors = []
        with requests.Session() as real:
            for way in (session, real):
                with pytest.raises(requests.ConnectionError) as raised:
                    way.get(url, params=query, timeout=TIMEOUT)
                errors.append(raised.value)
    simulated, true = errors
    for error in errors:
        assert isinstance(error.args[0], MaxRetryError)
        assert isinstance(error.args[0].reason, NewConnectionError)
        assert "secret=very-secret" in str(error)
        assert error.request is not None
    assert str(simulated) == str(true)


def test_a_reset_connection_looks_like_a_real_one(
    wechat: WeChat, session: requests.Session
) -> None:
    wechat.fail_next(Fault.CONNECTION_RESET)
    error = failure(session, wechat.login("alice"))
    assert isinstance(error.args[0], ProtocolError)
    assert isinstance(error.args[0].args[1], ConnectionResetError)


def test_a_read_timeout_looks_like_a_real_one(wechat: WeChat, session: requests.Session) -> None:
    wechat.fail_next(Fault.TIMEOUT_AFTER_EXCHANGE)
    error = failure(session, wechat.login("alice"))
    assert isinstance(error.args[0], ReadTimeoutError)
    assert "HTTPSConnectionPool(host='api.weixin.qq.com', port=443): Read timed out." in str(error)


def test_without_a_read_timeout_the_connection_is_closed_in_the_end(
    wechat: WeChat, session: requests.Session
) -> None:
    wechat.fail_next(Fault.TIMEOUT_AFTER_EXCHANGE)
    with pytest.raises(requests.ConnectionError, match="aborted"):
        exchange(session, wechat.login("alice"), timeout=None)


def test_connection_retries_are_those_of_requests(wechat: WeChat) -> None:
    with wechat_transport(wechat, max_retries=2) as session:
        wechat.fail_next(Fault.CONNECTION_REFUSED, times=2)
        code = wechat.login("alice")
        assert exchange(session, code).json()["openid"] == wechat.openid("alice")
        wechat.fail_next(Fault.CONNECTION_REFUSED, times=3)
        assert isinstance(failure(session, code), requests.ConnectionError)


def test_a_refused_post_is_sent_again_with_its_body(wechat: WeChat) -> None:
    with wechat_transport(wechat, max_retries=1) as session:
        wechat.fail_next(Fault.CONNECTION_REFUSED)
        assert "access_token" in session.post(TOKEN, json=token_body(), timeout=TIMEOUT).json()


def chunks() -> Iterator[bytes]:
    yield b'{"grant_type":'
    yield b'"client_credential"}'


@pytest.mark.parametrize("url", [TOKEN, PHONE])
def test_a_body_in_chunks_is_refused_without_a_word(
    wechat: WeChat, session: requests.Session, url: str
) -> None:
    wechat.fail_next(-1)
    response = session.post(url, data=chunks(), timeout=TIMEOUT)
    assert response.request.headers["Transfer-Encoding"] == "chunked"
    assert (response.status_code, response.content) == (412, b"")
    assert wechat.phone_exchanges == []
    answer = session.post(url, data=b"{}", timeout=TIMEOUT).json()
    assert answer["errcode"] == -1, "the fault waits for a request that arrives"


def test_a_body_arrives_as_it_was_sent(session: requests.Session) -> None:
    bodies: list[tuple[dict[str, Any], int]] = [
        ({"data": None}, 44002),
        ({"data": b""}, 44002),
        ({"data": "微"}, 47001),
        ({"json": {}}, 41002),
    ]
    for body, errcode in bodies:
        assert session.post(TOKEN, timeout=TIMEOUT, **body).json()["errcode"] == errcode, body


def test_the_controls_take_a_body_in_chunks(session: requests.Session) -> None:
    body = iter([b'{"appid":', b'"wx-unknown"}'])
    response = session.post(f"{BASE}/simulator/login", data=body, timeout=TIMEOUT)
    assert response.status_code == 400, "it was read to its end"


def test_an_answer_can_be_late_without_anybody_waiting(
    wechat: WeChat, session: requests.Session
) -> None:
    started = time.monotonic()
    for delay in (5.0, 60.0):
        wechat.answer_after(delay)
        assert isinstance(failure(session, wechat.login("alice")), requests.ReadTimeout)
    for delay in (4.9, 0):
        wechat.answer_after(delay)
        assert exchange(session, wechat.login("alice")).ok
    assert time.monotonic() - started < 4.9


def test_a_timeout_may_have_any_form_that_requests_takes(
    wechat: WeChat, session: requests.Session
) -> None:
    wechat.answer_after(6)
    late: list[Any] = [5, (1, 5)]
    for timeout in late:
        with pytest.raises(requests.ReadTimeout):
            exchange(session, wechat.login("alice"), timeout=timeout)
    in_time: list[Any] = [(1, 7), (7, None), None]
    for timeout in in_time:
        assert exchange(session, wechat.login("alice"), timeout=timeout).ok, timeout


def test_a_timeout_of_urllib3_counts_as_well(wechat: WeChat) -> None:
    wechat.answer_after(6)
    adapter = WeChatAdapter(wechat)
    query = login_query(wechat.login("alice"))
    request = requests.Request("GET", URL, params=query).prepare()
    with pytest.raises(requests.ReadTimeout):
        adapter.send(request, timeout=Timeout(connect=7, read=5))
    assert adapter.send(request, timeout=Timeout(connect=5)).ok
    adapter.close()


def test_in_real_time_somebody_waits(wechat: WeChat) -> None:
    wechat.answer_after(0.2)
    with wechat_transport(wechat, real_time=True) as session:
        started = time.monotonic()
        assert exchange(session, wechat.login("alice"), timeout=60).ok
        assert time.monotonic() - started >= 0.2
        started = time.monotonic()
        with pytest.raises(requests.ReadTimeout):
            exchange(session, wechat.login("alice"), timeout=0.1)
        assert time.monotonic() - started >= 0.1


def test_in_real_time_a_drip_outlasts_every_read_timeout(clock: SettableClock) -> None:
    wechat = WeChat(APPS, clock, drip=0.01)
    wechat.fail_next(Fault.DRIP)
    code = wechat.login("alice")
    with (
        wechat_transport(wechat, real_time=True) as session,
        exchange(session, code, stream=True, timeout=0.3) as response,
    ):
        started = time.monotonic()
        while time.monotonic() - started < 0.5:
            assert len(response.raw.read1(1024)) == 1


def test_many_threads_can_share_a_session(wechat: WeChat, session: requests.Session) -> None:
    codes = [wechat.login(f"user{number % 5}") for number in range(100)]
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda code: exchange(session, code).json(), codes))
    assert [found["openid"] for found in answers] == [
        wechat.openid(f"user{number % 5}") for number in range(100)
    ]


def test_the_phone_can_be_played_through_the_same_session(
    wechat: WeChat, session: requests.Session
) -> None:
    code = session.post(
        "http://wechat.example/simulator/login", json={"user": "bob"}, timeout=TIMEOUT
    ).json()["code"]
    assert exchange(session, code).json()["openid"] == wechat.openid("bob")
