"""Codes, identities and session_keys: the rules of wx.login and its exchange."""

import re
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Literal

import pytest

from wxsession.simulator import SettableClock, WeChat, WeChatError

APPS = {"wx0000000000000001": "secret-one", "wx0000000000000002": "secret-two"}
FIRST, SECOND = APPS
HERE = "127.0.0.1"

Query = Callable[..., dict[str, str]]


def errcode_of(wechat: WeChat, query: dict[str, str]) -> int:
    with pytest.raises(WeChatError) as raised:
        wechat.code2session(query, HERE)
    return raised.value.errcode


def test_a_code_has_the_shape_of_the_real_ones(wechat: WeChat) -> None:
    for code in {wechat.login("alice") for _ in range(200)}:
        assert re.fullmatch(r"0[0-9A-Za-z]{31}", code)
        assert code[3:7] == code[27:31]


def test_no_two_codes_are_the_same(wechat: WeChat) -> None:
    assert len({wechat.login("alice") for _ in range(1000)}) == 1000


def test_ids_and_keys_have_the_shapes_of_the_real_ones(wechat: WeChat) -> None:
    for user in ("alice", "bob", "微信用户"):
        assert re.fullmatch(r"o[A-Za-z0-9_-]{27}", wechat.openid(user))
        assert re.fullmatch(r"o[A-Za-z0-9_-]{27}", wechat.unionid(user))
        key = wechat.session_key(user)
        assert len(key) == 24
        assert key.endswith("==")
        assert len(b64decode(key)) == 16


def test_an_exchange_tells_who_logged_in(wechat: WeChat, query: Query) -> None:
    code = wechat.login("alice")
    assert wechat.code2session(query(code), HERE) == {
        "session_key": wechat.session_key("alice"),
        "openid": wechat.openid("alice"),
    }
    assert wechat.exchanges == [code]


def test_an_openid_is_for_one_user_of_one_app_and_survives_a_restart(wechat: WeChat) -> None:
    known = {wechat.openid(user, appid) for user in ("alice", "bob") for appid in APPS}
    assert len(known) == 4
    assert WeChat(APPS).openid("alice") == wechat.openid("alice", FIRST)


def test_a_unionid_comes_with_bound_apps_only(wechat: WeChat, query: Query) -> None:
    assert "unionid" not in wechat.code2session(query(wechat.login("alice")), HERE)
    wechat.bind_open_platform()
    answer = wechat.code2session(query(wechat.login("alice")), HERE)
    assert list(answer) == ["session_key", "openid", "unionid"]
    assert answer["unionid"] == wechat.unionid("alice")


def test_bound_apps_share_the_unionid(query: Query) -> None:
    wechat = WeChat(APPS, open_platform=APPS)
    answers = [
        wechat.code2session(query(wechat.login("alice", app), appid=app, secret=secret), HERE)
        for app, secret in APPS.items()
    ]
    assert answers[0]["unionid"] == answers[1]["unionid"]
    assert answers[0]["openid"] != answers[1]["openid"]


@pytest.mark.parametrize(("age", "errcode"), [(0, 0), (299.9, 0), (300, 40029), (86400, 40029)])
def test_a_code_lives_for_five_minutes(
    wechat: WeChat, clock: SettableClock, query: Query, age: float, errcode: int
) -> None:
    code = wechat.login("alice")
    clock.advance(seconds=age)
    if errcode:
        assert errcode_of(wechat, query(code)) == errcode
    else:
        assert wechat.code2session(query(code), HERE)["openid"] == wechat.openid("alice")


def test_a_code_works_once(wechat: WeChat, clock: SettableClock, query: Query) -> None:
    code = wechat.login("alice")
    wechat.code2session(query(code), HERE)
    assert errcode_of(wechat, query(code)) == 40163
    clock.advance(minutes=5)
    assert errcode_of(wechat, query(code)) == 40029


def test_of_many_exchanges_of_one_code_one_succeeds(wechat: WeChat, query: Query) -> None:
    code = wechat.login("alice")

    def exchange(_: int) -> int:
        try:
            wechat.code2session(query(code), HERE)
        except WeChatError as error:
            return error.errcode
        return 0

    with ThreadPoolExecutor(20) as threads:
        outcomes = sorted(threads.map(exchange, range(50)))
    assert outcomes == [0] + [40163] * 49


def test_a_refused_exchange_does_not_spend_the_code(wechat: WeChat, query: Query) -> None:
    code = wechat.login("alice")
    assert errcode_of(wechat, query(code, secret="wrong")) == 40125
    wechat.fail_next(-1, times=2)
    assert [errcode_of(wechat, query(code)) for _ in range(2)] == [-1, -1]
    assert wechat.code2session(query(code), HERE)["openid"] == wechat.openid("alice")


@pytest.mark.parametrize(
    ("mode", "step", "expected"),
    [
        (timedelta(minutes=5), timedelta(seconds=299), False),
        (timedelta(minutes=5), timedelta(seconds=300), True),
        ("always", timedelta(), True),
        ("never", timedelta(days=365), False),
    ],
)
def test_a_login_rotates_the_key_according_to_the_mode(
    clock: SettableClock,
    mode: timedelta | Literal["always", "never"],
    step: timedelta,
    expected: bool,  # noqa: FBT001
) -> None:
    wechat = WeChat(APPS, clock, mode)
    wechat.login("alice")
    key = wechat.session_key("alice")
    clock.advance(seconds=step.total_seconds())
    assert wechat.session_key("alice") == key, "time alone rotates nothing"
    wechat.login("alice")
    assert (wechat.session_key("alice") != key) is expected


def test_the_key_rotates_with_the_code_and_not_with_its_exchange(query: Query) -> None:
    wechat = WeChat(APPS, rotate_after="always")
    code = wechat.login("alice")
    key = wechat.session_key("alice")
    assert wechat.code2session(query(code), HERE)["session_key"] == key
    older, _ = wechat.login("alice"), wechat.login("alice")
    assert wechat.code2session(query(older), HERE)["session_key"] == wechat.session_key("alice")
    assert wechat.session_key("alice") != key


def test_keys_of_other_users_and_apps_stay_when_one_rotates() -> None:
    wechat = WeChat(APPS, rotate_after="always")
    others = [("bob", FIRST), ("alice", SECOND)]
    before = [wechat.session_key(*other) for other in others]
    wechat.login("alice")
    assert [wechat.session_key(*other) for other in others] == before


@pytest.mark.parametrize("apps", [{}])
def test_a_world_without_apps_is_refused(apps: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="app"):
        WeChat(apps)


def test_what_is_unknown_is_refused(wechat: WeChat) -> None:
    with pytest.raises(ValueError, match="app"):
        wechat.login("alice", "wx-unknown")
    with pytest.raises(ValueError, match="app"):
        WeChat(APPS, ip_whitelist={"wx-unknown": []})
    with pytest.raises(ValueError, match="rotate_after"):
        WeChat(APPS, rotate_after=timedelta(seconds=-1))
    with pytest.raises(ValueError, match="fail"):
        wechat.fail_next(0)
    with pytest.raises(ValueError, match="fail"):
        wechat.fail_next(-1, times=0)
    for delay in (-1, float("nan"), float("inf"), 3601):
        with pytest.raises(ValueError, match="seconds"):
            wechat.answer_after(delay)
