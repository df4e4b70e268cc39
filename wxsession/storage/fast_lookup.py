"""Lookups: one row by its id, which every check of every device asks for.

`PlainLookup` says what a lookup is; `Lookup` is the same in a tenth of the time, and a test
compares the two. A check takes the application about 155 µs of CPU, gunicorn and the kernel
included. What is spared here (``python -m benchmarks.parts``):

======================================  ============  ==============
instead of                              µs            of a check
======================================  ============  ==============
SQLAlchemy, on PostgreSQL               130 to 180    84 % and more
SQLAlchemy, on SQLite                   71 to 74      46 %
psycopg's ``execute(prepare=True)``     33            21 %
psycopg's cursor, one per connection    22            14 %
======================================  ============  ==============

The text, the types, the pool and the connections are SQLAlchemy's all the same. But the text is
made once; PostgreSQL prepares it once for each connection and is asked through libpq, which
psycopg offers as `psycopg.pq`; and psycopg's own loaders read the row.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy import Select

from wxsession.storage.connection_cache import CachedConnection
from wxsession.storage.database import Database
from wxsession.storage.sqlite_busy import retry_while_busy

Row = Sequence[Any]
Answer = Callable[[bytes], Row | None]

_NO_SUCH_STATEMENT = b"26000"
_BINARY = 1
_UUID_TYPE = 2950

_numbers = count()


class PlainLookup:
    """A SELECT of at most one row by a UUID, given as bytes; None if there is no such row."""

    def __init__(self, database: Database, query: Select[Any]) -> None:
        self._database = database
        self._query = query
        (self._parameter,) = query.compile().params

    def __call__(self, key: bytes) -> Row | None:
        """Return the row."""
        with self._database.statement() as connection:
            return connection.execute(self._query, {self._parameter: UUID(bytes=key)}).first()


class Lookup:
    """The same, fast."""

    def __init__(self, database: Database, query: Select[Any]) -> None:
        self._connections = database.connections
        kind = _InPostgresql if database.is_postgresql else _InSqlite
        self._statement: _InPostgresql | _InSqlite = kind(database.engine.dialect, query)

    def __call__(self, key: bytes) -> Row | None:
        """Return the row.

        Raises:
            Overloaded: no connection was available in time, or it broke.
            NotReady: the schema is missing or too old.
        """

        def ask(cached: CachedConnection) -> Row | None:
            answer: Answer | None = cached.info.get(self)
            if answer is None:
                answer = cached.info[self] = self._statement.on(cached.driver)
            return answer(key)

        return self._connections.run(ask)


class _InSqlite:
    """The statement as sqlite3 takes it."""

    def __init__(self, dialect: Any, query: Select[Any]) -> None:
        compiled = query.compile(dialect=dialect)
        self._text = str(compiled)
        types = [column.type.dialect_impl(dialect) for column in query.selected_columns]
        readers = enumerate(type_.result_processor(dialect, None) for type_ in types)
        self._read = [(place, read) for place, read in readers if read is not None]

    def on(self, driver: Any) -> Answer:
        """Return what answers on this connection."""
        return partial(self._ask, driver.cursor())

    def _ask(self, cursor: Any, key: bytes) -> Row | None:
        parameters = (key.hex(),)  # as SQLAlchemy's Uuid writes it where there is no such type
        retry_while_busy(lambda: cursor.execute(self._text, parameters))
        rows: Sequence[Row] = cursor.fetchall()  # to the end, or the cursor keeps its snapshot
        if not rows:
            return None
        row = list(rows[0])
        for place, read in self._read:
            row[place] = read(row[place])
        return row


class _InPostgresql:
    """The statement as libpq takes it: prepared, with a binary parameter and binary results."""

    def __init__(self, dialect: Any, query: Select[Any]) -> None:
        self._name = f"wxsession_{next(_numbers)}".encode()
        numbered = type(dialect)(paramstyle="numeric_dollar")  # $1, as PREPARE has it
        self._text = str(query.compile(dialect=numbered)).encode()
        self._psycopg = dialect.loaded_dbapi
        self._found = self._psycopg.pq.ExecStatus.TUPLES_OK

    def on(self, driver: Any) -> Answer:
        """Return what answers on this connection."""
        # Loaders without a connection give every moment in UTC, whatever the session's time zone,
        # and take text for UTF-8, which `database.connect` makes sure of.
        loaders = self._psycopg.adapt.Transformer()
        if driver.prepare_threshold is None:  # a pooler would lose what is prepared
            return partial(self._ask_unprepared, driver.pgconn, loaders)
        self._prepare(driver.pgconn)
        return partial(self._ask, driver.pgconn, loaders)

    def _ask(self, libpq: Any, loaders: Any, key: bytes) -> Row | None:
        result = self._execute(libpq, key)
        if result.status != self._found and self._is_unprepared(result):
            self._prepare(libpq)  # after a ROLLBACK psycopg deallocates everything
            result = self._execute(libpq, key)
        return self._row(result, loaders)

    def _ask_unprepared(self, libpq: Any, loaders: Any, key: bytes) -> Row | None:
        result = libpq.exec_params(self._text, (key,), (_UUID_TYPE,), (_BINARY,), _BINARY)
        return self._row(result, loaders)

    def _execute(self, libpq: Any, key: bytes) -> Any:
        return libpq.exec_prepared(self._name, (key,), (_BINARY,), _BINARY)

    def _row(self, result: Any, loaders: Any) -> Row | None:
        if result.status != self._found:
            raise self._psycopg.errors.error_from_result(result)
        if not result.ntuples:
            return None
        loaders.set_pgresult(result)
        row: Row = loaders.load_row(0, tuple)
        return row

    def _prepare(self, libpq: Any) -> None:
        result = libpq.prepare(self._name, self._text)
        if result.status != self._psycopg.pq.ExecStatus.COMMAND_OK:
            raise self._psycopg.errors.error_from_result(result)

    def _is_unprepared(self, result: Any) -> bool:
        state = result.error_field(self._psycopg.pq.DiagnosticField.SQLSTATE)
        return bool(state == _NO_SUCH_STATEMENT)
