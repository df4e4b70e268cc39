"""The audit: who logged in, failed, bound, unbound, was caught with a copy, was disabled.

An event holds ids, an address and a time; never a token, a code, a password, a name that
somebody typed, or anything of WeChat's that opens something.

What anybody can bring about as often as they like, a refusal, is counted in one row for ten
minutes: a flood of them does not fill the database.
"""

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import insert, select

from wxsession.clock import Clock
from wxsession.errors import Overloaded
from wxsession.storage.database import Database, Executor, new_id, upsert, uuid7
from wxsession.storage.tables import audit_events
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo, network_of
from wxsession.users.user import select_former_ids

SYSTEM = ClientInfo(None, None)
"""The client of what a command did."""

UNKNOWN = "unknown"
"""The actor where nobody can say who it was."""

COUNTED_FOR = timedelta(minutes=10)
"""How long what is counted goes into one row."""

_INSERT = insert(audit_events)


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What happened; `reason` is the error code that it was refused with, if it was.

    What was counted happened `count` times within ten minutes, from `client_address` or, with
    IPv6, from its /64; `at` is when it first did.
    """

    at: datetime
    event: str
    reason: str | None
    user_id: UUID | None
    session_id: UUID | None
    appid: str | None
    client_address: str | None
    user_agent: str | None
    count: int
    actor: str | None


class Audit:
    """Writes events down, inside the transaction of what happened.

    `actor` is by whom: an operator's name, or None for the user.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def write(  # noqa: PLR0913 - these are what an event consists of
        self,
        transaction: Transaction,
        event: str,
        client: ClientInfo,
        *,
        user_id: UUID | None = None,
        session_id: UUID | None = None,
        appid: str | None = None,
        reason: str | None = None,
        actor: str | None = None,
        count: int = 1,
    ) -> None:
        """Write an event down."""
        facts = {
            "event": event,
            "reason": reason,
            "user_id": user_id,
            "session_id": session_id,
            "appid": appid,
            "actor": actor,
            "count": count,
        }
        transaction.add(_INSERT, self._when_and_where(client) | facts)

    def write_ends(
        self,
        transaction: Transaction,
        ended: Iterable[tuple[UUID, str]],
        client: ClientInfo,
        *,
        user_id: UUID,
        actor: str | None = None,
    ) -> None:
        """Write down the end of a user's sessions, each with its reason.

        There is one event for each reason. It names the session if that was the only one, and
        counts them otherwise: a user may have any number.
        """
        by_reason: dict[str, list[UUID]] = {}
        for session_id, reason in ended:
            by_reason.setdefault(reason, []).append(session_id)
        for reason, ids in by_reason.items():
            self.write(
                transaction,
                "session_ended",
                client,
                reason=reason,
                user_id=user_id,
                session_id=ids[0] if len(ids) == 1 else None,
                actor=actor,
                count=len(ids),
            )

    def _when_and_where(self, client: ClientInfo) -> dict[str, object]:
        return {
            "id": new_id(),
            "at": self._clock(),
            "client_address": client.address,
            "user_agent": client.user_agent,
        }

    def note_refusal(
        self,
        client: ClientInfo,
        reason: str,
        *,
        user_id: UUID | None = None,
        appid: str | None = None,
    ) -> None:
        """Write down a login that failed, if the database is there.

        There is no transaction for it to be part of, and it is no reason to tell the client
        anything else than why the login failed.
        """
        with suppress(Overloaded), self._database.transaction() as transaction:
            self.write(
                transaction, "login_failed", client, user_id=user_id, appid=appid, reason=reason
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
        """Count what happens again and again, if the database is there.

        There is one row for all that is alike in its arguments and comes from one network within
        ten minutes. Like `note_refusal`, it is a statement of its own.
        """
        network = network_of(client.address) if client.address is not None else None
        now = self._clock()
        facts = {
            "event": event,
            "reason": reason,
            "user_id": user_id,
            "appid": appid,
            "client_address": network,
            "actor": actor,
        }
        row = {"id": _counted_id(now, facts), "at": now, "count": 1, **facts}
        counting = upsert(self._database, audit_events).values(row)
        counting = counting.on_conflict_do_update(
            index_elements=["id"], set_={"count": audit_events.c.count + 1}
        )
        with suppress(Overloaded), self._database.statement() as connection:
            connection.execute(counting)

    def of_user(self, connection: Executor, user_id: UUID, *, limit: int) -> list[AuditEvent]:
        """Return what happened to a user, and to those merged into this user, newest first."""
        c = audit_events.c
        ids = (user_id, *connection.execute(select_former_ids(user_id)).scalars())
        query = (
            select(*(c[field.name] for field in fields(AuditEvent)))
            .where(c.user_id.in_(ids))
            .order_by(c.at.desc(), c.id.desc())
            .limit(limit)
        )
        return [AuditEvent(*row) for row in connection.execute(query)]


def _counted_id(now: datetime, facts: Mapping[str, object]) -> UUID:
    """Return the id of the row in which this is counted now, the same in every process."""
    window = int(now.astimezone(UTC).timestamp()) // int(COUNTED_FOR.total_seconds())
    digest = hashlib.sha256(repr(sorted(facts.items())).encode()).digest()
    began = window * int(COUNTED_FOR.total_seconds()) * 1000
    return uuid7(began, int.from_bytes(digest[:10]))
