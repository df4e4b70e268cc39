"""Users and identities, and the queries that read their rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, and_, bindparam, select

from wxsession.storage.tables import WECHAT, identities, merged_users, users
from wxsession.users.phone_numbers import PhoneNumber, PhoneNumbers


class User(NamedTuple):
    """A user of the business; a new one has only an id."""

    id: UUID
    username: str | None = None
    nickname: str | None = None
    avatar_url: str | None = None
    phone: PhoneNumber | None = None
    disabled_at: datetime | None = None

    def __repr__(self) -> str:
        """Return the user's id, and no personal data."""
        return f"User({self.id})"


class Identity(NamedTuple):
    """A WeChat user of one app."""

    id: UUID
    appid: str
    openid: str
    unionid: str | None


USER_COLUMNS = (
    users.c.id,
    users.c.username,
    users.c.nickname,
    users.c.avatar_url,
    users.c.phone_number_sealed,
    users.c.disabled_at,
)
IDENTITY_COLUMNS = (identities.c.id, identities.c.appid, identities.c.openid, identities.c.unionid)

IS_WECHAT_USER = and_(
    identities.c.provider == WECHAT,
    identities.c.appid == bindparam("appid"),
    identities.c.openid == bindparam("openid"),
)
"""The condition that an identity is the WeChat user with these two parameters."""


def select_users() -> Select[Any]:
    """Return the query whose rows `user_from` reads."""
    return select(*USER_COLUMNS)


def user_from(row: Sequence[Any], phones: PhoneNumbers) -> User:
    """Return the user in a row of `select_users`, with the phone number opened."""
    id_, username, nickname, avatar_url, sealed, disabled_at = row
    return User(id_, username, nickname, avatar_url, phones.open(sealed, id_), disabled_at)


def select_former_ids(user_id: UUID) -> Select[Any]:
    """Return the query for the ids of the users who were merged into a user."""
    return select(merged_users.c.old_id).where(merged_users.c.new_id == user_id)


def select_identities() -> Select[Any]:
    """Return the query whose rows `identity_from` reads: identities with their users."""
    return select(*IDENTITY_COLUMNS, *USER_COLUMNS).select_from(
        identities.join(users, users.c.id == identities.c.user_id)
    )


def identity_from(row: Sequence[Any]) -> Identity:
    """Return the identity in a row of `select_identities`."""
    return Identity(*row[: len(IDENTITY_COLUMNS)])


def user_of_identity_from(row: Sequence[Any], phones: PhoneNumbers) -> User:
    """Return the identity's user in a row of `select_identities`."""
    return user_from(row[len(IDENTITY_COLUMNS) :], phones)
