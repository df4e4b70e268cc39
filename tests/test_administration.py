"""An operator finds users and sessions, keeps users out, and sees nothing that opens anything."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import func, insert, select, update

from tests.conftest import TODAY
from tests.support.phone import Phone, problem
from tests.support.settings import APPID, OTHER_APPID
from wxsession.app import Services
from wxsession.db import new_id
from wxsession.models import audit_events, sessions, users
from wxsession.simulator import SettableClock, WeChat
from wxsession.wechat.phone_number import PhoneNumber

NOBODY = "00000000-0000-7000-8000-000000000000"
NUMBER = "13800138000"

UNKNOWN = [
    ("users", "show", NOBODY),
    ("users", "disable", NOBODY),
    ("users", "enable", NOBODY),
    ("users", "end-sessions", NOBODY),
    ("sessions", "list", "--user", NOBODY),
    ("sessions", "show", NOBODY),
    ("sessions", "end", NOBODY),
]


@dataclass
class Operator:
    """Somebody at the server's terminal."""

    app: Flask

    def run(self, *args: object) -> Result:
        """Run a command as it was typed."""
        return self.app.test_cli_runner().invoke(args=[str(arg) for arg in args])

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
    assert "user_disabled" in [one["event"] for one in details["events"]]
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
    assert noted(services, "user_disabled") == 1


def test_disabling_again_changes_nothing(
    operator: Operator, services: Services, phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    user_id = user_of(phone)
    told = {"user_id": user_id, "disabled": True, "sessions_ended": 1}
    assert operator.ask("users", "disable", user_id) == told
    clock.advance(days=1)
    assert operator.ask("users", "disable", user_id) == {**told, "sessions_ended": 0}
    details = services.administration.user(UUID(user_id))
    assert details.user.disabled_at == TODAY
    assert noted(services, "user_disabled") == 1


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
    assert noted(services, "user_enabled") == 1


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
    assert noted(services, "session_ended") == 1


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
    details = services.administration.user(user_id)
    assert [one.count for one in details.events if one.event == "session_ended"] == [1000] * 3
    assert live(services) == 0


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
    assert operator.read("sessions", "end", session_id) == "The session was over already.\n"
    told = {"session_id": session_id, "ended": False}
    assert operator.ask("sessions", "end", session_id) == told
    shown = operator.ask("sessions", "show", session_id)
    assert (shown["state"], shown["reason"]) == ("ended", "revoked")
    assert noted(services, "session_ended") == 1


@pytest.mark.parametrize("command", UNKNOWN)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_an_unknown_id_is_told(
    operator: Operator, command: tuple[str, ...], form: tuple[str, ...]
) -> None:
    result = operator.run(*command, *form)
    what = "session" if command[:2] in {("sessions", "show"), ("sessions", "end")} else "user"
    assert (result.exit_code, result.output) == (1, f"Error: no {what} has this id\n")


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
