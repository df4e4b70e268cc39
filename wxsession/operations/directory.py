"""The directory: users and sessions looked up by an operator.

What comes out may be shown on a terminal: phone numbers are masked, and there is no token, hash
or key in any of it.
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Row,
    Select,
    and_,
    exists,
    func,
    literal,
    select,
    tuple_,
    union,
)

from wxsession.accounts.passwords import normalised_username
from wxsession.common.clock import Clock
from wxsession.errors import NoSuchSession, NoSuchUser, SessionEnded, SessionExpired
from wxsession.events.event import Event
from wxsession.events.search import EventFilter, find_events
from wxsession.operations.session_search import SessionFilter, find_sessions
from wxsession.sessions.queries import select_sessions, session_from
from wxsession.sessions.session import Session
from wxsession.storage import tables as t
from wxsession.storage.database import Database
from wxsession.users.merging import ensure_known, is_deleted, is_merged
from wxsession.users.phone_numbers import PhoneNumber, PhoneNumbers
from wxsession.users.user import select_former_ids, select_users, user_from

T = TypeVar("T")

PAGE = 50
MOST_COUNTED = 10_000
"""How many live sessions of a user are counted at most."""
_SHOWN_EVENTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFilter:
    """Which users to list; None: any."""

    username: str | None = None
    phone: PhoneNumber | None = None
    openid: str | None = None
    unionid: str | None = None
    nickname: str | None = None
    """How the nickname begins."""
    address: str | None = None
    """Had a session from this address, within the retention of events."""
    appid: str | None = None
    """The app that the WeChat user with `openid` or `unionid`, or any, is of."""
    disabled: bool = False
    """Only users who are disabled."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of what was found; `next` is the id to continue after, None at the end."""

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
    """Everything an operator may see of a user; `events` are the latest ones, newest first.

    Of the live sessions, `MOST_COUNTED` are counted at most.
    """

    user: UserLine
    identities: tuple[BoundIdentity, ...]
    live_sessions: int
    events: tuple[Event, ...]

    def live_in_words(self) -> str:
        """Return how many sessions are live, as a text: with a plus where there may be more."""
        return f"{self.live_sessions}{'+' * (self.live_sessions == MOST_COUNTED)}"


@dataclass(frozen=True, slots=True)
class Merge:
    """A user who became another one."""

    old_id: UUID
    new_id: UUID
    merged_at: datetime


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


class Directory:
    """What an operator may look at."""

    def __init__(self, database: Database, *, phones: PhoneNumbers, clock: Clock) -> None:
        self._database = database
        self._phones = phones
        self._clock = clock

    def users(
        self,
        wanted: UserFilter,
        *,
        limit: int = PAGE,
        after: UUID | None = None,
        newest_first: bool = False,
    ) -> Page[UserLine]:
        """Return users in the order of their ids, oldest first unless `newest_first`.

        Raises:
            Overloaded: the database did not answer in time.
        """
        query = select_users_with_date().where(
            ~is_merged(), ~is_deleted(), *matching(wanted, self._phones, self._database)
        )
        key = t.users.c.id
        if after is not None:
            query = query.where(key < after if newest_first else key > after)
        query = query.order_by(key.desc() if newest_first else key).limit(limit + 1)
        with self._database.statement() as connection:
            rows = connection.execute(query).all()
        lines = [self._user_line(row) for row in rows[:limit]]
        return page_of(lines, len(rows) > limit, lambda line: line.user_id)

    def merges(
        self, since: datetime | None = None, *, limit: int = PAGE, after: UUID | None = None
    ) -> Page[Merge]:
        """Return which users became which, oldest first; `after` is an id that a user had before.

        Raises:
            NoSuchUser: no user was merged who had the id `after`.
            Overloaded: the database did not answer in time.
        """
        c = t.merged_users.c
        query = select(c.old_id, c.new_id, c.merged_at).order_by(c.merged_at, c.old_id)
        if since is not None:
            query = query.where(c.merged_at >= since)
        with self._database.statement() as connection:
            if after is not None:
                position = select(c.merged_at, c.old_id).where(c.old_id == after)
                last = connection.execute(position).first()
                if last is None:
                    raise NoSuchUser
                where = literal(last.merged_at, c.merged_at.type), literal(after, c.old_id.type)
                query = query.where(tuple_(c.merged_at, c.old_id) > tuple_(*where))
            rows = connection.execute(query.limit(limit + 1)).all()
        merges = [Merge(*row) for row in rows[:limit]]
        return page_of(merges, len(rows) > limit, lambda merge: merge.old_id)

    def user(self, user_id: UUID) -> UserDetails:
        """Return everything an operator may see of a user.

        Raises:
            NoSuchUser: no user has this id.
            Overloaded: the database did not answer in time.
        """
        c = t.identities.c
        bound = select(c.appid, c.openid, c.unionid, c.created_at).where(c.user_id == user_id)
        live = select(t.sessions.c.id).where(t.sessions.c.user_id == user_id, self._is_live())
        some_live = live.limit(MOST_COUNTED).subquery()
        with self._database.statement() as connection:
            ensure_known(connection, user_id)
            query = select_users_with_date().where(t.users.c.id == user_id)
            row = connection.execute(query).first()
            if row is None:
                raise NoSuchUser
            return UserDetails(
                self._user_line(row),
                tuple(BoundIdentity(*one) for one in connection.execute(bound.order_by(c.id))),
                connection.execute(select(func.count()).select_from(some_live)).scalar_one(),
                tuple(find_events(connection, EventFilter(user_id=user_id), limit=_SHOWN_EVENTS)),
            )

    def sessions(
        self,
        user_id: UUID | None = None,
        *,
        every: bool = False,
        limit: int = PAGE,
        after: UUID | None = None,
    ) -> Page[SessionLine]:
        """Return live sessions, or `every` session, newest first; of one user or of all.

        Raises:
            NoSuchUser: no user has this id.
            Overloaded: the database did not answer in time.
        """
        c = t.sessions.c
        # The ids alone first: of a user with very many sessions, all are sorted.
        page = select(c.id).order_by(c.id.desc()).limit(limit + 1)
        if not every:
            page = page.where(self._is_live())
        if after is not None:
            page = page.where(c.id < after)
        with self._database.statement() as connection:
            if user_id is not None:
                ensure_known(connection, user_id)
                ids = (user_id, *connection.execute(select_former_ids(user_id)).scalars())
                page = page.where(c.user_id.in_(ids))
            found = connection.execute(page).scalars().all()
            query = select_sessions().where(c.id.in_(found[:limit])).order_by(c.id.desc())
            rows = connection.execute(query).all() if found else []
        lines = [self._session_line(session_from(row, self._phones)) for row in rows]
        return page_of(lines, len(found) > limit and bool(lines), lambda line: line.session_id)

    def find_sessions(
        self, wanted: SessionFilter, *, limit: int = PAGE, after: UUID | None = None
    ) -> Page[SessionLine]:
        """Return sessions of anybody, newest first, having looked through 2,000 of them at most.

        Where few are as they are wanted, there may be none on a page before the last.

        Raises:
            InvalidRequest: nothing is known about `after` any more.
            Overloaded: the database did not answer in time.
        """
        with self._database.statement() as connection:
            found = find_sessions(connection, wanted, now=self._clock(), limit=limit, after=after)
        lines = (self._session_line(session_from(row[:-1], self._phones)) for row in found.rows)
        return Page(tuple(lines), found.next)

    def session(self, session_id: UUID) -> SessionLine:
        """Return one session, whether it is live or not.

        Raises:
            NoSuchSession: no session has this id.
            Overloaded: the database did not answer in time.
        """
        found = self._session(session_id)
        if found is None:
            raise NoSuchSession
        return self._session_line(found)

    def _session(self, session_id: UUID) -> Session | None:
        query = select_sessions().where(t.sessions.c.id == session_id)
        with self._database.statement() as connection:
            row = connection.execute(query).first()
        return session_from(row, self._phones) if row else None

    def _is_live(self) -> ColumnElement[bool]:
        now = self._clock()
        return and_(t.is_live(now), t.has_live_opener(now), t.has_enabled_user())

    def _user_line(self, row: Row[Any]) -> UserLine:
        user, created_at = user_from(row[:-1], self._phones), row[-1]
        masked = user.phone.masked() if user.phone else None
        return UserLine(user.id, user.username, user.nickname, masked, user.disabled_at, created_at)

    def _session_line(self, session: Session) -> SessionLine:
        opener = None
        state, reason = self._state(session)
        if session.opened_by is not None:  # in a web-view: it ends with its opener
            opener = self._session(session.opened_by)
            if state == "live":
                state, reason = self._state(opener) if opener else ("ended", "revoked")
        both = [one for one in (session, opener) if one]
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
            expires_at=min(one.expires_at() for one in both),
            absolute_expires_at=session.absolute_expires_at,
            ended_at=next((one.ended_at for one in both if one.ended_at), None),
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


def select_users_with_date() -> Select[Any]:
    """Return the query for rows of users as `user_from` reads them, and since when they are."""
    return select_users().add_columns(t.users.c.created_at)


def matching(
    wanted: UserFilter, phones: PhoneNumbers, database: Database
) -> list[ColumnElement[bool]]:
    """Return the conditions for the users that are wanted."""
    found: list[ColumnElement[bool]] = []
    if wanted.username is not None:
        found.append(t.users.c.username == normalised_username(wanted.username))
    if wanted.phone is not None:
        # Hashed with each server key: not every row has the hash of the newest one yet.
        found.append(t.users.c.phone_number_hash.in_(phones.hashes(wanted.phone)))
    if wanted.nickname is not None:
        found += _begins(t.users.c.nickname, wanted.nickname, database)
    if wanted.address is not None:
        found.append(t.users.c.id.in_(_seen_from(wanted.address)))
    if wanted.disabled:
        found.append(t.users.c.disabled_at.is_not(None))
    return found + _bound(wanted)


def _begins(
    column: ColumnElement[str], beginning: str, database: Database
) -> list[ColumnElement[bool]]:
    """Return the conditions of a range of the index: LIKE uses it with a known value only."""
    end = beginning + chr(sys.maxunicode)  # no character, so nothing begins with it
    if database.is_postgresql:  # these compare bytes, whatever the locale
        return [column.op("~>=~")(beginning), column.op("~<~")(end)]
    return [column >= beginning, column < end]


def _seen_from(address: str) -> CompoundSelect[Any]:
    """Return the query for who had a session from there, by the ids of today."""
    c, merged = t.audit_events.c, t.merged_users.c
    there = (c.client_address == address, c.session_id.is_not(None))
    return union(
        select(c.user_id).where(*there),
        select(merged.new_id).join(t.audit_events, c.user_id == merged.old_id).where(*there),
    )


def _bound(wanted: UserFilter) -> list[ColumnElement[bool]]:
    """Return the condition that one WeChat user of the user is as it is wanted."""
    c = t.identities.c
    named = {c.openid: wanted.openid, c.unionid: wanted.unionid, c.appid: wanted.appid}
    conditions = [column == value for column, value in named.items() if value is not None]
    if wanted.openid is not None or wanted.unionid is not None:
        return [t.users.c.id.in_(select(c.user_id).where(*conditions))]
    if wanted.appid is not None:
        # Nearly everybody may be of this app: it is asked for each user, along their ids.
        its = exists().where(c.user_id == t.users.c.id, c.provider == t.WECHAT, *conditions)
        return [its.correlate(t.users)]
    return []


def page_of(items: Iterable[T], more: bool, id_of: Callable[[T], UUID]) -> Page[T]:  # noqa: FBT001 - it is a fact, not a switch
    """Return the page of these items; `more` says whether others follow."""
    shown = tuple(items)
    return Page(shown, id_of(shown[-1]) if more else None)
