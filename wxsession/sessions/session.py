"""What a session is, and the rules that decide about it.

A session is judged here and nowhere else: whether it is live, and what a presented token is to
it. There is no database here.
"""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from wxsession.errors import SessionEnded, SessionExpired
from wxsession.sessions.tokens import SessionToken
from wxsession.users.client import ClientInfo
from wxsession.users.user import Identity, User


class Standing(enum.Enum):
    """What a properly signed token is to the session that it names."""

    CURRENT = "the token in use"
    PREVIOUS = "the one before it, still accepted"
    OLDER = "one that is not accepted any more"
    FOREIGN = "one that this session never had"


class Session(NamedTuple):
    """One login of one user on one device, as its row was read."""

    user: User
    identity: Identity | None
    client: ClientInfo
    id: UUID
    token_hash: bytes
    created_at: datetime
    auth_time: datetime
    absolute_expires_at: datetime
    idle_expires_at: datetime
    rotated_at: datetime | None
    confirmed_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    opened_by: UUID | None

    def ensure_live(self, now: datetime) -> None:
        """Return if the session may be used at `now`.

        Raises:
            SessionEnded: it was ended, or its user was disabled.
            SessionExpired: one of its two times is over, at that second or later.
        """
        if self.ended_at is not None:
            raise SessionEnded(self.end_reason or "revoked")
        if self.user.disabled_at is not None:
            raise SessionEnded("user_disabled")
        if now >= self.absolute_expires_at:
            raise SessionExpired("absolute")
        if now >= self.idle_expires_at:
            raise SessionExpired("idle")

    def standing(
        self,
        token: SessionToken,
        successors: Callable[[SessionToken], Iterable[SessionToken]],
        *,
        now: datetime,
        grace: timedelta,
    ) -> tuple[Standing, SessionToken | None]:
        """Return what `token` is to this session, and for the previous one its successor.

        The previous token is accepted until the next one was used, and within `grace` in any case:
        the device may have lost the response with the next one.
        """
        if token.is_hashed_as(self.token_hash):
            return Standing.CURRENT, None
        if self.rotated_at is None:
            return Standing.FOREIGN, None
        next_ = next((t for t in successors(token) if t.is_hashed_as(self.token_hash)), None)
        if next_ and (self.confirmed_at is None or self.rotated_within(grace, now)):
            return Standing.PREVIOUS, next_
        return Standing.OLDER, None

    def rotated_within(self, grace: timedelta, now: datetime) -> bool:
        """Return whether the last refresh was within `grace`."""
        return self.rotated_at is not None and now < self.rotated_at + grace

    def was_handed_on_within(self, period: timedelta, now: datetime) -> bool:
        """Return whether the last refresh, or the first use of its token, was within `period`.

        A device that asks for its next token again after days may still have a request with the
        previous one on its way when it uses the next one.
        """
        moments = (self.rotated_at, self.confirmed_at)
        return any(moment is not None and now < moment + period for moment in moments)

    def expires_at(self) -> datetime:
        """Return when the session expires if it is not used again."""
        return min(self.idle_expires_at, self.absolute_expires_at)


@dataclass(frozen=True, slots=True)
class NewSession:
    """Whose session begins, and how.

    `replacing` is the token that the device presented, if any: its session ends. `has_room` says
    that the user is known to have fewer sessions than may be live at once. `auth_time` is
    now, unless it was proved earlier. `opener` is the session that opened this one in a web-view,
    which ends with it.
    """

    user: User
    identity: Identity | None
    client: ClientInfo
    replacing: str | None = field(default=None, repr=False)
    new_user: bool = False
    has_room: bool = False
    auth_time: datetime | None = None
    opener: Session | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a login or a refresh returns; `expires_in` is in seconds."""

    session_token: str = field(repr=False)
    session_id: UUID
    expires_in: int
    absolute_expires_at: datetime
    user: User
    new_user: bool = False


class SessionView(NamedTuple):
    """A live session as its holder may see it; `expires_in` is in seconds."""

    session_id: UUID
    user: User
    identity: Identity | None
    created_at: datetime
    auth_time: datetime
    expires_in: int
    absolute_expires_at: datetime
    client: ClientInfo
    opened_by: UUID | None = None
    superseded: bool = False
    current: bool = False


class OwnSessions(NamedTuple):
    """Live sessions of a user, newest first, and whether there are `more`."""

    sessions: list[SessionView]
    more: bool
