"""A transaction that saves round trips: writes wait for each other, and travel as one statement."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable, Insert, Update, bindparam

Values = Mapping[str, Any]


class Transaction:
    """A connection on which everything happens, or nothing.

    A write whose result nobody reads is added; it is sent with the next ones, before anything
    else is executed and before the end of the transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self.is_postgresql = connection.dialect.name == "postgresql"
        self.connection = connection
        self._added: list[tuple[Insert | Update, Values]] = []

    def execute(
        self, statement: Executable, values: Values | Sequence[Values] | None = None
    ) -> CursorResult[Any]:
        """Return the result of a statement, having sent what was added before it."""
        self.flush()
        return self.connection.execute(statement, values)

    def add(self, write: Insert | Update, values: Values) -> None:
        """Send a write by and by.

        It depends on no other one that was added since the last execution: PostgreSQL does all of
        them at once, in any order. An Insert takes its row as `values`, an Update its parameters.
        """
        self._added.append((write, values))

    def flush(self) -> None:
        """Send what was added: to PostgreSQL in one round trip, if the names allow it."""
        added, self._added = self._added, []
        named = [_named(place, write, *values) for place, (write, values) in enumerate(added)]
        together: dict[str, Any] = {}
        for (_, names), (_, values) in zip(named, added, strict=True):
            together |= zip(names, values.values(), strict=True)
        if (
            self.is_postgresql
            and len(added) > 1
            and len(together) == sum(len(values) for _, values in added)
        ):
            self.connection.execute(_as_one(*(write for write, _ in named)), together)
        else:
            for write, values in added:
                self.connection.execute(write, values)


@lru_cache
def _named(place: int, write: Insert | Update, *keys: str) -> tuple[Insert | Update, list[str]]:
    """Return a write whose parameters no other one has, and their names."""
    if isinstance(write, Update):
        return write, list(keys)
    names = [f"added_{place}_{key}" for key in keys]
    row: dict[str, Any] = {key: bindparam(name) for key, name in zip(keys, names, strict=True)}
    return write.values(row), names


@lru_cache
def _as_one(first: Insert | Update, *others: Insert | Update) -> Executable:
    """Return one statement that does what several do, as PostgreSQL's WITH can."""
    return first.add_cte(*(other.cte(f"other_{number}") for number, other in enumerate(others)))
