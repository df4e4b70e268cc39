"""A session token is exchanged for the next one, and a lost answer does no harm."""

from base64 import b64encode
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select

from tests.support.app import services_of
from tests.support.databases import ON_BOTH, ON_POSTGRESQL
from tests.support.phone import Answer, Phone, problem
from tests.support.statements import overhearing
from wxsession.common.crypto import SecretKeys
from wxsession.services import Services
from wxsession.sessions.tokens import SessionToken, TokenSigner
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.tables import audit_events, sessions, users
from wxsession.users.client import ClientInfo

pytestmark = ON_BOTH


def test_a_refresh_hands_back_the_next_token_of_the_same_session(phone: Phone) -> None:
    first = phone.log_in().json
    second = phone.refresh().json
    assert second["session_token"] != first["session_token"]
    assert second["session_id"] == first["session_id"]
    assert second.keys() == first.keys()
    assert second["user"] == {**first["user"], "new": False}
    assert phone.check().json["superseded"] is False


def test_a_lost_answer_is_asked_for_again_and_is_the_same(phone: Phone) -> None:
    phone.log_in()
    lost = phone.lose_refresh().json
    again = phone.refresh().json
    assert again["session_token"] == lost["session_token"]


def test_the_old_token_works_until_the_new_one_was_used(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    old = phone.token
    new = phone.lose_refresh().json["session_token"]
    clock.advance(days=2)
    assert phone.check(old).json["superseded"] is True
    assert phone.lose_refresh().json["session_token"] == new
    assert phone.check(new).json["superseded"] is False
    assert problem(phone.check(old)) == (401, "session_superseded", None)
    assert phone.check(new).status_code == 200


def test_within_the_grace_the_old_token_works_although_the_new_one_was_used(
    phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    old = phone.token
    new = phone.refresh().json["session_token"]
    phone.check(new)
    clock.advance(seconds=30, microseconds=-1)
    assert phone.check(old).json["superseded"] is True
    assert phone.refresh(old).json["session_token"] == new
    clock.advance(microseconds=1)
    assert problem(phone.check(old)) == (401, "session_superseded", None)


def test_a_copy_that_is_refreshed_later_ends_the_session(
    phone: Phone, clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    phone.log_in()
    old = phone.token
    new = phone.refresh().json["session_token"]
    phone.check(new)
    clock.advance(seconds=30)
    assert problem(phone.refresh(old)) == (401, "session_ended", "token_reused")
    assert problem(phone.check(new)) == (401, "session_ended", "token_reused")
    assert problem(phone.refresh(new)) == (401, "session_ended", "token_reused")
    assert "an old token was presented again" in caplog.text
    assert str(old) not in caplog.text


def test_a_copy_that_is_checked_long_after_ends_the_session(
    phone: Phone, make_phone: Callable[..., Phone], services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    thief = make_phone(token=phone.token, address="198.51.100.9")
    owners = phone.token
    thief.refresh()
    thief.check()
    clock.advance(minutes=10, microseconds=-1)  # a request may have been long on its way
    assert problem(phone.check(owners)) == (401, "session_superseded", None)
    assert thief.check().status_code == 200
    clock.advance(microseconds=1)
    assert problem(phone.check(owners)) == (401, "session_ended", "token_reused")
    assert problem(thief.check()) == (401, "session_ended", "token_reused")
    with services.database.statement() as connection:
        noted = connection.execute(
            select(audit_events.c.client_address).where(audit_events.c.reason == "token_reused")
        ).all()
    assert noted == [(phone.address,)]


def test_introspecting_a_copy_long_after_ends_the_session_too(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    old = phone.token
    phone.refresh()
    phone.check()
    clock.advance(minutes=10)
    assert services.introspection.introspect(str(old)) is None
    assert problem(phone.check()) == (401, "session_ended", "token_reused")


@ON_POSTGRESQL
def test_a_check_that_a_refresh_overtakes_ends_nothing(
    phone: Phone, make_app: Callable[..., Flask], clock: SettableClock
) -> None:
    phone.log_in()
    old = phone.token
    phone.refresh()
    phone.check()
    clock.advance(minutes=10)
    elsewhere = services_of(make_app())

    def overtake(statement: str) -> None:
        if statement.startswith("UPDATE"):
            elsewhere.sessions.refresh(str(phone.token), ClientInfo(None, None))

    with overhearing(services_of(phone.app).database, before=overtake):
        assert problem(phone.check(old)) == (401, "session_superseded", None)


def test_a_duplicate_that_two_refreshes_overtook_is_no_thief(
    phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    oldest = phone.token
    phone.refresh()
    phone.refresh()
    assert phone.check().status_code == 200
    clock.advance(seconds=29)
    assert problem(phone.refresh(oldest)) == (401, "session_superseded", None)
    clock.advance(seconds=1)
    assert problem(phone.refresh(oldest)) == (401, "session_ended", "token_reused")


@pytest.mark.parametrize("ask", [Phone.check, Phone.refresh])
def test_a_duplicate_that_the_first_use_of_the_next_token_overtook_is_no_thief(
    phone: Phone, clock: SettableClock, ask: Callable[[Phone, str | None], Answer]
) -> None:
    phone.log_in()
    old = phone.token
    phone.lose_refresh()
    clock.advance(days=2)
    phone.refresh()
    newest = phone.token
    phone.check()
    assert problem(ask(phone, old)) == (401, "session_superseded", None)
    assert phone.check(newest).status_code == 200


def test_the_grace_revives_no_ended_session(phone: Phone) -> None:
    phone.log_in()
    old = phone.token
    phone.refresh()
    phone.log_out()
    assert problem(phone.refresh(old)) == (401, "session_ended", "logout")
    assert problem(phone.check(old)) == (401, "session_ended", "logout")


def test_no_refresh_moves_the_absolute_expiry(phone: Phone, clock: SettableClock) -> None:
    end = phone.log_in().json["absolute_expires_at"]
    for _ in range(5):
        clock.advance(days=5, hours=20)
        assert phone.refresh().json["absolute_expires_at"] == end
    assert phone.check().json["expires_in"] < 86400
    clock.advance(days=1)
    assert problem(phone.refresh()) == (401, "session_expired", "absolute")


def test_a_refresh_slides_the_idle_expiry(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    clock.advance(days=6)
    assert phone.refresh().json["expires_in"] == 7 * 86400
    clock.advance(days=6)
    assert phone.check().status_code == 200


def test_a_shorter_idle_timeout_shortens_no_session_that_is_refreshed(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    phone = Phone(make_app(idle_timeout="7d"), wechat, "alice")
    phone.log_in()
    phone.app = make_app(idle_timeout="2h")
    assert phone.refresh().json["expires_in"] == 7 * 86400


@pytest.mark.parametrize(
    ("faster", "reason"), [("logout", "logout"), ("disabling", "user_disabled")]
)
def test_what_overtakes_a_refresh_wins(
    phone: Phone, make_app: Callable[..., Flask], clock: SettableClock, faster: str, reason: str
) -> None:
    phone.log_in()
    elsewhere = services_of(make_app())

    def overtake(statement: str) -> None:
        if not statement.startswith("UPDATE"):
            return
        if faster == "logout":
            elsewhere.sessions.end(str(phone.token), ClientInfo(None, None))
        else:
            with elsewhere.database.statement() as connection:
                connection.execute(users.update().values(disabled_at=clock()))

    with overhearing(services_of(phone.app).database, before=overtake):
        assert problem(phone.lose_refresh()) == (401, "session_ended", reason)
    assert problem(phone.check()) == (401, "session_ended", reason)


def test_an_expired_session_is_not_refreshed(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    clock.advance(days=7)
    assert problem(phone.refresh()) == (401, "session_expired", "idle")


def test_a_disabled_users_session_is_not_refreshed(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    with services.database.statement() as connection:
        connection.execute(users.update().values(disabled_at=clock()))
    assert problem(phone.refresh()) == (401, "session_ended", "user_disabled")


def test_keys_rotate_without_logging_anybody_out(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    old_key, new_key = (
        "the-old-key-of-thirty-two-characters",
        "the-new-key-of-thirty-two-characters",
    )
    phone = Phone(make_app(secret_keys=old_key), wechat, "alice")
    phone.log_in()
    before = phone.token
    lost = phone.lose_refresh().json["session_token"]

    phone.app = make_app(secret_keys=f"{old_key},{new_key}")
    assert phone.check(before).json["superseded"] is True
    again = phone.refresh(before).json["session_token"]
    assert phone.check(again).status_code == 200
    assert phone.check(lost).status_code == 200  # the same token, under the old signature
    phone.refresh(again)

    phone.app = make_app(secret_keys=new_key)
    assert phone.check().status_code == 200
    assert problem(phone.check(lost)) == (401, "invalid_token", None)


@pytest.mark.parametrize("spelled", [bytes.hex, lambda stored: b64encode(stored).decode()])
def test_what_the_database_holds_cannot_be_presented(
    phone: Phone, services: Services, spelled: Callable[[bytes], str]
) -> None:
    phone.log_in()
    with services.database.statement() as connection:
        row = connection.execute(select(sessions)).one()
    for prefix in ("", "wxs_"):
        text = prefix + spelled(bytes(row.token_hash))
        assert problem(phone.check(text)) == (401, "invalid_token", None)


def test_what_the_database_holds_is_refused_even_with_the_signing_key(
    phone: Phone, app: Flask
) -> None:
    services = services_of(app)
    phone.log_in()
    signer = TokenSigner(SecretKeys(services.settings.secret_keys))
    with services.database.statement() as connection:
        row = connection.execute(select(sessions)).one()
    forged = signer.dump(SessionToken(row.id.bytes, bytes(row.token_hash)))
    assert problem(phone.check(forged)) == (401, "invalid_token", None)
    assert problem(phone.refresh(forged)) == (401, "invalid_token", None)
    assert phone.log_out(forged).status_code == 204
    assert phone.check().status_code == 200


def test_a_token_of_an_unknown_session_is_answered_like_one_with_a_wrong_secret(
    phone: Phone, services: Services
) -> None:
    phone.log_in()
    with services.database.statement() as connection:
        connection.execute(sessions.delete())
    assert problem(phone.check()) == (401, "invalid_token", None)
    assert problem(phone.refresh()) == (401, "invalid_token", None)
    assert phone.log_out().status_code == 204
