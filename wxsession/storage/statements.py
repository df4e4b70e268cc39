"""Statements that are built once and executed at the price of the driver.

Every check, login, refresh and logout consists of these. What a statement means, SQLAlchemy's
`Connection.execute` says, and a test compares the two. It compiles the text here too, once, and
converts the values. But PostgreSQL prepares the text once for each connection and is asked through
libpq, which psycopg offers as `psycopg.pq`; psycopg's own dumpers and loaders write the parameters
and read the rows. Several statements travel together, in libpq's pipeline mode, and the caller
waits once for all of them. A check takes the application about 155 µs of CPU, gunicorn and the
kernel included. What is spared here (``python -m benchmarks.parts``):

======================================  ============  ==============
instead of                              µs            of a check
======================================  ============  ==============
SQLAlchemy, on PostgreSQL               130 to 180    84 % and more
SQLAlchemy, on SQLite                   71 to 74      46 %
psycopg's ``execute(prepare=True)``     33            21 %
psycopg's cursor, one per connection    22            14 %
======================================  ============  ==============
"""

import selectors
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from sqlalchemy import (
    Delete,
    Dialect,
    Insert,
    Integer,
    Select,
    Table,
    Update,
    bindparam,
    insert,
)
from sqlalchemy.types import NullType

from wxsession.storage.sqlite_busy import retry_while_busy

Values = Mapping[str, Any]
Row = Sequence[Any]
Rows = Sequence[Row]

_NO_SUCH_STATEMENT = "26000"
_BINARY = 1
_PAUSE = 0.01
_SELECTOR = getattr(selectors, "PollSelector", selectors.SelectSelector)  # Windows has no poll

_numbers = count()


class Control(NamedTuple):
    """A statement about transactions: it has no parameters and no rows, and is not prepared."""

    postgresql: str
    sqlite: str


Core = Select[Any] | Insert | Update | Delete | Control
"""What SQLAlchemy calls a statement."""


class Statement:
    """A statement with named parameters."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.name = f"wxsession_{next(_numbers)}".encode()
        self.forms: dict[str, Any] = {}
        """What the runners of each dialect make of it, once."""


def inserting(table: Table, *columns: str) -> Statement:
    """Return the INSERT of a row with these columns, or with all of them if none is named."""
    return Statement(insert(table).values(row_of(table, *columns)))


def row_of(table: Table, *columns: str) -> dict[str, Any]:
    """Return parameters for these columns of an INSERT, each with the name of its column."""
    return {name: bindparam(name) for name in columns or table.c.keys()}


BEGIN = Statement(Control("BEGIN", "BEGIN IMMEDIATE"))
COMMIT = Statement(Control("COMMIT", "COMMIT"))

Command = tuple[Statement, Values]


Listener = Callable[[str, str], None]
"""Is told "before" and "after" with the text of each statement."""


class Runner(ABC):
    """Executes statements on one connection of the driver."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    @property
    @abstractmethod
    def is_idle(self) -> bool:
        """Whether there is no transaction on the connection, and no half of an answer."""

    @abstractmethod
    def roll_back(self) -> None:
        """Undo the transaction, if one is under way."""

    def run(self, statement: Statement, values: Values) -> Rows:
        """Return the rows of a statement."""
        if self._listeners:
            return self._run_overheard([(statement, values)])[0]
        return self._run(statement, values)

    def run_all(self, commands: Sequence[Command]) -> Sequence[Rows]:
        """Return the rows of each statement; after one that fails no other is executed."""
        if self._listeners:
            return self._run_overheard(commands)
        return self._run_all(commands)

    def _run_overheard(self, commands: Sequence[Command]) -> Sequence[Rows]:
        self._tell("before", commands)
        rows = self._run_all(commands)
        self._tell("after", commands)
        return rows

    def _tell(self, moment: str, commands: Sequence[Command]) -> None:
        for statement, _ in commands:
            for listener in self._listeners:
                listener(moment, self._text(statement))

    @abstractmethod
    def _run(self, statement: Statement, values: Values) -> Rows: ...

    @abstractmethod
    def _run_all(self, commands: Sequence[Command]) -> Sequence[Rows]: ...

    @abstractmethod
    def _text(self, statement: Statement) -> str: ...


def runner(dialect: Dialect, driver: Any, listeners: Sequence[Listener]) -> Runner:
    """Return the runner of a connection of this dialect's driver."""
    kind = PostgresqlRunner if dialect.name == "postgresql" else SqliteRunner
    return kind(dialect, driver, listeners)


class _Form(NamedTuple):
    """A statement as a driver takes it."""

    text: str
    parameters: Sequence[tuple[str | None, Callable[[Any], Any] | None, Any]]
    """For each place: the parameter and its conversion; or None, and its fixed value."""
    types: Sequence[Any]
    """The types of the parameters."""
    readers: Sequence[tuple[int, Callable[[Any], Any]]]
    """The columns of the rows that are converted."""

    @classmethod
    def of(cls, core: Core, dialect: Dialect) -> "_Form":
        if isinstance(core, Control):
            return cls(getattr(core, dialect.name), (), (), ())
        compiled: Any = core.compile(dialect=dialect)
        binds = [compiled.binds[name] for name in compiled.positiontup or ()]
        types = [bind.type.dialect_impl(dialect) for bind in binds]
        parameters = [
            (bind.key, convert, None)
            if bind.required
            else (None, None, bind.value if convert is None else convert(bind.value))
            for bind, convert in zip(
                binds, (type_.bind_processor(dialect) for type_ in types), strict=True
            )
        ]
        columns = core.selected_columns if isinstance(core, Select) else core.exported_columns
        readers = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
        ]
        converted = [(place, read) for place, read in enumerate(readers) if read is not None]
        return cls(str(compiled), parameters, types, converted)

    def arguments(self, values: Values) -> list[Any]:
        """Return the value for each place, as the driver takes it."""
        return [
            fixed if name is None else values[name] if convert is None else convert(values[name])
            for name, convert, fixed in self.parameters
        ]


class SqliteRunner(Runner):
    """Executes statements with sqlite3."""

    def __init__(
        self, dialect: Dialect, driver: sqlite3.Connection, listeners: Sequence[Listener]
    ) -> None:
        super().__init__(listeners)
        self._dialect = dialect
        self._driver = driver
        self._cursor = driver.cursor()

    @property
    def is_idle(self) -> bool:
        """Whether there is no transaction on the connection."""
        return not self._driver.in_transaction

    def _run(self, statement: Statement, values: Values) -> Rows:
        form = self._form(statement)
        arguments = form.arguments(values)
        retry_while_busy(lambda: self._cursor.execute(form.text, arguments))
        rows: Rows = self._cursor.fetchall()  # to the end, or the cursor keeps its snapshot
        if not (rows and form.readers):
            return rows
        converted = [list(row) for row in rows]
        for row in converted:
            for place, read in form.readers:
                row[place] = read(row[place])
        return converted

    def _run_all(self, commands: Sequence[Command]) -> Sequence[Rows]:
        return [self._run(statement, values) for statement, values in commands]

    def _text(self, statement: Statement) -> str:
        return self._form(statement).text

    def _form(self, statement: Statement) -> _Form:
        form: _Form | None = statement.forms.get("sqlite")
        if form is None:
            form = statement.forms["sqlite"] = _Form.of(statement.core, self._dialect)
        return form

    def roll_back(self) -> None:
        """Undo the transaction, if one is under way."""
        if self._driver.in_transaction:
            self._cursor.execute("ROLLBACK")


class _PostgresqlForm(NamedTuple):
    """The same for libpq: the formats as psycopg's dumpers and as libpq have them."""

    text: bytes
    arguments: Callable[[Values], list[Any]]
    formats: Sequence[Any]
    wire_formats: Sequence[int]
    is_prepared: bool


class PostgresqlRunner(Runner):
    """Executes statements with libpq: prepared, with binary results."""

    def __init__(self, dialect: Any, driver: Any, listeners: Sequence[Listener]) -> None:
        super().__init__(listeners)
        self._dialect = type(dialect)(paramstyle="numeric_dollar")  # $1, as PREPARE has it
        self._psycopg = dialect.loaded_dbapi
        self._pq = self._psycopg.pq
        self._driver = driver
        self._libpq = driver.pgconn
        self._prepared: dict[Statement, _PostgresqlForm] = {}
        # Loaders without a connection give every moment in UTC, whatever the session's time zone,
        # and take text for UTF-8, which `database.connect` makes sure of.
        self._transformer = self._psycopg.adapt.Transformer()
        self._good = (self._pq.ExecStatus.TUPLES_OK, self._pq.ExecStatus.COMMAND_OK)
        self._readable = _SELECTOR()
        self._readable.register(self._libpq.socket, selectors.EVENT_READ)

    @property
    def is_idle(self) -> bool:
        """Whether there is no transaction on the connection, and no half of an answer."""
        return bool(
            self._libpq.transaction_status == self._pq.TransactionStatus.IDLE
            and self._libpq.pipeline_status == self._pq.PipelineStatus.OFF
        )

    def _run(self, statement: Statement, values: Values) -> Rows:
        form = self._prepared.get(statement)
        if form is None:
            form = self._form(statement)
            if not self._prepares(form):
                dumped = self._transformer.dump_sequence(form.arguments(values), form.formats)
                return self._rows(
                    self._libpq.exec_params(form.text, dumped, None, form.wire_formats, _BINARY)
                )
            self._ensure_good(self._libpq.prepare(statement.name, form.text))
            self._prepared[statement] = form
        dumped = self._transformer.dump_sequence(form.arguments(values), form.formats)
        return self._rows(
            self._libpq.exec_prepared(statement.name, dumped, form.wire_formats, _BINARY)
        )

    def _run_all(self, commands: Sequence[Command]) -> Sequence[Rows]:
        if len(commands) == 1:
            return [self._run(*commands[0])]
        self._libpq.enter_pipeline_mode()
        new = self._send_preparations(statement for statement, _ in commands)
        for statement, values in commands:
            self._send(statement, values)
        self._libpq.pipeline_sync()
        results = self._results()
        self._libpq.exit_pipeline_mode()
        for (statement, form), result in zip(new.items(), results, strict=False):
            self._ensure_good(result)
            self._prepared[statement] = form
        return [self._rows(result) for result in results[len(new) :]]

    def roll_back(self) -> None:
        """Undo the transaction, if one is under way."""
        states = self._pq.TransactionStatus
        if self._libpq.transaction_status in {states.INTRANS, states.INERROR}:
            self._ensure_good(self._libpq.exec_(b"ROLLBACK"))

    def _text(self, statement: Statement) -> str:
        return self._form(statement).text.decode()

    def _form(self, statement: Statement) -> _PostgresqlForm:
        form: _PostgresqlForm | None = statement.forms.get("postgresql")
        if form is None:
            plain = _Form.of(statement.core, self._dialect)
            # An integer has as many bytes in psycopg's binary form as it needs, and in
            # PostgreSQL's as its column has.
            formats = [
                self._pq.Format.TEXT
                if isinstance(type_, Integer | NullType)
                else self._pq.Format.BINARY
                for type_ in plain.types
            ]
            dumper = self._psycopg.adapt.PyFormat
            form = statement.forms["postgresql"] = _PostgresqlForm(
                plain.text.encode(),
                plain.arguments,
                [dumper.from_pq(format_) for format_ in formats],
                [int(format_) for format_ in formats],
                is_prepared=not isinstance(statement.core, Control),
            )
        return form

    def _send_preparations(
        self, statements: Iterable[Statement]
    ) -> Mapping[Statement, _PostgresqlForm]:
        """Prepare the statements that are not; return them in the order of the results."""
        new = {
            one: form
            for one in statements
            if one not in self._prepared and self._prepares(form := self._form(one))
        }
        for statement, form in new.items():
            self._libpq.send_prepare(statement.name, form.text)
        return new

    def _send(self, statement: Statement, values: Values) -> None:
        form, libpq = self._form(statement), self._libpq
        dumped = self._transformer.dump_sequence(form.arguments(values), form.formats)
        if self._prepares(form):
            libpq.send_query_prepared(statement.name, dumped, form.wire_formats, _BINARY)
        else:
            libpq.send_query_params(form.text, dumped, None, form.wire_formats, _BINARY)

    def _prepares(self, form: _PostgresqlForm) -> bool:
        """Return whether a statement is prepared; a pooler may lose what is."""
        return form.is_prepared and self._driver.prepare_threshold is not None

    def _results(self) -> list[Any]:
        """Return what the server answers until the end of the pipeline."""
        libpq, end = self._libpq, self._pq.ExecStatus.PIPELINE_SYNC
        results: list[Any] = []
        while True:
            while libpq.is_busy():
                is_sent = libpq.flush() == 0
                self._readable.select(None if is_sent else _PAUSE)
                libpq.consume_input()
            result = libpq.get_result()
            if result is None:  # the end of one statement's results
                if libpq.status == self._pq.ConnStatus.BAD:
                    raise self._psycopg.OperationalError("the connection was lost")
            elif result.status == end:
                return results
            else:
                results.append(result)

    def _rows(self, result: Any) -> Rows:
        self._ensure_good(result)
        if not result.ntuples:
            return ()
        self._transformer.set_pgresult(result)
        rows: Rows = self._transformer.load_rows(0, result.ntuples, tuple)
        return rows

    def _ensure_good(self, result: Any) -> None:
        if result.status not in self._good:
            error = self._psycopg.errors.error_from_result(result)
            if error.sqlstate == _NO_SUCH_STATEMENT:  # psycopg deallocates all after a ROLLBACK
                self._prepared.clear()
            raise error
