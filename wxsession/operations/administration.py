"""Administration: users and sessions looked up, users disabled, sessions ended, by an operator.

What comes out may be shown on a terminal: phone numbers are masked, and there is no token, hash
or key in any of it. What is changed is noted in the audit, in the transaction that changes it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    func,
    select,
    update,
)

from wxsession.accounts.passwords import normalised_username
from wxsession.audit import SYSTEM, UNKNOWN, Audit, AuditEvent
from wxsession.clock import Clock
from wxsession.errors import NoSuchSession, NoSuchUser, SessionEnded, SessionExpired, UserMerged
from wxsession.sessions.queries import select_sessions, session_from
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import Session
from wxsession.storage.database import Database, Executor
from wxsession.storage.tables import has_enabled_user, identities, is_live, sessions, users
from wxsession.users.merging import is_merged, merged_into
from wxsession.users.phone_numbers import PhoneNumber, PhoneNumbers
from wxsession.users.user import select_former_ids, select_users, user_from

T = TypeVar("T")

PAGE = 50
_SHOWN_EVENTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFilter:
    """Which users are asked for; what is None does not matter."""

    username: str | None = None
    phone: PhoneNumber | None = None
    openid: str | None = None
    unionid: str | None = None
    disabled: bool = False
    """Only those who are disabled."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of what was found; `next` is the id to go on after, None at the end."""

    items: tuple[T, ...]
    next: UUID | None


@dataclass(frozen=True, slots=True)
class UserLine:
    """A user as a list shows it; the phone number is masked."""

    user_id: UUID
    username: str | None
    nickname: str | None
    phone_number: str | None
    disabled_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BoundIdentity:
    """A WeChat user that is bound to an account, as WeChat names it."""

    appid: str
    openid: str
    unionid: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class UserDetails:
    """All there is to see of a user; `events` are the last of the audit, newest first."""

    user: UserLine
    identities: tuple[BoundIdentity, ...]
    live_sessions: int
    events: tuple[AuditEvent, ...]


@dataclass(frozen=True, slots=True)
class SessionLine:
    """A session as an administrator may see it.

    `state` is ``live``, ``ended`` or ``expired``, and `reason` says why it is not live.
    """

    session_id: UUID
    user_id: UUID
    appid: str | None
    openid: str | None = field(repr=False)
    state: str
    reason: str | None
    created_at: datetime
    auth_time: datetime
    expires_at: datetime
    absolute_expires_at: datetime
    ended_at: datetime | None
    client_address: str | None
    user_agent: str | None


class Administration:
    """What an operator may look at and do, by the ids of users and sessions."""

    def __init__(
        self,
        database: Database,
        sessions: SessionService,
        phones: PhoneNumbers,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._phones = phones
        self._audit = audit
        self._clock = clock

    def users(
        self, wanted: UserFilter, *, limit: int = PAGE, after: UUID | None = None
    ) -> Page[UserLine]:
        """Return users in the order of their ids, which is that of their making.

        Raises:
            Overloaded: the database did not answer in time.
        """
        query = _users().where(~is_merged(), *self._conditions(wanted)).order_by(users.c.id)
        if after is not None:
            query = query.where(users.c.id > after)
        with self._database.statement() as connection:
            rows = connection.execute(query.limit(limit + 1)).all()
        lines = [self._user_line(row) for row in rows]
        return _page(lines, limit, lambda line: line.user_id)

    def user(self, user_id: UUID) -> UserDetails:
        """Return all there is to see of a user.

        Raises:
            NoSuchUser: there is none with this id.
            Overloaded: the database did not answer in time.
        """
        c = identities.c
        bound = select(c.appid, c.openid, c.unionid, c.created_at).where(c.user_id == user_id)
        live = select(func.count()).where(sessions.c.user_id == user_id, self._is_live())
        with self._database.statement() as connection:
            _ensure_known(connection, user_id)
            row = connection.execute(_users().where(users.c.id == user_id)).first()
            if row is None:
                raise NoSuchUser
            return UserDetails(
                self._user_line(row),
                tuple(BoundIdentity(*one) for one in connection.execute(bound.order_by(c.id))),
                connection.execute(live).scalar_one(),
                tuple(self._audit.of_user(connection, user_id, limit=_SHOWN_EVENTS)),
            )

    def disable(
        self,
        user_id: UUID,
        *,
        actor: str = UNKNOWN,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> int:
        """Disable a user and end every live session; return how many were ended.

        From the first statement on the user can neither log in nor use a session. To end the
        sessions may take many statements; if it is stopped half way, run it again.

        Raises:
            NoSuchUser: there is none with this id.
            Overloaded: the database did not answer in time.
        """
        self._switch(user_id, "user_disabled", actor, disabled_at=self._clock())
        return self._end_all(user_id, "user_disabled", actor, progress)

    def enable(self, user_id: UUID, *, actor: str = UNKNOWN) -> None:
        """Let a disabled user log in again; the ended sessions stay ended.

        Raises:
            NoSuchUser: there is none with this id.
            Overloaded: the database did not answer in time.
        """
        self._switch(user_id, "user_enabled", actor, disabled_at=None)

    def end_sessions(
        self,
        user_id: UUID,
        *,
        actor: str = UNKNOWN,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> int:
        """End every live session of a user; return how many. May be stopped and run again.

        Raises:
            NoSuchUser: there is none with this id.
            Overloaded: the database did not answer in time.
        """
        with self._database.statement() as connection:
            _ensure_known(connection, user_id)
        return self._end_all(user_id, "revoked", actor, progress)

    def sessions(
        self,
        user_id: UUID | None = None,
        *,
        every: bool = False,
        limit: int = PAGE,
        after: UUID | None = None,
    ) -> Page[SessionLine]:
        """Return live sessions, or `every` one, newest first; of all users if none is named.

        Raises:
            NoSuchUser: there is none with this id.
            Overloaded: the database did not answer in time.
        """
        query = select_sessions().order_by(sessions.c.id.desc())
        if not every:
            query = query.where(self._is_live())
        if after is not None:
            query = query.where(sessions.c.id < after)
        with self._database.statement() as connection:
            if user_id is not None:
                _ensure_known(connection, user_id)
                ids = (user_id, *connection.execute(select_former_ids(user_id)).scalars())
                query = query.where(sessions.c.user_id.in_(ids))
            rows = connection.execute(query.limit(limit + 1)).all()
        lines = [self._session_line(session_from(row, self._phones)) for row in rows]
        return _page(lines, limit, lambda line: line.session_id)

    def session(self, session_id: UUID) -> SessionLine:
        """Return one session, whatever became of it.

        Raises:
            NoSuchSession: there is none with this id.
            Overloaded: the database did not answer in time.
        """
        with self._database.statement() as connection:
            return self._session_line(self._session(connection, session_id))

    def end_session(self, session_id: UUID, *, actor: str = UNKNOWN) -> bool:
        """End a session; return whether it was live until now.

        Raises:
            NoSuchSession: there is none with this id.
            Overloaded: the database did not answer in time.
        """
        with self._database.transaction() as connection:
            user_id = self._session(connection, session_id).user.id
            ended = self._sessions.end_rows(
                connection,
                sessions.c.id == session_id,
                "revoked",
                user_id=user_id,
                client=SYSTEM,
                actor=actor,
            )
        return ended == 1

    def _conditions(self, wanted: UserFilter) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if wanted.username is not None:
            found.append(users.c.username == normalised_username(wanted.username))
        if wanted.phone is not None:
            # Under every server key: one that was added lately has not hashed them all yet.
            found.append(users.c.phone_number_hash.in_(self._phones.hashes(wanted.phone)))
        if wanted.openid is not None:
            found.append(users.c.id.in_(_bound_where(identities.c.openid == wanted.openid)))
        if wanted.unionid is not None:
            found.append(users.c.id.in_(_bound_where(identities.c.unionid == wanted.unionid)))
        if wanted.disabled:
            found.append(users.c.disabled_at.is_not(None))
        return found

    def _switch(
        self, user_id: UUID, event: str, actor: str, *, disabled_at: datetime | None
    ) -> None:
        """Disable or enable a user; one who is so already stays so since when that was."""
        query = select(users.c.disabled_at).where(users.c.id == user_id).with_for_update()
        with self._database.transaction() as connection:
            row = connection.execute(query).first()
            _ensure_known(connection, user_id)
            if row is None:
                raise NoSuchUser
            if (row.disabled_at is None) == (disabled_at is None):
                return
            switch = update(users).where(users.c.id == user_id)
            connection.execute(switch.values(disabled_at=disabled_at))
            self._audit.write(connection, event, SYSTEM, user_id=user_id, actor=actor)

    def _end_all(
        self, user_id: UUID, reason: str, actor: str, progress: Callable[[int], None]
    ) -> int:
        done = 0
        while ended := self._sessions.end_some(user_id, reason, client=SYSTEM, actor=actor):
            done += ended
            progress(done)
        return done

    def _is_live(self) -> ColumnElement[bool]:
        return and_(is_live(self._clock()), has_enabled_user())

    def _user_line(self, row: Row[Any]) -> UserLine:
        user, created_at = user_from(row[:-1], self._phones), row[-1]
        masked = user.phone.masked() if user.phone else None
        return UserLine(user.id, user.username, user.nickname, masked, user.disabled_at, created_at)

    def _session(self, connection: Executor, session_id: UUID) -> Session:
        row = connection.execute(select_sessions().where(sessions.c.id == session_id)).first()
        if row is None:
            raise NoSuchSession
        return session_from(row, self._phones)

    def _session_line(self, session: Session) -> SessionLine:
        state, reason = self._state(session)
        identity = session.identity
        return SessionLine(
            session_id=session.id,
            user_id=session.user.id,
            appid=identity.appid if identity else None,
            openid=identity.openid if identity else None,
            state=state,
            reason=reason,
            created_at=session.created_at,
            auth_time=session.auth_time,
            expires_at=session.expires_at(),
            absolute_expires_at=session.absolute_expires_at,
            ended_at=session.ended_at,
            client_address=session.client.address,
            user_agent=session.client.user_agent,
        )

    def _state(self, session: Session) -> tuple[str, str | None]:
        try:
            session.ensure_live(self._clock())
        except SessionEnded as over:
            return "ended", over.reason
        except SessionExpired as over:
            return "expired", over.reason
        return "live", None


def _ensure_known(connection: Executor, user_id: UUID) -> None:
    """Return if there is a user with this id.

    Raises:
        UserMerged: it is another user by now.
        NoSuchUser: there was none, as far as anybody knows.
    """
    if new_id := merged_into(connection, user_id):
        raise UserMerged(new_id)
    if connection.execute(select(users.c.id).where(users.c.id == user_id)).first() is None:
        raise NoSuchUser


def _users() -> Select[Any]:
    return select_users().add_columns(users.c.created_at)


def _bound_where(condition: ColumnElement[bool]) -> Select[Any]:
    return select(identities.c.user_id).where(condition)


def _page(found: Sequence[T], limit: int, id_of: Callable[[T], UUID]) -> Page[T]:
    """Return the page of what was read with one more than `limit`, which tells if there is more."""
    items = tuple(found[:limit])
    return Page(items, id_of(items[-1]) if len(found) > limit else None)
