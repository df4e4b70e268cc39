"""The last three session_keys of an identity, sealed.

WeChat may rotate a user's session_key whenever the user obtains a code, so data encrypted under
the key of the previous login still arrives after the next one. Three keys bridge that.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Insert, Row, select

from wxsession.db import upsert
from wxsession.models import RING_SIZE, session_keys
from wxsession.sealing import Sealer, Unsealable


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A session_key as WeChat gave it, and since when it is known here."""

    slot: int
    session_key: str = field(repr=False)
    obtained_at: datetime


class KeyRing:
    """Remembers session_keys."""

    def __init__(self, sealer: Sealer) -> None:
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
        if (adding := self.addition(connection, identity_id, session_key, now)) is not None:
            connection.execute(adding)

    def addition(
        self,
        connection: Connection,
        identity_id: UUID,
        session_key: str,
        now: datetime,
        *,
        is_first: bool = False,
    ) -> Insert | None:
        """Return the statement that does what `remember` does, or None if it is done already.

        `is_first` says that there can be no key yet, and saves asking.
        """
        query = (
            select(session_keys)
            .where(session_keys.c.identity_id == identity_id)
            .order_by(session_keys.c.obtained_at.desc(), session_keys.c.slot)
        )
        rows = [] if is_first else connection.execute(query).all()
        kept = (key.session_key for row in rows if (key := self._opened(row)))
        if session_key in kept:
            return None
        slot = len(rows) if len(rows) < RING_SIZE else rows[-1].slot
        values = {"sealed": self._seal(session_key, identity_id, slot), "obtained_at": now}
        adding = upsert(connection, session_keys).values(
            identity_id=identity_id, slot=slot, **values
        )
        return adding.on_conflict_do_update(index_elements=["identity_id", "slot"], set_=values)

    def _seal(self, session_key: str, identity_id: UUID, slot: int) -> bytes:
        return self._sealer.seal(session_key.encode(), row=identity_id, column=column_of_slot(slot))

    def _opened(self, row: Row[Any]) -> KeptKey | None:
        try:
            opened = self._sealer.open(
                bytes(row.sealed), row=row.identity_id, column=column_of_slot(row.slot)
            )
        except Unsealable:
            return None
        return KeptKey(row.slot, opened.decode(), row.obtained_at)


def column_of_slot(slot: int) -> str:
    """Return the column that a key of this slot is sealed for: it opens in no other slot."""
    return f"session_keys.sealed.{slot}"
