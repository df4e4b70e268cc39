"""Every error of code2Session, how it comes about, and which one comes first."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from tests.simulator.support import HERE, RID, SECOND, login_query
from wxsession.simulator import SettableClock, WeChat, WeChatError
from wxsession.simulator.errors import ERRMSGS

Situation = Callable[[WeChat], dict[str, str]]


def busy(wechat: WeChat) -> dict[str, str]:
    wechat.fail_next(-1)
    return login_query(wechat.login("alice"))


def used_code(wechat: WeChat) -> dict[str, str]:
    query = login_query(wechat.login("alice"))
    wechat.code2session(query, HERE)
    return query


def blocked_user(wechat: WeChat) -> dict[str, str]:
    wechat.block("alice")
    return login_query(wechat.login("alice"))


def hundred_exchanges(wechat: WeChat) -> dict[str, str]:
    for _ in range(100):
        wechat.code2session(login_query(wechat.login("alice")), HERE)
    return login_query(wechat.login("alice"))


def unlisted_address(wechat: WeChat) -> dict[str, str]:
    wechat.set_ip_whitelist({"47.1.2.3"})
    return login_query(wechat.login("alice"))


def login_with(**changes: str | None) -> Situation:
    return lambda wechat: login_query(wechat.login("alice"), **changes)


SITUATIONS: dict[str, tuple[Situation, int, str]] = {
    "busy": (busy, -1, "system error"),
    "made-up code": (lambda _: login_query("0" * 32), 40029, "invalid code"),
    "code of another app": (
        lambda wechat: login_query(wechat.login("alice", SECOND)),
        40029,
        "invalid code",
    ),
    "used code": (used_code, 40163, "code been used"),
    "blocked user": (blocked_user, 40226, "code blocked"),
    "101 exchanges a minute": (
        hundred_exchanges,
        45011,
        "api minute-quota reach limit, must slower, retry next minute",
    ),
    "unknown appid": (login_with(appid="wx-unknown"), 40013, "invalid appid"),
    "wrong secret": (login_with(secret="wrong"), 40125, "invalid appsecret"),
    "no parameters": (lambda _: {}, 41002, "appid missing"),
    "no appid": (login_with(appid=None), 41002, "appid missing"),
    "empty appid": (login_with(appid=""), 41002, "appid missing"),
    "no secret": (login_with(secret=None), 41004, "appsecret missing"),
    "no code": (login_with(js_code=None), 41008, "missing code"),
    "empty code": (login_with(js_code=""), 41008, "missing code"),
    "wrong grant_type": (login_with(grant_type="code"), 40002, "invalid grant_type"),
    "no grant_type": (login_with(grant_type=None), 40002, "invalid grant_type"),
    "unlisted address": (
        unlisted_address,
        40164,
        "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist",
    ),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_situation_has_its_error_and_its_message(
    wechat: WeChat, http: FlaskClient, name: str
) -> None:
    situation, errcode, errmsg = SITUATIONS[name]
    response = http.get("/sns/jscode2session", query_string=situation(wechat))
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain"
    body = response.get_data(as_text=True)
    rid = body[-28:-2]
    assert body == json.dumps(
        {"errcode": errcode, "errmsg": f"{errmsg}, rid: {rid}"}, separators=(",", ":")
    )
    assert re.fullmatch(RID, rid)
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


def test_of_two_mistakes_the_one_that_is_checked_first_is_answered(wechat: WeChat) -> None:
    for position, (first, errcode) in enumerate(CHECKS):
        for second, _ in CHECKS[position:]:
            query = login_query(wechat.login("alice"), **{**second, **first})
            with pytest.raises(WeChatError) as raised:
                wechat.code2session(query, HERE)
            assert raised.value.errcode == errcode, (first, second)


def test_the_whitelist_is_checked_before_the_secret(wechat: WeChat) -> None:
    wechat.set_ip_whitelist([])
    with pytest.raises(WeChatError, match="40164"):
        wechat.code2session(login_query(wechat.login("alice"), secret="wrong"), HERE)


def test_a_whitelist_lets_its_own_addresses_in_and_can_be_lifted(wechat: WeChat) -> None:
    wechat.set_ip_whitelist({"47.1.2.3"})
    wechat.code2session(login_query(wechat.login("alice")), "47.1.2.3")
    wechat.set_ip_whitelist(None)
    wechat.code2session(login_query(wechat.login("alice")), HERE)


def test_the_quota_is_each_users_own_and_comes_back_after_a_minute(
    wechat: WeChat, clock: SettableClock
) -> None:
    query = hundred_exchanges(wechat)
    with pytest.raises(WeChatError, match="45011"):
        wechat.code2session(query, HERE)
    wechat.code2session(login_query(wechat.login("bob")), HERE)
    clock.advance(seconds=59.9)
    with pytest.raises(WeChatError, match="45011"):
        wechat.code2session(query, HERE)
    clock.advance(seconds=0.1)
    wechat.code2session(query, HERE)


def test_any_errcode_can_be_ordered_for_the_next_requests(wechat: WeChat) -> None:
    code = wechat.login("alice")
    errcodes = [*ERRMSGS, 12345]
    for errcode in errcodes:
        wechat.fail_next(errcode, times=3)
        for _ in range(3):
            with pytest.raises(WeChatError) as raised:
                wechat.code2session(login_query(code), HERE)
            assert raised.value.errcode == errcode
            assert "{" not in raised.value.errmsg
    answer = wechat.code2session(login_query(code), HERE)
    assert answer["openid"] == wechat.openid("alice"), "the code stayed valid"
    assert wechat.exchanges == [code] * (3 * len(errcodes) + 1)


def test_orders_are_served_in_turn(wechat: WeChat) -> None:
    wechat.fail_next(-1)
    wechat.fail_next(45011)
    code = wechat.login("alice")
    for errcode in (-1, 45011):
        with pytest.raises(WeChatError, match=str(errcode)):
            wechat.code2session(login_query(code), HERE)
