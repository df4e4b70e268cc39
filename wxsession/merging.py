"""One user out of two, when both turn out to be the same person.

Locks are taken in one order everywhere: identities before users, and each kind by id.
"""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Connection, delete, exists, select, update

from wxsession.errors import IdentityBound
from wxsession.models import (
    User,
    audit_events,
    identities,
    select_users,
    sessions,
    user_from,
    users,
)
from wxsession.phone_numbers import PhoneNumbers


def lock(connection: Connection, user_ids: Iterable[UUID]) -> dict[UUID, User]:
    """Return the users that are still there, locked together with their identities."""
    wanted = list(user_ids)
    theirs = select(identities.c.id).where(identities.c.user_id.in_(wanted))
    connection.execute(theirs.order_by(identities.c.id).with_for_update())
    found = select_users().where(users.c.id.in_(wanted)).order_by(users.c.id).with_for_update()
    return {user.id: user for user in map(user_from, connection.execute(found))}


def merge(connection: Connection, source: User, target: User, phones: PhoneNumbers) -> User:
    """Move identities, sessions and history of `source` to `target`; `source` is gone then.

    Only a user without a username can go: an account of the business is never merged away. What
    the target does not know yet (nickname, avatar, phone number) it takes over. The caller holds
    the locks of both.

    Raises:
        IdentityBound: `source` has a username, or both have a WeChat user of the same app.
    """
    theirs, ours = identities.alias(), identities.alias()
    collision = exists().where(
        theirs.c.user_id == source.id,
        ours.c.user_id == target.id,
        theirs.c.provider == ours.c.provider,
        theirs.c.appid == ours.c.appid,
    )
    if source.username is not None or connection.execute(select(collision)).scalar_one():
        raise IdentityBound
    for table in (identities, sessions, audit_events):
        moving = update(table).where(table.c.user_id == source.id)
        connection.execute(moving.values(user_id=target.id))
    connection.execute(delete(users).where(users.c.id == source.id))
    changes = _inherited(source, target, phones)
    if changes:
        connection.execute(update(users).where(users.c.id == target.id).values(changes))
    row = connection.execute(select_users().where(users.c.id == target.id)).one()
    return user_from(row)


def _inherited(source: User, target: User, phones: PhoneNumbers) -> dict[str, object]:
    changes: dict[str, object] = {
        name: getattr(source, name)
        for name in ("nickname", "avatar_url")
        if getattr(target, name) is None and getattr(source, name) is not None
    }
    phone = phones.open(source.phone_number_sealed, source.id)
    if phone and target.phone_number_sealed is None:
        changes |= phones.columns(phone, target.id)  # sealed anew: it is sealed for its row
    return changes
