"""An operator finds users and events, however many there are: an index leads to them."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import insert, select, text, update

from tests.support.app import TODAY
from tests.support.databases import ON_BOTH, ON_SQLITE
from tests.support.phone import Phone
from tests.support.plans import plans
from tests.support.settings import APPID, OTHER_APPID
from tests.test_accounts import by_password, register
from tests.test_administration import Operator, change, user_of
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.database import Database, new_id
from wxsession.storage.tables import audit_events, identities, merged_users, sessions, users

pytestmark = ON_BOTH

MANY = 20_000
HOME, OFFICE = "203.0.113.7", "198.51.100.9"


@pytest.fixture
def operator(app: Flask) -> Operator:
    return Operator(app)


def events(operator: Operator, *args: object) -> list[dict[str, Any]]:
    """Return the events that are listed, a line each."""
    lines = operator.read("audit", "list", *args, "--json").splitlines()
    return [json.loads(line) for line in lines]


def names(operator: Operator, *args: object) -> list[str]:
    return [one["event"] for one in events(operator, *args)]


# Events.


def test_events_are_found_by_user_kind_address_and_time(
    operator: Operator, make_phone: Callable[..., Phone], clock: SettableClock
) -> None:
    alice, bob = make_phone("alice", address=HOME), make_phone("bob", address=OFFICE)
    alice.log_in()
    clock.advance(days=1)
    bob.log_in()
    alice_id, bob_id = user_of(alice), user_of(bob)
    operator.read("users", "disable", bob_id, "--as", "ops")

    assert set(names(operator, "--user", alice_id)) == {"user.created", "session.created"}
    assert names(operator, "--event", "user.disabled") == ["user.disabled"]
    assert {one["user_id"] for one in events(operator, "--address", OFFICE)} == {bob_id}
    assert events(operator, "--address", "192.0.2.1") == []
    assert events(operator, "--user", bob_id, "--address", HOME) == []
    tomorrow = f"{TODAY + timedelta(days=1):%Y-%m-%d}"
    assert {one["user_id"] for one in events(operator, "--since", tomorrow)} == {bob_id}
    assert {one["user_id"] for one in events(operator, "--until", tomorrow)} == {alice_id}
    by_ops = [one for one in events(operator) if one["actor"] == "ops"]
    assert {one["event"] for one in by_ops} == {"user.disabled", "session.ended"}
    shown = operator.read("audit", "list", "--event", "user.disabled")
    assert shown.split()[:2] == ["AT", "EVENT"]
    assert bob_id in shown


@pytest.mark.parametrize("by", ["nothing", "user", "address", "event"])
def test_pages_of_events_follow_one_another(
    operator: Operator, phone: Phone, clock: SettableClock, by: str
) -> None:
    for _ in range(4):  # some at the same moment
        phone.log_in()
        phone.log_out()
        phone.log_in()
        clock.advance(minutes=1)
    filters = {
        "nothing": (),
        "user": ("--user", user_of(phone)),
        "address": ("--address", HOME),
        "event": ("--event", "session.created"),
    }[by]
    every = events(operator, *filters, "--limit", 1000)
    assert [one["at"] for one in every] == sorted((one["at"] for one in every), reverse=True)
    seen: list[dict[str, Any]] = []
    while page := events(
        operator, *filters, "--limit", 3, *(("--after", seen[-1]["id"]) if seen else ())
    ):
        seen += page
    assert seen == every
    first = operator.read("audit", "list", *filters, "--limit", 3)
    assert first.endswith(f"There are more: --after {every[2]['id']}\n")


def test_events_of_who_was_merged_are_those_of_the_user_of_today(
    operator: Operator, phone: Phone, make_phone: Callable[..., Phone]
) -> None:
    register(make_phone("alice at her desk", address=OFFICE))
    phone.log_in()
    old_id = user_of(phone)
    body = {"username": "alice", "password": "correct horse battery"}
    phone.token = phone.send("POST", "/bind", json=body, token=phone.token).json["session_token"]
    account_id = user_of(phone)
    assert {one["user_id"] for one in events(operator, "--user", account_id)} == {
        old_id,
        account_id,
    }
    assert operator.found("--address", HOME) == [account_id]


def test_refusals_of_a_network_are_found_by_each_of_its_addresses(
    operator: Operator, make_phone: Callable[..., Phone]
) -> None:
    by_password(make_phone(address="2001:db8:1:2::5"), "nobody")
    assert names(operator, "--address", "2001:DB8:1:2:0::9") == ["login.failed"]
    assert names(operator, "--address", "2001:db8:1:3::5") == []


@ON_SQLITE
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--address", "home"], "not an IPv4 or IPv6 address"),
        (["--since", "yesterday"], "does not match the formats"),
        (["--user", "alice"], "not a valid UUID"),
        (["--event", ""], "must be UTF-8, and not empty"),
        (["--limit", "0"], "not in the range"),
    ],
)
def test_what_is_typed_wrongly_is_told(operator: Operator, args: list[str], said: str) -> None:
    result = operator.run("audit", "list", *args)
    assert result.exit_code == 2
    assert said in result.output


@ON_SQLITE
def test_a_page_after_an_event_that_is_gone_is_refused(operator: Operator) -> None:
    result = operator.run("audit", "list", "--after", new_id())
    assert (result.exit_code, result.output) == (
        1,
        "Error: after is no event, or one that was purged\n",
    )


# Users.


def test_users_are_found_by_how_the_nickname_begins(
    operator: Operator, services: Services, make_phone: Callable[..., Phone]
) -> None:
    ids = {}
    for name in ("小明", "小明明", "小红", "Ann", "ann", "An%"):
        phone = make_phone(name)
        phone.log_in()
        ids[name] = user_of(phone)
        change(services, ids[name], nickname=name)
    assert set(operator.found("--nickname", "小")) == {ids["小明"], ids["小明明"], ids["小红"]}
    assert set(operator.found("--nickname", "小明")) == {ids["小明"], ids["小明明"]}
    assert operator.found("--nickname", "明") == []
    assert set(operator.found("--nickname", "An")) == {ids["Ann"], ids["An%"]}
    assert operator.found("--nickname", "An%") == [ids["An%"]]


def test_users_are_found_by_the_address_of_a_session_and_not_of_an_attempt(
    operator: Operator, make_phone: Callable[..., Phone], wechat: WeChat
) -> None:
    for app in (APPID, OTHER_APPID):
        wechat.bind_open_platform(app)
    alice = make_phone("alice", address=HOME)
    register(alice)
    by_password(make_phone(address=OFFICE), "alice", "guess guess")
    assert operator.found("--address", HOME) == [user_of(alice)]
    assert operator.found("--address", f"::ffff:{HOME}") == [user_of(alice)]
    assert operator.found("--address", OFFICE) == []
    assert operator.found("--address", HOME, "--disabled") == []


# However many there are.


def fill(database: Database) -> tuple[str, str]:
    """Add many users with sessions and events; return the ids of one user and of one event."""
    at = [TODAY - timedelta(seconds=number) for number in range(MANY)]
    ids = [new_id() for _ in range(MANY)]
    event_ids = [new_id() for _ in range(MANY)]
    later = TODAY + timedelta(days=30)
    rows: dict[Any, list[dict[str, Any]]] = {
        users: [
            {
                "id": id_,
                "username": f"user-{n}",
                "nickname": f"name-{n}",
                "phone_number_hash": n.to_bytes(32),
                "disabled_at": TODAY if n % 1000 == 0 else None,
                "created_at": at[n],
            }
            for n, id_ in enumerate(ids)
        ],
        identities: [
            {
                "id": new_id(),
                "user_id": id_,
                "provider": "wechat",
                "appid": APPID,
                "openid": f"openid-{n}",
                "unionid": f"unionid-{n}",
                "created_at": at[n],
            }
            for n, id_ in enumerate(ids)
        ],
        sessions: [
            {
                "id": new_id(),
                "user_id": id_,
                "token_hash": bytes(32),
                "created_at": at[n],
                "auth_time": at[n],
                "absolute_expires_at": later,
                "idle_expires_at": later,
                "purge_on": later.date(),
            }
            for n, id_ in enumerate(ids)
        ],
        audit_events: [
            {
                "id": event_ids[n],
                "at": at[n],
                "event": "session.created" if n % 2000 else "user.disabled",
                "user_id": id_,
                "session_id": new_id(),
                "client_address": f"10.0.{n // 250}.{n % 250}",
                "count": 1,
            }
            for n, id_ in enumerate(ids)
        ],
        merged_users: [
            {"old_id": new_id(), "new_id": id_, "merged_at": TODAY} for id_ in ids[:2000]
        ],
    }
    with database.transaction() as transaction:
        for table, added in rows.items():
            transaction.execute(insert(table), added)
    with database.statement() as connection:
        connection.execute(text("ANALYZE"))
    return str(ids[7]), str(event_ids[7])


SEARCHES = [
    (("users", "list"), "wxsession_users"),
    (("users", "list", "--after", "{user}"), "wxsession_users"),
    (("users", "list", "--username", "user-7"), "username"),
    (("users", "list", "--phone", "13800138000"), "phone_number_hash"),
    (("users", "list", "--openid", "openid-7"), "openid"),
    (("users", "list", "--unionid", "unionid-7"), "unionid"),
    (("users", "list", "--nickname", "name-777"), "nickname"),
    (("users", "list", "--disabled"), "disabled"),
    (("users", "list", "--address", "10.0.1.7"), "client_address"),
    (("users", "show", "{user}"), "user_id_at_id"),
    (("audit", "list"), "events_at"),
    (("audit", "list", "--after", "{event}"), "events_at"),
    (("audit", "list", "--user", "{user}"), "user_id_at_id"),
    (("audit", "list", "--event", "user.disabled"), "event_at"),
    (("audit", "list", "--address", "10.0.1.7"), "client_address"),
    (("audit", "list", "--since", "2026-11-21", "--until", "2026-11-22"), "events_at"),
]


def test_no_search_reads_a_whole_table(operator: Operator, services: Services) -> None:
    user, event_ = fill(services.database)
    for args, index in SEARCHES:
        typed = [arg.format(user=user, event=event_) for arg in args]
        with plans(services.database) as plan:
            operator.read(*typed)
        told = "\n".join([" ".join(typed), *plan])
        assert index in told, told
        for line in plan:
            assert not is_scan(line), told


def test_no_job_reads_a_whole_table(operator: Operator, services: Services) -> None:
    user, _ = fill(services.database)
    long_ago = TODAY - timedelta(days=30)
    with services.database.transaction() as transaction:
        c = sessions.c
        # As many of one user, and as many due, as PostgreSQL would rather find by reading it all.
        of_many = select(c.id).where(c.user_id > UUID(user)).limit(MANY // 2)
        transaction.execute(update(sessions).where(c.id.in_(of_many)).values(user_id=UUID(user)))
        of_others = update(sessions).where(c.user_id != UUID(user))
        transaction.execute(of_others.values(purge_on=long_ago.date(), idle_expires_at=long_ago))
        transaction.execute(text("ANALYZE"))
    for args, index, count in (
        (("purge-sessions", "--dry-run"), "purge_on", MANY // 2 - 1),
        (("users", "disable", user), "sessions_user_id", MANY // 2 + 1),
    ):
        with plans(services.database) as plan:
            assert f"{count} sessions" in operator.read(*args)
        told = "\n".join([" ".join(args), *plan])
        assert index in told, told
        assert not any(map(is_scan, plan)), told


def is_scan(line: str) -> bool:
    """Return whether a line of a plan says that a large table is read from end to end."""
    if "Seq Scan" in line:
        return "wxsession_merged_users" not in line
    return line.startswith("SCAN wxsession_") and "USING" not in line
