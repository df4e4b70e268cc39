"""The audit: who logged in, failed, bound, unbound, was caught with a copy, was disabled.

An event holds ids, an address and a time; never a token, a code, a password, a name that
somebody typed, or anything of WeChat's that opens something.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, select

from wxsession.db import Database, new_id
from wxsession.errors import Overloaded
from wxsession.models import Client, audit_events, select_former_ids
from wxsession.statements import Filled, row_of

NOBODY = Client(None, None)
"""The client of what a command did."""

_insert = row_of(audit_events)


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened; `reason` is the error code that it was refused with, if it was."""

    at: datetime
    event: str
    reason: str | None
    user_id: UUID | None
    session_id: UUID | None
    appid: str | None
    client_address: str | None
    user_agent: str | None


class Audit:
    """Writes events down, inside the transaction of what happened."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def entry(  # noqa: PLR0913 - these are what an event consists of
        self,
        event: str,
        client: Client,
        *,
        user_id: UUID | None = None,
        session_id: UUID | None = None,
        appid: str | None = None,
        reason: str | None = None,
    ) -> Filled:
        """Return the statement that writes an event down."""
        return _insert(
            id=new_id(),
            at=self._clock(),
            event=event,
            reason=reason,
            user_id=user_id,
            session_id=session_id,
            appid=appid,
            client_address=client.address,
            user_agent=client.user_agent,
            count=1,
        )

    def note_refusal(
        self, client: Client, reason: str, *, user_id: UUID | None = None, appid: str | None = None
    ) -> None:
        """Write down a login that failed, if the database is there.

        There is no transaction for it to be part of, and it is no reason to tell the client
        anything else than why the login failed.
        """
        entry = self.entry("login_failed", client, user_id=user_id, appid=appid, reason=reason)
        with suppress(Overloaded), self._database.statement() as connection:
            connection.execute(*entry)

    def of_user(self, connection: Connection, user_id: UUID, *, limit: int) -> list[AuditEvent]:
        """Return what happened to a user, and to those merged into this user, newest first."""
        c = audit_events.c
        ids = (user_id, *connection.execute(select_former_ids(user_id)).scalars())
        query = (
            select(
                *(c.at, c.event, c.reason, c.user_id, c.session_id),
                *(c.appid, c.client_address, c.user_agent),
            )
            .where(c.user_id.in_(ids))
            .order_by(c.at.desc(), c.id.desc())
            .limit(limit)
        )
        return [AuditEvent(*row) for row in connection.execute(query)]
