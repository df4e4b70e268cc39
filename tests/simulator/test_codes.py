"""Phone codes and the numbers behind them."""

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from wxsession.simulator import SettableClock, WeChat
from wxsession.simulator.http import create_flask_app

APPS = {"wx0000000000000001": "secret-one", "wx0000000000000002": "secret-two"}
FIRST, SECOND = APPS
URL = "/wxa/business/getuserphonenumber"

Ask = Callable[..., dict[str, object]]


@pytest.fixture
def ask(http: FlaskClient) -> Ask:
    """Ask what a server asks about a phone code, with a token of its own."""

    def asked(code: object, appid: str = FIRST, **more: object) -> dict[str, object]:
        answer = http.post(
            URL, query_string={"access_token": token(http, appid)}, json={"code": code, **more}
        ).get_json()
        assert isinstance(answer, dict)
        return answer

    return asked


def token(http: FlaskClient, appid: str = FIRST) -> str:
    wish = {"grant_type": "client_credential", "appid": appid, "secret": APPS[appid]}
    return str(http.post("/cgi-bin/stable_token", json=wish).get_json()["access_token"])


def test_a_phone_code_has_the_shape_of_the_real_ones(wechat: WeChat) -> None:
    codes = {wechat.phone_code("alice") for _ in range(100)}
    assert len(codes) == 100
    assert all(re.fullmatch("[0-9a-f]{64}", code) for code in codes)


def test_a_code_tells_the_number(wechat: WeChat, clock: SettableClock, ask: Ask) -> None:
    code = wechat.phone_code("alice")
    wechat.set_phone_number("alice", "13800001234")
    answer = ask(code)
    mark = {"timestamp": int(clock().timestamp()), "appid": FIRST}
    assert answer == {
        "errcode": 0,
        "errmsg": "ok",
        "phone_info": {
            "phoneNumber": "13800001234",
            "purePhoneNumber": "13800001234",
            "countryCode": "86",
            "watermark": mark,
        },
    }
    assert list(answer) == ["errcode", "errmsg", "phone_info"]
    assert wechat.phone_exchanges == [code]
    assert wechat.exchanges == []


def test_everybody_has_a_number_that_is_obviously_invented(wechat: WeChat, ask: Ask) -> None:
    numbers = set()
    for user in ("alice", "bob", "微信用户", "\ud800"):
        info = ask(wechat.phone_code(user))["phone_info"]
        assert isinstance(info, dict)
        assert re.fullmatch(r"1380000\d{4}", info["phoneNumber"])
        numbers.add(info["phoneNumber"])
    assert len(numbers) == 4


def test_an_invented_number_survives_a_restart(wechat: WeChat, ask: Ask) -> None:
    info = ask(wechat.phone_code("alice"))["phone_info"]
    http = create_flask_app(WeChat(APPS, wechat.clock)).test_client()
    code = http.post("/simulator/phone_code").get_json()["code"]
    answer = http.post(URL, query_string={"access_token": token(http)}, json={"code": code})
    assert answer.get_json()["phone_info"] == info


def test_a_foreign_number_has_its_country_code(wechat: WeChat, ask: Ask) -> None:
    wechat.set_phone_number("alice", "5550100", country_code="1")
    info = ask(wechat.phone_code("alice"))["phone_info"]
    assert isinstance(info, dict)
    assert info["phoneNumber"] == "15550100"
    assert (info["purePhoneNumber"], info["countryCode"]) == ("5550100", "1")


@pytest.mark.parametrize(
    ("number", "country_code"),
    [("", "86"), ("+8613800001234", "86"), ("138", ""), ("\uff11", "86")],
)
def test_a_number_is_digits(wechat: WeChat, number: str, country_code: str) -> None:
    with pytest.raises(ValueError, match="digits"):
        wechat.set_phone_number("alice", number, country_code)


@pytest.mark.parametrize(("age", "errcode"), [(0, 0), (299.9, 0), (300, 40029), (86400, 40029)])
def test_a_phone_code_lives_for_five_minutes(
    wechat: WeChat, clock: SettableClock, ask: Ask, age: float, errcode: int
) -> None:
    code = wechat.phone_code("alice")
    clock.advance(seconds=age)
    assert ask(code)["errcode"] == errcode


def test_a_phone_code_works_once(wechat: WeChat, ask: Ask) -> None:
    code = wechat.phone_code("alice")
    assert [ask(code)["errcode"] for _ in range(3)] == [0, 40029, 40029]
    assert wechat.phone_exchanges == [code] * 3


def test_codes_of_the_two_kinds_are_not_interchangeable(
    wechat: WeChat, http: FlaskClient, query: Callable[..., dict[str, str]], ask: Ask
) -> None:
    login, phone = wechat.login("alice"), wechat.phone_code("alice")
    assert ask(login)["errcode"] == 40029
    answer = http.get("/sns/jscode2session", query_string=query(phone)).get_json(force=True)
    assert answer["errcode"] == 40029
    assert ask(phone)["errcode"] == 0


@pytest.mark.parametrize("code", ["made up", "", None, 1, ["code"]])
def test_a_bad_code_is_told_with_a_hint(wechat: WeChat, ask: Ask, code: object) -> None:
    answer = ask(code)
    assert answer["errcode"] == 40029
    assert re.fullmatch(
        r"invalid code hint: \[[\w-]{16}\] rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}",
        str(answer["errmsg"]),
    )
    assert wechat.phone_exchanges == [code if isinstance(code, str) else ""]


def test_a_code_of_another_app_is_refused_and_stays_good(wechat: WeChat, ask: Ask) -> None:
    code = wechat.phone_code("alice", SECOND)
    answer = ask(code)
    assert answer["errcode"] == 40013
    assert str(answer["errmsg"]).startswith("invalid appid rid: ")
    assert ask(code, SECOND)["errcode"] == 0


def test_an_openid_has_to_be_that_of_the_user(wechat: WeChat, ask: Ask) -> None:
    code = wechat.phone_code("alice")
    for other in (wechat.openid("bob"), wechat.openid("alice", SECOND), "made up", 1):
        answer = ask(code, openid=other)
        assert answer["errcode"] == 40003
        assert str(answer["errmsg"]).startswith("invalid openid rid: ")
    assert ask(code, openid=wechat.openid("alice"))["errcode"] == 0


@pytest.mark.parametrize("openid", ["", None])
def test_an_empty_openid_is_none(wechat: WeChat, ask: Ask, openid: str | None) -> None:
    assert ask(wechat.phone_code("alice"), openid=openid)["errcode"] == 0


@pytest.mark.parametrize(
    ("body", "errcode", "words"),
    [
        (b"", 44002, "empty post data rid: "),
        (b"code=x", 47001, "data format error hint: ["),
        (b'{"code":', 47001, "data format error hint: ["),
        (b'["code"]', 47001, "data format error hint: ["),
    ],
)
def test_the_body_has_to_be_a_json_object(
    wechat: WeChat, http: FlaskClient, body: bytes, errcode: int, words: str
) -> None:
    answer = http.post(
        URL,
        query_string={"access_token": token(http)},
        data=body,
        environ_overrides={"CONTENT_LENGTH": str(len(body))},
    ).get_json()
    assert answer["errcode"] == errcode
    assert answer["errmsg"].startswith(words)
    assert wechat.phone_exchanges == [""]


@pytest.mark.parametrize("errcode", [-1, 45011, 40001, 42001, 40029])
def test_an_errcode_can_be_ordered_and_leaves_the_code_good(
    wechat: WeChat, http: FlaskClient, ask: Ask, errcode: int
) -> None:
    code, shown = wechat.phone_code("alice"), {"access_token": token(http)}
    wechat.fail_next(errcode)
    assert http.post(URL, query_string=shown, json={"code": code}).get_json()["errcode"] == errcode
    assert ask(code)["errcode"] == 0
    assert wechat.phone_exchanges == [code] * 2
