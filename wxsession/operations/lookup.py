"""Lookup: users as the operator's other back ends see them, with openids and phone numbers.

A whole phone number is shown only to whom is for it, and not before the audit knows: by the name
of the back end, once for a user in ten minutes, with a count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select

from wxsession.errors import NoSuchUser
from wxsession.events.audit import Audit
from wxsession.operations.directory import (
    PAGE,
    Page,
    UserFilter,
    matching,
    page_of,
    select_users_with_date,
)
from wxsession.storage import tables as t
from wxsession.storage.database import Database, Executor
from wxsession.users.client import ClientInfo
from wxsession.users.merging import ensure_known, is_deleted, is_merged
from wxsession.users.phone_numbers import PhoneNumber, PhoneNumbers
from wxsession.users.user import user_from


class Asker(NamedTuple):
    """The back end that asks, from where, and whether it may see whole phone numbers."""

    name: str
    client: ClientInfo
    sees_phone_numbers: bool


class WeChatUser(NamedTuple):
    """A WeChat user that is bound to a user, as WeChat names it."""

    appid: str
    openid: str
    unionid: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """A user; `phone_number` is masked unless the back end may see it whole."""

    id: UUID
    username: str | None
    nickname: str | None
    avatar_url: str | None
    phone_number: str | None = field(repr=False)
    country_code: str | None
    identities: tuple[WeChatUser, ...] = field(repr=False)
    disabled: bool
    created_at: datetime


class Lookup:
    """What other back ends may know of users."""

    def __init__(self, database: Database, *, phones: PhoneNumbers, audit: Audit) -> None:
        self._database = database
        self._phones = phones
        self._audit = audit

    def user(self, user_id: UUID, asker: Asker) -> Found:
        """Return a user.

        Raises:
            NoSuchUser: no user has this id; `UserMerged` if it was merged into another one.
            Overloaded: the database did not answer in time.
        """
        query = select_users_with_date().where(t.users.c.id == user_id)
        with self._database.statement() as connection:
            ensure_known(connection, user_id)
            found = self._found(connection, connection.execute(query).all(), asker)
        if not found:
            raise NoSuchUser  # it was deleted just now
        return found[0]

    def users(
        self, wanted: UserFilter, asker: Asker, *, limit: int = PAGE, after: UUID | None = None
    ) -> Page[Found]:
        """Return users in the order of their ids, oldest first.

        Raises:
            Overloaded: the database did not answer in time.
        """
        theirs = matching(wanted, self._phones, self._database)
        query = select_users_with_date().where(~is_merged(), ~is_deleted(), *theirs)
        if after is not None:
            query = query.where(t.users.c.id > after)
        with self._database.statement() as connection:
            rows = connection.execute(query.order_by(t.users.c.id).limit(limit + 1)).all()
            shown = self._found(connection, rows[:limit], asker)
        return page_of(shown, len(rows) > limit, lambda user: user.id)

    def _found(
        self, connection: Executor, rows: Iterable[Sequence[Any]], asker: Asker
    ) -> list[Found]:
        users = [(user_from(row[:-1], self._phones), row[-1]) for row in rows]
        bound: dict[UUID, list[WeChatUser]] = {user.id: [] for user, _ in users}
        c = t.identities.c
        query = select(c.user_id, c.appid, c.openid, c.unionid).where(c.user_id.in_(bound))
        for user_id, *named in connection.execute(query.order_by(c.id)):
            bound[user_id].append(WeChatUser(*named))
        if asker.sees_phone_numbers:
            shown = [user.id for user, _ in users if user.phone]
            self._audit.count_shown_numbers(connection, shown, asker.client, actor=asker.name)
        return [
            Found(
                id=user.id,
                username=user.username,
                nickname=user.nickname,
                avatar_url=user.avatar_url,
                phone_number=_number(user.phone, whole=asker.sees_phone_numbers),
                country_code=user.phone.country_code if user.phone else None,
                identities=tuple(bound[user.id]),
                disabled=user.disabled_at is not None,
                created_at=created_at,
            )
            for user, created_at in users
        ]


def _number(phone: PhoneNumber | None, *, whole: bool) -> str | None:
    if phone is None:
        return None
    return phone.number if whole else phone.masked()
