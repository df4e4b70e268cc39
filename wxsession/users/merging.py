"""One user out of two, when both turn out to be the same person.

Locks are taken in one order everywhere; otherwise two callers that need the same ones could wait
for each other: first the unionid (`Users.lock_unionid`), then identities by their ids, then users
by theirs, then sessions. A caller that needs several users locks all of them in one call of
`Users.lock`: it finds out without locks which ones, and looks again when it has them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
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

from wxsession.clock import Clock
from wxsession.errors import IdentityBound, UserBlocked, UsernameTaken
from wxsession.storage.database import Database, Executor, new_id, upsert
from wxsession.storage.tables import (
    identities,
    is_live,
    merged_users,
    sessions,
    unbound_identities,
    users,
)
from wxsession.storage.transaction import Transaction
from wxsession.users.phone_numbers import PhoneNumbers
from wxsession.users.user import Identity, User, select_users, user_from, user_of_identity_from

MOST_MOVED_SESSIONS = 1000
"""How many dead sessions a merge moves, at most; where there are more they stay."""
_BATCH = 1000
_INSERT = insert(users)
_PERSONAL = ("nickname", "avatar_url", "phone_number_sealed", "phone_number_hash")


class Users:
    """Locks users, makes one of two, and takes identities off them.

    With `link_by_unionid`, WeChat users who have one unionid are one person.
    """

    def __init__(self, phones: PhoneNumbers, clock: Clock, *, link_by_unionid: bool) -> None:
        self.link_by_unionid = link_by_unionid
        self._phones = phones
        self._clock = clock

    def add(self, transaction: Transaction, user_id: UUID) -> None:
        """Add a user who has nothing but an id."""
        transaction.add(_INSERT, {"id": user_id, "created_at": self._clock()})

    def register(self, transaction: Transaction, username: str, password_hash: str) -> User:
        """Return a new user who has a username and a password.

        Raises:
            UsernameTaken: another user has the username.
        """
        user, now = User(new_id(), username=username), self._clock()
        made = upsert(transaction, users).values(
            id=user.id, username=username, password_hash=password_hash, created_at=now
        )
        claimed = made.on_conflict_do_nothing().returning(users.c.id)
        if transaction.execute(claimed).first() is None:
            raise UsernameTaken
        return user

    def of_identity(self, row: Sequence[Any]) -> User:
        """Return the user in a row of `select_identities`."""
        return user_of_identity_from(row, self._phones)

    def lock_unionid(self, transaction: Transaction, unionid: str) -> None:
        """Let nobody else find out meanwhile who has this unionid; the caller holds no lock."""
        if transaction.is_postgresql:  # SQLite has one writer at a time anyway
            key = func.hashtextextended("wxsession unionid " + unionid, 0)
            transaction.execute(select(func.pg_advisory_xact_lock(key)))

    def lock(self, transaction: Transaction, user_ids: Iterable[UUID]) -> dict[UUID, User]:
        """Return the users that are still there, locked together with their identities."""
        wanted = list(user_ids)
        theirs = select(identities.c.id).where(identities.c.user_id.in_(wanted))
        transaction.execute(theirs.order_by(identities.c.id).with_for_update())
        found = select_users().where(users.c.id.in_(wanted)).order_by(users.c.id).with_for_update()
        locked = (user_from(row, self._phones) for row in transaction.execute(found))
        return {user.id: user for user in locked}

    def merge(self, transaction: Transaction, source: User, target: User) -> User:
        """Move identities and sessions of `source` to `target`; `source` is nobody then.

        Only a user without a username can go: an account of the business is never merged away. What
        the target does not know yet (nickname, avatar, phone number) it takes over. What the audit
        says of the source stays under its id: `merged_users` says where that went. The caller holds
        the locks of both.

        However many sessions the source ever had, a bounded number of rows is written. Where more
        are left the source's row stays for them, without anything that leads to it, until the purge
        has removed them; see `finish_merges`.

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
        if source.username is not None or transaction.execute(select(collision)).scalar_one():
            raise IdentityBound
        now = self._clock()
        _move_identities(transaction, identities.c.user_id == source.id, target.id, now)
        _move_unbinds(transaction, source.id, target.id)
        mine, moving = sessions.c.user_id == source.id, update(sessions).values(user_id=target.id)
        transaction.execute(moving.where(mine, is_live(now)))
        dead = select(sessions.c.id).where(mine).limit(MOST_MOVED_SESSIONS)
        moved = transaction.execute(moving.where(sessions.c.id.in_(dead))).rowcount
        it = users.c.id == source.id
        if moved < MOST_MOVED_SESSIONS:
            transaction.execute(delete(users).where(it))
        else:
            transaction.execute(update(users).where(it).values(dict.fromkeys(_PERSONAL)))
        _note_merge(transaction, source.id, target.id, now)
        changes = _inherited(source, target, self._phones)
        if changes:
            transaction.execute(update(users).where(users.c.id == target.id).values(changes))
        row = transaction.execute(select_users().where(users.c.id == target.id)).one()
        return user_from(row, self._phones)

    def part(self, transaction: Transaction, user_id: UUID, leaving: Sequence[Identity]) -> None:
        """Give each person among these identities a user; no unionid brings them back.

        They are not deleted: who they are is known by their ids. The caller holds the lock of the
        user they leave.
        """
        now = self._clock()
        people: dict[object, UUID] = {}
        for one in leaving:
            person = one.unionid if one.unionid and self.link_by_unionid else one.id
            if person not in people:
                people[person] = new_id()
                self.add(transaction, people[person])
            _move_identities(transaction, identities.c.id == one.id, people[person], now)
        record = [{"user_id": user_id, "identity_id": one.id, "unbound_at": now} for one in leaving]
        noting = upsert(transaction, unbound_identities).values(record)
        transaction.execute(noting.on_conflict_do_nothing())


def _move_identities(
    transaction: Transaction, which: ColumnElement[bool], user_id: UUID, now: datetime
) -> None:
    """Let identities belong to another user, since now."""
    transaction.execute(update(identities).where(which).values(user_id=user_id, created_at=now))


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


def merged_into(connection: Executor, user_id: UUID) -> UUID | None:
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
        with database.transaction() as transaction:
            found = transaction.execute(ids.where(merged_users.c.old_id > after)).scalars().all()
            if not found:
                return done
            gone = delete(users).where(users.c.id.in_(found), ~has_sessions)
            done, after = done + transaction.execute(gone).rowcount, found[-1]


def _is_of(
    identity: FromClause, user_id: UUID | ColumnElement[UUID], unionid: str
) -> ColumnElement[bool]:
    return or_(identity.c.user_id == user_id, identity.c.unionid == unionid)


def _move_unbinds(transaction: Transaction, source_id: UUID, target_id: UUID) -> None:
    """Let the target keep what the source had unbound, and nothing of what it has itself now."""
    table = unbound_identities
    theirs = select(table.c.identity_id).where(table.c.user_id == target_id)
    moving = update(table).where(table.c.user_id == source_id, table.c.identity_id.not_in(theirs))
    transaction.execute(moving.values(user_id=target_id))
    own = select(identities.c.id).where(identities.c.user_id == target_id)
    void = and_(table.c.user_id == target_id, table.c.identity_id.in_(own))
    transaction.execute(delete(table).where(or_(table.c.user_id == source_id, void)))


def _note_merge(transaction: Transaction, source_id: UUID, target_id: UUID, now: datetime) -> None:
    """Write down where the source went; who had become the source has become the target now."""
    earlier = update(merged_users).where(merged_users.c.new_id == source_id)
    transaction.execute(earlier.values(new_id=target_id))
    row = {"old_id": source_id, "new_id": target_id, "merged_at": now}
    transaction.execute(insert(merged_users).values(row))


def _inherited(source: User, target: User, phones: PhoneNumbers) -> dict[str, object]:
    changes: dict[str, object] = {
        name: getattr(source, name)
        for name in ("nickname", "avatar_url")
        if getattr(target, name) is None and getattr(source, name) is not None
    }
    if source.phone is not None and target.phone is None:
        # Sealed again, because it is sealed for its row. A number that no server key opens stays.
        columns = phones.columns(source.phone, target.id)
        changes |= {name: func.coalesce(users.c[name], value) for name, value in columns.items()}
    return changes
