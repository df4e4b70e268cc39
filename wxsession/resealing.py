"""Sealing anew: what lies under an older server key comes under the newest one.

Afterwards the older key may be taken away. Each batch is a transaction of its own, along the
primary key, and every write repeats the value that it was made from: this may be stopped at any
time and run again, several times at once, while the server is at work.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, Table, func, select, tuple_, update

from wxsession.db import Database
from wxsession.key_ring import column_of_slot
from wxsession.models import access_tokens, session_keys, users
from wxsession.phone_numbers import PhoneNumbers
from wxsession.sealing import Sealer, Unsealable

Reseal = Callable[[Row[Any]], dict[str, bytes] | None]
"""Returns the new values of a row, or None for what no server key opens."""


class Resealing:
    """Brings everything that is sealed in the database under the newest server key."""

    def __init__(self, database: Database, sealer: Sealer, phones: PhoneNumbers) -> None:
        self._database = database
        self._sealer = sealer
        self._phones = phones

    def run(self, *, batch_size: int, progress: Callable[[int], None]) -> int:
        """Seal anew what lies under an older key; return how many values, saying so far how many.

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
            progress=lambda done: progress(keys + done),
        )
        return keys + phones

    def _walk(
        self,
        column: Column[bytes],
        reseal: Reseal,
        *,
        batch_size: int,
        progress: Callable[[int], None],
    ) -> int:
        table = column.table
        assert isinstance(table, Table)  # noqa: S101 - tells the type checker, not the user
        key = tuple(table.primary_key.columns)
        stale = select(table).where(self._is_stale(column)).order_by(*key).limit(batch_size)
        stale = stale.with_for_update(skip_locked=True)
        done, after = 0, None
        while True:
            query = stale if after is None else stale.where(tuple_(*key) > tuple_(*after))
            with self._database.transaction() as connection:
                rows = connection.execute(query).all()
                done += sum(_replace(connection, column, key, row, reseal(row)) for row in rows)
            if not rows:
                return done
            after = _place(key, rows[-1])
            progress(done)

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
    connection: Connection,
    column: Column[bytes],
    key: Sequence[Column[Any]],
    row: Row[Any],
    values: dict[str, bytes] | None,
) -> bool:
    """Write the new values unless the row was changed since it was read; tell whether it was."""
    if values is None:
        return False
    as_read = [one == value for one, value in zip(key, _place(key, row), strict=True)]
    replacing = update(column.table).where(*as_read, column == row._mapping[column.name])  # noqa: SLF001
    return connection.execute(replacing.values(values)).rowcount == 1


def _place(key: Sequence[Column[Any]], row: Row[Any]) -> tuple[Any, ...]:
    return tuple(getattr(row, one.name) for one in key)
