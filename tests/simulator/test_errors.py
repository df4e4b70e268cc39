"""Every error of code2Session, how it comes about, and which one comes first."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from wxsession.simulator import SettableClock, WeChat, WeChatError

FIRST, SECOND = "wx0000000000000001", "wx0000000000000002"
HERE = "127.0.0.1"

Query = Callable[..., dict[str, str]]
Situation = Callable[[WeChat, Query], dict[str, str]]


def busy(wechat: WeChat, query: Query) -> dict[str, str]:
    wechat.fail_next(-1)
    return query(wechat.login("alice"))


def made_up_code(_: WeChat, query: Query) -> dict[str, str]:
    return query("0" * 32)


def code_of_another_app(wechat: WeChat, query: Query) -> dict[str, str]:
    return query(wechat.login("alice", SECOND))


def used_code(wechat: WeChat, query: Query) -> dict[str, str]:
    asked = query(wechat.login("alice"))
    wechat.code2session(asked, HERE)
    return asked


def blocked_user(wechat: WeChat, query: Query) -> dict[str, str]:
    wechat.block("alice")
    return query(wechat.login("alice"))


def hundred_calls(wechat: WeChat, query: Query) -> dict[str, str]:
    for _ in range(100):
        wechat.code2session(query(wechat.login("alice")), HERE)
    return query(wechat.login("alice"))


def stranger(wechat: WeChat, query: Query) -> dict[str, str]:
    wechat.set_ip_whitelist({"47.1.2.3"})
    return query(wechat.login("alice"))


def asked_with(**changes: str | None) -> Situation:
    return lambda wechat, query: query(wechat.login("alice"), **changes)


def nothing(_wechat: WeChat, _query: Query) -> dict[str, str]:
    return {}


SITUATIONS: dict[str, tuple[Situation, int, str]] = {
    "busy": (busy, -1, "system error"),
    "made-up code": (made_up_code, 40029, "invalid code"),
    "code of another app": (code_of_another_app, 40029, "invalid code"),
    "used code": (used_code, 40163, "code been used"),
    "blocked user": (blocked_user, 40226, "code blocked"),
    "101 calls a minute": (
        hundred_calls,
        45011,
        "api minute-quota reach limit, must slower, retry next minute",
    ),
    "unknown appid": (asked_with(appid="wx-unknown"), 40013, "invalid appid"),
    "wrong secret": (asked_with(secret="wrong"), 40125, "invalid appsecret"),
    "no parameters": (nothing, 41002, "appid missing"),
    "no appid": (asked_with(appid=None), 41002, "appid missing"),
    "empty appid": (asked_with(appid=""), 41002, "appid missing"),
    "no secret": (asked_with(secret=None), 41004, "appsecret missing"),
    "no code": (asked_with(js_code=None), 41008, "missing code"),
    "empty code": (asked_with(js_code=""), 41008, "missing code"),
    "wrong grant_type": (asked_with(grant_type="code"), 40002, "invalid grant_type"),
    "no grant_type": (asked_with(grant_type=None), 40002, "invalid grant_type"),
    "stranger": (
        stranger,
        40164,
        "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist",
    ),
}


@pytest.mark.parametrize(
    ("situation", "errcode", "errmsg"), SITUATIONS.values(), ids=list(SITUATIONS)
)
def test_each_situation_has_its_error_and_its_words(
    wechat: WeChat,
    query: Query,
    http: FlaskClient,
    situation: Situation,
    errcode: int,
    errmsg: str,
) -> None:
    response = http.get("/sns/jscode2session", query_string=situation(wechat, query))
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain"
    body = response.get_data(as_text=True)
    rid = body[-28:-2]
    assert body == json.dumps(
        {"errcode": errcode, "errmsg": f"{errmsg}, rid: {rid}"}, separators=(",", ":")
    )
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}", rid)
    assert datetime.fromtimestamp(int(rid[:8], 16), UTC) == wechat.clock()


CHECKS: list[tuple[dict[str, str | None], int]] = [
    ({"appid": None}, 41002),
    ({"secret": None}, 41004),
    ({"js_code": None}, 41008),
    ({"appid": "wx-unknown"}, 40013),
    ({"grant_type": None}, 40002),
    ({"secret": "wrong"}, 40125),
    ({"js_code": "made up"}, 40029),
]


def test_of_two_mistakes_the_earlier_check_speaks(wechat: WeChat, query: Query) -> None:
    for position, (first, errcode) in enumerate(CHECKS):
        for second, _ in CHECKS[position:]:
            asked = query(wechat.login("alice"), **{**second, **first})
            with pytest.raises(WeChatError) as raised:
                wechat.code2session(asked, HERE)
            assert raised.value.errcode == errcode, (first, second)


def test_the_whitelist_speaks_before_the_secret(wechat: WeChat, query: Query) -> None:
    wechat.set_ip_whitelist([])
    with pytest.raises(WeChatError, match="40164"):
        wechat.code2session(query(wechat.login("alice"), secret="wrong"), HERE)


def test_a_whitelist_lets_its_own_addresses_in_and_can_be_lifted(
    wechat: WeChat, query: Query
) -> None:
    wechat.set_ip_whitelist({"47.1.2.3"})
    wechat.code2session(query(wechat.login("alice")), "47.1.2.3")
    wechat.set_ip_whitelist(None)
    wechat.code2session(query(wechat.login("alice")), HERE)


def test_the_quota_is_each_users_own_and_comes_back_after_a_minute(
    wechat: WeChat, clock: SettableClock, query: Query
) -> None:
    asked = hundred_calls(wechat, query)
    with pytest.raises(WeChatError, match="45011"):
        wechat.code2session(asked, HERE)
    wechat.code2session(query(wechat.login("bob")), HERE)
    clock.advance(seconds=59.9)
    with pytest.raises(WeChatError, match="45011"):
        wechat.code2session(asked, HERE)
    clock.advance(seconds=0.1)
    wechat.code2session(asked, HERE)


@pytest.mark.parametrize("errcode", [-1, 45011, 40226, 40164, 40163, 40243, 12345])
def test_any_errcode_can_be_ordered_for_the_next_calls(
    wechat: WeChat, query: Query, errcode: int
) -> None:
    code = wechat.login("alice")
    wechat.fail_next(errcode, times=3)
    for _ in range(3):
        with pytest.raises(WeChatError) as raised:
            wechat.code2session(query(code), HERE)
        assert raised.value.errcode == errcode
        assert "{" not in raised.value.errmsg
    assert wechat.code2session(query(code), HERE)["openid"] == wechat.openid("alice")
    assert wechat.exchanges == [code] * 4


def test_orders_are_served_in_turn(wechat: WeChat, query: Query) -> None:
    wechat.fail_next(-1)
    wechat.fail_next(45011)
    code = wechat.login("alice")
    for errcode in (-1, 45011):
        with pytest.raises(WeChatError, match=str(errcode)):
            wechat.code2session(query(code), HERE)
