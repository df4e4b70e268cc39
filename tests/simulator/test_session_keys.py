"""checksession and resetusersessionkey: what a server may ask about the session_key it holds."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from wxsession.simulator import SettableClock, WeChat
from wxsession.simulator.open_data import hmac_signature

APPS = {"wx0000000000000001": "secret-one", "wx0000000000000002": "secret-two"}
CHECK, RESET = "/wxa/checksession", "/wxa/resetusersessionkey"

Ask = Callable[..., dict[str, object]]


@pytest.fixture
def ask(wechat: WeChat, http: FlaskClient) -> Ask:
    """Ask about alice, with all that it takes; a parameter that is None is left out."""
    wish = {"grant_type": "client_credential", "appid": next(iter(APPS)), "secret": "secret-one"}
    token = http.post("/cgi-bin/stable_token", json=wish).get_json()["access_token"]

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


def test_a_key_that_was_rotated_is_not(wechat: WeChat, ask: Ask) -> None:
    old = wechat.session_key("alice")
    ask(RESET, old)
    answer = ask(CHECK, old)
    assert answer["errcode"] == 87009
    assert str(answer["errmsg"]).startswith("invalid signature rid: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": "0" * 64},
        {"signature": None},
        {"openid": None},
        {"openid": "o-made-up"},
        {"sig_method": "md5"},
        {"sig_method": None},
    ],
)
def test_whatever_does_not_fit_is_an_invalid_signature(
    wechat: WeChat, ask: Ask, changes: dict[str, str | None]
) -> None:
    assert ask(CHECK, wechat.session_key("alice"), **changes)["errcode"] == 87009


def test_a_user_is_known_by_the_openid_of_the_tokens_app(wechat: WeChat, ask: Ask) -> None:
    key = wechat.session_key("alice", "wx0000000000000002")
    openid = wechat.openid("alice", "wx0000000000000002")
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


@pytest.mark.parametrize(("changes", "errcode", "errmsg"), RESET_ERRORS)
def test_a_reset_names_what_is_wrong(
    wechat: WeChat, ask: Ask, changes: dict[str, str | None], errcode: int, errmsg: str
) -> None:
    key = wechat.session_key("alice")
    answer = ask(RESET, key, **changes)
    assert answer["errcode"] == errcode
    assert str(answer["errmsg"]).startswith(f"{errmsg} rid: ")
    assert wechat.session_key("alice") == key


def test_of_two_mistakes_the_earlier_check_speaks(wechat: WeChat, ask: Ask) -> None:
    key = wechat.session_key("alice")
    for position, (first, errcode, _) in enumerate(RESET_ERRORS):
        for second, _, _ in RESET_ERRORS[position:]:
            assert ask(RESET, key, **{**second, **first})["errcode"] == errcode, (first, second)
