"""Login codes: one exchange per code, however many workers are asked to make it.

A code works once at WeChat, but a device that lost the answer sends it again. So a code is
claimed before WeChat is asked, what came of it is noted, and whoever sends it again within the
replay window is answered from the note. Only the same address and user agent are: to anybody
else the code is used up.

A claim is a short lease, renewed while the exchange is under way. A worker that dies with it
leaves nothing to clean up: once the lease is over, the next one to send the code makes the
exchange.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, Executable, and_, bindparam, delete, select, update

from wxsession.clock import Clock
from wxsession.errors import (
    CodeError,
    CodeUsed,
    InvalidCode,
    Overloaded,
    UserBlocked,
    WeChatTimeout,
)
from wxsession.limits import logins_at_database
from wxsession.storage.database import Database, new_id, retry_on_disconnect
from wxsession.storage.leases import LEASE, Leases, claiming
from wxsession.storage.tables import login_codes
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo

_GRANTED = "granted"  # the other outcomes of a code are the codes of `errors.CodeError`
_CODE = re.compile(r"[0-9A-Za-z_-]{8,128}")

_REFUSALS: dict[str, type[CodeError]] = {e.code: e for e in (InvalidCode, CodeUsed, UserBlocked)}


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to exchange a code, or what came of it when somebody else did."""

    code_hash: bytes
    claim_id: UUID
    identity_id: UUID | None = None
    """Set where the code was exchanged already: whose it is."""
    exchanged_at: datetime | None = None
    """Set where the code was exchanged already: when."""


def ensure_code(code: str) -> None:
    """Return if this may be a code of wx.login, whose form WeChat does not tell.

    "the code is a mock one", which the developer tools make without an appid, is none.

    Raises:
        InvalidCode: it cannot be one, and WeChat need not be asked.
    """
    if not _CODE.fullmatch(code):
        raise InvalidCode


class LoginCodes:
    """Keeps count of the codes under way, and of those exchanged within `replay`."""

    def __init__(
        self, database: Database, *, clock: Clock, leases: Leases, replay: timedelta
    ) -> None:
        self._database = database
        self._clock = clock
        self._leases = leases
        self._replay = replay
        self._taking = _taking(database)
        self._line = logins_at_database(database.limits.pool_size)

    def claim(self, appid: str, code: str, client: ClientInfo) -> Claim:
        """Return the right to exchange the code, or wait for what came of it elsewhere.

        No connection is held while it waits.

        Raises:
            CodeError: the code was refused a moment ago, or another client sent it first.
            WeChatTimeout: whoever exchanges it has not been answered in time.
        """
        code_hash = hashlib.sha256(f"{appid}\0{code}".encode()).digest()
        own = Claim(code_hash, new_id())
        for _ in self._leases.attempts():
            if retry_on_disconnect(lambda: self._take(own, client)):
                return own
            if exchanged := retry_on_disconnect(lambda: self._outcome(code_hash, client)):
                return exchanged
        raise WeChatTimeout(retry_after=1)

    def renewed(self, claim: Claim) -> AbstractContextManager[None]:
        """Return what keeps a claim one's own for as long as its block runs."""
        return self._leases.renewed(self._renew, claim)

    def settle(self, transaction: Transaction, claim: Claim, identity_id: UUID) -> None:
        """Note whose code it was."""
        transaction.add(_SETTLE, self._settlement(claim, _GRANTED, identity_id))

    def refuse(self, claim: Claim, refusal: CodeError) -> None:
        """Note, if the database is there, that the code does not lead to a session."""
        self._note(_SETTLE, self._settlement(claim, refusal.code, None))

    def release(self, claim: Claim) -> None:
        """Give the claim up: nothing is known about the code, the next one may ask WeChat."""
        self._note(_RELEASE, {"its_hash": claim.code_hash, "its_claim": claim.claim_id})

    def _note(self, statement: Executable, values: Mapping[str, object]) -> None:
        # What is not noted costs whoever sends the code again the rest of the lease; that is no
        # reason to hide from this client what WeChat said.
        with suppress(Overloaded), self._statement() as connection:
            connection.execute(statement, values)

    @contextmanager
    def _statement(self) -> Iterator[Connection]:
        with self._line.one(), self._database.statement() as connection:
            yield connection

    def _take(self, claim: Claim, client: ClientInfo) -> bool:
        """Write the claim down, unless there is another one; done twice, it is there once."""
        now = self._clock()
        values = {
            "code_hash": claim.code_hash,
            "claim_id": claim.claim_id,
            "outcome": None,
            "identity_id": None,
            "client_address": client.address,
            "user_agent": client.user_agent,
            "expires_at": now + LEASE,
            "now": now,
        }
        with self._statement() as connection:
            return connection.execute(self._taking, values).first() is not None

    def _renew(self, claims: frozenset[Claim]) -> None:
        renewing = update(login_codes).where(
            login_codes.c.code_hash.in_([claim.code_hash for claim in claims]),
            login_codes.c.claim_id.in_([claim.claim_id for claim in claims]),
            login_codes.c.outcome.is_(None),  # what is noted has a time of its own
        )
        with self._database.statement() as connection:
            connection.execute(renewing.values(expires_at=self._clock() + LEASE))

    def _outcome(self, code_hash: bytes, client: ClientInfo) -> Claim | None:
        query = select(login_codes).where(login_codes.c.code_hash == code_hash)
        with self._statement() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        if (row.client_address, row.user_agent) != (client.address, client.user_agent):
            raise CodeUsed
        if row.outcome in _REFUSALS:
            raise _REFUSALS[row.outcome]
        if not row.outcome:
            return None
        return Claim(code_hash, row.claim_id, row.identity_id, row.expires_at - self._replay)

    def _settlement(
        self, claim: Claim, outcome: str, identity_id: UUID | None
    ) -> dict[str, object]:
        return {
            "its_hash": claim.code_hash,
            "its_claim": claim.claim_id,
            "new_outcome": outcome,
            "new_identity_id": identity_id,
            "new_expires_at": self._clock() + self._replay,
        }


def _taking(database: Database) -> Executable:
    """Return the statement that writes a claim down, and returns it unless there is another one."""
    c = login_codes.c
    outcome = (c.outcome, c.identity_id, c.client_address, c.user_agent, c.expires_at)
    is_free = c.expires_at <= bindparam("now")
    return claiming(database, c.claim_id, *outcome, is_free=is_free)


_MINE = and_(
    login_codes.c.code_hash == bindparam("its_hash"),
    login_codes.c.claim_id == bindparam("its_claim"),
)
_SETTLE = (
    update(login_codes)
    .where(_MINE)
    .values(
        outcome=bindparam("new_outcome"),
        identity_id=bindparam("new_identity_id"),
        expires_at=bindparam("new_expires_at"),
    )
)
_RELEASE = delete(login_codes).where(_MINE)
