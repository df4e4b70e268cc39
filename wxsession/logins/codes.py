"""Login codes: one exchange per code, however many workers are asked to make it.

WeChat accepts a code once, but a device that lost the response sends it again. So a code is
claimed before WeChat is asked, the outcome is stored, and a request that repeats the code within
the replay window gets the stored outcome. This holds only for the same address and user agent:
for any other client the code is used up.

A claim is a short lease, renewed during the exchange. A worker that dies with it leaves nothing
to clean up: once the lease has expired, the next request with the code makes the exchange.
"""

import hashlib
import re
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, select, update

from wxsession.common.clock import Clock
from wxsession.common.limits import logins_at_database
from wxsession.errors import (
    CodeError,
    CodeUsed,
    InvalidCode,
    Overloaded,
    UserBlocked,
    WeChatTimeout,
)
from wxsession.storage.database import Database, new_id, retry_on_disconnect
from wxsession.storage.leases import LEASE, Leases, claiming
from wxsession.storage.statements import Rows, Statement, Values, row_of
from wxsession.storage.tables import login_codes
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo

_GRANTED = "granted"  # the other outcomes of a code are the codes of `errors.CodeError`
_CODE = re.compile(r"[0-9A-Za-z_-]{8,128}")

_REFUSALS: dict[str, type[CodeError]] = {e.code: e for e in (InvalidCode, CodeUsed, UserBlocked)}


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to exchange a code, or the outcome of an exchange that was made before."""

    code_hash: bytes
    client_hash: bytes
    """Of the client that sent the code."""
    claim_id: UUID
    identity_id: UUID | None = None
    """The WeChat user of the code, if it was exchanged before."""
    exchanged_at: datetime | None = None
    """The time of the exchange, if it was made before."""


def ensure_code(code: str) -> None:
    """Return if this may be a code of wx.login; WeChat does not document their form.

    "the code is a mock one", which the developer tools return without an appid, is not a code.

    Raises:
        InvalidCode: it cannot be a code, so WeChat need not be asked.
    """
    if not _CODE.fullmatch(code):
        raise InvalidCode


class LoginCodes:
    """Remembers the codes under exchange, and those exchanged within `replay`."""

    def __init__(
        self, database: Database, *, clock: Clock, leases: Leases, replay: timedelta
    ) -> None:
        self._database = database
        self._clock = clock
        self._leases = leases
        self._replay = replay
        self._claiming = _claiming(database)
        self._line = logins_at_database(database.limits.pool_size)

    def claim(self, appid: str, code: str, client: ClientInfo) -> Claim:
        """Return the right to exchange the code, or wait for the outcome of another worker.

        No connection is held while it waits.

        Raises:
            CodeError: the code was refused a moment ago, or another client sent it first.
            WeChatTimeout: the worker that exchanges it had no response in time.
            Overloaded: the database was not free in time.
        """
        own = Claim(*_hashes(appid, code, client), new_id())
        for _ in self._leases.attempts():
            if retry_on_disconnect(lambda: self._take(own)):
                return own
            if exchanged := retry_on_disconnect(lambda: self._outcome(own)):
                return exchanged
        raise WeChatTimeout(retry_after=1)

    def renewed(self, claim: Claim) -> AbstractContextManager[None]:
        """Return a block that renews the claim while it runs."""
        return self._leases.renewed(self._renew, claim)

    def settle(self, transaction: Transaction, claim: Claim, identity_id: UUID) -> None:
        """Store the WeChat user of the code."""
        transaction.send(_SETTLE, self._settlement(claim, _GRANTED, identity_id))

    def refuse(self, claim: Claim, refusal: CodeError) -> None:
        """Store, if the database is available, that the code does not lead to a session."""
        self._note(_SETTLE, self._settlement(claim, refusal.code, None))

    def release(self, claim: Claim) -> None:
        """Give the claim up: the code may still be good, so the next request may ask WeChat."""
        self._note(_RELEASE, {"its_hash": claim.code_hash, "its_claim": claim.claim_id})

    def _note(self, statement: Statement, values: Values) -> None:
        # Without the note, a repeated request waits for the rest of the lease. That is no reason
        # to hide WeChat's response from this client.
        with suppress(Overloaded):
            self._run(statement, values)

    def _run(self, statement: Statement, values: Values) -> Rows:
        with self._line.one():
            return self._database.run(statement, values)

    def _take(self, claim: Claim) -> bool:
        """Store the claim and return True, or return False if there is another; repeatable."""
        now = self._clock()
        values = {
            "code_hash": claim.code_hash,
            "claim_id": claim.claim_id,
            "outcome": None,
            "identity_id": None,
            "client_hash": claim.client_hash,
            "expires_at": now + LEASE,
            "now": now,
        }
        return bool(self._run(self._claiming, values))

    def _renew(self, claims: frozenset[Claim]) -> None:
        # The hashes select by the primary key; the claim ids leave out a lease that another
        # worker has taken since.
        renewing = update(login_codes).where(
            login_codes.c.code_hash.in_([claim.code_hash for claim in claims]),
            login_codes.c.claim_id.in_([claim.claim_id for claim in claims]),
            login_codes.c.outcome.is_(None),  # a stored outcome has its own expiry
        )
        with self._database.statement() as connection:
            connection.execute(renewing.values(expires_at=self._clock() + LEASE))

    def _outcome(self, own: Claim) -> Claim | None:
        query = select(login_codes).where(login_codes.c.code_hash == own.code_hash)
        with self._line.one(), self._database.statement() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        if row.client_hash != own.client_hash:
            raise CodeUsed
        if row.outcome in _REFUSALS:
            raise _REFUSALS[row.outcome]
        if not row.outcome:
            return None
        exchanged_at = row.expires_at - self._replay
        return Claim(own.code_hash, own.client_hash, row.claim_id, row.identity_id, exchanged_at)

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


def _claiming(database: Database) -> Statement:
    """Return the statement that stores a claim; it returns no row if there is another claim."""
    c = login_codes.c
    outcome = (c.outcome, c.identity_id, c.client_hash, c.expires_at)
    is_free = c.expires_at <= bindparam("now")
    claim = claiming(database, c.claim_id, *outcome, is_free=is_free)
    columns = (column.name for column in (c.code_hash, c.claim_id, *outcome))
    return Statement(claim.values(row_of(login_codes, *columns)))


def _hashes(appid: str, code: str, client: ClientInfo) -> tuple[bytes, bytes]:
    """Return the hash of a code, and that of a client who sends it: nobody can guess the second.

    So no row says where a client is.
    """
    its = hashlib.sha256(f"{appid}\0{code}".encode())
    code_hash = its.digest()
    its.update(f"\0{client.address}\0{client.user_agent}".encode())
    return code_hash, its.digest()


_MINE = and_(
    login_codes.c.code_hash == bindparam("its_hash"),
    login_codes.c.claim_id == bindparam("its_claim"),
)
_SETTLE = Statement(
    update(login_codes)
    .where(_MINE)
    .values(
        outcome=bindparam("new_outcome"),
        identity_id=bindparam("new_identity_id"),
        expires_at=bindparam("new_expires_at"),
    )
)
_RELEASE = Statement(delete(login_codes).where(_MINE))
