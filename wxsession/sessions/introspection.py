"""Introspection: what the other back ends of the operator may ask about a session token."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from wxsession.clock import Clock
from wxsession.errors import InvalidApiKey, TokenError
from wxsession.events.audit import Audit
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import SessionView
from wxsession.users.client import ClientInfo


@dataclass(frozen=True, slots=True)
class Introspected:
    """A live session as a back end sees it; times are in whole seconds since 1970.

    `appid`, `openid` and `unionid` are None for a session without WeChat.
    """

    sub: UUID
    username: str | None
    appid: str | None
    openid: str | None
    unionid: str | None
    iat: int
    exp: int
    auth_time: int
    sid: UUID

    @classmethod
    def of(cls, view: SessionView, now: datetime) -> "Introspected":
        """Return what a back end is told about a live session that was read at `now`, or later."""
        identity = view.identity
        return cls(
            sub=view.user.id,
            username=view.user.username,
            appid=identity.appid if identity else None,
            openid=identity.openid if identity else None,
            unionid=identity.unionid if identity else None,
            iat=int(view.created_at.timestamp()),
            exp=int((now + timedelta(seconds=view.expires_in)).timestamp()),
            auth_time=int(view.auth_time.timestamp()),
            sid=view.session_id,
        )


class Introspection:
    """Who may ask, and what a session token is worth (RFC 7662).

    `api_keys` are the keys by the names of the back ends that hold them.
    """

    def __init__(
        self, sessions: SessionService, api_keys: Mapping[str, str], audit: Audit, clock: Clock
    ) -> None:
        self._sessions = sessions
        self._hashes = {name: _hash(key) for name, key in api_keys.items()}
        self._audit = audit
        self._clock = clock

    @contextmanager
    def counting_refusals(self, client: ClientInfo) -> Iterator[None]:
        """Count in the audit that an API key is refused in here: somebody may be guessing."""
        try:
            yield
        except InvalidApiKey:
            self._audit.count("api_key.refused", client)
            raise

    def ensure_known(self, name: str | None, key: str) -> str:
        """Return the name of the back end that holds `key`.

        With a `name`, the key has to be the one of that name.

        Raises:
            InvalidApiKey: the key is none, or another back end's.
        """
        # Hashes have one length, and every one is compared: the time that this takes tells
        # neither how much of a key was right nor how long it is nor whose it is.
        hash_ = _hash(key)
        holders = [
            holder for holder, known in self._hashes.items() if hmac.compare_digest(known, hash_)
        ]
        if not holders or name not in {None, *holders}:
            raise InvalidApiKey
        return holders[0]  # there is one: the settings have no key twice

    def introspect(self, presented: str) -> Introspected | None:
        """Return the live session of a token and count that as use; None for any other token.

        Why a token is no good is for its holder alone, so nothing tells it here (RFC 7662, 2.2).

        Raises:
            Overloaded: the database did not answer in time.
        """
        now = self._clock()  # before the check, so that `exp` is never too late
        try:
            return Introspected.of(self._sessions.check(presented), now)
        except TokenError:
            return None


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
