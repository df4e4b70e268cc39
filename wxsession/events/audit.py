"""The audit: one row for whatever happens to a user or a session, in the transaction of it.

An event has ids, an address and a time; never a token, a code, a password, a name that somebody
typed, or any credential of WeChat's.

Refusals, which anybody can cause any number of times, are counted in one row for ten minutes, so
that a flood of them does not fill the database.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Insert, or_, select, update

from wxsession.common.clock import Clock
from wxsession.common.crypto import SecretKeys
from wxsession.common.current_request import current_request_id
from wxsession.common.metrics import EVENTS, NUMBERS
from wxsession.errors import Overloaded
from wxsession.events import signals
from wxsession.events.event import FACTS, Event
from wxsession.storage.database import Database, Executor, new_id, upsert, uuid7
from wxsession.storage.statements import inserting
from wxsession.storage.tables import audit_events
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo, network_of

SYSTEM = ClientInfo(None, None)
"""The client of an event that a command causes."""

UNKNOWN = "unknown"
"""The actor if it is not known who ran a command."""

COUNTED_FOR = timedelta(minutes=10)
"""How long a row counts refusals that are alike; the next row follows."""

_INSERT = inserting(audit_events, *FACTS)


class Audit:
    """Writes events, inside the transaction of the change that they record.

    `actor` is the name of the operator who made the change, or None for the user. Once an event is
    committed its signal is sent, with the `sender`.
    """

    def __init__(
        self, database: Database, keys: SecretKeys, clock: Clock, *, sender: object = None
    ) -> None:
        self._database = database
        self._key = keys.derive("counted events")[-1]
        self._clock = clock
        self._sender = sender

    def write(  # noqa: PLR0913 - these are what an event consists of
        self,
        transaction: Transaction,
        event: str,
        client: ClientInfo,
        *,
        user_id: UUID | None = None,
        new_user_id: UUID | None = None,
        session_id: UUID | None = None,
        appid: str | None = None,
        reason: str | None = None,
        actor: str | None = None,
        count: int = 1,
        openids: Mapping[str, str] | None = None,
    ) -> None:
        """Write an event."""
        facts: dict[str, Any] = {
            "id": new_id(),
            "at": self._clock(),
            "event": event,
            "reason": reason,
            "user_id": user_id,
            "new_user_id": new_user_id,
            "session_id": session_id,
            "appid": appid,
            "client_address": client.address,
            "user_agent": client.user_agent,
            "count": count,
            "actor": actor,
            "request_id": current_request_id(),
            "openids": openids,
        }
        transaction.send(_INSERT, facts)
        transaction.after_commit(lambda: NUMBERS.count(EVENTS, event, reason, appid, by=count))
        if signals.is_heard(event):
            transaction.after_commit(lambda: signals.send(self._sender, Event(**facts)))

    def write_ends(
        self,
        transaction: Transaction,
        ended: Iterable[Sequence[Any]],
        client: ClientInfo,
        *,
        user_id: UUID,
        actor: str | None = None,
    ) -> None:
        """Write the end of a user's sessions, given as session ids with reasons.

        There is one event per reason, because a user may have any number of sessions. It names
        the session if there is only one, and counts them otherwise.
        """
        by_reason: dict[str, list[UUID]] = {}
        for session_id, reason in ended:
            by_reason.setdefault(reason, []).append(session_id)
        for reason, ids in by_reason.items():
            self.write(
                transaction,
                "session.ended",
                client,
                reason=reason,
                user_id=user_id,
                session_id=ids[0] if len(ids) == 1 else None,
                actor=actor,
                count=len(ids),
            )

    def note_refusal(
        self,
        client: ClientInfo,
        reason: str,
        *,
        user_id: UUID | None = None,
        appid: str | None = None,
    ) -> None:
        """Write a refused login in a transaction of its own, if the database is available.

        If it is not, the client still gets the reason for the refusal, not an error of the audit.
        """
        with suppress(Overloaded), self._database.transaction() as transaction:
            self.write(
                transaction, "login.failed", client, user_id=user_id, appid=appid, reason=reason
            )

    def count(
        self,
        event: str,
        client: ClientInfo,
        *,
        reason: str | None = None,
        user_id: UUID | None = None,
        appid: str | None = None,
        actor: str | None = None,
    ) -> None:
        """Count an event that anybody can repeat, if the database is available.

        Within ten minutes, events from one network with the same arguments share a row. Like
        `note_refusal`, this is not part of a transaction. It sends no signal: nobody should wait
        for what a flood of refusals starts.
        """
        row = self._counted(event, client, reason, user_id=user_id, appid=appid, actor=actor)
        with suppress(Overloaded):
            with self._database.statement() as connection:
                connection.execute(self._counting([row]))
            NUMBERS.count(EVENTS, event, reason, appid)

    def count_shown_numbers(
        self, connection: Executor, user_ids: Iterable[UUID], client: ClientInfo, *, actor: str
    ) -> None:
        """Count, in the same way, that `actor` is about to see the phone number of each user.

        Raises:
            Overloaded: that could not be written, so that nothing may be shown.
        """
        rows = [
            self._counted("phone_number.shown", client, user_id=user_id, actor=actor)
            for user_id in user_ids
        ]
        if rows:
            # In one order everywhere, so that two statements never deadlock.
            connection.execute(self._counting(sorted(rows, key=itemgetter("id"))))
            NUMBERS.count(EVENTS, "phone_number.shown", None, None, by=len(rows))

    def _counted(
        self, event: str, client: ClientInfo, reason: str | None = None, **ids: Any
    ) -> dict[str, Any]:
        """Return the row of an event that is counted; its id is computed from all the rest."""
        network = network_of(client.address) if client.address is not None else None
        nothing = {"user_id": None, "appid": None, "actor": None}
        named = {"event": event, "reason": reason, "client_address": network}
        facts: dict[str, Any] = {**named, **nothing, **ids}
        now = self._clock()
        row = {"id": self._counted_id(now, facts), "at": now, "count": 1, **facts}
        return row | {"request_id": current_request_id()}  # of the first of them

    def _counted_id(self, now: datetime, facts: Mapping[str, object]) -> UUID:
        """Return the id of the row that counts these facts now; it is the same in every process.

        Without the key nobody finds out from an id which address was cleared from its row.
        """
        window = int(now.astimezone(UTC).timestamp()) // int(COUNTED_FOR.total_seconds())
        digest = hmac.digest(self._key, repr(sorted(facts.items())).encode(), "sha256")
        began = window * int(COUNTED_FOR.total_seconds()) * 1000
        return uuid7(began, int.from_bytes(digest[:10]))

    def _counting(self, rows: Sequence[Mapping[str, object]]) -> Insert:
        """Return the statement that writes each row, or adds one to its count."""
        return (
            upsert(self._database, audit_events)
            .values(rows)
            .on_conflict_do_update(index_elements=["id"], set_={"count": audit_events.c.count + 1})
        )

    def forget(self, transaction: Transaction, user_ids: Sequence[UUID], *, most: int) -> int:
        """Clear the addresses and user agents of users' events; return how many, `most` at most."""
        c = audit_events.c
        personal = or_(c.client_address.is_not(None), c.user_agent.is_not(None))
        query = select(c.id).where(c.user_id.in_(user_ids), personal).limit(most)
        ids = transaction.execute(query).scalars().all()
        if ids:
            clearing = update(audit_events).where(c.id.in_(ids))
            transaction.execute(clearing.values(client_address=None, user_agent=None))
        return len(ids)

    def forget_openids(self, transaction: Transaction, user_id: UUID) -> None:
        """Clear the openids of a user's events."""
        theirs = update(audit_events).where(audit_events.c.user_id == user_id)
        transaction.execute(theirs.where(audit_events.c.openids.is_not(None)).values(openids=None))
