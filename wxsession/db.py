"""The database: one metadata, the column types, and connections that know both databases.

PostgreSQL is reached through psycopg 3, SQLite as a file in WAL mode. A connection is always in
autocommit mode, so that a single statement costs a single round trip and stays prepared; where a
transaction is wanted, BEGIN is said here. To SQLite it is BEGIN IMMEDIATE: a deferred transaction
that turns into a writer half way is refused however long it would wait.
"""

import logging
import os
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

from wxsession.errors import Crossed, Disconnected, Interrupted, Overloaded
from wxsession.held import Held
from wxsession.patience import patiently

T = TypeVar("T")

SCHEMA_REVISION = "20261124_01"
"""The oldest schema that this code can work with; revisions sort by their dates."""

POOL_SIZE = 8
POOL_OVERFLOW = 8
POOL_TIMEOUT_SECONDS = 2

_TRANSACTIONAL = "wxsession_transactional"
_READ_ONLY_TRANSACTION = "25006"
_CROSSED = frozenset({"40P01", "40001"})  # deadlock_detected, serialization_failure

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


def insist(action: Callable[[], T]) -> T:
    """Do what may be done twice, and do it again if its connection turns out to be broken.

    After a restart of the database every pooled connection is, and the first to notice would
    else have to tell its client. The same goes for who was picked to end a deadlock.
    """
    try:
        return action()
    except Interrupted:
        return action()


@dataclass(frozen=True)
class Database:
    """Where rows are: a way to run one statement, and a way to run several as one."""

    engine: Engine
    """Its connections are in autocommit mode."""
    _transactional: Engine
    """The same, with a BEGIN where SQLAlchemy begins."""
    held: Held
    """Some of the first kind, already checked out."""

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
        with _told(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection inside a transaction: all of it happens, or nothing.

        Raises:
            Overloaded: no connection was to be had in time, or it broke.
        """
        with _told(), self._transactional.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.held.release()
        self.engine.dispose()


def upsert(database: Database, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that has ON CONFLICT in the database's own dialect."""
    return postgresql.insert(table) if database.is_postgresql else sqlite.insert(table)


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
        "pool_reset_on_return": None,  # whoever begins a transaction ends it, see `transaction`
    }
    if parsed.get_backend_name() == "postgresql":
        given = parsed.query.keys()
        defaults = {"connect_timeout": POOL_TIMEOUT_SECONDS, "application_name": "wxsession"}
        options["connect_args"] = {
            **{k: v for k, v in defaults.items() if k not in given},
            "client_encoding": "utf8",  # whatever the URL says: a lookup reads bytes
        }
        options |= {"pool_use_lifo": True, "pool_recycle": 1800}
    else:
        Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, isolation_level="AUTOCOMMIT", **options)
    event.listen(engine, "begin", _begin)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "do_execute", _execute_patiently)
    event.listen(engine, "handle_error", _count_read_only_as_broken)
    held = Held(engine)
    _forget_in_children(held)
    return Database(engine, engine.execution_options(**{_TRANSACTIONAL: True}), held)


def _forget_in_children(held: Held) -> None:
    known = weakref.ref(held)

    def forget() -> None:
        if (mine := known()) is not None:
            mine.forget()

    os.register_at_fork(after_in_child=forget)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sa.TimeoutError:
        raise Overloaded from None
    except sa.DBAPIError as error:
        # Refused, gone, locked, deadlocked, full: the database could not do it now. The text
        # of the driver's error has hosts and reasons in it, but neither values nor passwords.
        if not (error.connection_invalidated or isinstance(error, sa.OperationalError)):
            raise
        raise in_own_words(error.orig, broken=error.connection_invalidated) from error


def in_own_words(error: BaseException | None, *, broken: bool) -> Overloaded:
    """Return what an error of the driver is to others, having logged it."""
    _log.warning("database: %s", str(error).strip().replace("\n", "; "))
    if getattr(error, "sqlstate", None) in _CROSSED:
        return Crossed()
    return Disconnected() if broken else Overloaded()


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA busy_timeout = 0")  # waiting is ours to do, see `patiently`
    connection.execute("PRAGMA foreign_keys = ON")
    patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get(_TRANSACTIONAL):
        is_sqlite = connection.dialect.name == "sqlite"
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_sqlite else "BEGIN")


def _execute_patiently(
    cursor: sqlite3.Cursor, statement: str, parameters: Any, _context: object
) -> bool:
    """Execute in place of SQLAlchemy; return that it was done."""
    patiently(lambda: cursor.execute(statement, parameters))
    return True


def _count_read_only_as_broken(context: ExceptionContext) -> None:
    # A primary that was demoted still answers, for as long as we keep talking to it.
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY_TRANSACTION:
        context.is_disconnect = True
