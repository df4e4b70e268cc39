"""A session is recognised until it expires."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from tests.support.app import services_of
from tests.support.databases import ON_BOTH, ON_SQLITE
from tests.support.phone import Phone, problem
from tests.support.statements import overhearing
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.tables import sessions

pytestmark = ON_BOTH


def test_a_live_session_is_active(phone: Phone) -> None:
    user = phone.log_in().json["user"]
    answer = phone.check()
    assert answer.status_code == 200
    assert answer.json == {
        "active": True,
        "expires_in": 7 * 86400,
        "absolute_expires_at": "2026-12-21T08:30:00.000Z",
        "superseded": False,
        "user": {**user, "new": False},
    }


def test_get_and_post_say_the_same(phone: Phone) -> None:
    phone.log_in()
    get = phone.check()
    post = phone.send("POST", "/check_session", token=phone.token, data=b"anything at all")
    assert (get.status_code, get.json) == (post.status_code, post.json)


def test_without_the_identity_a_check_says_the_same_of_everything_else(phone: Phone) -> None:
    phone.log_in()
    sessions_ = services_of(phone.app).sessions
    whole = sessions_.check(str(phone.token))
    assert whole.identity is not None
    alone = sessions_.check(str(phone.token), with_identity=False)
    assert alone == whole._replace(identity=None)


def test_an_idle_session_expires_at_the_second_and_not_before(
    phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    clock.advance(days=7, microseconds=-1)
    assert phone.check().status_code == 200
    clock.advance(days=7)
    assert problem(phone.check()) == (401, "session_expired", "idle")


def test_use_slides_the_idle_expiry_but_never_past_the_absolute_one(
    phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    for _ in range(4):
        clock.advance(days=6)
        assert phone.check().json["expires_in"] <= 7 * 86400
    clock.advance(days=5)  # 29 days after the login
    assert phone.check().json["expires_in"] == 86400
    clock.advance(days=1, microseconds=-1)
    assert phone.check().status_code == 200
    clock.advance(microseconds=1)
    assert problem(phone.check()) == (401, "session_expired", "absolute")


def test_expires_in_tells_what_is_stored_between_two_touches(
    phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    clock.advance(minutes=59)
    assert phone.check().json["expires_in"] == 7 * 86400 - 59 * 60
    clock.advance(minutes=1)
    assert phone.check().json["expires_in"] == 7 * 86400


def test_a_shorter_idle_timeout_does_not_shorten_a_session_that_is_there(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock
) -> None:
    phone = Phone(make_app(idle_timeout="7d"), wechat, "alice")
    phone.log_in()
    phone.app = make_app(idle_timeout="2h", touch_interval="0")
    assert phone.check().json["expires_in"] == 7 * 86400
    clock.advance(days=6)
    assert phone.check().json["expires_in"] == 86400


def test_a_touch_that_comes_late_shortens_nothing(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock
) -> None:
    short = make_app(idle_timeout="2h", touch_interval="0")
    phone = Phone(make_app(idle_timeout="7d", touch_interval="0"), wechat, "alice")
    other = Phone(short, wechat, "alice", token=phone.log_in().json["session_token"])
    clock.advance(days=6, hours=23)

    def be_overtaken(statement: str) -> None:
        if statement.startswith("UPDATE"):
            phone.check()

    with overhearing(services_of(short).database, before=be_overtaken):
        other.check()  # judges, and is overtaken before it writes
    with services_of(short).database.statement() as connection:
        stored = connection.execute(select(sessions.c.idle_expires_at)).scalar_one()
    assert stored == clock() + timedelta(days=7)


@ON_SQLITE
@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing_token"),
        ("", "missing_token"),
        ("Basic YTpi", "missing_token"),
        ("wxs_x", "missing_token"),
        ("Bearer", "invalid_token"),
        ("Bearer ", "invalid_token"),
        ("bearer nonsense", "invalid_token"),
        ("Bearer a b c", "invalid_token"),
        ("Bearer \xe9\xff", "invalid_token"),
        ("Bearer " + "x" * 10_000, "invalid_token"),
    ],
)
def test_no_token_and_a_bad_one_are_told_apart(phone: Phone, header: str | None, code: str) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = phone.send("GET", "/check_session", headers=headers)
    assert problem(answer) == (401, code, None)
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="wxsession"')
    assert ('error="invalid_token"' in challenge) is (code != "missing_token")


@ON_SQLITE
def test_the_challenge_names_the_scheme_in_any_case(phone: Phone) -> None:
    phone.log_in()
    answer = phone.send(
        "GET", "/check_session", headers={"Authorization": f"bEaReR  {phone.token}"}
    )
    assert answer.status_code == 200


@ON_SQLITE
def test_a_token_in_the_url_is_none(phone: Phone) -> None:
    phone.log_in()
    answer = phone.send("GET", f"/check_session?session_token={phone.token}")
    assert problem(answer) == (401, "missing_token", None)


def test_a_check_survives_a_transaction_that_was_rolled_back(phone: Phone) -> None:
    # psycopg then deallocates what is prepared on the connection, ours along with its own.
    phone.log_in()
    database = services_of(phone.app).database
    assert phone.check().status_code == 200
    database.connections.release()  # so that the transaction gets the connection of the check
    with suppress(LookupError), database.transaction() as connection:
        for _ in range(10):  # beyond the five after which psycopg prepares a statement
            connection.execute(select(sessions.c.id))
        raise LookupError
    for _ in range(2):
        assert phone.check().status_code == 200
