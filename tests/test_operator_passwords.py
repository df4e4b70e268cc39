"""An operator creates accounts, replaces forgotten passwords, and lifts locks."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.support.app import TODAY
from tests.support.databases import ON_BOTH, ON_SQLITE
from tests.support.phone import Phone, problem
from tests.support.settings import APPID
from tests.test_accounts import (
    NEW_PASSWORD,
    PASSWORD,
    bind,
    by_password,
    change_password,
    keep,
    register,
    unbind,
)
from tests.test_administration import NOBODY, Operator, user_of
from wxsession.accounts.throttle import FAILURES_PER_ACCOUNT, FAILURES_PER_DAY
from wxsession.services import Services
from wxsession.simulator import SettableClock
from wxsession.storage.tables import audit_events

pytestmark = ON_BOTH


@pytest.fixture
def operator(app: object) -> Operator:
    return Operator(app)  # type: ignore[arg-type]


@pytest.fixture
def account(make_phone: Callable[..., Phone]) -> Phone:
    """Return a computer at which somebody has registered as alice."""
    desk = make_phone("alice at her desk")
    assert register(desk).status_code == 201
    return desk


def told(services: Services, event: str) -> list[tuple[str | None, str | None]]:
    """Return reason and actor of the events of this name."""
    c = audit_events.c
    with services.database.statement() as connection:
        query = select(c.reason, c.actor).where(c.event == event).order_by(c.id)
        return [tuple(row) for row in connection.execute(query)]


def test_a_created_user_logs_in_with_the_password_that_is_shown_once(
    operator: Operator, phone: Phone, services: Services
) -> None:
    made = operator.ask("users", "create", "--username", "\uff23arol", "--as", "ops")
    assert made["username"] == "carol"
    assert made["valid_until"] == (TODAY + timedelta(days=1)).isoformat()
    answer = keep(phone, by_password(phone, "carol", made["password"]))
    assert answer.json["user"]["id"] == made["user_id"]
    assert told(services, "user.created") == [(None, "ops")]


def test_a_name_that_is_taken_or_none_creates_nobody(operator: Operator, account: Phone) -> None:
    taken = operator.run("users", "create", "--username", "Alice")
    assert (taken.exit_code, taken.output) == (1, "Error: another user has this username\n")
    short = operator.run("users", "create", "--username", "al")
    assert (short.exit_code, short.output) == (1, "Error: username needs 3 to 64 characters\n")
    assert operator.run("users", "create").exit_code == 2
    assert operator.found() == [user_of(account)]


def test_a_set_password_replaces_the_forgotten_one_and_ends_every_session(
    operator: Operator, account: Phone, services: Services
) -> None:
    keep(account, by_password(account))
    user_id = user_of(account)
    shown = operator.read("users", "set-password", user_id, "--as", "ops")
    first, second = shown.splitlines()
    assert first == "2 sessions ended."
    password = second.removeprefix("The password of alice until 2026-11-22 08:30:00Z: ")
    assert problem(account.check()) == (401, "session_ended", "password_changed")
    assert problem(by_password(account))[:2] == (401, "bad_credentials")
    assert by_password(account, password=password).status_code == 200
    assert told(services, "password.changed") == [("reset", "ops")]
    assert {actor for reason, actor in told(services, "session.ended")} == {"ops"}


def test_a_set_password_is_over_after_a_day_unless_the_user_sets_another(
    operator: Operator, account: Phone, clock: SettableClock
) -> None:
    user_id = user_of(account)
    password = operator.ask("users", "set-password", user_id)["password"]
    clock.advance(days=1)
    assert problem(by_password(account, password=password))[:2] == (401, "bad_credentials")
    password = operator.ask("users", "set-password", user_id, "--valid-for", "1h")["password"]
    clock.advance(minutes=59)
    keep(account, by_password(account, password=password))
    assert change_password(account, password).status_code == 200
    clock.advance(days=2)
    assert by_password(account, password=NEW_PASSWORD).status_code == 200


def test_a_user_whose_set_password_is_over_keeps_the_last_wechat_user(
    operator: Operator, account: Phone, phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    assert bind(phone).status_code == 200
    user_id = user_of(phone)
    operator.read("users", "set-password", user_id)
    clock.advance(days=2)
    phone.log_in()
    # The name is still there, and opens nothing.
    assert problem(unbind(phone)) == (409, "last_credential", None)
    assert operator.run("identities", "unbind", user_id, APPID).exit_code == 1
    assert phone.log_in().json["user"]["id"] == user_id
    assert change_password(phone, None).status_code == 200
    assert unbind(phone).status_code == 200
    assert by_password(account, password=NEW_PASSWORD).json["user"]["id"] == user_id


def test_two_passwords_are_never_the_same(operator: Operator, account: Phone) -> None:
    user_id = user_of(account)
    drawn = {operator.ask("users", "set-password", user_id)["password"] for _ in range(5)}
    assert len(drawn) == 5
    assert all(len(password) == 19 for password in drawn)


def test_who_has_no_username_gets_no_password(operator: Operator, phone: Phone) -> None:
    phone.log_in()
    refused = operator.run("users", "set-password", user_of(phone))
    told_so = "Error: user has no username, so a password opens nothing\n"
    assert (refused.exit_code, refused.output) == (1, told_so)
    assert phone.check().status_code == 200


def test_a_set_password_opens_what_guesses_have_closed(operator: Operator, account: Phone) -> None:
    user_id = user_of(account)
    for _ in range(FAILURES_PER_ACCOUNT):
        by_password(account, password="guess guess")
    password = operator.ask("users", "set-password", user_id)["password"]
    assert by_password(account, password=password).status_code == 200


@pytest.mark.parametrize("by_name", [True, False])
def test_an_operator_lifts_a_lock(
    operator: Operator,
    account: Phone,
    make_phone: Callable[..., Phone],
    services: Services,
    by_name: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    user_id = user_of(account)
    guesser = make_phone(address="198.51.100.1")
    for _ in range(FAILURES_PER_ACCOUNT):
        by_password(guesser, password="guess guess")
        change_password(account, "guess guess")
    assert problem(by_password(account))[:2] == (429, "too_many_attempts")
    whom = "ALICE" if by_name else user_id
    assert operator.ask("users", "unlock", whom) == {"user_id": user_id, "unlocked": True}
    assert by_password(account).status_code == 200
    assert change_password(account).status_code == 200
    assert told(services, "login.unlocked") == [(None, "root")]


@ON_SQLITE
def test_an_operator_lifts_the_lock_of_a_day(
    operator: Operator,
    account: Phone,
    make_phone: Callable[..., Phone],
    clock: SettableClock,
) -> None:
    for number in range(FAILURES_PER_DAY // FAILURES_PER_ACCOUNT):
        guesser = make_phone(address=f"198.51.100.{number}")
        for _ in range(FAILURES_PER_ACCOUNT):
            by_password(guesser, password="guess guess")
        clock.advance(minutes=15)
    assert problem(by_password(account))[:2] == (429, "too_many_attempts")
    operator.read("users", "unlock", "alice")
    assert by_password(account, password=PASSWORD).status_code == 200


def test_nobody_has_no_lock(operator: Operator) -> None:
    for whom, said in (
        ("nobody", "Error: username is that of nobody\n"),
        (NOBODY, "Error: no user has this id\n"),
    ):
        refused = operator.run("users", "unlock", whom)
        assert (refused.exit_code, refused.output) == (1, said)
