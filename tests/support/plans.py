"""How a database executes what a test or a benchmark asks of it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

from sqlalchemy import event

from wxsession.storage.database import Database

_EXPLAINED: Final = ("SELECT", "UPDATE", "DELETE", "WITH")


@contextmanager
def plans(database: Database) -> Iterator[list[str]]:
    """Collect the plan of each different statement, as it is when it is first asked meanwhile."""
    collected: list[str] = []
    seen: set[str] = set()
    explain = "EXPLAIN" if database.is_postgresql else "EXPLAIN QUERY PLAN"

    def note(_connection: object, cursor: Any, sql: str, values: Any, *_: object) -> None:
        if sql in seen or not sql.lstrip().startswith(_EXPLAINED):
            return
        seen.add(sql)
        one = values[0] if isinstance(values, list) else values
        # On the same connection, whose settings count.
        with closing(cursor.connection.cursor()) as asking:
            asking.execute(f"{explain} {sql}", one)
            collected.extend(str(row[-1]) for row in asking.fetchall())

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield collected
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
