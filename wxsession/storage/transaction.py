"""A transaction that saves round trips: writes are collected and sent as one statement."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable, Insert, Update, bindparam

Values = Mapping[str, Any]


class Transaction:
    """A transaction; a write whose result is not needed is added, and sent together with others.

    Added writes are sent before the next execution and before the transaction ends.
    """

    def __init__(self, connection: Connection) -> None:
        self.is_postgresql = connection.dialect.name == "postgresql"
        self.connection = connection
        self._added: list[tuple[Insert | Update, Values]] = []

    def execute(
        self, statement: Executable, values: Values | Sequence[Values] | None = None
    ) -> CursorResult[Any]:
        """Send the added writes, execute a statement, and return its result."""
        self.flush()
        return self.connection.execute(statement, values)

    def add(self, write: Insert | Update, values: Values) -> None:
        """Add a write, to be sent later.

        It must not depend on another write added since the last execution: PostgreSQL runs these
        in any order, on the same snapshot. `values` are an Insert's row or an Update's parameters.
        """
        self._added.append((write, values))

    def flush(self) -> None:
        """Send the added writes; to PostgreSQL in one round trip, unless parameter names clash."""
        added, self._added = self._added, []
        if self.is_postgresql and len(added) > 1:
            named = [_named(index, write, *values) for index, (write, values) in enumerate(added)]
            together: dict[str, Any] = {}
            for (_, names), (_, values) in zip(named, added, strict=True):
                together |= zip(names, values.values(), strict=True)
            if len(together) == sum(len(values) for _, values in added):  # no name clashes
                self.connection.execute(_as_one(*(write for write, _ in named)), together)
                return
        for write, values in added:
            self.connection.execute(write, values)


@lru_cache
def _named(index: int, write: Insert | Update, *keys: str) -> tuple[Insert | Update, list[str]]:
    """Return a write and its parameters' names, which for an Insert are unique in the batch."""
    if isinstance(write, Update):  # it has bind parameters already
        return write, list(keys)
    names = [f"added_{index}_{key}" for key in keys]
    row: dict[str, Any] = {key: bindparam(name) for key, name in zip(keys, names, strict=True)}
    return write.values(row), names


@lru_cache
def _as_one(first: Insert | Update, *others: Insert | Update) -> Executable:
    """Return one statement for several writes: PostgreSQL's WITH may hold writes."""
    return first.add_cte(*(other.cte(f"other_{number}") for number, other in enumerate(others)))
