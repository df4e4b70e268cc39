"""The export: all that is known of a user, as JSON, for the user or for who is asked for it.

There is no key, hash or token in it. However long it is, a page of it is in memory at a time.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import literal, select, tuple_

from wxsession.common.clock import Clock, rfc3339
from wxsession.errors import NoSuchUser, Overloaded
from wxsession.events.audit import SYSTEM, UNKNOWN, Audit
from wxsession.sessions.service import SessionService
from wxsession.storage import tables as t
from wxsession.storage.database import Database
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo
from wxsession.users.merging import ensure_known
from wxsession.users.phone_numbers import PhoneNumbers
from wxsession.users.user import select_former_ids, select_users, user_from

T = TypeVar("T")

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class ExportedUser:
    """The profile of a user; the phone number is whole."""

    id: UUID
    username: str | None
    nickname: str | None
    avatar_url: str | None
    phone_number: str | None
    country_code: str | None
    disabled_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ExportedIdentity:
    """A WeChat user who leads to the user, and since when."""

    appid: str
    openid: str
    unionid: str | None
    bound_at: datetime


@dataclass(frozen=True, slots=True)
class ExportedSession:
    """A session, whatever became of it; `appid` is None for a login by password."""

    id: UUID
    appid: str | None
    created_at: datetime
    auth_time: datetime
    expires_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    client_address: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class ExportedEvent:
    """An event of the audit, without the operator who caused it."""

    id: UUID
    at: datetime
    event: str
    reason: str | None
    session_id: UUID | None
    appid: str | None
    client_address: str | None
    user_agent: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Exported:
    """An export; sessions and events come in pages, each read when it is asked for."""

    exported_at: datetime
    user: ExportedUser
    identities: Sequence[ExportedIdentity]
    sessions: Iterator[Sequence[ExportedSession]]
    events: Iterator[Sequence[ExportedEvent]]

    def pieces(self) -> Iterator[str]:
        """Yield the text of a JSON object with these fields, piece by piece.

        Raises:
            NoSuchUser: the user was merged or deleted meanwhile, so that the rest is not there.
            Overloaded: the database did not answer in time.
        """
        head = {"exported_at": self.exported_at, "user": self.user, "identities": self.identities}
        yield json.dumps(head, default=_plain)[: -len("}")]
        for name, pages in (("sessions", self.sessions), ("events", self.events)):
            yield f', "{name}": ['
            comma = ""
            for page in pages:
                yield comma + json.dumps(page, default=_plain)[len("[") : -len("]")]
                comma = ", "
            yield "]"
        yield "}"


class Export:
    """Tells all that is known of a user; that it did is in the audit."""

    def __init__(
        self,
        database: Database,
        *,
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

    def own(self, presented: str, client: ClientInfo) -> Exported:
        """Return the export of the user of a session token.

        Raises:
            TokenError: the token is not accepted.
            Overloaded: the database did not answer in time.
        """
        user_id = self._sessions.check(presented).user.id
        try:
            exported = self._export(user_id)
        except NoSuchUser:
            # The user was just merged into an account, which a repeated request finds, or deleted,
            # which it is told.
            raise Overloaded from None
        self._audit.count("user.exported", client, user_id=user_id)
        return exported

    def of_user(
        self, user_id: UUID, *, actor: str = UNKNOWN, client: ClientInfo = SYSTEM
    ) -> Exported:
        """Return the export of a user.

        Raises:
            NoSuchUser: no user has this id.
            Overloaded: the database did not answer in time.
        """
        exported = self._export(user_id)
        self._audit.count("user.exported", client, user_id=user_id, actor=actor)
        return exported

    def _export(self, user_id: UUID) -> Exported:
        """Return an export whose first pages were read together: most users have no others."""
        query = select_users().add_columns(t.users.c.created_at).where(t.users.c.id == user_id)
        with self._database.transaction() as transaction:
            _keep(transaction, user_id)
            row = transaction.execute(query).one()
            ids = (user_id, *transaction.execute(select_former_ids(user_id)).scalars())
            bound = tuple(_identities(transaction, user_id))
            sessions = _sessions(transaction, ids, None)
            events = _events(transaction, ids, None)
        return Exported(
            self._clock(),
            self._user(row),
            bound,
            self._pages(ids, sessions, _sessions),
            self._pages(ids, events, _events),
        )

    def _user(self, row: Sequence[Any]) -> ExportedUser:
        user, created_at = user_from(row[:-1], self._phones), row[-1]
        return ExportedUser(
            id=user.id,
            username=user.username,
            nickname=user.nickname,
            avatar_url=user.avatar_url,
            phone_number=user.phone.number if user.phone else None,
            country_code=user.phone.country_code if user.phone else None,
            disabled_at=user.disabled_at,
            created_at=created_at,
        )

    def _pages(
        self,
        ids: Sequence[UUID],
        page: Sequence[T],
        read: Callable[[Transaction, Sequence[UUID], T | None], Sequence[T]],
    ) -> Iterator[Sequence[T]]:
        """Yield a page, and all that follow it."""
        while page:
            yield page
            if len(page) < _PAGE:
                return
            with self._database.transaction() as transaction:
                _keep(transaction, ids[0])
                page = read(transaction, ids, page[-1])


def _keep(transaction: Transaction, user_id: UUID) -> None:
    """Keep a user from being merged and deleted until the transaction ends.

    Raises:
        NoSuchUser: no user has this id.
    """
    it = select(t.users.c.id).where(t.users.c.id == user_id)
    transaction.execute(it.with_for_update(read=True))
    ensure_known(transaction, user_id)


def _identities(transaction: Transaction, user_id: UUID) -> Iterator[ExportedIdentity]:
    c = t.identities.c
    query = select(c.appid, c.openid, c.unionid, c.created_at).where(c.user_id == user_id)
    rows: Iterable[Any] = transaction.execute(query.order_by(c.id))
    return (ExportedIdentity(*row) for row in rows)


def _sessions(
    transaction: Transaction, ids: Sequence[UUID], after: ExportedSession | None
) -> Sequence[ExportedSession]:
    c = t.sessions.c
    with_identity = t.sessions.outerjoin(t.identities, t.identities.c.id == c.identity_id)
    columns = (c.id, t.identities.c.appid, c.created_at, c.auth_time, c.idle_expires_at)
    rest = (c.ended_at, c.end_reason, c.client_address, c.user_agent)
    query = select(*columns, *rest).select_from(with_identity).where(c.user_id.in_(ids))
    if after is not None:
        query = query.where(c.id > after.id)
    rows: Iterable[Any] = transaction.execute(query.order_by(c.id).limit(_PAGE))
    return [ExportedSession(*row) for row in rows]


def _events(
    transaction: Transaction, ids: Sequence[UUID], after: ExportedEvent | None
) -> Sequence[ExportedEvent]:
    c = t.audit_events.c
    names = [field.name for field in dataclasses.fields(ExportedEvent)]
    query = select(*(c[name] for name in names)).where(c.user_id.in_(ids))
    if after is not None:
        here = tuple_(literal(after.at, c.at.type), literal(after.id, c.id.type))
        query = query.where(tuple_(c.at, c.id) > here)
    rows: Iterable[Any] = transaction.execute(query.order_by(c.at, c.id).limit(_PAGE))
    return [ExportedEvent(*row) for row in rows]


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(type(value).__name__)
