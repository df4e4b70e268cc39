"""Access tokens: one for each app, shared by every worker, fetched by one of them.

WeChat limits the number of fetches, and a token is valid for two hours, so it is shared as a row. A
worker that finds no valid token claims the row, fetches one while holding no connection, and
stores it sealed. The claim is a lease, like that of a login code: if the worker dies, another
one takes over.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import Update, or_, select, update

from wxsession.common.clock import Clock
from wxsession.common.crypto import Sealer, Unsealable
from wxsession.errors import AppRejected, Overloaded, WeChatTimeout, WxSessionError
from wxsession.storage.database import Database, new_id, retry_on_disconnect
from wxsession.storage.leases import LEASE, Leases, claiming
from wxsession.storage.tables import access_tokens
from wxsession.wechat.client import WeChatClient
from wxsession.wechat.failures import AccessTokenRejected

T = TypeVar("T")

COLUMN = "access_tokens.sealed"
RENEWED_BEFORE_END = timedelta(minutes=5)
"""WeChat issues the next token this long before expiry, and accepts both until then."""

_log = logging.getLogger(__name__)


def associated_id(appid: str) -> UUID:
    """Return the UUID that identifies a row in associated data; its primary key is the appid."""
    return uuid5(NAMESPACE_URL, "wxsession app " + appid)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A row as it was read; `token` is None if there is none, or no server key opens it."""

    sealed: bytes | None = field(repr=False)
    token: str | None = field(repr=False)
    expires_at: datetime | None

    def is_good_until(self, moment: datetime) -> bool:
        return self.token is not None and self.expires_at is not None and self.expires_at > moment


class AccessTokens:
    """Lends the token of an app to a caller that sends a request to WeChat."""

    def __init__(
        self,
        database: Database,
        wechat: WeChatClient,
        *,
        sealer: Sealer,
        clock: Clock,
        leases: Leases,
    ) -> None:
        self._database = database
        self._wechat = wechat
        self._sealer = sealer
        self._clock = clock
        self._leases = leases

    def use(self, appid: str, call: Callable[[str], T]) -> T:
        """Return the result of `call` with the app's token; a rejected token is replaced once.

        No database connection is held during the request to WeChat.

        Raises:
            AppRejected: WeChat rejects the token that it has just issued.
            WeChatError: no token was available, or the call failed.
            Overloaded: the database did not answer in time.
        """
        for _ in range(2):
            token, sealed = self._token(appid)
            with suppress(AccessTokenRejected):
                return call(token)
            self._discard(appid, sealed)
        _log.error(
            "%s: WeChat rejects the access_token that it has just issued, errcode and rid are"
            " above; check whether another server fetches access_tokens of this app with"
            " force_refresh",
            appid,
        )
        raise AppRejected

    def _token(self, appid: str) -> tuple[str, bytes]:
        """Return a token, and its sealed form, by which `_discard` finds the row."""
        claim_id = new_id()
        for _ in self._leases.attempts():
            now = self._clock()
            kept = retry_on_disconnect(lambda: self._kept(appid))
            if kept.token and kept.sealed and kept.is_good_until(now + RENEWED_BEFORE_END):
                return kept.token, kept.sealed
            if self._claim(appid, claim_id, kept, now):
                try:
                    return self._fetch(appid, claim_id)
                except WxSessionError:
                    if not kept.is_good_until(self._clock()):
                        raise
            if kept.token and kept.sealed and kept.is_good_until(now):
                return kept.token, kept.sealed  # its successor is on its way, or was refused
        raise WeChatTimeout(retry_after=1)

    def _kept(self, appid: str) -> _Kept:
        query = select(access_tokens.c.sealed, access_tokens.c.expires_at)
        with self._database.statement() as connection:
            row = connection.execute(query.where(access_tokens.c.appid == appid)).first()
        if row is None or row.sealed is None:
            return _Kept(None, None, None)
        sealed = bytes(row.sealed)
        try:
            token = self._sealer.open(sealed, row=associated_id(appid), column=COLUMN).decode()
        except Unsealable:
            return _Kept(sealed, None, None)  # the server key is gone; fetch a new token
        return _Kept(sealed, token, row.expires_at)

    def _claim(self, appid: str, claim_id: UUID, kept: _Kept, now: datetime) -> bool:
        """Claim the right to fetch, unless another worker has it or has replaced the token."""
        c = access_tokens.c
        is_free = or_(c.claimed_until.is_(None), c.claimed_until <= now)
        as_seen = c.sealed.is_not_distinct_from(kept.sealed)
        claim = claiming(self._database, c.claim_id, c.claimed_until, is_free=is_free & as_seen)
        claim = claim.values(appid=appid, claim_id=claim_id, claimed_until=now + LEASE)

        def take() -> bool:
            with self._database.statement() as connection:
                return connection.execute(claim).first() is not None

        return retry_on_disconnect(take)

    def _fetch(self, appid: str, claim_id: UUID) -> tuple[str, bytes]:
        asked_at = self._clock()  # before the request, so that the stored expiry is not too late
        mine = update(access_tokens).where(
            access_tokens.c.appid == appid, access_tokens.c.claim_id == claim_id
        )
        released = mine.values(claim_id=None, claimed_until=None)
        try:
            with self._leases.renewed(self._renew, claim_id):
                token, seconds = self._wechat.stable_token(appid)
        except BaseException:
            self._note(released)
            raise
        sealed = self._sealer.seal(token.encode(), row=associated_id(appid), column=COLUMN)
        expires_at = asked_at + timedelta(seconds=seconds)
        self._note(released.values(sealed=sealed, expires_at=expires_at))
        return token, sealed

    def _renew(self, claim_ids: frozenset[UUID]) -> None:
        mine = update(access_tokens).where(access_tokens.c.claim_id.in_(claim_ids))
        self._run(mine.values(claimed_until=self._clock() + LEASE))

    def _discard(self, appid: str, sealed: bytes) -> None:
        """Forget this token, but not a successor that may have replaced it already."""
        which = update(access_tokens).where(
            access_tokens.c.appid == appid, access_tokens.c.sealed == sealed
        )
        self._note(which.values(sealed=None, expires_at=None))

    def _note(self, statement: Update) -> None:
        # Without the note, other workers wait for the rest of the lease, or are rejected once.
        # That is no reason to withhold WeChat's response from this caller.
        with suppress(Overloaded):
            retry_on_disconnect(lambda: self._run(statement))

    def _run(self, statement: Update) -> None:
        with self._database.statement() as connection:
            connection.execute(statement)
