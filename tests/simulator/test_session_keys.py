"""session_keys: when they change, and what a server may ask about the one it holds."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from tests.simulator.support import APPS, FIRST, HERE, SECOND, access_token, login_query
from wxsession.simulator import SettableClock, WeChat
from wxsession.simulator.open_data import hmac_signature
from wxsession.simulator.session_keys import Rotation

CHECK, RESET = "/wxa/checksession", "/wxa/resetusersessionkey"

Ask = Callable[..., dict[str, object]]


@pytest.mark.parametrize(
    ("rotate_after", "age", "rotates"),
    [
        (timedelta(minutes=5), timedelta(seconds=299), False),
        (timedelta(minutes=5), timedelta(seconds=300), True),
        ("always", timedelta(), True),
        ("never", timedelta(days=365), False),
    ],
)
def test_a_login_replaces_a_key_that_is_old_enough(
    clock: SettableClock,
    rotate_after: Rotation,
    age: timedelta,
    rotates: bool,  # noqa: FBT001
) -> None:
    wechat = WeChat(APPS, clock, rotate_after)
    wechat.login("alice")
    key = wechat.session_key("alice")
    clock.advance(seconds=age.total_seconds())
    assert wechat.session_key("alice") == key, "time alone changes nothing"
    wechat.login("alice")
    assert (wechat.session_key("alice") != key) is rotates


def test_the_key_changes_with_the_code_and_not_with_its_exchange() -> None:
    wechat = WeChat(APPS, rotate_after="always")
    code = wechat.login("alice")
    key = wechat.session_key("alice")
    assert wechat.code2session(login_query(code), HERE)["session_key"] == key
    older, _ = wechat.login("alice"), wechat.login("alice")
    answer = wechat.code2session(login_query(older), HERE)
    assert answer["session_key"] == wechat.session_key("alice")
    assert wechat.session_key("alice") != key


def test_keys_of_other_users_and_apps_stay_when_one_changes() -> None:
    wechat = WeChat(APPS, rotate_after="always")
    others = [("bob", FIRST), ("alice", SECOND)]
    before = [wechat.session_key(*other) for other in others]
    wechat.login("alice")
    assert [wechat.session_key(*other) for other in others] == before


@pytest.fixture
def ask(wechat: WeChat, http: FlaskClient) -> Ask:
    """Ask about alice with valid parameters; one that is None is left out."""
    token = access_token(http)

    def asked(url: str, key: str, **changes: str | None) -> dict[str, object]:
        query = {
            "access_token": token,
            "openid": wechat.openid("alice"),
            "signature": hmac_signature(key),
            "sig_method": "hmac_sha256",
            **changes,
        }
        answer = http.get(url, query_string={k: v for k, v in query.items() if v is not None})
        assert isinstance(answer.json, dict)
        return answer.json

    return asked


def test_the_current_key_is_confirmed(wechat: WeChat, ask: Ask) -> None:
    assert ask(CHECK, wechat.session_key("alice")) == {"errcode": 0, "errmsg": "ok"}


def test_a_key_that_was_replaced_is_not(wechat: WeChat, ask: Ask) -> None:
    old = wechat.session_key("alice")
    ask(RESET, old)
    answer = ask(CHECK, old)
    assert answer["errcode"] == 87009
    assert str(answer["errmsg"]).startswith("invalid signature rid: ")


def test_whatever_is_wrong_in_a_check_is_an_invalid_signature(wechat: WeChat, ask: Ask) -> None:
    key = wechat.session_key("alice")
    wrong: list[dict[str, str | None]] = [
        {"signature": "0" * 64},
        {"signature": None},
        {"openid": None},
        {"openid": "o-made-up"},
        {"sig_method": "md5"},
        {"sig_method": None},
    ]
    for changes in wrong:
        assert ask(CHECK, key, **changes)["errcode"] == 87009, changes


def test_a_user_is_known_by_the_openid_of_the_tokens_app(wechat: WeChat, ask: Ask) -> None:
    key, openid = wechat.session_key("alice", SECOND), wechat.openid("alice", SECOND)
    assert ask(CHECK, key, openid=openid)["errcode"] == 87009


def test_a_reset_returns_a_new_key_and_ends_the_old_one(wechat: WeChat, ask: Ask) -> None:
    old = wechat.session_key("alice")
    answer = ask(RESET, old)
    new = wechat.session_key("alice")
    assert new != old
    assert answer == {
        "errcode": 0,
        "errmsg": "ok",
        "openid": wechat.openid("alice"),
        "session_key": new,
    }
    assert ask(CHECK, new)["errcode"] == 0
    assert ask(RESET, old)["errcode"] == 87009


def test_a_reset_does_not_make_the_key_younger(
    wechat: WeChat, clock: SettableClock, ask: Ask
) -> None:
    wechat.login("alice")
    clock.advance(seconds=299)
    ask(RESET, wechat.session_key("alice"))
    new = wechat.session_key("alice")
    wechat.login("alice")
    assert wechat.session_key("alice") == new
    clock.advance(seconds=1)
    wechat.login("alice")
    assert wechat.session_key("alice") != new


RESET_ERRORS: list[tuple[dict[str, str | None], int, str]] = [
    ({"openid": None}, 40097, "invalid args"),
    ({"signature": None}, 40097, "invalid args"),
    ({"sig_method": ""}, 40097, "invalid args"),
    ({"sig_method": "md5"}, 87008, "invalid sig_method"),
    ({"openid": "o-made-up"}, 87007, "session_key is not existd or expired"),
    ({"signature": "0" * 64}, 87009, "invalid signature"),
]


def test_a_reset_names_what_is_wrong(wechat: WeChat, ask: Ask) -> None:
    key = wechat.session_key("alice")
    for changes, errcode, errmsg in RESET_ERRORS:
        answer = ask(RESET, key, **changes)
        assert answer["errcode"] == errcode, changes
        assert str(answer["errmsg"]).startswith(f"{errmsg} rid: ")
    assert wechat.session_key("alice") == key


def test_of_two_mistakes_the_one_that_is_checked_first_is_answered(
    wechat: WeChat, ask: Ask
) -> None:
    key = wechat.session_key("alice")
    for position, (first, errcode, _) in enumerate(RESET_ERRORS):
        for second, _, _ in RESET_ERRORS[position:]:
            assert ask(RESET, key, **{**second, **first})["errcode"] == errcode, (first, second)
