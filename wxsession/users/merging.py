"""One user out of two, when both turn out to be the same person.

Locks are taken in one order everywhere, or two who need the same ones wait for each other for
ever: first the unionid (`lock_unionid`), then identities by their ids, then users by theirs, then
sessions. Who needs several users takes all of them in one call of `lock`: so it is found out
without locks whom that concerns, and looked at again under them.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from wxsession.errors import IdentityBound, UserBlocked
from wxsession.storage.database import Database
from wxsession.storage.tables import (
    identities,
    is_live,
    merged_users,
    sessions,
    unbound_identities,
    users,
)
from wxsession.users.phone_numbers import PhoneNumbers
from wxsession.users.user import User, select_users, user_from

MOST_MOVED_SESSIONS = 1000
"""How many dead sessions a merge moves, at most; where there are more they stay."""
_BATCH = 1000
_PERSONAL = ("nickname", "avatar_url", "phone_number_sealed", "phone_number_hash")


def lock_unionid(connection: Connection, unionid: str) -> None:
    """Let nobody else find out meanwhile who has this unionid; the caller holds no lock so far."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        key = func.hashtextextended("wxsession unionid " + unionid, 0)
        connection.execute(select(func.pg_advisory_xact_lock(key)))


def lock_users(connection: Connection, user_ids: Iterable[UUID]) -> dict[UUID, User]:
    """Return the users that are still there, locked together with their identities."""
    wanted = list(user_ids)
    theirs = select(identities.c.id).where(identities.c.user_id.in_(wanted))
    connection.execute(theirs.order_by(identities.c.id).with_for_update())
    found = select_users().where(users.c.id.in_(wanted)).order_by(users.c.id).with_for_update()
    return {user.id: user for user in map(user_from, connection.execute(found))}


def merge(
    connection: Connection, source: User, target: User, phones: PhoneNumbers, now: datetime
) -> User:
    """Move identities and sessions of `source` to `target`; `source` is nobody then.

    Only a user without a username can go: an account of the business is never merged away. What
    the target does not know yet (nickname, avatar, phone number) it takes over. What the audit
    says of the source stays under its id: `merged_users` says where that went. The caller holds
    the locks of both.

    However many sessions the source ever had, a bounded number of rows is written. Where more are
    left the source's row stays for them, without anything that leads to it, until the purge has
    removed them; see `finish_merges`.

    Raises:
        IdentityBound: `source` has a username, or both have a WeChat user of the same app.
        UserBlocked: one of them is disabled, and must not come back as the other.
    """
    if source.disabled_at is not None or target.disabled_at is not None:
        raise UserBlocked
    theirs, ours = identities.alias(), identities.alias()
    collision = exists().where(
        theirs.c.user_id == source.id,
        ours.c.user_id == target.id,
        theirs.c.provider == ours.c.provider,
        theirs.c.appid == ours.c.appid,
    )
    if source.username is not None or connection.execute(select(collision)).scalar_one():
        raise IdentityBound
    move_identities(connection, identities.c.user_id == source.id, target.id, now)
    _move_unbinds(connection, source.id, target.id)
    mine, moving = sessions.c.user_id == source.id, update(sessions).values(user_id=target.id)
    connection.execute(moving.where(mine, is_live(now)))
    dead = select(sessions.c.id).where(mine).limit(MOST_MOVED_SESSIONS)
    moved = connection.execute(moving.where(sessions.c.id.in_(dead))).rowcount
    it = users.c.id == source.id
    if moved < MOST_MOVED_SESSIONS:
        connection.execute(delete(users).where(it))
    else:
        connection.execute(update(users).where(it).values(dict.fromkeys(_PERSONAL)))
    _note_merge(connection, source.id, target.id, now)
    changes = _inherited(source, target, phones)
    if changes:
        connection.execute(update(users).where(users.c.id == target.id).values(changes))
    row = connection.execute(select_users().where(users.c.id == target.id)).one()
    return user_from(row)


def move_identities(
    connection: Connection, which: ColumnElement[bool], user_id: UUID, now: datetime
) -> None:
    """Let identities belong to another user, since now."""
    connection.execute(update(identities).where(which).values(user_id=user_id, created_at=now))


def kept_apart(user_id: UUID, unionid: str) -> ColumnElement[bool]:
    """Return the condition that no unionid makes one of this user and that of an identity.

    That is so if either has unbound a WeChat user who belongs to the other now, or who has this
    very unionid: who took one off the account does not want to find it there again.
    """
    record, unbound = unbound_identities.alias(), identities.alias()
    other_id = identities.c.user_id
    by_other = and_(record.c.user_id == other_id, _is_of(unbound, user_id, unionid))
    by_user = and_(record.c.user_id == user_id, _is_of(unbound, other_id, unionid))
    apart = exists().where(record.c.identity_id == unbound.c.id, or_(by_other, by_user))
    return apart.correlate(identities)


def is_merged() -> ColumnElement[bool]:
    """Return the condition that a user is nobody any more: only old sessions are left of it."""
    return exists().where(merged_users.c.old_id == users.c.id).correlate(users)


def merged_into(connection: Connection, user_id: UUID) -> UUID | None:
    """Return which user another one has become, or None if it was never merged."""
    query = select(merged_users.c.new_id).where(merged_users.c.old_id == user_id)
    return connection.execute(query).scalar()


def finish_merges(database: Database) -> int:
    """Delete merged users of whom no session is left; return how many.

    Nobody can log in to them, so none gets a session any more.
    """
    done, after = 0, UUID(int=0)
    ids = select(merged_users.c.old_id).order_by(merged_users.c.old_id).limit(_BATCH)
    has_sessions = exists().where(sessions.c.user_id == users.c.id).correlate(users)
    while True:
        with database.transaction() as connection:
            found = connection.execute(ids.where(merged_users.c.old_id > after)).scalars().all()
            if not found:
                return done
            gone = delete(users).where(users.c.id.in_(found), ~has_sessions)
            done, after = done + connection.execute(gone).rowcount, found[-1]


def _is_of(
    identity: FromClause, user_id: UUID | ColumnElement[UUID], unionid: str
) -> ColumnElement[bool]:
    return or_(identity.c.user_id == user_id, identity.c.unionid == unionid)


def _move_unbinds(connection: Connection, source_id: UUID, target_id: UUID) -> None:
    """Let the target keep what the source had unbound, and nothing of what it has itself now."""
    table = unbound_identities
    theirs = select(table.c.identity_id).where(table.c.user_id == target_id)
    moving = update(table).where(table.c.user_id == source_id, table.c.identity_id.not_in(theirs))
    connection.execute(moving.values(user_id=target_id))
    own = select(identities.c.id).where(identities.c.user_id == target_id)
    void = and_(table.c.user_id == target_id, table.c.identity_id.in_(own))
    connection.execute(delete(table).where(or_(table.c.user_id == source_id, void)))


def _note_merge(connection: Connection, source_id: UUID, target_id: UUID, now: datetime) -> None:
    """Write down where the source went; who had become the source has become the target now."""
    earlier = update(merged_users).where(merged_users.c.new_id == source_id)
    connection.execute(earlier.values(new_id=target_id))
    row = {"old_id": source_id, "new_id": target_id, "merged_at": now}
    connection.execute(insert(merged_users).values(row))


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
