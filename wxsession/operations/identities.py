"""Identities as an operator moves them: WeChat users who belong to the wrong account.

Every change is written to the audit, in the transaction that makes it.
"""

from uuid import UUID

from sqlalchemy import select

from wxsession.accounts.service import AccountService
from wxsession.common.wording import Sentence
from wxsession.errors import (
    InvalidRequest,
    NoSuchUser,
    UserBlocked,
)
from wxsession.events.audit import SYSTEM, UNKNOWN, Audit
from wxsession.sessions.service import SessionService
from wxsession.storage.database import Database
from wxsession.storage.tables import WECHAT, identities, sessions
from wxsession.storage.transaction import Transaction
from wxsession.users.merging import Users, ensure_known
from wxsession.users.user import IDENTITY_COLUMNS, Identity, User


class IdentityAdministration:
    """What an operator may do about WeChat users of accounts; `actor` is the operator's name."""

    def __init__(
        self,
        database: Database,
        *,
        accounts: AccountService,
        users: Users,
        sessions: SessionService,
        audit: Audit,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._users = users
        self._sessions = sessions
        self._audit = audit

    def unbind(self, user_id: UUID, appid: str, *, actor: str = UNKNOWN) -> UUID:
        """Unbind the WeChat user of an app from a user; return the new user whom it belongs to.

        The sessions of this WeChat user end. No unionid binds it to the user again.

        Raises:
            NoSuchUser: no user has this id.
            InvalidRequest: the user has no WeChat user of this app.
            LastCredential: the user would have no way left to log in.
            Overloaded: the database did not answer in time.
        """
        with self._database.transaction() as transaction:
            user = self._lock(transaction, user_id)[user_id]
            released = self._accounts.release(transaction, user, appid, SYSTEM, actor=actor)
            if not released:
                raise _none_of(appid)
        return released[0]

    def move(self, user_id: UUID, appid: str, new_user_id: UUID, *, actor: str = UNKNOWN) -> bool:
        """Move the WeChat user of an app from one user to another; return whether they are merged.

        They are if the first one would have no way left to log in; what it has goes along then.
        The sessions of this WeChat user end. No unionid moves it back.

        Raises:
            NoSuchUser: no user has one of these ids.
            InvalidRequest: the user has no WeChat user of this app, or both are the same.
            IdentityBound: the other one has a WeChat user of this app already.
            UserBlocked: one of them is disabled.
            Overloaded: the database did not answer in time.
        """
        if user_id == new_user_id:
            raise InvalidRequest.of("user", "is the one whom the WeChat user belongs to")
        with self._database.transaction() as transaction:
            locked = self._lock(transaction, user_id, new_user_id)
            user, new_user = locked[user_id], locked[new_user_id]
            if user.disabled_at is not None or new_user.disabled_at is not None:
                raise UserBlocked
            identity, others = _identities(transaction, user_id, appid)
            theirs = (sessions.c.user_id == user_id) & (sessions.c.identity_id == identity.id)
            self._sessions.end_rows(
                transaction, theirs, "unbound", user_id=user_id, client=SYSTEM, actor=actor
            )
            merged = user.username is None and not others
            if merged:
                self._users.merge(transaction, user, new_user)
                self._write(transaction, "user.merged", user_id, new_user_id, appid, actor)
            else:
                self._users.move(transaction, identity, user_id, new_user_id)
                self._write(transaction, "identity.unbound", user_id, new_user_id, appid, actor)
            self._write(transaction, "identity.bound", new_user_id, None, appid, actor)
        return merged

    def _lock(self, transaction: Transaction, *user_ids: UUID) -> dict[UUID, User]:
        locked = self._users.lock(transaction, user_ids)
        for user_id in user_ids:
            ensure_known(transaction, user_id)
            if user_id not in locked:  # registered since the lock was taken
                raise NoSuchUser
        return locked

    def _write(
        self,
        transaction: Transaction,
        event: str,
        user_id: UUID,
        new_user_id: UUID | None,
        appid: str,
        actor: str,
    ) -> None:
        self._audit.write(
            transaction,
            event,
            SYSTEM,
            user_id=user_id,
            new_user_id=new_user_id,
            appid=appid,
            reason="moved" if event in {"user.merged", "identity.bound"} else None,
            actor=actor,
        )


def _identities(
    transaction: Transaction, user_id: UUID, appid: str
) -> tuple[Identity, list[Identity]]:
    """Return a user's WeChat user of an app, and the others of the user.

    Raises:
        InvalidRequest: there is none.
    """
    c = identities.c
    query = select(*IDENTITY_COLUMNS).where(c.user_id == user_id, c.provider == WECHAT)
    bound = [Identity._make(row) for row in transaction.execute(query)]
    of_app = [one for one in bound if one.appid == appid]
    if not of_app:
        raise _none_of(appid)
    return of_app[0], [one for one in bound if one.appid != appid]


def _none_of(appid: str) -> InvalidRequest:
    return InvalidRequest.of("user", Sentence("has no WeChat user of {appid}", appid=appid))
