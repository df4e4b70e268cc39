"""Introspection: what the other back ends of the operator may ask about a session token."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from wxsession.common.clock import Clock
from wxsession.errors import TokenError
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import SessionView


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
    """What a session token is worth to a back end (RFC 7662)."""

    def __init__(self, sessions: SessionService, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

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
