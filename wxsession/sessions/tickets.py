"""Tickets: how a session gets into a web-view without ever standing in a URL.

A URL is in histories and logs. What stands there is a ticket: for one audience, once, for a
minute. ``wxt_`` + base64url(32 bytes) + ``.`` + base64url(HMAC-SHA256); as with session tokens,
the signature turns garbage away before it costs a query, and only the hash is stored.
"""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete

from wxsession.common.clock import Clock
from wxsession.common.crypto import SecretKeys
from wxsession.errors import InvalidRequest, InvalidTicket, TokenError
from wxsession.sessions.introspection import Introspected
from wxsession.sessions.service import Asking, SessionService
from wxsession.sessions.session import Grant
from wxsession.sessions.tokens import Signatures
from wxsession.storage.database import Database
from wxsession.storage.statements import Statement, inserting
from wxsession.storage.tables import tickets
from wxsession.users.client import ClientInfo

PREFIX = "wxt_"
LIFETIME = timedelta(seconds=60)
_SECRET_BYTES = 32
_LENGTH = len(PREFIX) + 43 + len(".") + 43

_INSERT = inserting(tickets)
_TAKE = Statement(
    delete(tickets)
    .where(
        tickets.c.ticket_hash == bindparam("its_hash"),
        tickets.c.audience == bindparam("its_audience"),
        tickets.c.expires_at > bindparam("now"),
    )
    .returning(tickets.c.session_id)
)
"""Takes a ticket: of all who try at once, one gets the row."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket, and in how many seconds it expires."""

    ticket: str = field(repr=False)
    expires_in: int


class Tickets:
    """Issues tickets for a session, and redeems each of them once.

    `audiences` are the origins that tickets may be for.
    """

    def __init__(
        self,
        database: Database,
        keys: SecretKeys,
        *,
        sessions: SessionService,
        audiences: Collection[str],
        clock: Clock,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._audiences = frozenset(audiences)
        self._clock = clock
        self._signatures = Signatures(keys.derive("ticket signature"))

    def issue(self, presented: str, audience: str, asking: Asking) -> Ticket:
        """Return a ticket of a live session for one audience; that counts as use of the session.

        Raises:
            InvalidRequest: the audience is none of ours.
            TokenError: as for `SessionService.check`.
            Overloaded: the database did not answer in time.
        """
        view = self._sessions.check(presented, asking, with_identity=False)
        audience = audience.lower()
        if audience not in self._audiences:
            raise InvalidRequest.of("audience", "is not in WXSESSION_TICKET_AUDIENCES")
        payload = urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).rstrip(b"=")
        ticket = PREFIX + self._signatures.sign(payload)
        row = {
            "ticket_hash": _hash(ticket),
            "session_id": view.session_id,
            "audience": audience,
            "expires_at": self._clock() + LIFETIME,
        }
        self._database.run(_INSERT, row)
        return Ticket(ticket, LIFETIME // timedelta(seconds=1))

    def redeem(self, ticket: str, audience: str) -> Introspected:
        """Return whose session a ticket is of; it cannot be redeemed again.

        Raises:
            InvalidTicket: it is not valid for this audience, or not any more.
            Overloaded: the database did not answer in time; the ticket may be used up.
        """
        self._ensure_signed(ticket)
        now = self._clock()
        rows = self._database.run(_TAKE, _taking(ticket, audience, now))
        view = self._sessions.look_up(rows[0][0], with_identity=True) if rows else None
        if view is None:
            raise InvalidTicket
        return Introspected.of(view, now)

    def open_web_view(self, ticket: str, origin: str, client: ClientInfo) -> Grant:
        """Return a session of its own for a web-view on our own origin, for a ticket for there.

        Raises:
            InvalidTicket: it is not valid for this origin, or not any more.
            Overloaded: the database did not answer in time; the ticket may be used up.
        """
        self._ensure_signed(ticket)
        with self._database.transaction() as transaction:
            rows = transaction.run(_TAKE, _taking(ticket, origin, self._clock()))
            if not rows:
                raise InvalidTicket
            try:
                return self._sessions.open_another(transaction, rows[0][0], client)
            except TokenError:
                raise InvalidTicket from None

    def _ensure_signed(self, ticket: str) -> None:
        """Return if the ticket is one of ours, whatever became of it.

        Raises:
            InvalidTicket: it is not.
        """
        has_form = len(ticket) == _LENGTH and ticket.startswith(PREFIX) and ticket.isascii()
        if not has_form or self._signatures.payload(ticket[len(PREFIX) :]) is None:
            raise InvalidTicket


def _taking(ticket: str, audience: str, now: datetime) -> dict[str, object]:
    return {"its_hash": _hash(ticket), "its_audience": audience.lower(), "now": now}


def _hash(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()
