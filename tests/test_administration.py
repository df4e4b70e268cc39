"""An operator finds users and sessions, keeps users out, and sees nothing that opens anything."""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import click
import pytest
from click.testing import CliRunner, Result
from flask import Flask
from sqlalchemy import func, insert, select, update

from tests.support.app import TODAY, services_of
from tests.support.databases import ON_BOTH, ON_SQLITE
from tests.support.phone import Phone, problem
from tests.support.settings import APPID, OTHER_APPID, SECRET_KEY, settings_for
from wxsession import create_app
from wxsession.cli import EXIT_NOT_ALL
from wxsession.cli.base import Command
from wxsession.errors import DatabaseUnavailable, NotReady, Overloaded, WxSessionError
from wxsession.services import Services
from wxsession.simulator import Fault, SettableClock, WeChat
from wxsession.storage.database import metadata, new_id
from wxsession.storage.tables import audit_events, sessions, users
from wxsession.users.phone_numbers import PhoneNumber

pytestmark = ON_BOTH

NOBODY = "00000000-0000-7000-8000-000000000000"
NUMBER = "13800138000"

UNKNOWN = [
    ("users", "reset-session-keys", NOBODY),
    ("users", "show", NOBODY),
    ("users", "disable", NOBODY),
    ("users", "enable", NOBODY),
    ("users", "end-sessions", NOBODY),
    ("users", "delete", NOBODY, "--yes"),
    ("users", "export", NOBODY),
    ("users", "set-password", NOBODY),
    ("users", "unlock", NOBODY),
    ("identities", "unbind", NOBODY, APPID),
    ("identities", "move", NOBODY, APPID, "00000000-0000-7000-8000-000000000001"),
    ("sessions", "list", "--user", NOBODY),
    ("sessions", "show", NOBODY),
    ("sessions", "end", NOBODY),
]


EVERY_COMMAND = [
    *UNKNOWN,
    ("users", "list"),
    ("users", "create", "--username", "carol"),
    ("sessions", "list"),
    ("sessions", "end-all", "--everybody", "--yes"),
    ("audit", "list"),
    ("keys", "reseal"),
    ("keys", "status"),
    ("purge-sessions",),
    ("purge-sessions", "--dry-run"),
]


@dataclass
class Operator:
    """Somebody at the server's terminal, who logged in there as `name`."""

    app: Flask
    name: str = "root"

    def run(self, *args: object) -> Result:
        """Run a command as it was typed."""
        env = {"LOGNAME": self.name, "SUDO_USER": ""}
        return self.app.test_cli_runner().invoke(args=[str(arg) for arg in args], env=env)

    def read(self, *args: object) -> str:
        """Return what a command prints for people."""
        result = self.run(*args)
        assert result.exit_code == 0, result.output
        return result.output

    def ask(self, *args: object) -> Any:
        """Return what a command prints for programs."""
        return json.loads(self.read(*args, "--json"))

    def found(self, *args: object) -> list[str]:
        """Return the ids of the users that a filter finds."""
        return [user["user_id"] for user in self.ask("users", "list", *args)["users"]]


@pytest.fixture
def operator(app: Flask) -> Operator:
    return Operator(app)


def user_of(phone: Phone) -> str:
    """Return the id of a phone's user."""
    user_id: str = phone.check().json["user"]["id"]
    return user_id


def session_of(phone: Phone) -> Any:
    """Return the id of a phone's session."""
    return next(one["id"] for one in phone.sessions() if one["current"])


def change(services: Services, user_id: str, **values: object) -> None:
    """Change a user's row."""
    with services.database.statement() as connection:
        connection.execute(update(users).where(users.c.id == UUID(user_id)).values(values))


def give_number(services: Services, user_id: str, country_code: str = "86") -> None:
    """Let a user have our phone number."""
    number = PhoneNumber(NUMBER, country_code)
    change(services, user_id, **services.phones.columns(number, UUID(user_id)))


def add_sessions(services: Services, count: int) -> None:
    """Add sessions to the only one there is, of the same user."""
    with services.database.transaction() as connection:
        like = dict(connection.execute(select(sessions)).mappings().one())
        connection.execute(insert(sessions), [{**like, "id": new_id()} for _ in range(count)])


def live(services: Services) -> int:
    """Return how many sessions were not ended."""
    query = select(func.count()).where(sessions.c.ended_at.is_(None))
    with services.database.statement() as connection:
        return connection.execute(query).scalar_one()


def noted(services: Services, name: str) -> int:
    """Return how many events of this name there are."""
    query = select(func.count()).where(audit_events.c.event == name)
    with services.database.statement() as connection:
        return connection.execute(query).scalar_one()


def test_users_are_listed_a_page_at_a_time(
    operator: Operator, make_phone: Callable[..., Phone]
) -> None:
    phones = [make_phone(f"user {number}") for number in range(5)]
    ids = []
    for phone in phones:
        phone.log_in()
        ids.append(user_of(phone))
    first = operator.ask("users", "list", "--limit", 2)
    assert first["next"] is not None
    rest = operator.ask("users", "list", "--after", first["next"])
    assert rest["next"] is None
    assert [user["user_id"] for user in first["users"] + rest["users"]] == sorted(ids)
    shown = operator.read("users", "list", "--limit", 2)
    assert shown.endswith(f"There are more: --after {first['next']}\n")


def test_users_are_found_by_what_is_known_of_them(
    operator: Operator, services: Services, make_phone: Callable[..., Phone]
) -> None:
    alice, bob = make_phone("alice"), make_phone("bob")
    alice.log_in()
    bob.log_in()
    alice_id, bob_id = user_of(alice), user_of(bob)
    change(services, alice_id, username="alice")
    give_number(services, alice_id)
    give_number(services, bob_id, "852")
    identity = operator.ask("users", "show", alice_id)["identities"][0]

    assert operator.found("--username", "\uff21LICE") == [alice_id]  # a fullwidth A
    assert operator.found("--username", "ali") == []
    assert operator.found("--phone", NUMBER) == [alice_id]
    assert operator.found("--phone", NUMBER, "--country-code", "852") == [bob_id]
    assert operator.found("--openid", identity["openid"]) == [alice_id]
    assert operator.found("--openid", "nobody") == []
    assert operator.found("--disabled") == []
    operator.read("users", "disable", bob_id)
    assert operator.found("--disabled") == [bob_id]
    assert operator.found("--disabled", "--username", "alice") == []


def test_a_user_of_two_apps_is_found_by_unionid(
    operator: Operator, wechat: WeChat, make_phone: Callable[..., Phone]
) -> None:
    phones = [make_phone(appid=APPID), make_phone(appid=OTHER_APPID), make_phone("bob")]
    for phone in phones:
        wechat.bind_open_platform(phone.appid)
        phone.log_in()
    user_id = user_of(phones[0])
    details = operator.ask("users", "show", user_id)
    assert {one["appid"] for one in details["identities"]} == {APPID, OTHER_APPID}
    assert details["live_sessions"] == 2
    assert operator.found("--unionid", wechat.unionid("alice")) == [user_id]
    assert operator.found("--unionid", "nobody") == []


def test_a_user_is_shown(operator: Operator, services: Services, phone: Phone) -> None:
    phone.log_in()
    user_id = user_of(phone)
    give_number(services, user_id)
    change(services, user_id, nickname="Alice", username="alice")
    operator.read("users", "disable", user_id)
    details = operator.ask("users", "show", user_id)
    assert details.keys() == {"user", "identities", "live_sessions", "events"}
    assert details["user"] == {
        "user_id": user_id,
        "username": "alice",
        "nickname": "Alice",
        "phone_number": "138******00",
        "disabled_at": TODAY.isoformat(),
        "created_at": TODAY.isoformat(),
    }
    assert [one["appid"] for one in details["identities"]] == [APPID]
    assert details["live_sessions"] == 0
    assert "user.disabled" in [one["event"] for one in details["events"]]
    shown = operator.read("users", "show", user_id)
    assert "phone number   138******00\n" in shown
    assert "disabled       2026-11-21 08:30:00Z\n" in shown
    assert details["identities"][0]["openid"] in shown


def test_a_disabled_user_is_out_at_once_and_cannot_come_back(
    operator: Operator, services: Services, phone: Phone
) -> None:
    phone.log_in()
    user_id = user_of(phone)
    shown = operator.read("users", "disable", user_id)
    assert shown == "The user is disabled; 1 sessions ended.\n"
    assert problem(phone.check()) == (401, "session_ended", "user_disabled")
    assert problem(phone.log_in()) == (403, "user_blocked", None)
    assert noted(services, "user.disabled") == 1


def test_disabling_again_changes_nothing(
    operator: Operator, services: Services, phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    user_id = user_of(phone)
    told = {"user_id": user_id, "disabled": True, "sessions_ended": 1}
    assert operator.ask("users", "disable", user_id) == told
    clock.advance(days=1)
    assert operator.ask("users", "disable", user_id) == {**told, "sessions_ended": 0}
    details = services.directory.user(UUID(user_id))
    assert details.user.disabled_at == TODAY
    assert noted(services, "user.disabled") == 1


def test_an_enabled_user_may_log_in_again_but_the_old_session_stays_over(
    operator: Operator, services: Services, phone: Phone
) -> None:
    phone.log_in()
    user_id, old = user_of(phone), phone.token
    operator.read("users", "disable", user_id)
    assert operator.read("users", "enable", user_id) == "The user may log in.\n"
    assert operator.ask("users", "enable", user_id) == {"user_id": user_id, "disabled": False}
    assert problem(phone.check(old)) == (401, "session_ended", "user_disabled")
    assert phone.log_in().status_code == 200
    assert user_of(phone) == user_id
    assert noted(services, "user.enabled") == 1


def test_ending_all_sessions_lets_the_user_log_in_again(
    operator: Operator, services: Services, phone: Phone
) -> None:
    phone.log_in()
    user_id = user_of(phone)
    assert operator.read("users", "end-sessions", user_id) == "1 sessions ended.\n"
    assert problem(phone.check()) == (401, "session_ended", "revoked")
    assert operator.ask("users", "end-sessions", user_id) == {
        "user_id": user_id,
        "sessions_ended": 0,
    }
    assert phone.log_in().status_code == 200
    assert noted(services, "session.ended") == 1


def test_ending_thousands_of_sessions_is_done_in_bounded_statements_and_may_be_stopped(
    services: Services, phone: Phone
) -> None:
    phone.log_in()
    user_id = UUID(user_of(phone))
    add_sessions(services, 2999)

    def stop(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        services.administration.end_sessions(user_id, progress=stop)
    assert live(services) == 2000
    seen: list[int] = []
    assert services.administration.end_sessions(user_id, progress=seen.append) == 2000
    assert seen == [1000, 2000]
    details = services.directory.user(user_id)
    assert [one.count for one in details.events if one.event == "session.ended"] == [1000] * 3
    assert live(services) == 0


def test_a_session_that_moves_to_another_user_meanwhile_stays(
    services: Services, make_phone: Callable[..., Phone]
) -> None:
    phone, other = make_phone("alice"), make_phone("bob")
    phone.log_in()
    user_id = UUID(user_of(phone))
    add_sessions(services, 1499)
    other.log_in()
    other_id = UUID(user_of(other))

    def move(_done: int) -> None:
        its = update(sessions).where(sessions.c.user_id == user_id, sessions.c.ended_at.is_(None))
        with services.database.transaction() as transaction:
            transaction.execute(its.values(user_id=other_id))

    assert services.administration.end_sessions(user_id, progress=move) == 1000
    assert live(services) == 501


def test_disabling_goes_on_with_sessions_that_an_earlier_run_left(
    operator: Operator, services: Services, phone: Phone
) -> None:
    phone.log_in()
    user_id = user_of(phone)
    add_sessions(services, 10)
    change(services, user_id, disabled_at=TODAY)  # stopped right after its first transaction
    assert problem(phone.check()) == (401, "session_ended", "user_disabled")
    assert operator.ask("sessions", "list")["sessions"] == []
    assert operator.ask("users", "disable", user_id)["sessions_ended"] == 11
    assert live(services) == 0


def test_disabling_shows_how_far_it_is(services: Services, phone: Phone) -> None:
    phone.log_in()
    user_id = UUID(user_of(phone))
    add_sessions(services, 1499)
    seen: list[int] = []
    assert services.administration.disable(user_id, progress=seen.append) == 1500
    assert seen == [1000, 1500]


def test_live_sessions_are_listed_newest_first(
    operator: Operator, make_phone: Callable[..., Phone]
) -> None:
    phones = [make_phone("alice"), make_phone("alice"), make_phone("bob")]
    ids = []
    for phone in phones:
        phone.log_in()
        ids.append(session_of(phone))
    newest = sorted(ids, reverse=True)
    phones[0].log_out()
    gone = ids[0]

    def listed(*args: object) -> list[str]:
        return [one["session_id"] for one in operator.ask("sessions", "list", *args)["sessions"]]

    assert listed() == [id_ for id_ in newest if id_ != gone]
    assert listed("--all") == newest
    assert listed("--user", user_of(phones[1])) == [ids[1]]
    assert set(listed("--user", user_of(phones[1]), "--all")) == {gone, ids[1]}
    first = operator.ask("sessions", "list", "--all", "--limit", 2)
    assert listed("--all", "--after", first["next"]) == newest[2:]
    assert "ended: logout" in operator.read("sessions", "list", "--all")


def test_a_user_without_sessions_is_not_an_unknown_one(operator: Operator, phone: Phone) -> None:
    phone.log_in()
    user_id = user_of(phone)
    phone.log_out()
    assert operator.ask("sessions", "list", "--user", user_id) == {"sessions": [], "next": None}


def test_a_session_is_shown_whatever_became_of_it(
    operator: Operator, phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    session_id, user_id = session_of(phone), user_of(phone)
    shown = operator.ask("sessions", "show", session_id)
    assert (shown["user_id"], shown["appid"], shown["state"]) == (user_id, APPID, "live")
    assert (shown["client_address"], shown["user_agent"]) == (phone.address, phone.user_agent)
    assert "state                live\n" in operator.read("sessions", "show", session_id)
    clock.advance(days=7)
    shown = operator.ask("sessions", "show", session_id)
    assert (shown["state"], shown["reason"]) == ("expired", "idle")


def test_a_session_is_ended_once(operator: Operator, services: Services, phone: Phone) -> None:
    phone.log_in()
    session_id = session_of(phone)
    assert operator.read("sessions", "end", session_id) == "The session is ended.\n"
    assert problem(phone.check()) == (401, "session_ended", "revoked")
    assert operator.read("sessions", "end", session_id) == "The session was not live.\n"
    told = {"session_id": session_id, "ended": False}
    assert operator.ask("sessions", "end", session_id) == told
    shown = operator.ask("sessions", "show", session_id)
    assert (shown["state"], shown["reason"]) == ("ended", "revoked")
    assert noted(services, "session.ended") == 1


@ON_SQLITE
@pytest.mark.parametrize("command", UNKNOWN)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_an_unknown_id_is_told(
    operator: Operator, command: tuple[str, ...], form: tuple[str, ...]
) -> None:
    result = operator.run(*command, *form)
    what = "session" if command[:2] in {("sessions", "show"), ("sessions", "end")} else "user"
    assert (result.exit_code, result.output) == (1, f"Error: no {what} has this id\n")


@ON_SQLITE
@pytest.mark.parametrize(
    "wrong",
    [
        ("--phone", "abc"),
        ("--phone", ""),
        ("--phone", "+8613800138000"),
        ("--phone", "138 0013 8000"),
        ("--phone", "1" * 21),
        ("--phone", "１３８００１３８０００"),  # noqa: RUF001 - fullwidth digits
        ("--phone", NUMBER, "--country-code", "+86"),
        ("--phone", NUMBER, "--country-code", ""),
        ("--username", ""),
        ("--openid", "\udcff"),
    ],
)
def test_a_filter_that_can_find_nobody_is_a_usage_error(
    operator: Operator, wrong: tuple[str, ...]
) -> None:
    result = operator.run("users", "list", *wrong)
    assert result.exit_code == 2
    assert f"Invalid value for '{wrong[-2]}': must be " in result.output


# By whom.


def by_whom(services: Services) -> list[tuple[str, str | None]]:
    """Return the events of commands, each with its actor."""
    query = select(audit_events.c.event, audit_events.c.actor)
    query = query.where(audit_events.c.actor.is_not(None)).order_by(audit_events.c.at)
    with services.database.statement() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(audit_events.c.id))]


@ON_SQLITE
@pytest.mark.parametrize("command", ["disable", "enable", "end-sessions", "reset-session-keys"])
@pytest.mark.parametrize("given", [(), ("--as", "张三")])
def test_the_audit_knows_by_whom_a_user_was_changed(
    operator: Operator, services: Services, phone: Phone, command: str, given: tuple[str, ...]
) -> None:
    named = given[-1] if given else operator.name
    phone.log_in()
    user_id = user_of(phone)
    if command == "enable":
        change(services, user_id, disabled_at=TODAY)
    operator.read("users", command, user_id, *given)
    events = {
        "disable": ["user.disabled", "session.ended"],
        "enable": ["user.enabled"],
        "end-sessions": ["session.ended"],
        "reset-session-keys": ["session_key.reset"],
    }
    assert by_whom(services) == [(name, named) for name in events[command]]
    shown = operator.ask("users", "show", user_id)["events"]
    assert {event["actor"] for event in shown} == {None, named}
    assert f"  {named}  " in operator.read("users", "show", user_id)


def test_the_audit_knows_by_whom_a_session_was_ended(
    operator: Operator, services: Services, phone: Phone
) -> None:
    session_id = phone.log_in().json["session_id"]
    operator.read("sessions", "end", session_id, "--as", "carol")
    assert by_whom(services) == [("session.ended", "carol")]
    query = select(audit_events).where(audit_events.c.event == "session.ended")
    with services.database.statement() as connection:
        ended = connection.execute(query).one()
    assert (ended.session_id, ended.reason) == (UUID(session_id), "revoked")
    assert (ended.client_address, ended.user_agent) == (None, None)


def test_behind_sudo_the_audit_knows_who_it_was(
    app: Flask, services: Services, phone: Phone
) -> None:
    phone.log_in()
    args = ["users", "end-sessions", user_of(phone)]
    app.test_cli_runner().invoke(args=args, env={"SUDO_USER": "carol", "LOGNAME": "wxsession"})
    assert by_whom(services) == [("session.ended", "carol")]


@ON_SQLITE
@pytest.mark.parametrize("name", ["", "a\nb", "x" * 65, "\udcff"])
def test_a_name_that_no_row_can_hold_is_a_usage_error(
    operator: Operator, services: Services, phone: Phone, name: str
) -> None:
    phone.log_in()
    result = operator.run("users", "disable", user_of(phone), "--as", name)
    assert result.exit_code == 2
    assert "must have 1 to 64 characters" in result.output
    assert phone.check().status_code == 200
    assert by_whom(services) == []


# What could not be done.


def test_session_keys_that_could_not_be_reset_are_told(
    operator: Operator, make_app: Callable[..., Flask], phone: Phone
) -> None:
    phone.log_in()
    user_id = user_of(phone)
    elsewhere = Operator(make_app(secret_keys="another-key-that-is-made-up-for-this"))
    result = elsewhere.run("users", "reset-session-keys", user_id)
    assert result.exit_code == EXIT_NOT_ALL
    assert result.output == (
        "0 session_keys reset.\n1 could not be reset: add the key that opens them to"
        " WXSESSION_SECRET_KEYS, and run this again.\n"
    )
    stranger = Operator(make_app(apps="wx00000000000000ff:secret"))
    result = stranger.run("users", "reset-session-keys", user_id, "--json")
    assert result.exit_code == EXIT_NOT_ALL
    assert json.loads(result.stdout) == {
        "user_id": user_id,
        "session_keys_reset": 0,
        "dead": 0,
        "unopened": 0,
        "of_other_apps": 1,
    }
    assert operator.read("users", "reset-session-keys", user_id) == "1 session_keys reset.\n"


def test_a_key_that_is_missing_does_not_make_an_older_one_the_newest(
    operator: Operator, make_app: Callable[..., Flask], phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    user_id = user_of(phone)
    clock.advance(minutes=10)
    both = make_app(secret_keys=f"{SECRET_KEY},another-key-that-is-made-up-for-this")
    Phone(both, phone.wechat, "alice").log_in()  # its session_key lies under the other key
    assert operator.run("users", "reset-session-keys", user_id).exit_code == EXIT_NOT_ALL
    shown = Operator(both).read("users", "reset-session-keys", user_id)
    assert shown == "1 session_keys reset.\n"


def test_a_session_key_that_wechat_has_replaced_is_dead_already(
    operator: Operator, phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    user_id = user_of(phone)
    clock.advance(minutes=10)
    phone.code()  # WeChat replaces the key, and the code never comes here
    shown = operator.read("users", "reset-session-keys", user_id)
    assert shown == "0 session_keys reset. 1 had been replaced before.\n"


def test_a_wechat_that_does_not_answer_is_told_in_a_line(
    operator: Operator, wechat: WeChat, phone: Phone
) -> None:
    phone.log_in()
    user_id = user_of(phone)
    for fault, words in (
        (Fault.CONNECTION_REFUSED, "Error: WeChat could not be asked; the log says why."),
        (40125, "Error: WeChat refuses the app; the log says what to correct"),
    ):
        wechat.fail_next(fault)
        result = operator.run("users", "reset-session-keys", user_id)
        assert result.exit_code == 1
        assert result.output.startswith(words)


@ON_SQLITE
@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_a_database_without_a_schema_is_told_in_a_line(
    operator: Operator, services: Services, command: tuple[str, ...]
) -> None:
    metadata.drop_all(services.database.engine)
    result = operator.run(*command)
    assert isinstance(result.exception, SystemExit)
    cure = "the database has no schema of this version: run `flask --app wsgi upgrade-database`"
    assert (result.exit_code, result.output) == (1, f"Error: {cure}\n")


@pytest.mark.parametrize("command", [*EVERY_COMMAND, ("upgrade-database",)], ids=" ".join)
def test_a_database_that_is_down_is_told_in_a_line(
    command: tuple[str, ...], clock: SettableClock
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        url = f"postgresql://wxsession@127.0.0.1:{taken.getsockname()[1]}/wxsession"
        app = create_app(settings_for(url), clock=clock)
        result = Operator(app).run(*command)
        services_of(app).database.close()
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 1
    assert result.output.startswith("Error: the database cannot be used; the log says why. ")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NotReady(), "run `flask --app wsgi upgrade-database`"),
        (DatabaseUnavailable(), "that WXSESSION_DATABASE_URL points to it"),
        (Overloaded(), "Run this again"),
    ],
    ids=str,
)
def test_each_state_of_the_database_has_its_own_cure(error: WxSessionError, told: str) -> None:
    @click.command(cls=Command)
    def command() -> None:
        raise error

    result = CliRunner().invoke(command)
    assert result.exit_code == 1
    assert result.output.startswith("Error: the database ")
    assert result.output.endswith(f"{told}\n")


def test_what_is_no_id_is_refused(operator: Operator) -> None:
    result = operator.run("users", "show", "alice")
    assert result.exit_code == 2
    assert "not a valid UUID" in result.output


def test_control_characters_never_reach_the_terminal(
    operator: Operator, services: Services, make_phone: Callable[..., Phone]
) -> None:
    phone = make_phone(user_agent="\x1b]0;owned\x07 \x9b2J")
    phone.log_in()
    user_id, session_id = user_of(phone), session_of(phone)
    change(services, user_id, nickname="\x1b[2Jal\\ice\u202e\r\n\x7f")
    shown = [
        operator.read("users", "list"),
        operator.read("users", "show", user_id),
        operator.read("sessions", "list"),
        operator.read("sessions", "show", session_id),
        operator.read("users", "list", "--json"),
        operator.read("sessions", "list", "--json"),
    ]
    for output in shown:
        assert all(line.isprintable() for line in output.split("\n"))
    assert "\\x1b[2Jal\\\\ice\\u202e\\r\\n\\x7f\n" in shown[0]
    assert "\\x1b]0;owned\\x07" in shown[2]


@ON_SQLITE
def test_what_the_encoding_of_the_output_has_not_is_escaped(
    operator: Operator, services: Services, phone: Phone
) -> None:
    phone.log_in()
    change(services, user_of(phone), nickname="小明\U0001f600")
    chinese = operator.app.test_cli_runner(charset="gbk")  # as a file is on a Chinese Windows
    listed = chinese.invoke(args=["users", "list"])
    assert listed.exit_code == 0
    assert "小明\\U0001f600" in listed.output
    as_json = chinese.invoke(args=["users", "list", "--json"])
    assert json.loads(as_json.output)["users"][0]["nickname"] == "小明\U0001f600"


def test_no_output_holds_what_opens_anything(
    operator: Operator, services: Services, phone: Phone
) -> None:
    phone.log_in()
    user_id, session_id = user_of(phone), session_of(phone)
    change(services, user_id, password_hash="$argon2id$secret")
    give_number(services, user_id)
    with services.database.statement() as connection:
        token_hash = bytes(connection.execute(select(sessions.c.token_hash)).scalar_one())
    token = phone.token or ""
    secrets = (
        *(NUMBER, NUMBER[3:9], "argon2", token, token.split(".")[0]),
        *(token_hash.hex(), phone.wechat.session_key("alice")),
    )
    commands: list[tuple[str, ...]] = [
        ("users", "list"),
        ("users", "list", "--phone", NUMBER),
        ("users", "show", user_id),
        ("sessions", "list", "--all"),
        ("sessions", "show", session_id),
        ("sessions", "end", session_id),
        ("users", "end-sessions", user_id),
        ("users", "disable", user_id),
        ("users", "enable", user_id),
    ]
    for command in commands:
        for output in (operator.read(*command), operator.read(*command, "--json")):
            assert not [secret for secret in secrets if secret in output]


def test_lines_are_aligned(operator: Operator, make_phone: Callable[..., Phone]) -> None:
    for user in ("alice", "bob"):
        make_phone(user).log_in()
    titles, *lines = operator.read("sessions", "list").splitlines()
    assert len(lines) == 2
    assert all(line[titles.index("STATE") :].startswith("live ") for line in lines)
    expires = TODAY + timedelta(days=7)
    at = titles.index("EXPIRES")
    assert all(line[at:].startswith(f"{expires:%Y-%m-%d %H:%M:%S}Z") for line in lines)
