"""Deletion: a user goes, with everything that says who it was.

A transaction makes the user dead and nameless: no identity, username or session leads to it any
more, and the next login of the same WeChat user makes a new user. The same transaction clears a
batch of what may be any number of rows: dead sessions are deleted; those that were live are ended,
so that their devices are told why; both and the audit lose the addresses and user agents. If more
is left, the user's empty row says so until the purge, or the command run again, has cleared it.

The event ``user.deleted`` has the openids, for programs that know the user by them. The purge
clears these as well, when the sessions have been kept long enough.

Locks are taken in the order of `users.merging`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, null, select, update

from wxsession.accounts.authenticator import Authenticator
from wxsession.common.clock import Clock
from wxsession.errors import Crossed, NoSuchUser, ReauthenticationRequired
from wxsession.events.audit import SYSTEM, UNKNOWN, Audit
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import SessionView
from wxsession.storage.database import (
    Database,
    Executor,
    read_by_index,
    retry_on_disconnect,
)
from wxsession.storage.tables import (
    device_codes,
    identities,
    is_live,
    merged_users,
    sessions,
    unbound_identities,
    users,
)
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo
from wxsession.users.merging import Users, ensure_known, is_deleted
from wxsession.users.user import (
    IS_WECHAT_USER,
    Identity,
    User,
    identity_from,
    select_former_ids,
    select_identities,
)

REASON = "user_deleted"
BATCH = 1000
"""How many sessions, and how many events, one transaction clears at most."""

_KEPT = ("id", "created_at", "disabled_at", "deleted_at")
_PERSONAL = tuple(column.name for column in users.c if column.name not in _KEPT)


@dataclass(frozen=True, slots=True)
class Cleared:
    """How many rows a batch has cleared of a deleted user."""

    sessions: int
    events: int

    @property
    def is_last(self) -> bool:
        """Whether there was nothing beyond this batch."""
        return max(self.sessions, self.events) < BATCH


class Deletion:
    """Deletes users, and WeChat users; what was begun by one method, each of them completes."""

    def __init__(
        self,
        database: Database,
        *,
        authenticator: Authenticator,
        sessions: SessionService,
        users: Users,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._database = database
        self._authenticator = authenticator
        self._sessions = sessions
        self._users = users
        self._audit = audit
        self._clock = clock

    def delete_own(self, presented: str, password: str | None, client: ClientInfo) -> None:
        """Delete the user of a session token; the password replaces a login of ten minutes.

        Raises:
            TokenError: the presented token is not accepted.
            ReauthenticationRequired: no password, and the login is more than ten minutes ago.
            BadCredentials, TooManyAttempts, Overloaded: as for `Authenticator.verify`.
        """
        view = self._sessions.check(presented)
        if password is None:
            self._ensure_recent(view, client)
        else:
            self._authenticator.verify_again(view, password, client)
        retry_on_disconnect(lambda: self._delete_own(view.session_id))

    def _ensure_recent(self, view: SessionView, client: ClientInfo) -> None:
        """Return if the login is recent; otherwise count that: a thief may have the session."""
        try:
            self._sessions.ensure_recent(view)
        except ReauthenticationRequired as refusal:
            self._audit.count("deletion.refused", client, reason=refusal.code, user_id=view.user.id)
            raise

    def begin(self, user_id: UUID, *, actor: str) -> None:
        """Delete a user, who is gone from then on; what many rows are left, the purge clears.

        Raises:
            NoSuchUser: no user has this id, nor has one had it that is not cleared yet.
            Overloaded: the database did not answer in time.
        """
        retry_on_disconnect(lambda: self._delete_known(user_id, actor))

    def delete(
        self,
        user_id: UUID,
        *,
        actor: str = UNKNOWN,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> None:
        """Delete a user, and clear everything; can be stopped and run again.

        Reports after each batch how many sessions and events are cleared.

        Raises:
            NoSuchUser: no user has this id, nor has one had it that is not cleared yet.
            Overloaded: the database did not answer in time.
        """
        self.begin(user_id, actor=actor)
        done, is_last = 0, False
        while not is_last:
            cleared = self.clear(user_id)
            done, is_last = done + cleared.sessions + cleared.events, cleared.is_last
            progress(done)

    def delete_wechat_user(self, appid: str, openid: str, *, actor: str) -> bool:
        """Delete a WeChat user, and the user if nothing else leads to it; return if there was one.

        The sessions that this WeChat user has begun end.

        Raises:
            Overloaded: the database did not answer in time.
        """
        return retry_on_disconnect(lambda: self._delete_wechat_user(appid, openid, actor))

    def unfinished(self, after: UUID, limit: int) -> list[UUID]:
        """Return the ids of deleted users whose rows are still there, in their order.

        Raises:
            Overloaded: the database did not answer in time.
        """
        query = select(users.c.id).where(is_deleted(), users.c.id > after)
        with self._database.statement() as connection:
            return list(connection.execute(query.order_by(users.c.id).limit(limit)).scalars())

    def clear(self, user_id: UUID) -> Cleared:
        """Clear a batch of what is left of a deleted user.

        Raises:
            Overloaded: the database did not answer in time.
        """
        return retry_on_disconnect(lambda: self._clear_in_transaction(user_id))

    def forget(self, user_id: UUID, since: datetime) -> bool:
        """Delete the row of a cleared user without sessions, if it was deleted before `since`.

        Its event loses the openids. Return whether the row is gone.

        Raises:
            Overloaded: the database did not answer in time.
        """
        with self._database.transaction() as transaction:
            ids = _ids_of(transaction, user_id)
            has_sessions = exists().where(sessions.c.user_id.in_(ids))
            due = (users.c.id == user_id, is_deleted(), users.c.deleted_at <= since, ~has_sessions)
            if not transaction.execute(delete(users).where(*due)).rowcount:
                return False
            transaction.execute(delete(users).where(users.c.id.in_(ids)))  # merged into this one
            transaction.execute(delete(merged_users).where(merged_users.c.new_id == user_id))
            self._audit.forget_openids(transaction, user_id)
            return True

    def _delete_own(self, session_id: UUID) -> None:
        with self._database.transaction() as transaction:
            # Read twice, because a merge may have moved the session before the user was locked.
            user_id = self._sessions.reload(transaction, session_id).user.id
            locked = self._users.lock(transaction, [user_id])
            session = self._sessions.reload(transaction, session_id, lock=True)
            if session.user.id not in locked:
                raise Crossed
            self._delete(transaction, locked[user_id], actor=None)

    def _delete_known(self, user_id: UUID, actor: str) -> None:
        with self._database.transaction() as transaction:
            locked = self._users.lock(transaction, [user_id])
            try:
                ensure_known(transaction, user_id)
            except NoSuchUser:
                if _is_begun(transaction, user_id):
                    return
                raise
            self._delete(transaction, locked[user_id], actor=actor)

    def _delete_wechat_user(self, appid: str, openid: str, actor: str) -> bool:
        wanted = {"appid": appid, "openid": openid}
        its = select_identities().where(IS_WECHAT_USER)
        with self._database.transaction() as transaction:
            row = transaction.execute(its, wanted).first()
            if row is None:
                return False
            user = self._users.of_identity(row)
            locked = self._users.lock(transaction, [user.id])
            again = transaction.execute(its, wanted).first()
            if again is None or self._users.of_identity(again).id not in locked:
                raise Crossed
            identity, user = identity_from(again), locked[user.id]
            mine = identities.c.user_id == user.id
            others = select(identities.c.id).where(mine, identities.c.id != identity.id)
            may_come_back = self._authenticator.may_log_in(transaction, user)
            if not may_come_back and transaction.execute(others).first() is None:
                self._delete(transaction, user, actor=actor)
            else:
                self._delete_identity(transaction, user, identity, actor)
            return True

    def _delete_identity(
        self, transaction: Transaction, user: User, identity: Identity, actor: str
    ) -> None:
        its = (sessions.c.user_id == user.id) & (sessions.c.identity_id == identity.id)
        self._sessions.end_rows(
            transaction, its, "unbound", user_id=user.id, client=SYSTEM, actor=actor
        )
        transaction.execute(delete(identities).where(identities.c.id == identity.id))
        self._audit.write(
            transaction,
            "identity.unbound",
            SYSTEM,
            user_id=user.id,
            appid=identity.appid,
            actor=actor,
        )

    def _delete(self, transaction: Transaction, user: User, *, actor: str | None) -> None:
        """Delete a user who is locked, and clear a batch."""
        now = self._clock()
        self._authenticator.forget(transaction, user)
        theirs = select(identities.c.appid, identities.c.openid)
        rows = transaction.execute(theirs.where(identities.c.user_id == user.id))
        openids = {row.appid: row.openid for row in rows}
        for table in (unbound_identities, identities):  # and session_keys, by their foreign key
            transaction.execute(delete(table).where(table.c.user_id == user.id))
        emptied = dict.fromkeys(_PERSONAL) | {"disabled_at": now, "deleted_at": now}
        transaction.execute(update(users).where(users.c.id == user.id).values(emptied))
        # Without the address of the request, as all events of this user from now on.
        self._audit.write(
            transaction,
            "user.deleted",
            SYSTEM,
            user_id=user.id,
            actor=actor,
            openids=openids,
        )
        self._clear(transaction, user.id)

    def _clear_in_transaction(self, user_id: UUID) -> Cleared:
        with self._database.transaction() as transaction:
            # Locked, so that nobody clears the same rows in another order.
            if not _is_begun(transaction, user_id, lock=True):
                return Cleared(0, 0)
            return self._clear(transaction, user_id)

    def _clear(self, transaction: Transaction, user_id: UUID) -> Cleared:
        read_by_index(transaction)
        ids = _ids_of(transaction, user_id)
        return Cleared(
            self._clear_sessions(transaction, user_id, ids),
            self._audit.forget(transaction, ids, most=BATCH),
        )

    def _clear_sessions(self, transaction: Transaction, user_id: UUID, ids: list[UUID]) -> int:
        now, c = self._clock(), sessions.c
        # Two queries: to read a batch in order would sort all the sessions of the user.
        found = select(c.id).where(c.user_id.in_(ids), c.end_reason.is_distinct_from(REASON))
        batch = transaction.execute(found.limit(BATCH)).scalars().all()
        if batch:
            locking = select(c.id, is_live(now).label("lives")).where(c.id.in_(batch))
            rows = transaction.execute(locking.order_by(c.id).with_for_update()).all()
            live = [row.id for row in rows if row.lives]
            dead = [row.id for row in rows if not row.lives]
            transaction.execute(delete(sessions).where(c.id.in_(dead)))
            # Who was let in by one of them was this user, elsewhere.
            asked = device_codes.c.session_id.in_(batch)
            transaction.execute(delete(device_codes).where(asked))
            self._end(transaction, user_id, c.id.in_(live))
        return len(batch)

    def _end(self, transaction: Transaction, user_id: UUID, which: ColumnElement[bool]) -> None:
        self._sessions.end_rows(transaction, which, REASON, user_id=user_id, client=SYSTEM)
        nowhere = {"identity_id": null(), "client_address": null(), "user_agent": null()}
        transaction.execute(update(sessions).where(which).values(nowhere))


def _ids_of(connection: Executor, user_id: UUID) -> list[UUID]:
    """Return the id of a user, and of those who were merged into it."""
    return [user_id, *connection.execute(select_former_ids(user_id)).scalars()]


def _is_begun(connection: Executor, user_id: UUID, *, lock: bool = False) -> bool:
    query = select(users.c.id).where(users.c.id == user_id, is_deleted())
    return connection.execute(query.with_for_update() if lock else query).first() is not None
