"""Lookups: one row by its key, asked for by every check of every device.

SQLAlchemy's execution of a statement takes many times as long as the database needs for the
answer, and psycopg's cursors take twice as long. So the text, the types, the pool and the
connections are SQLAlchemy's; but the text is made once, PostgreSQL prepares it once for each
connection and is asked through libpq, and the few types there are get read here.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy import LargeBinary, PoolProxiedConnection, Select, String, Uuid
from sqlalchemy import exc as sa

from wxsession.errors import Disconnected, Overloaded
from wxsession.storage.connection_cache import CachedConnection
from wxsession.storage.database import AT_ONCE_SECONDS, POOL_TIMEOUT_SECONDS, Database, UtcDateTime
from wxsession.storage.failures import no_answer_in_time, translated
from wxsession.storage.pool import wait_for_another
from wxsession.storage.sqlite_busy import retry_while_busy

Row = Sequence[Any]
Answer = Callable[[bytes], Row | None]

_NO_SUCH_STATEMENT = b"26000"
_BINARY_FORMAT = (1,)
_UUID_TYPE = (2950,)

_numbers = count()


class Lookup:
    """A SELECT of at most one row by a UUID, given as bytes; `None` if there is no such row.

    Raises:
        Overloaded: no connection was to be had in time, or it broke.
    """

    def __init__(self, database: Database, query: Select[Any]) -> None:
        self._held = database.held
        self._watchdog = database.watchdog
        self._limits = database.limits
        self._engine = database.engine
        self._driver: Any = self._engine.dialect.loaded_dbapi
        kind = _InPostgresql if database.is_postgresql else _InSqlite
        self._question: _InPostgresql | _InSqlite = kind(self._engine.dialect, query)

    def __call__(self, key: bytes) -> Row | None:
        """Return the row; after a restart every pooled connection is broken, and is tried once."""
        begun = time.monotonic()
        until = begun + self._limits.timeout
        for _ in range(self._limits.pool_size):
            try:
                return self._ask(key, until)
            except Disconnected:
                if time.monotonic() - begun > AT_ONCE_SECONDS:
                    raise
        return self._ask(key, until)

    def _ask(self, key: bytes, until: float) -> Row | None:
        held = self._take()
        driver = held.driver
        self._watchdog.watch(driver, until)
        try:
            answer = held.info.get(self) or self._introduce(held)
            row = answer(key)
        except BaseException as error:
            in_time = self._watchdog.unwatch(driver)
            raise self._failure(held, error, in_time=in_time) from error
        if self._watchdog.unwatch(driver):
            self._held.give_back(held)
        else:  # the answer came just before the connection was cut
            held.connection.invalidate()
            held.connection.close()
        return row

    def _failure(
        self, held: CachedConnection, error: BaseException, *, in_time: bool
    ) -> BaseException:
        """Return what to raise, having left the connection to the pool."""
        broken, meaning = True, None  # whatever else interrupts it, half an answer may be left
        if isinstance(error, self._driver.Error):
            broken = self._engine.dialect.is_disconnect(error, held.connection, None)
            meaning = translated(error, broken=broken) if in_time else no_answer_in_time()
        if broken or not in_time:
            held.connection.invalidate()
        held.connection.close()
        return meaning or error

    def _take(self) -> CachedConnection:
        deadline = time.monotonic() + POOL_TIMEOUT_SECONDS
        while True:
            try:
                return self._held.take()
            except sa.TimeoutError:
                raise Overloaded from None
            except self._driver.Error as error:
                if not wait_for_another(self._engine.pool, error, deadline):
                    raise translated(error, broken=False) or error from error

    def _introduce(self, held: CachedConnection) -> Answer:
        """Return what answers on this connection, which remembers it for as long as it lives."""
        answer = held.info[self] = self._question.on(held.connection)
        return answer


class _InSqlite:
    """The question as sqlite3 takes it."""

    def __init__(self, dialect: Any, query: Select[Any]) -> None:
        compiled = query.compile(dialect=dialect)
        self._text = str(compiled)
        types = [column.type.dialect_impl(dialect) for column in query.selected_columns]
        self._read = [type_.result_processor(dialect, None) for type_ in types]

    def on(self, connection: PoolProxiedConnection) -> Answer:
        return partial(self._ask, connection.cursor())

    def _ask(self, cursor: Any, key: bytes) -> Row | None:
        parameters = (key.hex(),)  # as SQLAlchemy's Uuid writes it where there is no such type
        retry_while_busy(lambda: cursor.execute(self._text, parameters))
        rows: Sequence[Row] = cursor.fetchall()  # to the end, or the cursor keeps its snapshot
        if not rows:
            return None
        pairs = zip(self._read, rows[0], strict=True)
        return [read(value) if read is not None else value for read, value in pairs]


class _InPostgresql:
    """The question as libpq takes it: prepared, with a binary parameter and binary results."""

    def __init__(self, dialect: Any, query: Select[Any]) -> None:
        self._name = f"wxsession_{next(_numbers)}".encode()
        numbered = type(dialect)(paramstyle="numeric_dollar")  # $1, as PREPARE has it
        self._text = str(query.compile(dialect=numbered)).encode()
        self._read = list(enumerate(_BINARY[type(each.type)] for each in query.selected_columns))
        self._psycopg = dialect.loaded_dbapi
        self._found = self._psycopg.pq.ExecStatus.TUPLES_OK

    def on(self, connection: PoolProxiedConnection) -> Answer:
        driver: Any = connection.dbapi_connection
        if driver.prepare_threshold is None:  # a pooler would lose what is prepared
            return partial(self._ask_unprepared, driver.pgconn)
        self._prepare(driver.pgconn)
        return partial(self._ask, driver.pgconn)

    def _ask(self, libpq: Any, key: bytes) -> Row | None:
        found = libpq.exec_prepared(self._name, (key,), _BINARY_FORMAT, 1)
        if found.status != self._found:
            found = self._ask_again(libpq, key, found)
        return self._row(found)

    def _ask_unprepared(self, libpq: Any, key: bytes) -> Row | None:
        found = libpq.exec_params(self._text, (key,), _UUID_TYPE, _BINARY_FORMAT, 1)
        self._ensure(found, "TUPLES_OK")
        return self._row(found)

    def _row(self, found: Any) -> Row | None:
        if not found.ntuples:
            return None
        value_of = found.get_value
        return [
            None if (value := value_of(0, column)) is None else read(value)
            for column, read in self._read
        ]

    def _ask_again(self, libpq: Any, key: bytes, failed: Any) -> Any:
        if self._is_unprepared(failed):  # after a ROLLBACK psycopg deallocates everything
            self._prepare(libpq)
            failed = libpq.exec_prepared(self._name, (key,), _BINARY_FORMAT, 1)
        self._ensure(failed, "TUPLES_OK")
        return failed

    def _prepare(self, libpq: Any) -> None:
        self._ensure(libpq.prepare(self._name, self._text), "COMMAND_OK")

    def _is_unprepared(self, result: Any) -> bool:
        pq = self._psycopg.pq
        if result.status != pq.ExecStatus.FATAL_ERROR:
            return False
        return bool(result.error_field(pq.DiagnosticField.SQLSTATE) == _NO_SUCH_STATEMENT)

    def _ensure(self, result: Any, wanted: str) -> None:
        if result.status != self._psycopg.pq.ExecStatus[wanted]:
            raise self._psycopg.errors.error_from_result(result)


def _moment(sent: bytes) -> datetime:
    return _MILLENNIUM + int.from_bytes(sent, signed=True) * _MICROSECOND


def _uuid(sent: bytes) -> UUID:
    return UUID(bytes=sent)


_MILLENNIUM = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Source: uuid_send, byteasend, textsend and timestamptz_send in PostgreSQL; the connection's
# encoding is UTF-8, see `db.connect`.
_BINARY: Mapping[type, Callable[[bytes], object]] = {
    Uuid: _uuid,
    LargeBinary: bytes,
    String: bytes.decode,
    UtcDateTime: _moment,
}
