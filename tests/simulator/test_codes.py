"""The codes of wx.login and of the button getPhoneNumber."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask.testing import FlaskClient

from tests.simulator.support import APPS, FIRST, HERE, RID, SECOND, access_token, login_query
from wxsession.simulator import SettableClock, WeChat, WeChatError

URL = "/wxa/business/getuserphonenumber"

AskForNumber = Callable[..., dict[str, object]]


def errcode_of(wechat: WeChat, query: dict[str, str]) -> int:
    try:
        wechat.code2session(query, HERE)
    except WeChatError as error:
        return error.errcode
    return 0


def test_codes_look_like_the_real_ones_and_no_two_are_the_same(wechat: WeChat) -> None:
    codes = {wechat.login("alice") for _ in range(1000)}
    assert len(codes) == 1000
    for code in codes:
        assert re.fullmatch(r"0[0-9A-Za-z]{31}", code)
        assert code[3:7] == code[27:31]


def test_a_code_lives_for_five_minutes(wechat: WeChat, clock: SettableClock) -> None:
    early, late = wechat.login("alice"), wechat.login("alice")
    clock.advance(seconds=299.9)
    assert errcode_of(wechat, login_query(early)) == 0
    clock.advance(seconds=0.1)
    assert errcode_of(wechat, login_query(late)) == 40029


def test_a_code_works_once(wechat: WeChat, clock: SettableClock) -> None:
    code = wechat.login("alice")
    assert [errcode_of(wechat, login_query(code)) for _ in range(2)] == [0, 40163]
    clock.advance(minutes=5)
    assert errcode_of(wechat, login_query(code)) == 40029


def test_of_many_exchanges_of_one_code_one_succeeds(wechat: WeChat) -> None:
    code = wechat.login("alice")
    with ThreadPoolExecutor(20) as threads:
        outcomes = threads.map(lambda _: errcode_of(wechat, login_query(code)), range(50))
    assert sorted(outcomes) == [0] + [40163] * 49


def test_an_exchange_that_is_refused_does_not_use_up_the_code(wechat: WeChat) -> None:
    code = wechat.login("alice")
    assert errcode_of(wechat, login_query(code, secret="wrong")) == 40125
    wechat.fail_next(-1, times=2)
    assert [errcode_of(wechat, login_query(code)) for _ in range(3)] == [-1, -1, 0]


@pytest.fixture
def ask(http: FlaskClient) -> AskForNumber:
    """Exchange a phone code, with a token of the app."""

    def asked(code: object, appid: str = FIRST, **more: object) -> dict[str, object]:
        query = {"access_token": access_token(http, appid)}
        answer = http.post(URL, query_string=query, json={"code": code, **more}).get_json()
        assert isinstance(answer, dict)
        return answer

    return asked


def test_phone_codes_look_like_the_real_ones_and_no_two_are_the_same(wechat: WeChat) -> None:
    codes = {wechat.phone_code("alice") for _ in range(100)}
    assert len(codes) == 100
    assert all(re.fullmatch("[0-9a-f]{64}", code) for code in codes)


def test_a_phone_code_is_exchanged_for_the_number(
    wechat: WeChat, clock: SettableClock, ask: AskForNumber
) -> None:
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


def test_a_phone_code_lives_for_five_minutes(
    wechat: WeChat, clock: SettableClock, ask: AskForNumber
) -> None:
    early, late = wechat.phone_code("alice"), wechat.phone_code("alice")
    clock.advance(seconds=299.9)
    assert ask(early)["errcode"] == 0
    clock.advance(seconds=0.1)
    assert ask(late)["errcode"] == 40029


def test_a_phone_code_works_once(wechat: WeChat, ask: AskForNumber) -> None:
    code = wechat.phone_code("alice")
    assert [ask(code)["errcode"] for _ in range(3)] == [0, 40029, 40029]
    assert wechat.phone_exchanges == [code] * 3


def test_codes_of_the_two_kinds_are_not_interchangeable(wechat: WeChat, ask: AskForNumber) -> None:
    login, phone = wechat.login("alice"), wechat.phone_code("alice")
    assert ask(login)["errcode"] == 40029
    assert errcode_of(wechat, login_query(phone)) == 40029
    assert ask(phone)["errcode"] == 0


def test_a_bad_phone_code_is_refused_with_a_hint(wechat: WeChat, ask: AskForNumber) -> None:
    bad = ["made up", "", None, 1, ["code"]]
    for code in bad:
        answer = ask(code)
        assert answer["errcode"] == 40029, code
        errmsg = str(answer["errmsg"])
        assert re.fullmatch(rf"invalid code hint: \[[\w-]{{16}}\] rid: {RID}", errmsg)
    assert wechat.phone_exchanges == ["made up", "", "", "", ""]


def test_a_phone_code_of_another_app_is_refused_and_stays_valid(
    wechat: WeChat, ask: AskForNumber
) -> None:
    code = wechat.phone_code("alice", SECOND)
    answer = ask(code)
    assert answer["errcode"] == 40013
    assert str(answer["errmsg"]).startswith("invalid appid rid: ")
    assert ask(code, SECOND)["errcode"] == 0


def test_an_openid_must_be_that_of_the_user_or_empty(wechat: WeChat, ask: AskForNumber) -> None:
    code = wechat.phone_code("alice")
    for other in (wechat.openid("bob"), wechat.openid("alice", SECOND), "made up", 1):
        answer = ask(code, openid=other)
        assert answer["errcode"] == 40003
        assert str(answer["errmsg"]).startswith("invalid openid rid: ")
    assert ask(code, openid=wechat.openid("alice"))["errcode"] == 0
    for empty in ("", None):
        assert ask(wechat.phone_code("alice"), openid=empty)["errcode"] == 0


def test_the_body_with_a_phone_code_must_be_a_json_object(
    wechat: WeChat, http: FlaskClient
) -> None:
    query = {"access_token": access_token(http)}
    for body in (b"", b"code=x", b'{"code":', b'["code"]'):
        answer = http.post(
            URL,
            query_string=query,
            data=body,
            environ_overrides={"CONTENT_LENGTH": str(len(body))},
        ).get_json()
        expected = (47001, "data format error hint: [") if body else (44002, "empty post data rid")
        assert answer["errcode"] == expected[0], body
        assert answer["errmsg"].startswith(expected[1])
    assert wechat.phone_exchanges == [""] * 4


def test_an_errcode_can_be_ordered_and_leaves_the_phone_code_valid(
    wechat: WeChat, http: FlaskClient, ask: AskForNumber
) -> None:
    code, query = wechat.phone_code("alice"), {"access_token": access_token(http)}
    for errcode in (-1, 45011, 40001, 42001, 40029):
        wechat.fail_next(errcode)
        answer = http.post(URL, query_string=query, json={"code": code}).get_json()
        assert answer["errcode"] == errcode
    assert ask(code)["errcode"] == 0
    assert wechat.phone_exchanges == [code] * 6


def test_apps_do_not_see_each_others_login_codes(wechat: WeChat) -> None:
    code = wechat.login("alice", SECOND)
    assert errcode_of(wechat, login_query(code)) == 40029
    theirs = login_query(code, appid=SECOND, secret=APPS[SECOND])
    assert errcode_of(wechat, theirs) == 0
