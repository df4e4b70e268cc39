"""The phone and the controls over HTTP."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulator.support import APPS, HERE, access_token, login_query
from wxsession.simulator import Fault, SettableClock, WeChat, WeChatError
from wxsession.simulator.http import create_flask_app

Post = Callable[..., dict[str, object]]

POSTS = sorted(
    rule.rule
    for rule in create_flask_app(WeChat(APPS)).url_map.iter_rules()
    if rule.rule.startswith("/simulator/") and "POST" in (rule.methods or ())
)


@pytest.fixture
def post(http: FlaskClient) -> Post:
    """Call a control that succeeds, and return its response."""

    def posted(view: str, **body: object) -> dict[str, object]:
        response = http.post(f"/simulator/{view}", json=body)
        assert response.status_code == 200
        assert isinstance(response.json, dict)
        return response.json

    return posted


def test_a_phone_can_log_in(wechat: WeChat, post: Post) -> None:
    for appid, secret in APPS.items():
        code = str(post("login", user="bob", appid=appid)["code"])
        answer = wechat.code2session(login_query(code, appid=appid, secret=secret), HERE)
        assert answer["openid"] == wechat.openid("bob", appid)


def test_a_login_without_a_body_is_alices(wechat: WeChat, http: FlaskClient) -> None:
    code = http.post("/simulator/login").get_json()["code"]
    answer = wechat.code2session(login_query(code), HERE)
    assert answer["openid"] == wechat.openid("alice")


def test_user_info_is_that_of_the_profile(post: Post) -> None:
    post("profile", user="bob", nickName="Bob")
    info = post("user_info", user="bob")
    assert isinstance(info["userInfo"], dict)
    assert info["userInfo"]["nickName"] == "Bob"
    assert set(info) >= {"rawData", "signature", "encryptedData", "iv"}
    assert "encryptData" in post("user_info", user="bob", legacy=True)


def test_a_phone_can_send_its_number(http: FlaskClient, post: Post) -> None:
    number = {"phone_number": "5550100", "country_code": "1"}
    assert post("set_phone_number", user="bob", **number) == {"ok": True}
    answer = http.post(
        "/wxa/business/getuserphonenumber",
        query_string={"access_token": access_token(http)},
        json=post("phone_code", user="bob"),
    )
    info = answer.get_json()["phone_info"]
    assert (info["purePhoneNumber"], info["countryCode"]) == ("5550100", "1")


def test_a_phone_can_send_open_data(post: Post) -> None:
    for view in ("phone_number", "group", "steps"):
        assert set(post(view, user="bob")) == {"errMsg", "encryptedData", "iv"}, view


def test_an_app_can_get_unionids(wechat: WeChat, post: Post) -> None:
    query = login_query(str(post("login")["code"]))
    assert "unionid" not in wechat.code2session(query, HERE)
    assert post("bind_open_platform") == {"ok": True}
    query = login_query(str(post("login")["code"]))
    assert wechat.code2session(query, HERE)["unionid"] == wechat.unionid("alice")


@pytest.mark.parametrize(("view", "errcode"), [("expire_tokens", 42001), ("revoke_tokens", 40001)])
def test_tokens_can_be_ended(http: FlaskClient, post: Post, view: str, errcode: int) -> None:
    assert http.get("/simulator/token_fetches").get_json() == {"fetches": 0}
    query = {"access_token": access_token(http)}
    assert post(view) == {"ok": True}
    assert http.get("/wxa/checksession", query_string=query).get_json()["errcode"] == errcode
    assert http.get("/simulator/token_fetches").get_json() == {"fetches": 1}


def test_exchanges_are_listed(http: FlaskClient) -> None:
    assert http.get("/simulator/exchanges").get_json() == {"exchanges": 0, "codes": []}
    for code in ("one", "two"):
        http.get("/sns/jscode2session", query_string=login_query(code))
    exchanges = http.get("/simulator/exchanges").get_json()
    assert exchanges == {"exchanges": 2, "codes": ["one", "two"]}


def test_an_errcode_can_be_ordered(wechat: WeChat, post: Post) -> None:
    post("fail_next", fault=45011, times=2)
    query = login_query(str(post("login")["code"]))
    for _ in range(2):
        with pytest.raises(WeChatError, match="45011"):
            wechat.code2session(query, HERE)
    assert "openid" in wechat.code2session(query, HERE)


def test_every_fault_can_be_ordered_by_its_name(post: Post) -> None:
    for fault in Fault:
        assert post("fail_next", fault=fault.name) == {"ok": True}


def test_the_clock_can_be_moved(wechat: WeChat, post: Post) -> None:
    code = str(post("login")["code"])
    assert post("clock", advance_seconds=300) == {"now": "2026-09-17T15:04:38+00:00"}
    with pytest.raises(WeChatError, match="40029"):
        wechat.code2session(login_query(code), HERE)


def test_any_text_is_a_name(wechat: WeChat, post: Post) -> None:
    for user in ("\ud800", "\0", "微信用户", "a" * 10_000):
        code = str(post("login", user=user)["code"])
        assert "openid" in wechat.code2session(login_query(code), HERE)


def test_answers_can_be_delayed(http: FlaskClient, post: Post) -> None:
    waits: list[float] = []
    post("answer_after", seconds=1.5)
    http.get(
        "/sns/jscode2session",
        query_string=login_query("code"),
        environ_overrides={"wxsession.simulator.sleep": waits.append},
    )
    assert waits == [1.5]


UNKNOWN_APP = {"appid": "wx-unknown"}
BAD: dict[str, list[object]] = {
    "login": [{"user": ""}, {"user": 1}, UNKNOWN_APP, {"appid": [*APPS]}],
    "user_info": [UNKNOWN_APP],
    "phone_code": [{"user": ""}, UNKNOWN_APP],
    "phone_number": [UNKNOWN_APP],
    "group": [UNKNOWN_APP],
    "steps": [UNKNOWN_APP],
    "set_phone_number": [
        {},
        {"phone_number": 13800001234},
        {"phone_number": "+8613800001234"},
        {"phone_number": "13800001234", "country_code": None},
    ],
    "bind_open_platform": [UNKNOWN_APP],
    "expire_tokens": [UNKNOWN_APP],
    "revoke_tokens": [{"appid": 1}],
    "push": [{}, {"event": "debug_demo"}, {"event": 1, "url": "http://127.0.0.1:9"}],
    "profile": [{"nickname": "Bob"}, {"nickName": None}, {"nickName": "\ud800"}, {"self": 1}],
    "fail_next": [
        {},
        {"fault": 0},
        {"fault": True},
        {"fault": "NO_SUCH_FAULT"},
        {"fault": -1, "times": 0},
        {"fault": -1, "times": "1"},
        {"fault": -1, "times": 10**9},
    ],
    "answer_after": [{}, {"seconds": -1}, {"seconds": float("nan")}, {"seconds": 10**400}],
    "clock": [
        {},
        {"advance_seconds": "1"},
        {"advance_seconds": True},
        {"advance_seconds": float("inf")},
        {"advance_seconds": 1e300},
        {"advance_seconds": 1e12},
    ],
}


def test_no_control_is_without_something_bad() -> None:
    assert [f"/simulator/{view}" for view in sorted(BAD)] == POSTS


@pytest.mark.parametrize("view", BAD)
def test_what_is_impossible_is_refused_with_a_reason(
    http: FlaskClient, clock: SettableClock, view: str
) -> None:
    for body in BAD[view]:
        response = http.post(f"/simulator/{view}", data=json.dumps(body))
        assert response.status_code == 400, body
        assert response.get_json()["error"]
        assert clock().year == 2026


def test_every_control_refuses_what_is_no_json_object(http: FlaskClient) -> None:
    for view in POSTS:
        for body in (b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b"null", b"[]"):
            response = http.post(view, data=body)
            assert response.status_code == 400, (view, body[:9])
            assert response.get_json() == {"error": "the body must be a JSON object"}


def test_a_body_that_is_too_large_is_refused(http: FlaskClient) -> None:
    response = http.post("/simulator/login", data=b" " * 2_000_000)
    assert response.status_code == 413
    assert response.get_json()["error"]


def test_a_clock_of_another_kind_cannot_be_moved() -> None:
    wechat = WeChat(APPS, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    http = create_flask_app(wechat).test_client()
    assert http.post("/simulator/clock", json={"advance_seconds": 1}).status_code == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "user",
    "appid",
    "fault",
    "times",
    "seconds",
    "advance_seconds",
    "nickName",
    "gender",
    "phone_number",
    "country_code",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(POSTS), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_nothing_that_is_sent_is_a_server_error(
    http: FlaskClient, view: str, body: dict[str, object]
) -> None:
    assert http.post(view, data=json.dumps(body)).status_code in {200, 400}
