"""Tests that do something the moment before or after a statement is executed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import event

from wxsession.storage.database import Database

Listener = Callable[[str], object]
"""Gets the text of a statement."""


def _silent(_text: str) -> None:
    """Do nothing."""


@contextmanager
def overhearing(
    database: Database, *, before: Listener = _silent, after: Listener = _silent
) -> Iterator[None]:
    """Call these before and after each statement, however it is executed."""

    def tell(moment: str, text: str) -> None:
        (before if moment == "before" else after)(text)

    def before_core(_connection: object, _cursor: object, text: str, *_: object) -> None:
        before(text)

    def after_core(_connection: object, _cursor: object, text: str, *_: object) -> None:
        after(text)

    database.connections.listeners.append(tell)
    event.listen(database.engine, "before_cursor_execute", before_core)
    event.listen(database.engine, "after_cursor_execute", after_core)
    try:
        yield
    finally:
        database.connections.listeners.remove(tell)
        event.remove(database.engine, "before_cursor_execute", before_core)
        event.remove(database.engine, "after_cursor_execute", after_core)


@contextmanager
def flights(database: Database) -> Iterator[list[list[str]]]:
    """Collect the first words of the statements, by the times that the database was waited for."""
    heard: list[list[str]] = []
    is_answered = [True]

    def sent(text: str) -> None:
        if is_answered[0]:
            heard.append([])
        heard[-1].append(text.split(maxsplit=1)[0])
        is_answered[0] = False

    def answered(_text: str) -> None:
        is_answered[0] = True

    with overhearing(database, before=sent, after=answered):
        yield heard
