"""Sealing anew: what lies under an older server key comes under the newest one.

Afterwards the older key may be taken away. Each batch is a transaction of its own, along the
primary key, and every write repeats the value that it was made from: this may be stopped at any
time and run again, several times at once, while the server is at work.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Row,
    Select,
    Table,
    func,
    select,
    tuple_,
    update,
)

from wxsession.crypto import Sealer, Unsealable
from wxsession.storage.database import Database, Executor
from wxsession.storage.tables import access_tokens, session_keys, users
from wxsession.users.phone_numbers import PhoneNumbers
from wxsession.wechat.session_keys import column_of_slot

Reseal = Callable[[Row[Any]], dict[str, bytes] | None]
"""Returns the new values of a row, or None for what no server key opens."""


_PAGE = 10_000


class Resealed(NamedTuple):
    """How many values a run sealed anew, and how many it left because no server key opens them."""

    resealed: int
    unopened: int


class KeyUse(NamedTuple):
    """How many values lie under a server key.

    `number` is its place in WXSESSION_SECRET_KEYS, from 1; None for a key that is not there.
    """

    number: int | None
    key_id: str
    session_keys: int
    phone_numbers: int
    access_tokens: int


class Resealing:
    """Brings everything that is sealed in the database under the newest server key."""

    def __init__(self, database: Database, sealer: Sealer, phones: PhoneNumbers) -> None:
        self._database = database
        self._sealer = sealer
        self._phones = phones

    def status(self, *, progress: Callable[[int], None] = lambda _done: None) -> list[KeyUse]:
        """Return what lies under which key: those of the settings, then any other.

        Raises:
            Overloaded: the database did not answer in time.
        """
        columns = (session_keys.c.sealed, users.c.phone_number_sealed, access_tokens.c.sealed)
        counts = [self._by_key(column, progress) for column in columns]
        known = self._sealer.key_ids
        unknown = sorted(set().union(*counts) - set(known))
        numbered: list[tuple[int | None, bytes]] = [*enumerate(known, 1)]
        numbered += [(None, key_id) for key_id in unknown]
        return [
            KeyUse(number, key_id.hex(), *(count[key_id] for count in counts))
            for number, key_id in numbered
        ]

    def run(self, *, batch_size: int, progress: Callable[[int], None]) -> Resealed:
        """Seal anew what lies under an older key, saying so far how many values that were.

        What no server key opens stays as it is, and so does what somebody replaced meanwhile:
        that lies under the newest key already.

        Raises:
            Overloaded: the database did not answer in time.
        """
        self._forget_access_tokens()
        keys = self._walk(
            session_keys.c.sealed, self._session_key, batch_size=batch_size, progress=progress
        )
        phones = self._walk(
            users.c.phone_number_sealed,
            self._phone_number,
            batch_size=batch_size,
            progress=lambda done: progress(keys.resealed + done),
        )
        return Resealed(keys.resealed + phones.resealed, keys.unopened + phones.unopened)

    def _walk(
        self,
        column: Column[bytes],
        reseal: Reseal,
        *,
        batch_size: int,
        progress: Callable[[int], None],
    ) -> Resealed:
        key = _key_of(column)
        stale = select(column.table).where(self._is_stale(column)).order_by(*key).limit(batch_size)
        stale = stale.with_for_update(skip_locked=True)
        done, unopened, after = 0, 0, None
        while True:
            query = stale if after is None else stale.where(tuple_(*key) > tuple_(*after))
            with self._database.transaction() as connection:
                rows = connection.execute(query).all()
                for row in rows:
                    if (values := reseal(row)) is None:
                        unopened += 1
                    else:
                        done += _replace(connection, column, key, row, values)
            if not rows:
                return Resealed(done, unopened)
            after = _place(key, rows[-1])
            progress(done)

    def _by_key(self, column: Column[bytes], progress: Callable[[int], None]) -> Counter[bytes]:
        """Return how many values of a column begin with which key id, read a page at a time."""
        key, counts, after = _key_of(column), Counter[bytes](), None
        begins = func.substr(column, 1, len(self._sealer.newest)).label("key_id")
        page: Select[Any] = select(*key, begins).order_by(*key).limit(_PAGE)
        while True:
            query = page if after is None else page.where(tuple_(*key) > tuple_(*after))
            with self._database.statement() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return counts
            counts.update(bytes(row.key_id) for row in rows if row.key_id is not None)
            after = _place(key, rows[-1])
            progress(counts.total())

    def _session_key(self, row: Row[Any]) -> dict[str, bytes] | None:
        place = {"row": row.identity_id, "column": column_of_slot(row.slot)}
        try:
            opened = self._sealer.open(bytes(row.sealed), **place)
        except Unsealable:
            return None
        return {"sealed": self._sealer.seal(opened, **place)}

    def _phone_number(self, row: Row[Any]) -> dict[str, bytes] | None:
        # The hash that finds a number is made with a server key as well, so both change at once.
        phone = self._phones.open(row.phone_number_sealed, row.id)
        return None if phone is None else self._phones.columns(phone, row.id)

    def _forget_access_tokens(self) -> None:
        # They live for two hours at most and WeChat hands out another one for the asking: there
        # is nothing in them to be kept. A claim of somebody who is asking right now stays.
        stale = update(access_tokens).where(self._is_stale(access_tokens.c.sealed))
        with self._database.statement() as connection:
            connection.execute(stale.values(sealed=None, expires_at=None))

    def _is_stale(self, column: Column[bytes]) -> ColumnElement[bool]:
        """Return the condition that a value is there, and under another key than the newest."""
        newest = self._sealer.newest
        return func.substr(column, 1, len(newest)) != newest


def _replace(
    connection: Executor,
    column: Column[bytes],
    key: Sequence[Column[Any]],
    row: Row[Any],
    values: dict[str, bytes],
) -> bool:
    """Write the new values unless the row has changed since it was read; return whether."""
    as_read = [one == value for one, value in zip(key, _place(key, row), strict=True)]
    replacing = update(column.table).where(*as_read, column == row._mapping[column.name])  # noqa: SLF001
    return connection.execute(replacing.values(values)).rowcount == 1


def _key_of(column: Column[bytes]) -> tuple[Column[Any], ...]:
    table = column.table
    assert isinstance(table, Table)  # noqa: S101 - tells the type checker, not the user
    return tuple(table.primary_key.columns)


def _place(key: Sequence[Column[Any]], row: Row[Any]) -> tuple[Any, ...]:
    return tuple(getattr(row, one.name) for one in key)
