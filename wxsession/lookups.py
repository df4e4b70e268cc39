"""Lookups: one row by its key, asked for by every check of every device.

SQLAlchemy's execution of a statement takes many times as long as the database needs for the
answer, and psycopg's cursors take twice as long. So the text, the types, the pool and the
connections are SQLAlchemy's; but the text is made once, PostgreSQL prepares it once for each
connection and is asked through libpq, and the few types there are get read here.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy import LargeBinary, PoolProxiedConnection, Select, String, Uuid
from sqlalchemy import exc as sa

from wxsession.db import (
    POOL_OVERFLOW,
    POOL_SIZE,
    Database,
    UtcDateTime,
    in_own_words,
    patiently,
)
from wxsession.errors import Disconnected, Overloaded

Row = Sequence[Any]

_NO_SUCH_STATEMENT = b"26000"

_numbers = count()


class Lookup:
    """A SELECT of at most one row, whose one parameter is a UUID; `None` if there is no such row.

    Raises:
        Overloaded: no connection was to be had in time, or it broke.
    """

    def __init__(self, database: Database, query: Select[Any]) -> None:
        self._engine = database.engine
        self._driver = self._engine.dialect.loaded_dbapi
        kind = _InPostgresql if database.is_postgresql else _InSqlite
        self._question: _InPostgresql | _InSqlite = kind(self._engine.dialect, query)

    def __call__(self, key: UUID) -> Row | None:
        """Return the row; after a restart every pooled connection is broken, and is tried once."""
        others = POOL_SIZE + POOL_OVERFLOW
        while True:
            try:
                return self._ask(key)
            except Disconnected:
                others -= 1
                if others < 0:
                    raise

    def _ask(self, key: UUID) -> Row | None:
        connection = None
        try:
            connection = self._engine.pool.connect()
            return self._question.ask(connection, key)
        except sa.TimeoutError:
            raise Overloaded from None
        except self._driver.Error as error:
            broken = self._engine.dialect.is_disconnect(error, connection, None)
            if connection is not None and broken:
                connection.invalidate(error)
            elif not isinstance(error, self._driver.OperationalError):
                raise
            raise in_own_words(error, broken=broken) from error
        finally:
            if connection is not None:
                connection.close()


class _InSqlite:
    """The question as sqlite3 takes it."""

    def __init__(self, dialect: Any, query: Select[Any]) -> None:
        compiled = query.compile(dialect=dialect)
        self._text = str(compiled)
        self._write: Any = Uuid().dialect_impl(dialect).bind_processor(dialect)
        types = [column.type.dialect_impl(dialect) for column in query.selected_columns]
        self._read = [type_.result_processor(dialect, None) for type_ in types]

    def ask(self, connection: PoolProxiedConnection, key: UUID) -> Row | None:
        if (cursor := connection.info.get(self)) is None:
            cursor = connection.info[self] = connection.cursor()
        parameters = (self._write(key),)
        patiently(lambda: cursor.execute(self._text, parameters))
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

    def ask(self, connection: PoolProxiedConnection, key: UUID) -> Row | None:
        libpq = connection.dbapi_connection.pgconn  # type: ignore[union-attr]
        if self not in connection.info:
            self._prepare(libpq)
            connection.info[self] = True
        found = self._execute(libpq, key)
        if self._is_unprepared(found):  # after a ROLLBACK psycopg deallocates everything
            self._prepare(libpq)
            found = self._execute(libpq, key)
        self._ensure(found, "TUPLES_OK")
        if not found.ntuples:
            return None
        value_of = found.get_value
        return [
            None if (value := value_of(0, column)) is None else read(value)
            for column, read in self._read
        ]

    def _prepare(self, libpq: Any) -> None:
        self._ensure(libpq.prepare(self._name, self._text), "COMMAND_OK")

    def _execute(self, libpq: Any, key: UUID) -> Any:
        return libpq.exec_prepared(self._name, [key.bytes], [1], 1)

    def _is_unprepared(self, result: Any) -> bool:
        pq = self._psycopg.pq
        if result.status != pq.ExecStatus.FATAL_ERROR:
            return False
        return bool(result.error_field(pq.DiagnosticField.SQLSTATE) == _NO_SUCH_STATEMENT)

    def _ensure(self, result: Any, wanted: str) -> None:
        if result.status != self._psycopg.pq.ExecStatus[wanted]:
            raise self._psycopg.errors.error_from_result(result)


def _moment(sent: bytes) -> datetime:
    return _MILLENNIUM + timedelta(microseconds=int.from_bytes(sent, signed=True))


def _uuid(sent: bytes) -> UUID:
    return UUID(bytes=sent)


_MILLENNIUM = datetime(2000, 1, 1, tzinfo=UTC)

# Source: uuid_send, byteasend, textsend and timestamptz_send in PostgreSQL; the connection's
# encoding is UTF-8, see `db.connect`.
_BINARY: Mapping[type, Callable[[bytes], object]] = {
    Uuid: _uuid,
    LargeBinary: bytes,
    String: bytes.decode,
    UtcDateTime: _moment,
}
