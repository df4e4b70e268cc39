"""A transaction that waits for the database as rarely as possible.

What is sent is not executed before a result is needed or the transaction ends. Then it travels
together, to PostgreSQL in one round trip, with BEGIN before it and COMMIT behind it if their time
has come.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable

from wxsession.storage.connection_cache import CachedConnection
from wxsession.storage.statements import BEGIN, COMMIT, Command, Row, Rows, Statement, Values


class Reply:
    """The rows of a statement that was sent; reading them executes all that was sent so far."""

    def __init__(self, transaction: "Transaction") -> None:
        self._transaction = transaction
        self.received: Rows | None = None

    @property
    def rows(self) -> Rows:
        """The rows."""
        if self.received is None:
            self._transaction.flush()
        assert self.received is not None  # noqa: S101 - `flush` receives all replies
        return self.received

    def first(self) -> Row | None:
        """Return the first row, or None if there is none."""
        rows = self.rows
        return rows[0] if rows else None


class Transaction:
    """A transaction on one connection; it begins with its first statement."""

    def __init__(self, cached: CachedConnection, *, is_postgresql: bool) -> None:
        self.is_postgresql = is_postgresql
        self._cached = cached
        self._core: Connection | None = None
        self._has_begun = False
        self._sent: list[tuple[Statement, Values, Reply]] = []
        self._afterwards: list[Callable[[], None]] = []

    def send(self, statement: Statement, values: Values) -> Reply:
        """Execute a statement by the time its rows are read or the transaction ends.

        Statements are executed in their order; each sees what those before it wrote.
        """
        reply = Reply(self)
        self._sent.append((statement, values, reply))
        return reply

    def run(self, statement: Statement, values: Values) -> Rows:
        """Execute all that was sent and a statement; return its rows."""
        return self.send(statement, values).rows

    def execute(
        self,
        statement: Executable,
        values: Values | Sequence[Values] | None = None,
    ) -> CursorResult[Any]:
        """Execute all that was sent, and then a statement of SQLAlchemy's; return its result."""
        return self.connection.execute(statement, values)

    @property
    def connection(self) -> Connection:
        """The connection as SQLAlchemy has it, inside this transaction."""
        self._execute_sent()
        if self._core is None:
            self._core = self._cached.core()
        return self._core

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call something when the transaction is committed and its connection given back."""
        self._afterwards.append(call)

    def call_after_commit(self) -> None:
        """Make the calls that were asked for."""
        for call in self._afterwards:
            call()

    def flush(self) -> None:
        """Execute all that was sent."""
        if self._sent:
            self._execute_sent()

    def commit(self) -> None:
        """Execute all that was sent, and commit."""
        if self._sent or self._has_begun:
            self._execute_sent((COMMIT, {}))

    def roll_back(self) -> None:
        """Undo everything, if the connection is whole."""
        if self._has_begun:
            self._cached.runner.roll_back()

    def _execute_sent(self, *last: Command) -> None:
        sent, self._sent = self._sent, []
        first: Sequence[Command] = () if self._has_begun else ((BEGIN, {}),)
        self._has_begun = True
        commands = [*first, *((statement, values) for statement, values, _ in sent), *last]
        if commands:
            answers = self._cached.runner.run_all(commands)[len(first) :]
            for (_, _, reply), rows in zip(sent, answers, strict=False):  # COMMIT has none
                reply.received = rows
