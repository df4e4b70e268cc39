"""The phone and the puppeteer over HTTP."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wxsession.simulator import Fault, SettableClock, WeChat
from wxsession.simulator.http import create_flask_app

Query = Callable[..., dict[str, str]]

POSTS = [
    "login",
    "user_info",
    "phone_code",
    "phone_number",
    "group",
    "steps",
    "set_phone_number",
    "expire_tokens",
    "revoke_tokens",
    "profile",
    "fail_next",
    "answer_after",
    "clock",
]


def exchanged(http: FlaskClient, query: dict[str, str]) -> dict[str, object]:
    answer = http.get("/sns/jscode2session", query_string=query).get_json(force=True)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("appid", ["wx0000000000000001", "wx0000000000000002"])
def test_a_phone_can_log_in(wechat: WeChat, http: FlaskClient, query: Query, appid: str) -> None:
    answer = http.post("/simulator/login", json={"user": "bob", "appid": appid})
    secret = {"wx0000000000000001": "secret-one", "wx0000000000000002": "secret-two"}[appid]
    asked = query(answer.get_json()["code"], appid=appid, secret=secret)
    assert exchanged(http, asked)["openid"] == wechat.openid("bob", appid)


def test_a_login_without_a_body_is_alices(wechat: WeChat, http: FlaskClient, query: Query) -> None:
    code = http.post("/simulator/login").get_json()["code"]
    assert exchanged(http, query(code))["openid"] == wechat.openid("alice")


def test_user_info_is_that_of_the_profile(http: FlaskClient) -> None:
    http.post("/simulator/profile", json={"user": "bob", "nickName": "Bob"})
    info = http.post("/simulator/user_info", json={"user": "bob"}).get_json()
    assert info["userInfo"]["nickName"] == "Bob"
    assert set(info) >= {"rawData", "signature", "encryptedData", "iv"}


def token(http: FlaskClient) -> str:
    wish = {
        "grant_type": "client_credential",
        "appid": "wx0000000000000001",
        "secret": "secret-one",
    }
    return str(http.post("/cgi-bin/stable_token", json=wish).get_json()["access_token"])


def test_a_phone_can_show_its_number(http: FlaskClient) -> None:
    wish = {"user": "bob", "phone_number": "5550100", "country_code": "1"}
    assert http.post("/simulator/set_phone_number", json=wish).get_json() == {"ok": True}
    code = http.post("/simulator/phone_code", json={"user": "bob"}).get_json()["code"]
    answer = http.post(
        "/wxa/business/getuserphonenumber",
        query_string={"access_token": token(http)},
        json={"code": code},
    )
    info = answer.get_json()["phone_info"]
    assert (info["purePhoneNumber"], info["countryCode"]) == ("5550100", "1")


@pytest.mark.parametrize("view", ["phone_number", "group", "steps"])
def test_open_data_can_be_had(http: FlaskClient, view: str) -> None:
    data = http.post(f"/simulator/{view}", json={"user": "bob"}).get_json()
    assert set(data) == {"errMsg", "encryptedData", "iv"}


@pytest.mark.parametrize(("view", "errcode"), [("expire_tokens", 42001), ("revoke_tokens", 40001)])
def test_tokens_can_be_ended(http: FlaskClient, view: str, errcode: int) -> None:
    assert http.get("/simulator/token_fetches").get_json() == {"fetches": 0}
    shown = {"access_token": token(http)}
    assert http.post(f"/simulator/{view}").get_json() == {"ok": True}
    assert http.get("/wxa/checksession", query_string=shown).get_json()["errcode"] == errcode
    assert http.get("/simulator/token_fetches").get_json() == {"fetches": 1}


def test_exchanges_are_told(http: FlaskClient, query: Query) -> None:
    assert http.get("/simulator/exchanges").get_json() == {"exchanges": 0, "codes": []}
    exchanged(http, query("one"))
    exchanged(http, query("two"))
    told = http.get("/simulator/exchanges").get_json()
    assert told == {"exchanges": 2, "codes": ["one", "two"]}


def test_an_errcode_can_be_ordered(http: FlaskClient, query: Query) -> None:
    assert http.post("/simulator/fail_next", json={"fault": 45011, "times": 2}).status_code == 200
    code = http.post("/simulator/login").get_json()["code"]
    answers = [exchanged(http, query(code)).get("errcode") for _ in range(3)]
    assert answers == [45011, 45011, None]


@pytest.mark.parametrize("fault", [fault.name for fault in Fault])
def test_every_fault_can_be_ordered_by_its_name(http: FlaskClient, fault: str) -> None:
    assert http.post("/simulator/fail_next", json={"fault": fault}).status_code == 200


def test_the_clock_can_be_moved(http: FlaskClient, query: Query) -> None:
    code = http.post("/simulator/login").get_json()["code"]
    answer = http.post("/simulator/clock", json={"advance_seconds": 300})
    assert answer.get_json() == {"now": "2026-09-17T15:04:38+00:00"}
    assert exchanged(http, query(code))["errcode"] == 40029


def test_any_text_is_a_name(http: FlaskClient, query: Query) -> None:
    for user in ("\ud800", "\0", "微信用户", "a" * 10_000):
        code = http.post("/simulator/login", json={"user": user}).get_json()["code"]
        assert "openid" in exchanged(http, query(code))


def test_answers_can_be_held_back(http: FlaskClient, query: Query) -> None:
    waits: list[float] = []
    http.post("/simulator/answer_after", json={"seconds": 1.5})
    http.get(
        "/sns/jscode2session",
        query_string=query("code"),
        environ_overrides={"wxsession.simulator.sleep": waits.append},
    )
    assert waits == [1.5]


BAD: list[tuple[str, object]] = [
    ("login", []),
    ("login", {"user": ""}),
    ("login", {"user": 1}),
    ("login", {"appid": "wx-unknown"}),
    ("login", {"appid": ["wx0000000000000001"]}),
    ("user_info", {"appid": "wx-unknown"}),
    ("phone_code", {"user": ""}),
    ("phone_code", {"appid": "wx-unknown"}),
    ("phone_number", {"appid": "wx-unknown"}),
    ("group", {"appid": "wx-unknown"}),
    ("steps", {"appid": "wx-unknown"}),
    ("set_phone_number", {}),
    ("set_phone_number", {"phone_number": 13800001234}),
    ("set_phone_number", {"phone_number": "+8613800001234"}),
    ("set_phone_number", {"phone_number": "13800001234", "country_code": None}),
    ("expire_tokens", {"appid": "wx-unknown"}),
    ("revoke_tokens", {"appid": 1}),
    ("profile", {"nickname": "Bob"}),
    ("profile", {"nickName": None}),
    ("profile", {"nickName": "\ud800"}),
    ("profile", {"self": 1}),
    ("fail_next", {}),
    ("fail_next", {"fault": 0}),
    ("fail_next", {"fault": True}),
    ("fail_next", {"fault": "NO_SUCH_FAULT"}),
    ("fail_next", {"fault": -1, "times": 0}),
    ("fail_next", {"fault": -1, "times": "1"}),
    ("fail_next", {"fault": -1, "times": 10**9}),
    ("answer_after", {}),
    ("answer_after", {"seconds": -1}),
    ("answer_after", {"seconds": float("nan")}),
    ("answer_after", {"seconds": 10**400}),
    ("clock", {}),
    ("clock", {"advance_seconds": "1"}),
    ("clock", {"advance_seconds": True}),
    ("clock", {"advance_seconds": float("inf")}),
    ("clock", {"advance_seconds": 1e300}),
    ("clock", {"advance_seconds": 1e12}),
]


@pytest.mark.parametrize(("view", "wish"), BAD, ids=[f"{view}-{wish}"[:50] for view, wish in BAD])
def test_what_cannot_be_done_is_refused_with_a_reason(
    http: FlaskClient, clock: SettableClock, view: str, wish: object
) -> None:
    response = http.post(f"/simulator/{view}", data=json.dumps(wish))
    assert response.status_code == 400
    assert response.get_json()["error"]
    assert clock().year == 2026


@pytest.mark.parametrize("view", POSTS)
@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b"null"])
def test_what_is_no_json_object_is_refused(http: FlaskClient, view: str, body: bytes) -> None:
    response = http.post(f"/simulator/{view}", data=body)
    assert response.status_code == 400
    assert response.get_json()["error"]


def test_too_much_is_refused(http: FlaskClient) -> None:
    response = http.post("/simulator/login", data=b" " * 2_000_000)
    assert response.status_code == 413
    assert response.get_json()["error"]


def test_a_clock_of_another_kind_stays_where_it_is() -> None:
    wechat = WeChat({"wx": "secret"}, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    response = (
        create_flask_app(wechat).test_client().post("/simulator/clock", json={"advance_seconds": 1})
    )
    assert response.status_code == 400


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
    http: FlaskClient, view: str, wish: dict[str, object]
) -> None:
    assert http.post(f"/simulator/{view}", data=json.dumps(wish)).status_code in {200, 400}
