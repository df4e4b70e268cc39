"""The last three session_keys of an identity, sealed.

WeChat may rotate a user's session_key whenever the user obtains a code, so data encrypted under
the key of the previous login still arrives after the next one. Three keys bridge that.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, func, select, tuple_, update

from wxsession.db import Database, upsert
from wxsession.models import RING_SIZE, session_keys
from wxsession.sealing import Sealer, Unsealable


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A session_key as WeChat gave it, and since when it is known here."""

    slot: int
    session_key: str = field(repr=False)
    obtained_at: datetime


class KeyRing:
    """Remembers session_keys, and seals them anew after the server's key was rotated."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    def keys(self, connection: Connection, identity_id: UUID) -> list[KeptKey]:
        """Return the kept keys, newest first; one that no server key opens is left out."""
        rows = connection.execute(
            select(session_keys)
            .where(session_keys.c.identity_id == identity_id)
            .order_by(session_keys.c.obtained_at.desc())
        )
        return [key for row in rows if (key := self._opened(row))]

    def remember(
        self, connection: Connection, identity_id: UUID, session_key: str, now: datetime
    ) -> None:
        """Add a session_key in place of the oldest, unless it is kept already.

        The caller holds a lock on the identity.
        """
        rows = connection.execute(
            select(session_keys)
            .where(session_keys.c.identity_id == identity_id)
            .order_by(session_keys.c.obtained_at.desc(), session_keys.c.slot)
        ).all()
        kept = (key.session_key for row in rows if (key := self._opened(row)))
        if session_key in kept:
            return
        slot = len(rows) if len(rows) < RING_SIZE else rows[-1].slot
        values = {"sealed": self._seal(session_key, identity_id, slot), "obtained_at": now}
        adding = upsert(connection, session_keys).values(
            identity_id=identity_id, slot=slot, **values
        )
        connection.execute(
            adding.on_conflict_do_update(index_elements=["identity_id", "slot"], set_=values)
        )

    def reseal(self, *, batch_size: int, progress: Callable[[int], None]) -> int:
        """Seal every key anew that lies under an older server key; return how many.

        Each batch is a transaction of its own, so that it may be stopped at any time and run
        again. What no server key opens stays as it is; a key that is replaced meanwhile by a
        login is left alone.
        """
        done, after = 0, None
        while True:
            with self._database.transaction() as connection:
                rows = connection.execute(self._stale(after, batch_size)).all()
                sealed = [self._reseal_row(connection, row) for row in rows]
            if not rows:
                return done
            done += sum(sealed)
            after = (rows[-1].identity_id, rows[-1].slot)
            progress(done)

    def _stale(self, after: tuple[UUID, int] | None, batch_size: int) -> Select[Any]:
        place = tuple_(session_keys.c.identity_id, session_keys.c.slot)
        query = select(session_keys).where(
            func.substr(session_keys.c.sealed, 1, len(self._sealer.newest)) != self._sealer.newest
        )
        if after is not None:
            query = query.where(place > tuple_(*after))
        order = (session_keys.c.identity_id, session_keys.c.slot)
        return query.order_by(*order).limit(batch_size).with_for_update(skip_locked=True)

    def _reseal_row(self, connection: Connection, row: Row[Any]) -> bool:
        key = self._opened(row)
        if key is None:
            return False
        connection.execute(
            update(session_keys)
            .where(
                session_keys.c.identity_id == row.identity_id,
                session_keys.c.slot == row.slot,
                session_keys.c.sealed == row.sealed,
            )
            .values(sealed=self._seal(key.session_key, row.identity_id, row.slot))
        )
        return True

    def _seal(self, session_key: str, identity_id: UUID, slot: int) -> bytes:
        return self._sealer.seal(session_key.encode(), row=identity_id, column=_column(slot))

    def _opened(self, row: Row[Any]) -> KeptKey | None:
        try:
            opened = self._sealer.open(
                bytes(row.sealed), row=row.identity_id, column=_column(row.slot)
            )
        except Unsealable:
            return None
        return KeptKey(row.slot, opened.decode(), row.obtained_at)


def _column(slot: int) -> str:
    return f"session_keys.sealed.{slot}"
