"""The database: one metadata, the column types, and connections that know both databases.

PostgreSQL is reached through psycopg 3, SQLite as a file in WAL mode. Every transaction that
means to write says so at once (BEGIN IMMEDIATE): a deferred one that turns into a writer half
way is refused by SQLite however long it would wait.
"""

import logging
import os
import random
import secrets
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    Table,
    TypeDecorator,
    create_engine,
    event,
)
from sqlalchemy import exc as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from wxsession.errors import Disconnected, Overloaded

T = TypeVar("T")

SCHEMA_REVISION = "20261121_02"
"""The oldest schema that this code can work with; revisions sort by their dates."""

POOL_SIZE = 8
POOL_OVERFLOW = 8
POOL_TIMEOUT_SECONDS = 2
SQLITE_BUSY_SECONDS = 10

_READ_ONLY_TRANSACTION = "25006"
_BUSY_PAUSE = 0.02

_log = logging.getLogger(__name__)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: aware in Python, ``timestamptz`` in PostgreSQL, UTC text in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment as the database wants it; a naive one is refused."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name == "postgresql" else value.replace(tzinfo=UTC)


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562, 5.7): rows made together lie together, none can be guessed."""
    milliseconds = time.time_ns() // 1_000_000
    number = milliseconds << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 0x7 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)


def upsert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that has ON CONFLICT in the connection's own dialect."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def insist(action: Callable[[], T]) -> T:
    """Do what may be done twice, and do it again if its connection turns out to be broken.

    After a restart of the database every pooled connection is, and the first to notice would
    else have to tell its client.
    """
    try:
        return action()
    except Disconnected:
        return action()


@dataclass(frozen=True)
class Database:
    """Where rows are: a way to run one statement, and a way to run several as one."""

    engine: Engine
    _autocommit: Engine

    @property
    def is_postgresql(self) -> bool:
        """Whether this is PostgreSQL, which has locks that SQLite has not."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """Yield a connection on which each statement stands by itself: no BEGIN, no COMMIT.

        Raises:
            Overloaded: no connection was to be had in time, or it broke.
        """
        with _own_words(), self._autocommit.connect() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection inside a transaction: all of it happens, or nothing.

        Raises:
            Overloaded: no connection was to be had in time, or it broke.
        """
        with _own_words(), self.engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()


def connect(url: str) -> Database:
    """Return the database at `url`; nothing is opened before it is asked.

    Connections are never shared with a forked child: each process opens its own.
    """
    parsed = make_url(url)
    options: dict[str, object] = {
        "hide_parameters": True,  # an error text may end in a log; the values may be secrets
        "pool_timeout": POOL_TIMEOUT_SECONDS,
        "pool_size": POOL_SIZE,
        "max_overflow": POOL_OVERFLOW,
    }
    if parsed.get_backend_name() == "postgresql":
        given = parsed.query.keys()
        defaults = {"connect_timeout": POOL_TIMEOUT_SECONDS, "application_name": "wxsession"}
        options["connect_args"] = {k: v for k, v in defaults.items() if k not in given}
        options |= {"pool_use_lifo": True, "pool_recycle": 1800}
    else:
        Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, **options)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
        event.listen(engine, "do_execute", _execute_patiently)
    event.listen(engine, "handle_error", _count_read_only_as_broken)
    _forget_in_children(engine)
    return Database(engine, engine.execution_options(isolation_level="AUTOCOMMIT"))


def _forget_in_children(engine: Engine) -> None:
    known = weakref.ref(engine)

    def forget() -> None:
        if (mine := known()) is not None:
            mine.dispose(close=False)

    os.register_at_fork(after_in_child=forget)


@contextmanager
def _own_words() -> Iterator[None]:
    try:
        yield
    except sa.TimeoutError:
        raise Overloaded from None
    except sa.DBAPIError as error:
        # Refused, gone, locked, deadlocked, full: the database could not do it now. The text
        # of the driver's error has hosts and reasons in it, but neither values nor passwords.
        if not (error.connection_invalidated or isinstance(error, sa.OperationalError)):
            raise
        _log.warning("database: %s", str(error.orig).strip().replace("\n", "; "))
        raise (Disconnected if error.connection_invalidated else Overloaded) from error


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # BEGIN is ours to say, see _begin_immediate
    connection.execute("PRAGMA busy_timeout = 0")  # so is waiting, see _patiently
    connection.execute("PRAGMA foreign_keys = ON")
    _patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))


def _begin_immediate(connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _execute_patiently(
    cursor: sqlite3.Cursor, statement: str, parameters: Any, _context: object
) -> bool:
    """Execute in place of SQLAlchemy; return that it was done."""
    _patiently(lambda: cursor.execute(statement, parameters))
    return True


def _patiently(action: Callable[[], object]) -> None:
    """Do it, again and again while another writer is at work.

    SQLite's own waiting asks less and less often, so under many writers the newcomers win and
    somebody starves. Here whoever has waited longest asks most often.
    """
    started = time.monotonic()
    while True:
        try:
            action()
        except sqlite3.OperationalError as error:
            waited = time.monotonic() - started
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # of whatever kind
            if not busy or waited > SQLITE_BUSY_SECONDS:
                raise
            time.sleep(_BUSY_PAUSE * (0.5 + random.random()) / (1 + 4 * waited))  # noqa: S311
        else:
            return


def _count_read_only_as_broken(context: ExceptionContext) -> None:
    # A primary that was demoted still answers, for as long as we keep talking to it.
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY_TRANSACTION:
        context.is_disconnect = True
