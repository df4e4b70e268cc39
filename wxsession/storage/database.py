"""The database: metadata, column types, and connections to PostgreSQL or SQLite.

PostgreSQL is used through psycopg 3, SQLite as a file in WAL mode. A connection is always in
autocommit mode, so that a single statement costs a single round trip and stays prepared; a
transaction sends its own BEGIN. For SQLite that is BEGIN IMMEDIATE: a deferred transaction whose
first write comes after a read may be refused at once, however long it could wait.
"""

import json
import logging
import math
import os
import secrets
import sqlite3
import stat
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

from sqlalchemy import (
    URL,
    Connection,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from wxsession.errors import Crossed, Disconnected
from wxsession.storage.connection_cache import ConnectionCache
from wxsession.storage.pool import POOL_TIMEOUT_SECONDS, SharingPool
from wxsession.storage.postgresql import SERVER_LIMITS, Opener, network_options
from wxsession.storage.sqlite_busy import retry_while_busy
from wxsession.storage.statements import BEGIN, Rows, Statement, Values
from wxsession.storage.transaction import Transaction
from wxsession.storage.watchdog import Unwatched, Watchdog

Executor = Connection | Transaction
"""Runs a statement, inside a transaction or by itself."""

T = TypeVar("T")

SCHEMA_REVISION = "20261129_02"
"""The oldest schema that this code can work with; revisions sort by their dates."""

TABLE_PREFIX = "wxsession_"
"""How the name of every table begins: a host application may have tables in the same database."""
REVISION_TABLE = f"{TABLE_PREFIX}version"
"""Where the schema's revision is: `alembic_version` may be the host's."""

_ATTEMPTS = 4
_RETRY_SECONDS = 1.5  # PostgreSQL looks for deadlocks after one second

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
        """Return the moment in the form of the database.

        Raises:
            ValueError: it is naive.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[Any], datetime | None]:
        """Return the function that converts a value of the driver to a moment in UTC."""
        del coltype  # the same for every column
        return _moment_of_aware if dialect.name == "postgresql" else _moment_of_text


class Json(TypeDecorator[Mapping[str, str]]):
    """Texts by name, as the text of a JSON object: nobody searches in it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, str] | None, dialect: Dialect) -> str | None:
        """Return the text, None for nothing."""
        del dialect  # the same for every one
        return None if value is None else json.dumps(dict(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Mapping[str, str] | None:
        """Return the object, None for nothing."""
        del dialect
        return None if value is None else json.loads(value)


class transaction_time(FunctionElement[datetime]):  # noqa: N801 - a function of SQL
    """The time of the database's clock at which the transaction began; in SQLite, the statement."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(transaction_time, "postgresql")
def _now(_element: transaction_time, _compiler: SQLCompiler, **_options: object) -> str:
    return "now()"


@compiles(transaction_time, "sqlite")
def _now_as_text(_element: transaction_time, _compiler: SQLCompiler, **_options: object) -> str:
    return "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')"  # as UtcDateTime writes a moment


def _moment_of_aware(value: datetime | None) -> datetime | None:
    return None if value is None else value.astimezone(UTC)


def _moment_of_text(value: str | None) -> datetime | None:
    # Parsed directly, not by DateTime and `replace(tzinfo=UTC)`: a check on SQLite reads four
    # moments, and that would take 2 % of its time.
    return None if value is None else datetime.fromisoformat(value + "+00:00")


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562, 5.7): new rows are adjacent in the index; ids are unguessable.

    They are in the order in which a thread makes them (6.2, method 3: twelve bits are the fraction
    of the millisecond), and 62 bits are random.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    return uuid7(milliseconds, rest * 4096 // 1_000_000 << 64 | secrets.randbits(62))


def uuid7(milliseconds: int, rest: int) -> UUID:
    """Return the UUIDv7 of a Unix time and of `rest`, 80 bits of which 74 are used."""
    number = milliseconds << 80 | rest
    number = number & ~(0xF << 76) | 0x7 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)


def retry_on_disconnect(action: Callable[[], T]) -> T:
    """Run an action that may run twice, and run it again after a lost connection or a conflict.

    After a restart of the database every pooled connection is broken, and the first requests to
    use them would fail; so would the transaction that is chosen to end a deadlock. An action that
    has already taken long is not run again.
    """
    begun = time.monotonic()
    attempts = 1
    while True:
        try:
            return action()
        except (Crossed, Disconnected):
            if attempts == _ATTEMPTS or time.monotonic() - begun > _RETRY_SECONDS:
                raise
        attempts += 1


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one process at the database; `timeout` is in seconds."""

    pool_size: int = 16
    timeout: float = 5.0
    prepared_statements: bool = True


@dataclass(frozen=True)
class Database:
    """Runs single statements and transactions.

    Except for a long transaction, nothing waits for the database longer than the limits' timeout.
    """

    engine: Engine
    """Its connections are in autocommit mode."""
    connections: ConnectionCache
    limits: Limits

    @property
    def is_postgresql(self) -> bool:
        """Whether this is PostgreSQL, which has row locks and advisory locks, unlike SQLite."""
        return self.engine.dialect.name == "postgresql"

    def read(self, statement: Statement, values: Values) -> Rows:
        """Return the rows of a statement that only reads: it may be executed several times.

        Raises:
            Overloaded: no connection was available in time, or it broke.
            NotReady: the schema is missing or too old.
        """
        try:
            return self.run(statement, values)
        except (Crossed, Disconnected):
            return retry_on_disconnect(lambda: self.run(statement, values))

    def run(self, statement: Statement, values: Values) -> Rows:
        """Return the rows of a statement that stands by itself: there is no BEGIN and no COMMIT.

        Raises:
            Overloaded: no connection was available in time, or it broke.
            NotReady: the schema is missing or too old.
        """
        return self.connections.run(statement, values, time.monotonic() + self.limits.timeout)

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """Yield SQLAlchemy's connection in autocommit mode: there is no BEGIN and no COMMIT.

        Raises:
            Overloaded: no connection was available in time, or it broke.
            NotReady: the schema is missing or too old.
        """
        with self.connections.one(time.monotonic() + self.limits.timeout) as cached:
            yield cached.core()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Yield a transaction; it is committed at the end, or rolled back by an exception.

        Raises:
            Overloaded: no connection was available in time, or it broke.
            NotReady: the schema is missing or too old.
        """
        with self.connections.one(time.monotonic() + self.limits.timeout) as cached:
            transaction = Transaction(cached, is_postgresql=self.is_postgresql)
            try:
                yield transaction
                transaction.commit()
            except BaseException:
                transaction.roll_back()
                raise
        transaction.call_after_commit()

    @contextmanager
    def long_transaction(self) -> Iterator[Connection]:
        """Yield a connection inside a transaction without a time limit; only for commands.

        Raises:
            Overloaded: no connection was available in time, or it broke.
            NotReady: the schema is missing or too old.
        """
        with self.connections.one(math.inf) as cached, cached.core().begin() as begun:
            cached.runner.run(BEGIN, {})
            connection = begun.connection
            if self.is_postgresql:
                connection.execute(select(*(func.set_config(n, "0", True) for n in SERVER_LIMITS)))  # noqa: FBT003 - in this transaction alone
            yield connection

    def now(self) -> datetime:
        """Return the time of the database's clock; for SQLite this is the host's clock.

        Raises:
            Overloaded: the database did not answer in time.
        """
        if not self.is_postgresql:
            return datetime.now(UTC)
        with self.statement() as connection:
            moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)

    def in_use(self) -> int:
        """Return how many connections somebody uses at this moment."""
        pool = cast("SharingPool", self.engine.pool)
        return max(0, pool.checkedout() - self.connections.idle)

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.connections.release()
        self.engine.dispose()


def read_by_index(connection: Executor) -> None:
    """Let no statement of this transaction read a table from end to end if an index leads to it.

    Where many rows may be found, PostgreSQL would rather do that, and stop when it has enough. But
    what is looked for may be the newest, at the very end of the table.
    """
    core = connection.connection if isinstance(connection, Transaction) else connection
    if core.dialect.name == "postgresql":
        core.execute(select(func.set_config("enable_seqscan", "off", True)))  # noqa: FBT003 - in this transaction alone


def upsert(database: "Database | Transaction", table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that supports ON CONFLICT, in the dialect of the database."""
    return postgresql.insert(table) if database.is_postgresql else sqlite.insert(table)


def connect(url: str | URL, limits: Limits = Limits()) -> Database:
    """Return the database at `url`; a connection is opened when the first one is needed.

    Connections are never shared with a forked child: each process opens its own.
    """
    parsed = make_url(url)
    is_postgresql = parsed.get_backend_name() == "postgresql"
    options: dict[str, object] = {
        "hide_parameters": True,  # an error may be logged, and the values may be secrets
        "poolclass": SharingPool,
        "pool_timeout": POOL_TIMEOUT_SECONDS,
        "pool_size": limits.pool_size,
        "max_overflow": 0,
        "pool_reset_on_return": None,  # no ROLLBACK needed: `transaction` ends what it begins
    }
    if is_postgresql:
        defaults = {"application_name": "wxsession", **network_options(limits.timeout)}
        options["connect_args"] = {
            **{k: v for k, v in defaults.items() if k not in parsed.query},
            "client_encoding": "utf8",  # whatever the URL says: `statements` reads bytes
        }
        options |= {"pool_use_lifo": True, "pool_recycle": 1800}
    else:
        path = Path(parsed.database or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.name == "posix" and path.is_file() and path.stat().st_mode & stat.S_IROTH:
            _log.warning("every user of this machine can read %s; run chmod o-r on it", path)
    engine = create_engine(parsed, isolation_level="AUTOCOMMIT", **options)
    watchdog = Watchdog() if is_postgresql else Unwatched()
    connections = ConnectionCache(engine, watchdog, pool_size=limits.pool_size)
    watchdog.at_each_look(connections.tick)
    if is_postgresql:
        opener = Opener(watchdog, timeout=limits.timeout, prepares=limits.prepared_statements)
        event.listen(engine, "do_connect", opener.connect)
    else:
        event.listen(engine, "do_connect", _make_private)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "do_execute", _execute_with_retries)
    _forget_in_children(connections, watchdog)
    return Database(engine, connections, limits)


def _forget_in_children(*parts: ConnectionCache | Watchdog) -> None:
    # Weak references, because a handler cannot be removed and would keep every database alive.
    known = [weakref.ref(part) for part in parts]

    def forget() -> None:
        for ref in known:
            if (part := ref()) is not None:
                part.forget()

    if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
        os.register_at_fork(after_in_child=forget)


def _make_private(
    _dialect: Dialect, _entry: ConnectionPoolEntry, arguments: list[str], _options: object
) -> None:
    """Create the file, if it is missing, readable by its owner only, as then are -wal and -shm."""
    if not arguments[0].startswith("file:"):
        with suppress(OSError):  # the file exists, or SQLite reports the error
            os.close(os.open(arguments[0], os.O_CREAT | os.O_EXCL, 0o600))


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA busy_timeout = 0")  # `retry_while_busy` waits instead
    connection.execute("PRAGMA foreign_keys = ON")
    retry_while_busy(lambda: connection.execute("PRAGMA journal_mode = WAL"))


def _execute_with_retries(
    cursor: sqlite3.Cursor, statement: str, parameters: Any, _context: object
) -> bool:
    """Execute in place of SQLAlchemy, which True stops from doing it again."""
    retry_while_busy(lambda: cursor.execute(statement, parameters))
    return True
