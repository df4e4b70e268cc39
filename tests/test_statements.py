"""What each call costs the database, counted on the wire."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.app import services_of
from tests.support.phone import Phone
from tests.support.postgres import EVERY_STATEMENT, PostgresServer
from tests.support.settings import environment, settings_for
from tests.support.statements import flights
from wxsession import create_app
from wxsession.simulator import SettableClock, WeChat, wechat_transport
from wxsession.simulator.transport import WeChatAdapter
from wxsession.storage.database import connect
from wxsession.storage.migrate import upgrade

_numbers = count()

LOGIN = [  # of a user who is known
    ["INSERT"],  # the claim
    ["BEGIN", "SELECT", "SELECT", "SELECT"],  # the user, locked; session_keys; room for a session
    ["UPDATE", "UPDATE", "INSERT", "INSERT", "COMMIT"],  # key, code; session, audit
]


@dataclass
class Wire:
    """What a server's own log says that it was sent."""

    log: Path

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        """Collect the first words of the statements of the block."""
        before = len(self._read())
        heard: list[str] = []
        yield heard
        heard += self._read()[before:]

    def _read(self) -> list[str]:
        text = self.log.read_text(errors="replace")
        return re.findall(r"LOG:  \S+: (?:statement|execute \S+): (\w+)", text)


@pytest.fixture(scope="module")
def talkative() -> Iterator[PostgresServer]:
    """Return a PostgreSQL that logs every statement it is sent."""
    with PostgresServer(settings=EVERY_STATEMENT) as server:
        server.create_database("talkative")
        database = connect(server.url("talkative"))
        upgrade(database)
        database.close()
        yield server


@pytest.fixture
def wire(talkative: PostgresServer) -> Wire:
    return Wire(talkative.log_path)


@pytest.fixture
def warm(talkative: PostgresServer, clock: SettableClock, wechat: WeChat) -> Iterator[Phone]:
    """Return a phone whose server has its connection and has logged in before."""
    settings = settings_for(talkative.url("talkative"))
    app = create_app(settings, clock=clock, http=wechat_transport(wechat))
    phone = Phone(app, wechat, f"user {next(_numbers)}")  # they share a database
    phone.log_in()
    yield phone
    services_of(app).database.close()


def test_a_check_is_one_select_and_nothing_else(warm: Phone, wire: Wire) -> None:
    for _ in range(10):  # beyond the five after which psycopg prepares a statement
        with wire.listening() as heard:
            assert warm.check().status_code == 200
        assert heard == ["SELECT"]


def test_a_check_writes_at_most_once_per_touch_interval(
    warm: Phone, wire: Wire, clock: SettableClock
) -> None:
    clock.advance(hours=1, microseconds=-1)
    with wire.listening() as heard:
        warm.check()
    assert heard == ["SELECT"]
    clock.advance(microseconds=1)
    with wire.listening() as heard:
        warm.check()
        warm.check()
    assert heard == ["SELECT", "UPDATE", "SELECT"]


def test_the_first_check_of_a_refreshed_token_confirms_it_once(warm: Phone, wire: Wire) -> None:
    warm.refresh()
    with wire.listening() as heard:
        warm.check()
        warm.check()
    assert heard == ["SELECT", "UPDATE", "SELECT"]


def test_a_refresh_is_one_update_and_looks_only_if_that_finds_nothing(
    warm: Phone, wire: Wire
) -> None:
    with wire.listening() as heard:
        warm.lose_refresh()
    assert heard == ["UPDATE"]
    with wire.listening() as heard:
        warm.refresh()  # again, with the same token
    assert heard == ["UPDATE", "SELECT"]


def test_a_logout_is_one_transaction(warm: Phone, wire: Wire) -> None:
    with wire.listening() as heard:
        warm.log_out()
        warm.log_out()  # there is nothing left to end
    ending, audit = "UPDATE", "INSERT"
    assert heard == ["BEGIN", ending, audit, "COMMIT", "BEGIN", ending, "COMMIT"]


def test_a_login_is_a_claim_and_one_transaction(warm: Phone, wire: Wire) -> None:
    warm.log_in()
    with wire.listening() as heard:
        warm.log_in()
    assert heard == [statement for flight in LOGIN for statement in flight]


def test_a_login_waits_for_the_database_three_times(warm: Phone, clock: SettableClock) -> None:
    warm.log_in()
    with flights(services_of(warm.app).database) as heard:
        warm.log_in()
    assert heard == LOGIN
    clock.advance(minutes=10)  # WeChat has a new session_key for the user
    with flights(services_of(warm.app).database) as heard:
        warm.log_in()
    claim, reads, (_replace, *writes) = LOGIN
    assert heard == [claim, reads, ["INSERT", *writes]]


def test_a_login_that_ends_another_session_waits_once_more(warm: Phone) -> None:
    warm.log_in()
    with flights(services_of(warm.app).database) as heard:
        warm.log_in(token=warm.token)
    claim, reads, (key, code, session, audit, commit) = LOGIN
    ending, its_audit = "UPDATE", "INSERT"
    assert heard == [claim, reads, [key, code, ending, session, audit], [its_audit, commit]]


def test_a_first_login_waits_for_the_database_four_times(warm: Phone) -> None:
    warm.user = f"user {next(_numbers)}"
    with flights(services_of(warm.app).database) as heard:
        assert warm.log_in().json["user"]["new"]
    user, ring, settle, session, event = "INSERT", "INSERT", "UPDATE", "INSERT", "INSERT"
    events = [event, event]  # user.created, session.created
    claim, nobody, identity = ["INSERT"], ["BEGIN", *["SELECT"] * 3], ["INSERT"]
    assert heard == [claim, nobody, identity, [user, ring, settle, session, *events, "COMMIT"]]


def test_a_refresh_waits_for_the_database_once_and_a_logout_twice(warm: Phone) -> None:
    with flights(services_of(warm.app).database) as heard:
        warm.refresh()
    assert heard == [["UPDATE"]]
    with flights(services_of(warm.app).database) as heard:
        warm.log_out()
    assert heard == [["BEGIN", "UPDATE"], ["INSERT", "COMMIT"]]


@pytest.mark.parametrize("call", ["check", "refresh", "log_out"])
def test_a_forged_token_costs_no_statement(warm: Phone, wire: Wire, call: str) -> None:
    forged = str(warm.token)[:-3] + "AAA"
    with wire.listening() as heard:
        getattr(warm, call)(forged)
    assert heard == []


def test_liveness_costs_no_statement(warm: Phone, wire: Wire) -> None:
    with wire.listening() as heard:
        assert warm.send("GET", "/healthz").status_code == 200
        assert warm.send("GET", "/openapi.json").status_code == 200
    assert heard == []


def test_no_connection_is_held_while_wechat_is_asked(
    database_url: str, clock: SettableClock, wechat: WeChat
) -> None:
    held: list[int] = []

    class Watched(WeChatAdapter):
        def send(self, *arguments: Any, **options: Any) -> requests.Response:
            held.append(pool.checkedout() - database.connections.idle)
            return super().send(*arguments, **options)

    http = wechat_transport(wechat)
    http.mount("https://", Watched(wechat))
    app = create_app(settings_for(database_url), clock=clock, http=http)
    database = services_of(app).database
    pool: Any = database.engine.pool
    assert Phone(app, wechat, "alice").log_in().status_code == 200
    assert held == [0]
    services_of(app).database.close()


def test_what_serves_loads_neither_the_orm_nor_alembic(sqlite_url: str) -> None:
    program = (
        "import sys, wsgi; print(*(m for m in ('sqlalchemy.orm', 'alembic') if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment(sqlite_url)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == ""
