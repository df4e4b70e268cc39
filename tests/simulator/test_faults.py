"""The endpoints around the access token through `requests`: headers, lengths and faults."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from wxsession.simulator import Fault, SettableClock, WeChat, wechat_transport
from wxsession.simulator.open_data import hmac_signature

BASE = "https://api.weixin.qq.com"
TOKEN, PHONE = f"{BASE}/cgi-bin/stable_token", f"{BASE}/wxa/business/getuserphonenumber"
CHECK, RESET = f"{BASE}/wxa/checksession", f"{BASE}/wxa/resetusersessionkey"
CREDENTIALS = {
    "grant_type": "client_credential",
    "appid": "wx0000000000000001",
    "secret": "secret-one",
}
TIMEOUT = (3, 5)

Send = Callable[[], requests.Response]


@pytest.fixture(params=[TOKEN, PHONE, CHECK, RESET])
def send(request: pytest.FixtureRequest, wechat: WeChat, session: requests.Session) -> Send:
    """Ask something that succeeds, of each endpoint in turn, as often as it is called."""
    token = fetched(session)

    def sent() -> requests.Response:
        query = {"access_token": token}
        match request.param:
            case str(url) if url == TOKEN:
                return session.post(TOKEN, json=CREDENTIALS, timeout=TIMEOUT)
            case str(url) if url == PHONE:
                wish = {"code": wechat.phone_code("alice")}
                return session.post(PHONE, params=query, json=wish, timeout=TIMEOUT)
            case url:
                query |= {
                    "openid": wechat.openid("alice"),
                    "signature": hmac_signature(wechat.session_key("alice")),
                    "sig_method": "hmac_sha256",
                }
                return session.get(str(url), params=query, timeout=TIMEOUT)

    return sent


def fetched(session: requests.Session) -> str:
    answer = session.post(TOKEN, json=CREDENTIALS, timeout=TIMEOUT).json()
    return str(answer["access_token"])


def succeeded(response: requests.Response) -> bool:
    answer = response.json()
    return response.status_code == 200 and answer.get("errcode", 0) == 0


def test_answers_call_themselves_json_in_an_odd_way(send: Send) -> None:
    response = send()
    assert succeeded(response)
    assert response.headers["content-type"] == "application/json; encoding=utf-8"
    assert int(response.headers["content-length"]) == len(response.content)
    assert b", " not in response.content


def test_slashes_are_not_escaped_here(clock: SettableClock) -> None:
    wechat = WeChat(
        {"wx0000000000000001": "secret-one"}, clock, entropy=lambda size: b"\xff" * size
    )
    with wechat_transport(wechat) as session:
        query = {
            "access_token": fetched(session),
            "openid": wechat.openid("alice"),
            "signature": hmac_signature(wechat.session_key("alice")),
            "sig_method": "hmac_sha256",
        }
        assert b"/" * 21 in session.get(RESET, params=query, timeout=TIMEOUT).content


ALTERED = {
    Fault.NO_OPENID,
    Fault.NO_SESSION_KEY,
    Fault.NO_UNIONID,
    Fault.LEGACY_EXPIRES_IN,
    Fault.LEGACY_ERRCODE,
    Fault.UNKNOWN_KEYS,
}
RAISED = {
    Fault.CONNECTION_REFUSED: requests.ConnectionError,
    Fault.CONNECTION_RESET: requests.ConnectionError,
    Fault.TIMEOUT_AFTER_EXCHANGE: requests.ReadTimeout,
    Fault.DRIP: requests.ConnectionError,
}


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_happens_once_and_then_all_is_well(
    wechat: WeChat, send: Send, fault: Fault
) -> None:
    before = send().json()
    wechat.fail_next(fault)
    if fault in RAISED:
        with pytest.raises(RAISED[fault]):
            send()
    else:
        response = send()
        if fault in ALTERED:
            assert set(response.json()) ^ set(before) <= {
                "openid",
                "session_key",
                "expires_in",
                "errcode",
                "errmsg",
                "openpid",
                "is_limit",
                "watermark",
            }
        elif fault is Fault.NOT_JSON:
            assert (response.status_code, response.content[:6]) == (502, b"<html>")
        elif fault is Fault.EMPTY:
            assert response.content == b""
        elif fault is Fault.WRONG_SHAPE:
            assert isinstance(response.json(), list)
        elif fault is Fault.HUGE:
            assert len(response.content) > 16 * 1024 * 1024
    assert succeeded(send())


@pytest.mark.parametrize("errcode", [-1, 40001, 42001, 45009, 45011, 12345])
def test_an_errcode_can_be_ordered_for_any_endpoint(
    wechat: WeChat, send: Send, errcode: int
) -> None:
    wechat.fail_next(errcode)
    answer = send().json()
    assert answer["errcode"] == errcode
    assert ", rid" not in answer["errmsg"]
    assert " rid: " in answer["errmsg"]
    assert succeeded(send())


def test_any_call_takes_the_next_fault(
    wechat: WeChat, session: requests.Session, query: Callable[..., dict[str, str]]
) -> None:
    wechat.fail_next(-1)
    wechat.fail_next(45011)
    wechat.fail_next(45009)
    assert session.post(TOKEN, json=CREDENTIALS, timeout=TIMEOUT).json()["errcode"] == -1
    asked = query(wechat.login("alice"))
    login = session.get(f"{BASE}/sns/jscode2session", params=asked, timeout=TIMEOUT)
    assert login.json()["errcode"] == 45011
    assert session.get(CHECK, timeout=TIMEOUT).json()["errcode"] == 45009
    assert len(wechat.exchanges) == 1


@pytest.mark.parametrize(
    ("fault", "spent"), [(Fault.CONNECTION_REFUSED, False), (Fault.CONNECTION_RESET, True)]
)
def test_a_phone_code_is_spent_if_anybody_was_asked(
    wechat: WeChat,
    session: requests.Session,
    fault: Fault,
    spent: bool,  # noqa: FBT001
) -> None:
    query, wish = {"access_token": fetched(session)}, {"code": wechat.phone_code("alice")}
    wechat.fail_next(fault)
    with pytest.raises(requests.ConnectionError):
        session.post(PHONE, params=query, json=wish, timeout=TIMEOUT)
    answer = session.post(PHONE, params=query, json=wish, timeout=TIMEOUT).json()
    assert answer["errcode"] == (40029 if spent else 0)
    assert len(wechat.phone_exchanges) == 1 + spent


def test_legacy_hints_need_the_error_of_a_code(wechat: WeChat, session: requests.Session) -> None:
    wechat.fail_next(Fault.LEGACY_HINTS, times=3)
    assert "access_token" in session.post(TOKEN, json=CREDENTIALS, timeout=TIMEOUT).json()
    wrong = {**CREDENTIALS, "secret": "wrong"}
    answer = session.post(TOKEN, json=wrong, timeout=TIMEOUT).json()
    assert answer["errmsg"] == "invalid appsecret hint: [KfIawqLnRa-8oQBOA]"
    wish = {"code": wechat.phone_code("alice")}
    answer = session.post(PHONE, json=wish, timeout=TIMEOUT).json()
    assert answer["errmsg"] == "access_token missing hint: [KfIawqLnRa-8oQBOA]"
    query = {"access_token": fetched(session)}
    wechat.fail_next(Fault.LEGACY_HINTS)
    answer = session.post(PHONE, params=query, json=wish, timeout=TIMEOUT).json()
    assert answer["errmsg"] == "invalid code hint: [KfIawqLnRa-8oQBOA]"


def test_answers_can_be_late(wechat: WeChat, send: Send) -> None:
    wechat.answer_after(4.9)
    assert succeeded(send())
    wechat.answer_after(5)
    with pytest.raises(requests.ReadTimeout):
        send()
    wechat.answer_after(0)
    assert succeeded(send())


def test_a_refused_post_is_retried_with_its_body(wechat: WeChat) -> None:
    with wechat_transport(wechat, max_retries=1) as session:
        wechat.fail_next(Fault.CONNECTION_REFUSED)
        assert fetched(session)


def pieces() -> Iterator[bytes]:
    yield b'{"grant_type":'
    yield b'"client_credential"}'


@pytest.mark.parametrize("url", [TOKEN, PHONE])
def test_a_body_in_chunks_is_refused_without_a_word(
    wechat: WeChat, session: requests.Session, url: str
) -> None:
    wechat.fail_next(-1)
    response = session.post(url, data=pieces(), timeout=TIMEOUT)
    assert response.request.headers["Transfer-Encoding"] == "chunked"
    assert (response.status_code, response.content) == (412, b"")
    assert wechat.phone_exchanges == []
    answer = session.post(url, data=b"{}", timeout=TIMEOUT).json()
    assert answer["errcode"] == -1, "the fault waits for a call that arrives"


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"data": None}, 44002),
        ({"data": b""}, 44002),
        ({"data": "微"}, 47001),
        ({"json": {}}, 41002),
    ],
)
def test_a_body_arrives_as_it_was_sent(
    session: requests.Session, body: dict[str, Any], errcode: int
) -> None:
    assert session.post(TOKEN, timeout=TIMEOUT, **body).json()["errcode"] == errcode


def test_the_phone_can_be_told_something_in_chunks(session: requests.Session) -> None:
    chunks = iter([b'{"appid":', b'"wx-unknown"}'])
    response = session.post(f"{BASE}/simulator/login", data=chunks, timeout=TIMEOUT)
    assert response.status_code == 400, "it was read to its end"
