"""The feed: a reader with a cursor gets every event once, whoever writes and however late."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import select, update

from tests.support.databases import ON_BOTH, ON_POSTGRESQL
from tests.support.feed import read_by
from tests.support.phone import Phone
from tests.support.service import ROOT
from tests.support.waiting import eventually
from tests.test_accounts import bind, register, user_of
from tests.test_administration import Operator
from wxsession.errors import InvalidRequest
from wxsession.events.audit import SYSTEM
from wxsession.services import Services
from wxsession.simulator import SettableClock
from wxsession.storage.tables import audit_events

WRITERS = 50
LONG_AGO = datetime.now(UTC) - timedelta(days=2)

_seconds = count()


def names(services: Services, after: str | None = None) -> list[str]:
    """Return the names of the events that the feed shows after a cursor."""
    return [one.event for one in services.feed.read(after, limit=1000).events]


def write(services: Services, *events: str) -> None:
    for event in events:
        with services.database.transaction() as transaction:
            services.audit.write(transaction, event, SYSTEM)


def let_settle(services: Services) -> None:
    """Make new events older, in their order, so that the feed shows them."""
    c = audit_events.c
    new = select(c.id).where(c.recorded_at > LONG_AGO + timedelta(days=1))
    with services.database.transaction() as transaction:
        for id_ in transaction.execute(new.order_by(c.recorded_at, c.id)).scalars().all():
            at = LONG_AGO + timedelta(seconds=next(_seconds))
            transaction.execute(update(audit_events).where(c.id == id_).values(recorded_at=at))


@ON_BOTH
def test_pages_follow_one_another_and_the_last_cursor_goes_on(services: Services) -> None:
    written = [f"event.{number}" for number in range(7)]
    write(services, *written)
    let_settle(services)
    seen, cursor = [], None
    for size in (3, 3, 1, 0):
        page = services.feed.read(cursor, limit=3)
        assert len(page.events) == size
        seen += [one.event for one in page.events]
        cursor = page.next
    assert seen == written
    assert services.feed.read(cursor).next == cursor
    write(services, "event.7")
    eventually(lambda: names(services, cursor) == ["event.7"])


@ON_BOTH
def test_an_empty_feed_has_no_cursor_yet(services: Services) -> None:
    page = services.feed.read()
    assert (page.events, page.next) == ([], None)


@ON_BOTH
def test_what_a_login_did_comes_in_its_order(phone: Phone, services: Services) -> None:
    phone.log_in()
    let_settle(services)
    assert names(services) == ["user.created", "session.created"]


@ON_POSTGRESQL
def test_nothing_is_shown_that_a_transaction_under_way_could_come_before(
    services: Services,
) -> None:
    late = services.database.transaction()
    transaction = late.__enter__()
    services.audit.write(transaction, "late", SYSTEM)
    transaction.flush()
    write(services, "early")
    time.sleep(1.5)  # longer than an event waits until it is shown
    assert names(services) == []
    late.__exit__(None, None, None)
    eventually(lambda: names(services) == ["late", "early"])


@ON_POSTGRESQL
def test_another_application_that_is_under_way_holds_nothing_up(
    services: Services, make_host: Callable[[], None]
) -> None:
    make_host()
    write(services, "early")
    eventually(lambda: names(services) == ["early"])


@pytest.fixture
def make_host(database_url: str) -> Iterator[Callable[[], None]]:
    """Return a function that begins a transaction as a host's own tables are used."""
    import psycopg  # noqa: PLC0415 - only on PostgreSQL

    opened: list[psycopg.Connection] = []

    def make() -> None:
        url = database_url.replace("postgresql+psycopg", "postgresql")
        opened.append(psycopg.connect(url, application_name="shop"))
        opened[-1].execute("CREATE TABLE orders (id int)")

    yield make
    for connection in opened:
        connection.close()


@ON_BOTH
@pytest.mark.parametrize(
    "cursor", ["", "x", "0", "-".join(["0" * 13, "g" * 32]), f"{2**60:x}-{0:032x}", "'; DROP"]
)
def test_what_is_no_cursor_is_refused_in_words(services: Services, cursor: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        services.feed.read(cursor)
    assert refusal.value.errors[0]["field"] == "after"


@ON_BOTH
@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_at_most_a_thousand_events(services: Services, limit: int) -> None:
    with pytest.raises(InvalidRequest):
        services.feed.read(limit=limit)


@ON_BOTH
def test_an_operator_reads_the_feed_and_goes_on(phone: Phone, services: Services) -> None:
    phone.log_in()
    let_settle(services)
    operator = Operator(phone.app)
    page = operator.ask("events", "list", "--limit", 1)
    assert [one["event"] for one in page["events"]] == ["user.created"]
    assert f"--after {page['next']}" in operator.read("events", "list", "--limit", 1)
    rest = operator.ask("events", "list", "--after", page["next"])
    assert [one["event"] for one in rest["events"]] == ["session.created"]
    refused = operator.run("events", "list", "--after", "nonsense")
    assert (refused.exit_code, refused.output) == (
        1,
        "Error: after is not what an earlier page had as next\n",
    )


@ON_BOTH
def test_an_operator_lists_who_became_whom(
    make_phone: Callable[..., Phone], clock: SettableClock
) -> None:
    old, new = [], []
    for name in ("alice", "bob", "carol"):
        phone, desk = make_phone(name), make_phone(f"{name} at her desk")
        register(desk, name)
        old.append(phone.log_in().json["user"]["id"])
        bind(phone, name)
        new.append(user_of(desk)["id"])
        clock.advance(days=1)
    operator = Operator(phone.app)
    merged = operator.ask("users", "merges")["merges"]
    assert [(one["old_id"], one["new_id"]) for one in merged] == list(zip(old, new, strict=True))
    first = operator.ask("users", "merges", "--limit", 1)
    assert first["next"] == old[0]
    rest = operator.ask("users", "merges", "--after", old[0])["merges"]
    assert [one["old_id"] for one in rest] == old[1:]
    since = (clock() - timedelta(days=2)).strftime("%Y-%m-%d %H:%M:%S")
    assert [
        one["old_id"] for one in operator.ask("users", "merges", "--since", since)["merges"]
    ] == (old[1:])
    unknown = operator.run("users", "merges", "--after", new[0])
    assert (unknown.exit_code, unknown.output) == (1, "Error: no user has this id\n")


@ON_BOTH
@pytest.mark.long
def test_fifty_writers_and_a_reader_are_killed_and_nothing_is_missed_or_seen_twice(
    database_url: str, services: Services, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"

    def start(*arguments: object) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.support.feed", database_url, *map(str, arguments)]
        return subprocess.Popen(command, cwd=ROOT)

    writers = [start("write", WRITERS // 5, 12) for _ in range(5)]
    reader = start("read", kept)
    try:
        for _ in range(6):
            time.sleep(1.5)
            os.kill(reader.pid, signal.SIGKILL)
            reader.wait()
            reader = start("read", kept)
        for victim in writers[:2]:
            os.kill(victim.pid, signal.SIGKILL)
        for one in writers:
            one.wait(timeout=60)
        with services.database.statement() as connection:
            written = set(connection.execute(select(audit_events.c.id)).scalars())

        assert len(written) > WRITERS
        eventually(lambda: len(read_by(kept)) >= len(written))
        time.sleep(2)  # in which more would be seen twice
        assert sorted(read_by(kept)) == sorted(written)
    finally:
        for process in (reader, *writers):
            process.kill()
            process.wait()


def test_what_is_read_is_json(services: Services, phone: Phone) -> None:
    phone.log_in()
    let_settle(services)
    shown = Operator(phone.app).read("events", "list", "--json")
    assert set(json.loads(shown)["events"][0]) >= {"id", "at", "event", "user_id", "new_user_id"}
