"""Merging of two users who turn out to be the same person.

Locks are taken in the same order everywhere, so that two callers never deadlock: first the
unionid (`Users.lock_unionid`), then identities by id, then users by id, then sessions. A caller
that needs several users finds out which ones without locks, locks all of them in one call of
`Users.lock`, and then reads again.
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

from wxsession.common.clock import Clock
from wxsession.errors import (
    IdentityBound,
    NoSuchUser,
    UserBlocked,
    UserMerged,
    UsernameTaken,
)
from wxsession.storage.database import Database, Executor, new_id, upsert
from wxsession.storage.statements import inserting
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
"""How many dead sessions a merge moves at most; the rest stay with the merged user."""
_BATCH = 1000
_INSERT = inserting(users, "id", "created_at")
_PERSONAL = ("nickname", "avatar_url", "phone_number_sealed", "phone_number_hash")


class Users:
    """Creates, locks, merges and splits users.

    With `link_by_unionid`, WeChat users with the same unionid are one person.
    """

    def __init__(self, phones: PhoneNumbers, clock: Clock, *, link_by_unionid: bool) -> None:
        self.link_by_unionid = link_by_unionid
        self._phones = phones
        self._clock = clock

    def add(self, transaction: Transaction, user_id: UUID) -> None:
        """Add a user with only an id."""
        transaction.send(_INSERT, {"id": user_id, "created_at": self._clock()})

    def register(self, transaction: Transaction, username: str, password_hash: str) -> User:
        """Add a user with a username and a password.

        Raises:
            UsernameTaken: another user has the username.
        """
        user, now = User(new_id(), username=username), self._clock()
        # Not a plain INSERT: in PostgreSQL its failure would end the caller's transaction.
        adding = upsert(transaction, users).values(
            id=user.id, username=username, password_hash=password_hash, created_at=now
        )
        claimed = adding.on_conflict_do_nothing().returning(users.c.id)
        if transaction.execute(claimed).first() is None:
            raise UsernameTaken
        return user

    def of_identity(self, row: Sequence[Any]) -> User:
        """Return the user in a row of `select_identities`."""
        return user_of_identity_from(row, self._phones)

    def lock_unionid(self, transaction: Transaction, unionid: str) -> None:
        """Lock a unionid until the transaction ends; the caller holds no other lock yet.

        Nobody else can find out in that time which users have it, and act on that.
        """
        # An advisory lock, because there may be no row yet. SQLite has one writer at a time anyway.
        if transaction.is_postgresql:
            key = func.hashtextextended("wxsession unionid " + unionid, 0)
            transaction.execute(select(func.pg_advisory_xact_lock(key)))

    def lock(self, transaction: Transaction, user_ids: Iterable[UUID]) -> dict[UUID, User]:
        """Lock the users that still exist, and their identities; return the users by id."""
        wanted = list(user_ids)
        theirs = select(identities.c.id).where(identities.c.user_id.in_(wanted))
        transaction.execute(theirs.order_by(identities.c.id).with_for_update())
        found = select_users().where(users.c.id.in_(wanted)).order_by(users.c.id).with_for_update()
        locked = (user_from(row, self._phones) for row in transaction.execute(found))
        return {user.id: user for user in locked}

    def merge(self, transaction: Transaction, source: User, target: User) -> User:
        """Merge `source` into `target`: move its identities and sessions; return the target.

        The caller holds the locks of both. A user with a username is never merged away. The
        target takes over the nickname, avatar and phone number that it does not have. Audit
        events of the source stay under its id; `merged_users` leads from it to the target.

        The number of written rows is bounded, however many sessions the source ever had. If
        sessions are left over, the source's row stays without personal data and without a way to
        log in, until the purge has removed them; see `finish_merges`.

        Raises:
            IdentityBound: `source` has a username, or both have a WeChat user of the same app.
            UserBlocked: one of them is disabled; merging must not get around that.
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
        # All live sessions move, which are few; of the dead ones, which may be many, a batch.
        mine, moving = sessions.c.user_id == source.id, update(sessions).values(user_id=target.id)
        transaction.execute(moving.where(mine, is_live(now)))
        dead = select(sessions.c.id).where(mine).limit(MOST_MOVED_SESSIONS)
        moved = transaction.execute(moving.where(sessions.c.id.in_(dead))).rowcount
        source_row = users.c.id == source.id
        if moved < MOST_MOVED_SESSIONS:
            transaction.execute(delete(users).where(source_row))
        else:  # sessions may be left, and deleting the user would delete them
            transaction.execute(update(users).where(source_row).values(dict.fromkeys(_PERSONAL)))
        _note_merge(transaction, source.id, target.id, now)
        changes = _inherited(source, target, self._phones)
        if changes:
            transaction.execute(update(users).where(users.c.id == target.id).values(changes))
        row = transaction.execute(select_users().where(users.c.id == target.id)).one()
        return user_from(row, self._phones)

    def part(
        self, transaction: Transaction, user_id: UUID, leaving: Sequence[Identity]
    ) -> list[tuple[Identity, UUID]]:
        """Move identities to new users, one per person, and keep unionids from undoing that.

        Returns each identity with the id of its new user.

        The caller holds the lock of the user that they leave. An identity is not deleted: its
        next login would create it again, and its unionid would link it to the same user.
        """
        now = self._clock()
        people: dict[object, UUID] = {}
        parted: list[tuple[Identity, UUID]] = []
        for one in leaving:
            person = one.unionid if one.unionid and self.link_by_unionid else one.id
            if person not in people:
                people[person] = new_id()
                self.add(transaction, people[person])
            _move_identities(transaction, identities.c.id == one.id, people[person], now)
            parted.append((one, people[person]))
        record = [{"user_id": user_id, "identity_id": one.id, "unbound_at": now} for one in leaving]
        recording = upsert(transaction, unbound_identities).values(record)
        transaction.execute(recording.on_conflict_do_nothing())
        return parted

    def move(
        self, transaction: Transaction, identity: Identity, user_id: UUID, new_user_id: UUID
    ) -> None:
        """Move an identity to another user, and keep unionids from undoing that.

        The caller holds the locks of both.

        Raises:
            IdentityBound: the other user has a WeChat user of the same app.
        """
        now, table = self._clock(), unbound_identities
        theirs = identities.c.user_id == new_user_id, identities.c.appid == identity.appid
        if transaction.execute(select(identities.c.id).where(*theirs)).first() is not None:
            raise IdentityBound
        _move_identities(transaction, identities.c.id == identity.id, new_user_id, now)
        void = table.c.user_id == new_user_id, table.c.identity_id == identity.id
        transaction.execute(delete(table).where(*void))
        record = {"user_id": user_id, "identity_id": identity.id, "unbound_at": now}
        recording = upsert(transaction, table).values(record)
        transaction.execute(recording.on_conflict_do_nothing())


def _move_identities(
    transaction: Transaction, which: ColumnElement[bool], user_id: UUID, now: datetime
) -> None:
    """Move identities to another user; `created_at` says since when they belong to it."""
    transaction.execute(update(identities).where(which).values(user_id=user_id, created_at=now))


def kept_apart(user_id: UUID, unionid: str) -> ColumnElement[bool]:
    """Return the condition that the unionid must not merge this user and that of an identity.

    True if either has unbound a WeChat user who now belongs to the other, or who has the same
    unionid: an unbound WeChat user does not return to the account.
    """
    record, unbound = unbound_identities.alias(), identities.alias()
    other_id = identities.c.user_id
    by_other = and_(record.c.user_id == other_id, _is_of(unbound, user_id, unionid))
    by_user = and_(record.c.user_id == user_id, _is_of(unbound, other_id, unionid))
    apart = exists().where(record.c.identity_id == unbound.c.id, or_(by_other, by_user))
    return apart.correlate(identities)


def is_merged() -> ColumnElement[bool]:
    """Return the condition that a user was merged into another, and only has old sessions left."""
    return exists().where(merged_users.c.old_id == users.c.id).correlate(users)


def is_deleted() -> ColumnElement[bool]:
    """Return the condition that a user was deleted, and only has old sessions left."""
    return users.c.deleted_at.is_not(None)


def merged_into(connection: Executor, user_id: UUID) -> UUID | None:
    """Return the id of the user into which this one was merged, or None."""
    query = select(merged_users.c.new_id).where(merged_users.c.old_id == user_id)
    return connection.execute(query).scalar()


def ensure_known(connection: Executor, user_id: UUID) -> None:
    """Return if there is a user with this id.

    Raises:
        UserMerged: the user was merged into another one.
        NoSuchUser: no such user is known, or the user was deleted.
    """
    if new_id := merged_into(connection, user_id):
        raise UserMerged(new_id)
    query = select(users.c.id).where(users.c.id == user_id, ~is_deleted())
    if connection.execute(query).first() is None:
        raise NoSuchUser


def finish_merges(database: Database) -> int:
    """Delete merged users without sessions; return how many.

    Nobody can log in as a merged user, so no new session can appear in between.
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
    """Move the source's records of unbound identities, and drop those that the target now has."""
    table = unbound_identities
    theirs = select(table.c.identity_id).where(table.c.user_id == target_id)
    moving = update(table).where(table.c.user_id == source_id, table.c.identity_id.not_in(theirs))
    transaction.execute(moving.values(user_id=target_id))
    own = select(identities.c.id).where(identities.c.user_id == target_id)
    void = and_(table.c.user_id == target_id, table.c.identity_id.in_(own))
    transaction.execute(delete(table).where(or_(table.c.user_id == source_id, void)))


def _note_merge(transaction: Transaction, source_id: UUID, target_id: UUID, now: datetime) -> None:
    """Record the merge; users merged into the source earlier lead to the target from now on."""
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
        # Sealed again, because a value is sealed for its row. `coalesce` keeps a number of the
        # target that no server key opens: its `phone` is None, but its column is not.
        columns = phones.columns(source.phone, target.id)
        changes |= {name: func.coalesce(users.c[name], value) for name, value in columns.items()}
    return changes
