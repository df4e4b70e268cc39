"""Who logged in: what an exchange returns, and what a WeChat refuses to do."""

import re
from base64 import b64decode
from datetime import timedelta

import pytest

from tests.simulator.support import APPS, FIRST, HERE, login_query
from wxsession.simulator import WeChat


def test_ids_and_keys_look_like_the_real_ones(wechat: WeChat) -> None:
    for user in ("alice", "bob", "微信用户"):
        assert re.fullmatch(r"o[A-Za-z0-9_-]{27}", wechat.openid(user))
        assert re.fullmatch(r"o[A-Za-z0-9_-]{27}", wechat.unionid(user))
        key = wechat.session_key(user)
        assert len(key) == 24
        assert key.endswith("==")
        assert len(b64decode(key)) == 16


def test_an_exchange_returns_who_logged_in(wechat: WeChat) -> None:
    code = wechat.login("alice")
    assert wechat.code2session(login_query(code), HERE) == {
        "session_key": wechat.session_key("alice"),
        "openid": wechat.openid("alice"),
    }
    assert wechat.exchanges == [code]


def test_an_openid_is_for_one_user_of_one_app_and_survives_a_restart(wechat: WeChat) -> None:
    openids = {wechat.openid(user, appid) for user in ("alice", "bob") for appid in APPS}
    assert len(openids) == 4
    assert WeChat(APPS).openid("alice") == wechat.openid("alice", FIRST)


def test_only_bound_apps_get_a_unionid(wechat: WeChat) -> None:
    assert "unionid" not in wechat.code2session(login_query(wechat.login("alice")), HERE)
    wechat.bind_open_platform()
    answer = wechat.code2session(login_query(wechat.login("alice")), HERE)
    assert list(answer) == ["session_key", "openid", "unionid"]
    assert answer["unionid"] == wechat.unionid("alice")


def test_bound_apps_share_the_unionid() -> None:
    wechat = WeChat(APPS, open_platform=APPS)
    answers = [
        wechat.code2session(login_query(wechat.login("alice", app), appid=app, secret=secret), HERE)
        for app, secret in APPS.items()
    ]
    assert answers[0]["unionid"] == answers[1]["unionid"]
    assert answers[0]["openid"] != answers[1]["openid"]


def test_what_is_unknown_or_impossible_is_refused(wechat: WeChat) -> None:
    with pytest.raises(ValueError, match="app"):
        WeChat({})
    with pytest.raises(ValueError, match="app"):
        wechat.login("alice", "wx-unknown")
    with pytest.raises(ValueError, match="app"):
        WeChat(APPS, ip_whitelist={"wx-unknown": []})
    with pytest.raises(ValueError, match="app"):
        WeChat(APPS, open_platform=["wx-unknown"])
    with pytest.raises(ValueError, match="rotate_after"):
        WeChat(APPS, rotate_after=timedelta(seconds=-1))
    with pytest.raises(ValueError, match="fail"):
        wechat.fail_next(0)
    with pytest.raises(ValueError, match="fail"):
        wechat.fail_next(-1, times=0)
    for delay in (-1, float("nan"), float("inf"), 3601):
        with pytest.raises(ValueError, match="seconds"):
            wechat.answer_after(delay)
