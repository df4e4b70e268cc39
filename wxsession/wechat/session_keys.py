"""The last session_keys of an identity, sealed.

WeChat may replace a user's session_key whenever the user obtains a code, so data encrypted under
the key of one login may arrive after the next login. The last three keys are kept however old
they are, and so is every key under which data may have been made that are still fresh.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, select, update

from wxsession.common.crypto import Sealer, Unsealable
from wxsession.storage.database import Database
from wxsession.storage.statements import Rows, Statement, inserting
from wxsession.storage.tables import (
    MOST_SESSION_KEYS,
    RING_SIZE,
    identities,
    session_keys,
)
from wxsession.storage.transaction import Reply, Transaction
from wxsession.users.user import IS_WECHAT_USER

FRESH = timedelta(hours=1)
"""How old open data may be."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A session_key as WeChat gave it, and the time when it was received."""

    slot: int
    session_key: str = field(repr=False)
    obtained_at: datetime


class _Kept(NamedTuple):
    """A row."""

    identity_id: UUID
    slot: int
    sealed: bytes
    obtained_at: datetime


class SessionKeyStore:
    """Stores session_keys, sealed."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def keys(self, database: Database | Transaction, identity_id: UUID) -> list[StoredKey]:
        """Return the stored keys, newest first, without those that no server key opens."""
        rows = map(_Kept._make, database.run(_KEPT, {"its_id": identity_id}))
        return [key for row in rows if (key := self._opened(row))]

    def newest(self, database: Database | Transaction, identity_id: UUID) -> StoredKey | None:
        """Return the newest key, or None if there is none.

        Raises:
            Unsealable: no server key opens it.
        """
        rows = database.run(_KEPT, {"its_id": identity_id})
        if not rows:
            return None
        newest = _Kept._make(rows[0])
        if (key := self._opened(newest)) is None:
            raise Unsealable(column_of_slot(newest.slot))
        return key

    def send_for(self, transaction: Transaction, appid: str, openid: str) -> Reply:
        """Ask for the stored keys of a WeChat user, for `remember`."""
        return transaction.send(_KEPT_OF_OPENID, {"appid": appid, "openid": openid})

    def remember(
        self,
        transaction: Transaction,
        identity_id: UUID,
        session_key: str,
        now: datetime,
        *,
        kept: Rows | None = None,
    ) -> None:
        """Store a session_key as the newest; without a free slot it replaces the oldest.

        The caller holds a lock on the identity. `kept` are the rows of `send_for`, if the lock
        was held by then: that saves a query.
        """
        if kept is None:
            kept = transaction.run(_KEPT, {"its_id": identity_id})
        rows = [_Kept._make(row) for row in kept]
        opened = (key for row in rows if (key := self._opened(row)))
        same = (key.slot for key in opened if key.session_key == session_key)
        slot = next(same, _slot_for_another(rows, now))
        sealed = self._seal(session_key, identity_id, slot)
        if slot in {row.slot for row in rows}:
            parameters = {"its_id": identity_id, "its_slot": slot}
            parameters |= {"new_sealed": sealed, "new_obtained_at": now}
            transaction.send(_REPLACE, parameters)
        else:
            row = {"identity_id": identity_id, "slot": slot, "sealed": sealed, "obtained_at": now}
            transaction.send(_INSERT, row)

    def _seal(self, session_key: str, identity_id: UUID, slot: int) -> bytes:
        return self._sealer.seal(session_key.encode(), row=identity_id, column=column_of_slot(slot))

    def _opened(self, row: _Kept) -> StoredKey | None:
        try:
            opened = self._sealer.open(
                row.sealed, row=row.identity_id, column=column_of_slot(row.slot)
            )
        except Unsealable:
            return None
        return StoredKey(row.slot, opened.decode(), row.obtained_at)


def _slot_for_another(rows: Sequence[_Kept], now: datetime) -> int:
    """Return the slot for another key; `rows` are the stored keys, newest first."""
    # The oldest key (rows[-1]) was in use until WeChat gave out the next one (rows[-2]). If that
    # was longer ago than FRESH, all data under the oldest key are too old: its slot is free.
    is_past = len(rows) >= RING_SIZE and now - rows[-2].obtained_at > FRESH
    free = set(range(MOST_SESSION_KEYS)) - {row.slot for row in rows}
    return rows[-1].slot if is_past or not free else min(free)


_INSERT = inserting(session_keys)
_OF_IDENTITY = session_keys.c.identity_id == bindparam("its_id")
_NEWEST_FIRST = select(*(session_keys.c[name] for name in _Kept._fields)).order_by(
    session_keys.c.obtained_at.desc(), session_keys.c.slot
)
_KEPT = Statement(_NEWEST_FIRST.where(_OF_IDENTITY))
_KEPT_OF_OPENID = Statement(
    _NEWEST_FIRST.join(identities, identities.c.id == session_keys.c.identity_id).where(
        IS_WECHAT_USER
    )
)
_REPLACE = Statement(
    update(session_keys)
    .where(_OF_IDENTITY, session_keys.c.slot == bindparam("its_slot"))
    .values(sealed=bindparam("new_sealed"), obtained_at=bindparam("new_obtained_at"))
)


def column_of_slot(slot: int) -> str:
    """Return the column name that seals a key to this slot: the key opens in no other slot."""
    return f"session_keys.sealed.{slot}"
