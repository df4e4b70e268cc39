"""What each specialisation of the check spares, in CPU: ``python -m benchmarks.parts``.

A stop-watch would measure who else is at work on this machine. So everything runs in this process,
in short rounds that take turns, and what counts is the CPU time of this thread: PostgreSQL's own
and the waiting for it are not in it. The figures stand beside the code that they justify.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from flask import Flask
from sqlalchemy import Dialect, Select

from benchmarks import filling
from benchmarks.in_process import environ_of, send
from tests.support.phone import Phone
from tests.support.postgres import PostgresServer, fast_folder
from tests.support.settings import APPS, settings_for
from wxsession import create_app
from wxsession.services import EXTENSION, Services
from wxsession.sessions.session import SessionView
from wxsession.simulator import WeChat, wechat_transport
from wxsession.storage.connection_cache import CachedConnection, ConnectionCache
from wxsession.storage.database import Database
from wxsession.storage.migrate import upgrade
from wxsession.storage.statements import Rows, Statement, Values
from wxsession.storage.watchdog import Unwatched, Watchdog
from wxsession.web.api.front import Front, check_json
from wxsession.web.api.schemas import CheckReply

A_CHECK = 155
"""The µs of CPU that the application takes for a check, gunicorn and the kernel included.

Source: `python -m benchmarks --only check` on the machine of the figures, in quiet rounds.
"""

_ROUNDS = 200
_CALLS = 100

Call = Callable[[], object]


def main() -> None:
    """Measure on both databases, and print a table for each."""
    with PostgresServer() as server:
        server.create_database("parts")
        report("PostgreSQL", server.url("parts"))
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        report("SQLite", f"sqlite:///{Path(folder, 'parts.db')}")


def report(name: str, url: str, *, rounds: int = _ROUNDS, calls: int = _CALLS) -> None:
    """Print what each specialisation spares on an empty database."""
    wechat = WeChat(APPS)
    app = create_app(settings_for(url), http=wechat_transport(wechat))
    services: Services = app.extensions[EXTENSION]
    upgrade(services.database)
    phone = Phone(app, wechat, "alice")
    phone.log_in()
    click.echo(f"\n{name}")
    database = services.database
    watchdog = Watchdog() if database.is_postgresql else Unwatched()
    uncached = ConnectionCache(
        database.engine, watchdog, pool_size=database.limits.pool_size, max_age=0
    )
    pairs = _pairs(app, services, str(phone.token), uncached)
    for instead_of, (plain, fast) in pairs.items():
        spared = _spared(plain, fast, rounds, calls)
        click.echo(f"{instead_of:45} {spared:6.1f} µs {spared / A_CHECK:6.1%}")
    uncached.release()
    database.close()


def _pairs(
    app: Flask, services: Services, token: str, uncached: ConnectionCache
) -> Mapping[str, tuple[Call, Call]]:
    """Return a whole check in the plain way, and in ours; `uncached` uses no connection twice.

    A part by itself would run from the processor's caches, and cost half of what it does here.
    """
    outermost: Any = app.wsgi_app
    door = outermost.application
    front: Front = door.application
    database = services.database
    (check,) = filling.bearers([token])
    request = environ_of("GET", "/check_session", check)

    def whole(over: Database, application: Any = front) -> Call:
        def call() -> None:
            services.sessions._database = over  # noqa: SLF001
            send(application, request)

        return call

    def written(write: Callable[[SessionView], bytes]) -> Call:
        return lambda: write(services.sessions.check(token))

    parts = (database.engine, database.connections, database.limits)
    pairs = {
        "through Flask (front)": (whole(database, front.application), whole(database)),
        "through SQLAlchemy (statements)": (whole(_SqlAlchemy(*parts)), whole(database)),
        "connections from the pool (connection_cache)": (
            whole(replace(database, connections=uncached)),
            whole(database),
        ),
        "JSON by models (front)": (written(_by_models), written(check_json)),
    }
    if database.is_postgresql:
        pairs |= {
            "psycopg's execute (statements)": (whole(_Execute(*parts)), whole(database)),
            "psycopg's cursor, kept (statements)": (whole(_Cursor(*parts)), whole(database)),
        }
    return pairs


class _SqlAlchemy(Database):
    """Statements as SQLAlchemy executes them."""

    def read(self, statement: Statement, values: Values) -> Rows:
        """Return the rows."""
        assert isinstance(statement.core, Select)  # noqa: S101 - a check reads
        with self.statement() as connection:
            return connection.execute(statement.core, values).all()


class _Execute(Database):
    """A check's statement as psycopg offers it to everybody."""

    def read(self, statement: Statement, values: Values) -> Rows:
        """Return the rows."""
        assert isinstance(statement.core, Select)  # noqa: S101 - a check reads
        text = _texts.get(statement.name) or _text(statement, self.engine.dialect)
        with self.connections.one(time.monotonic() + self.limits.timeout) as cached:
            return self.ask(cached, text, values["session_id"])

    def ask(self, cached: CachedConnection, text: str, key: UUID) -> Rows:
        """Return the rows, by way of a cursor that psycopg makes."""
        rows: Rows = cached.driver.execute(text, (key,), prepare=True, binary=True).fetchall()
        return rows


class _Cursor(_Execute):
    """The same with one cursor for each connection."""

    def ask(self, cached: CachedConnection, text: str, key: UUID) -> Rows:
        """Return the rows, by way of a cursor that is there."""
        info = cached.connection.info
        cursor = info.get(_Cursor)
        if cursor is None:
            cursor = info[_Cursor] = cached.driver.cursor(binary=True)
        cursor.execute(text, (key,), prepare=True)
        rows: Rows = cursor.fetchall()
        return rows


_texts: dict[bytes, str] = {}


def _text(statement: Statement, dialect: Dialect) -> str:
    text = str(statement.core.compile(dialect=dialect))  # type: ignore[union-attr]
    text = _texts[statement.name] = text.replace("%(session_id)s::UUID", "%s")
    return text


def _spared(plain: Call, fast: Call, rounds: int, calls: int) -> float:
    """Return the µs of CPU that a call of `fast` takes less than one of `plain`: the median."""
    for call in (plain, fast):
        _cpu(call, 10 * calls)
    return statistics.median(_cpu(plain, calls) - _cpu(fast, calls) for _ in range(rounds))


def _cpu(call: Call, times: int) -> float:
    begun = time.thread_time()
    for _ in range(times):
        call()
    return (time.thread_time() - begun) / times * 1e6


def _by_models(view: SessionView) -> bytes:
    return CheckReply.of(view).model_dump_json().encode()


if __name__ == "__main__":
    main()
