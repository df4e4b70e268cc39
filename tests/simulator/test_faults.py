"""What a server sees of each fault, at every endpoint, through `requests`."""

from collections.abc import Callable

import pytest
import requests

from tests.simulator.support import login_query, token_body
from wxsession.simulator import Fault, WeChat
from wxsession.simulator.open_data import hmac_signature

BASE = "https://api.weixin.qq.com"
LOGIN, TOKEN = f"{BASE}/sns/jscode2session", f"{BASE}/cgi-bin/stable_token"
PHONE = f"{BASE}/wxa/business/getuserphonenumber"
CHECK, RESET = f"{BASE}/wxa/checksession", f"{BASE}/wxa/resetusersessionkey"
TIMEOUT = (3, 5)

Send = Callable[[], requests.Response]


def fetched(session: requests.Session) -> str:
    return str(session.post(TOKEN, json=token_body(), timeout=TIMEOUT).json()["access_token"])


@pytest.fixture
def endpoints(wechat: WeChat, session: requests.Session) -> dict[str, Send]:
    """Return for each endpoint a request that succeeds as often as it is sent."""
    query = {"access_token": fetched(session)}

    def signed(url: str) -> requests.Response:
        signature = hmac_signature(wechat.session_key("alice"))
        asked = {"openid": wechat.openid("alice"), "sig_method": "hmac_sha256", **query}
        return session.get(url, params={**asked, "signature": signature}, timeout=TIMEOUT)

    return {
        LOGIN: lambda: session.get(
            LOGIN, params=login_query(wechat.login("alice")), timeout=TIMEOUT
        ),
        TOKEN: lambda: session.post(TOKEN, json=token_body(), timeout=TIMEOUT),
        PHONE: lambda: session.post(
            PHONE, params=query, json={"code": wechat.phone_code("alice")}, timeout=TIMEOUT
        ),
        CHECK: lambda: signed(CHECK),
        RESET: lambda: signed(RESET),
    }


def succeeded(response: requests.Response) -> bool:
    return response.status_code == 200 and response.json().get("errcode", 0) == 0


def test_answers_are_compact_json_of_an_odd_type(endpoints: dict[str, Send]) -> None:
    for url, send in endpoints.items():
        response = send()
        assert succeeded(response), url
        odd = "text/plain" if url == LOGIN else "application/json; encoding=utf-8"
        assert response.headers["content-type"] == odd, url
        assert int(response.headers["content-length"]) == len(response.content)
        assert b", " not in response.content, url


RAISED = {
    Fault.CONNECTION_REFUSED: requests.ConnectionError,
    Fault.CONNECTION_RESET: requests.ConnectionError,
    Fault.TIMEOUT_AFTER_EXCHANGE: requests.ReadTimeout,
    Fault.DRIP: requests.ConnectionError,
}
USELESS = {
    Fault.NOT_JSON: (502, b"<html>"),
    Fault.EMPTY: (200, b""),
    Fault.TRUNCATED: (200, b'{"'),
    Fault.WRONG_SHAPE: (200, b"[{"),
    Fault.HUGE: (200, b" " * 16 * 1024 * 1024),
}
REMOVED = {
    Fault.NO_OPENID: {"openid"},
    Fault.NO_SESSION_KEY: {"session_key"},
    Fault.NO_UNIONID: {"unionid"},
}
ADDED = {
    Fault.LEGACY_EXPIRES_IN: {"expires_in"},
    Fault.LEGACY_ERRCODE: {"errcode", "errmsg"},
    Fault.UNKNOWN_KEYS: {"openpid", "is_limit", "watermark"},
}


def test_no_fault_is_forgotten_here() -> None:
    tested = {*RAISED, *USELESS, *REMOVED, *ADDED, Fault.LEGACY_HINTS}
    assert tested == set(Fault)


@pytest.mark.parametrize("fault", RAISED)
def test_no_response_is_an_exception(
    wechat: WeChat, endpoints: dict[str, Send], fault: Fault
) -> None:
    for url, send in endpoints.items():
        wechat.fail_next(fault)
        with pytest.raises(requests.RequestException) as raised:
            send()
        assert type(raised.value) is RAISED[fault], url
        assert succeeded(send()), url


@pytest.mark.parametrize("fault", USELESS)
def test_a_useless_response_comes_as_it_is(
    wechat: WeChat, endpoints: dict[str, Send], fault: Fault
) -> None:
    status, start = USELESS[fault]
    for url, send in endpoints.items():
        normal = send().headers["content-type"]
        wechat.fail_next(fault)
        response = send()
        assert response.status_code == status, url
        assert response.content.startswith(start), url
        assert response.headers["content-type"] == ("text/html" if status == 502 else normal)
        if fault in {Fault.NOT_JSON, Fault.EMPTY, Fault.TRUNCATED}:
            assert int(response.headers["content-length"]) == len(response.content)
            with pytest.raises(requests.JSONDecodeError):
                response.json()
        assert succeeded(send()), url


def test_a_useless_answer_can_be_json(wechat: WeChat, endpoints: dict[str, Send]) -> None:
    for url, send in endpoints.items():
        wechat.fail_next(Fault.WRONG_SHAPE)
        assert isinstance(send().json(), list), url
    wechat.fail_next(Fault.HUGE)
    assert "openid" in endpoints[LOGIN]().json()


@pytest.mark.parametrize("fault", [*REMOVED, *ADDED])
def test_an_altered_answer_has_other_keys(
    wechat: WeChat, endpoints: dict[str, Send], fault: Fault
) -> None:
    wechat.bind_open_platform()
    for url, send in endpoints.items():
        normal = set(send().json())
        wechat.fail_next(fault)
        altered = set(send().json())
        assert altered == normal - REMOVED.get(fault, set()) | ADDED.get(fault, set()), url
        assert set(send().json()) == normal, url
    login = endpoints[LOGIN]
    assert set(login().json()) == {"openid", "session_key", "unionid"}


def test_unknown_keys_leave_the_known_ones_alone(
    wechat: WeChat, endpoints: dict[str, Send]
) -> None:
    wechat.fail_next(Fault.UNKNOWN_KEYS)
    assert endpoints[LOGIN]().json()["openid"] == wechat.openid("alice")


def test_a_huge_answer_is_many_mebibytes_and_announces_nothing(
    wechat: WeChat, session: requests.Session
) -> None:
    wechat.fail_next(Fault.HUGE)
    query = login_query(wechat.login("alice"))
    with session.get(LOGIN, params=query, timeout=TIMEOUT, stream=True) as response:
        assert "content-length" not in response.headers
        assert len(response.raw.read1(1024)) <= 1024
        assert sum(map(len, response.iter_content(65536))) > 16 * 1024 * 1024


@pytest.mark.parametrize("fault", RAISED)
def test_a_code_is_used_up_unless_the_connection_was_refused(
    wechat: WeChat, session: requests.Session, fault: Fault
) -> None:
    query, token = login_query(wechat.login("alice")), {"access_token": fetched(session)}
    body = {"code": wechat.phone_code("alice")}

    def log_in() -> requests.Response:
        return session.get(LOGIN, params=query, timeout=TIMEOUT)

    def ask_for_number() -> requests.Response:
        return session.post(PHONE, params=token, json=body, timeout=TIMEOUT)

    arrived = fault is not Fault.CONNECTION_REFUSED
    for send, used in ((log_in, 40163), (ask_for_number, 40029)):
        wechat.fail_next(fault)
        with pytest.raises(requests.RequestException):
            send()
        assert send().json().get("errcode", 0) == (used if arrived else 0)
    assert len(wechat.exchanges) == len(wechat.phone_exchanges) == 1 + arrived


def test_an_errcode_can_be_ordered_for_any_endpoint(
    wechat: WeChat, endpoints: dict[str, Send]
) -> None:
    for url, send in endpoints.items():
        comma = "," if url == LOGIN else ""
        for errcode in (-1, 40001, 42001, 45009, 45011, 12345):
            wechat.fail_next(errcode)
            answer = send().json()
            assert answer["errcode"] == errcode, url
            assert f"{comma} rid: " in answer["errmsg"], url
            assert (", rid: " in answer["errmsg"]) is bool(comma), url
            assert succeeded(send()), url


def test_any_request_takes_the_next_fault(
    wechat: WeChat, session: requests.Session, endpoints: dict[str, Send]
) -> None:
    wechat.fail_next(-1)
    wechat.fail_next(45011)
    wechat.fail_next(45009)
    assert endpoints[TOKEN]().json()["errcode"] == -1
    assert endpoints[LOGIN]().json()["errcode"] == 45011
    assert session.get(CHECK, timeout=TIMEOUT).json()["errcode"] == 45009
    assert (len(wechat.exchanges), wechat.phone_exchanges) == (1, [])


def test_legacy_hints_need_the_error_of_a_code(wechat: WeChat, session: requests.Session) -> None:
    def errmsg(response: requests.Response) -> object:
        return response.json().get("errmsg")

    wechat.fail_next(Fault.LEGACY_HINTS, times=4)
    assert fetched(session)
    wrong = session.post(TOKEN, json=token_body(secret="wrong"), timeout=TIMEOUT)
    assert errmsg(wrong) == "invalid appsecret hint: [KfIawqLnRa-8oQBOA]"
    phone = {"code": wechat.phone_code("alice")}
    missing = session.post(PHONE, json=phone, timeout=TIMEOUT)
    assert errmsg(missing) == "access_token missing hint: [KfIawqLnRa-8oQBOA]"
    login = session.get(LOGIN, params=login_query(wechat.login("alice")), timeout=TIMEOUT)
    assert errmsg(login) == "invalid code, hints: [ req_id: KfIawqLnRa-8oQBOA ]"
    query = {"access_token": fetched(session)}
    wechat.fail_next(Fault.LEGACY_HINTS)
    refused = session.post(PHONE, params=query, json=phone, timeout=TIMEOUT)
    assert errmsg(refused) == "invalid code hint: [KfIawqLnRa-8oQBOA]"


def test_answers_can_be_late(wechat: WeChat, endpoints: dict[str, Send]) -> None:
    for url, send in endpoints.items():
        wechat.answer_after(4.9)
        assert succeeded(send()), url
        wechat.answer_after(5)
        with pytest.raises(requests.ReadTimeout):
            send()
        wechat.answer_after(0)
        assert succeeded(send()), url
