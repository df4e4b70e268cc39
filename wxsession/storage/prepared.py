"""Statements that are made once, and filled with other values each time.

To make a statement of columns and conditions takes SQLAlchemy as long as to execute it. That is
nothing where a person waits, and a third of a login where thousands log in.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from inspect import signature
from typing import Any, NamedTuple, ParamSpec

from sqlalchemy import Connection, Executable, Insert, Table, Update, bindparam, insert

Param = Any
"""A parameter where a statement is made, and its value where it is filled."""

P = ParamSpec("P")


class Statement(NamedTuple):
    """A statement with its values, as `Connection.execute` takes them."""

    statement: Executable
    values: dict[str, Any]


def prepared(make: Callable[P, Executable]) -> Callable[P, Statement]:
    """Make the statement that a function makes of parameters; return what fills it with values.

    The function takes them by name, and so does what is returned.
    """
    return _filling(make, make.__name__, signature(make).parameters)


def insert_into(table: Table, name: str | None = None) -> Callable[..., Statement]:
    """Make an INSERT of one row; return what fills it, by the names of columns, others with NULL.

    Two of one table have different names, if they are to be executed together.

    Raises:
        KeyError: there is no such column.
    """
    nothing = dict.fromkeys(table.columns.keys())
    fill = _filling(lambda **row: insert(table).values(row), name or table.name, nothing)
    return lambda **row: fill(**{**nothing, **row})


def together(connection: Connection, *writes: Statement) -> None:
    """Execute statements that do not depend on each other; to PostgreSQL in one round trip.

    They are of different functions, or rows of different tables.
    """
    if len(writes) > 1 and connection.dialect.name == "postgresql":
        values = {name: value for write in writes for name, value in write.values.items()}
        connection.execute(_as_one(*(write.statement for write in writes)), values)
    else:
        for write in writes:
            connection.execute(*write)


def _filling(
    make: Callable[..., Executable], of: str, names: Iterable[str]
) -> Callable[..., Statement]:
    # A parameter is named after its statement as well: two may have columns of one name.
    parameters = {name: f"{of}_{name}" for name in names}
    statement = make(**{name: bindparam(parameter) for name, parameter in parameters.items()})
    return lambda **values: Statement(
        statement, {parameters[name]: value for name, value in values.items()}
    )


@lru_cache
def _as_one(first: Insert | Update, *others: Insert | Update) -> Executable:
    ctes = [other.cte(f"other_{number}") for number, other in enumerate(others)]
    return first.add_cte(*ctes)
