"""Accounts of the business: usernames and passwords, bound to WeChat users and unbound."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import null, select, update
from sqlalchemy.exc import IntegrityError

from wxsession.accounts.authenticator import Account, Authenticator, Credentials
from wxsession.accounts.passwords import ensure_acceptable, new_credentials
from wxsession.audit import Audit
from wxsession.errors import (
    Crossed,
    IdentityBound,
    LastCredential,
    ReauthenticationRequired,
    UserBlocked,
    UsernameTaken,
)
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import Grant, NewSession, Session, SessionView
from wxsession.storage.database import Database, retry_on_disconnect
from wxsession.storage.tables import WECHAT, identities, sessions, users
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo
from wxsession.users.merging import Users
from wxsession.users.user import IDENTITY_COLUMNS, Identity, User
from wxsession.wechat.apps import Apps


@dataclass(frozen=True, slots=True)
class Bound:
    """A WeChat user that leads to an account; `current` is that of the session that asks."""

    appid: str
    bound_at: datetime
    current: bool


class AccountService:
    """What can be done with accounts; a presented token is the string that a device sent."""

    def __init__(
        self,
        database: Database,
        *,
        authenticator: Authenticator,
        sessions: SessionService,
        users: Users,
        audit: Audit,
        apps: Apps,
    ) -> None:
        self._database = database
        self._authenticator = authenticator
        self._sessions = sessions
        self._users = users
        self._audit = audit
        self._apps = apps

    def log_in(
        self, credentials: Credentials, client: ClientInfo, *, presented: str | None = None
    ) -> Grant:
        """Return a session of the account; `presented` is the token that came along, if any.

        Raises:
            AccountError: the credentials are wrong, or were too often.
            UserBlocked: the account is disabled.
            Overloaded: the database, or a place for hashing, was not free in time.
        """
        account = self._authenticator.verify(credentials, client)
        try:
            with self._database.transaction() as transaction:
                user = self._authenticator.lock(transaction, account)[account.user_id]
                new = NewSession(user, None, client, replacing=presented)
                return self._sessions.issue(transaction, new)
        except UserBlocked as refusal:
            self._audit.note_refusal(client, refusal.code)
            raise

    def verify(self, credentials: Credentials, client: ClientInfo) -> Account:
        """Return the account that the credentials open.

        Raises:
            AccountError: they are wrong, or were too often.
            Overloaded: the database, or a place for hashing, was not free in time.
        """
        return self._authenticator.verify(credentials, client)

    def bind_identity(
        self,
        transaction: Transaction,
        identity: Identity,
        user: User,
        account: Account,
        client: ClientInfo,
    ) -> User:
        """Let a locked WeChat user belong to the account; return the account's user.

        Raises:
            BadCredentials: the password was changed since it was verified.
            UserBlocked, IdentityBound: as for `bind`.
        """
        locked = self._authenticator.lock(transaction, account, user.id)
        return self._bind_user(
            transaction, locked[user.id], locked[account.user_id], client, appid=identity.appid
        )

    def register(
        self, presented: str | None, credentials: Credentials, client: ClientInfo
    ) -> Grant:
        """Return a session of a new user, or of the session's own user with a username from now on.

        Raises:
            InvalidRequest: the username or the password cannot be taken.
            UsernameTaken: somebody has the name, or the session's user has one.
            ReauthenticationRequired: the session's login is longer ago than ten minutes.
            TokenError: the presented token is no way in.
            TooManyAttempts: too many users were made from this address, or names found taken.
            Overloaded: as for `verify`.
        """
        name = new_credentials(credentials.username, credentials.password)
        view = self._recent(presented) if presented is not None else None
        with self._authenticator.registration(client, view.user.id if view else None):
            if (view and view.user.username is not None) or self._authenticator.find(name):
                raise UsernameTaken
            password_hash = self._authenticator.hash(credentials.password)
            try:
                with self._database.transaction() as connection:
                    if view is not None and presented is not None:
                        naming = {"username": name, "password_hash": password_hash}
                        return self._name(connection, view.session_id, presented, naming, client)
                    user = self._users.register(connection, name, password_hash)
                    new = NewSession(user, None, client, new_user=True, event="registered")
                    return self._sessions.issue(connection, new)
            except IntegrityError:
                raise UsernameTaken from None

    def bind(self, presented: str, credentials: Credentials, client: ClientInfo) -> Grant:
        """Let the session's WeChat user belong to an account; return the session's next token.

        Asked again by a device that lost the answer, with the same token, the same again.

        Raises:
            TokenError: the presented token is no way in.
            ReauthenticationRequired: the session's login is longer ago than ten minutes, or was
                not one by WeChat.
            BadCredentials, TooManyAttempts, UserBlocked, Overloaded: as for `verify` and
                `lock_account`.
            IdentityBound: as for `bind`.
        """
        view = self._recent(presented)
        if view.identity is None:
            raise ReauthenticationRequired
        account = self._authenticator.verify(credentials, client)
        return retry_on_disconnect(lambda: self._bind(presented, view.session_id, account, client))

    def identities(self, presented: str) -> list[Bound]:
        """Return which WeChat users lead to the session's user, oldest first.

        Raises:
            TokenError: the presented token is no way in.
            Overloaded: the database did not answer in time.
        """
        view = self._sessions.check(presented)
        c = identities.c
        theirs = select(c.appid, c.created_at, c.id).where(c.user_id == view.user.id)
        with self._database.statement() as connection:
            found = connection.execute(theirs.order_by(c.created_at, c.id)).all()
        own = view.identity.id if view.identity else None
        return [Bound(appid, bound_at, current=id_ == own) for appid, bound_at, id_ in found]

    def unbind(
        self,
        presented: str,
        client: ClientInfo,
        *,
        appid: str | None,
        password: str | None,
        everything: bool = False,
    ) -> User:
        """Take the WeChat user of an app away from the session's account; return the account.

        Without `appid` it is the app of the session; `everything` is those of every app. The
        password stands in for a login of the last ten minutes. An app that has no WeChat user here
        is no error. Sessions of those WeChat users end, but the one that asks goes on, as one of
        the account. No unionid brings them back.

        Raises:
            TokenError: the presented token is no way in.
            InvalidRequest: the appid is not one of ours, or none is known.
            ReauthenticationRequired: no password, and the login is longer ago than ten minutes.
            LastCredential: the user would have no way to log in.
            BadCredentials, TooManyAttempts, Overloaded: as for `verify`.
        """
        view = self._sessions.check(presented)
        if password is None:
            self._sessions.ensure_recent(view)
        else:
            self._authenticator.verify_again(view, password, client)
        if appid is None and view.identity is not None:
            appid = view.identity.appid
        which = None if everything else self._apps.ensure_known(appid)
        return retry_on_disconnect(lambda: self._unbind(view.session_id, which, client))

    def change_password(
        self, presented: str, password: str, new_password: str, client: ClientInfo
    ) -> Grant:
        """Change the password; every other session of the user ends. Return the next token.

        Raises:
            TokenError: the presented token is no way in.
            ReauthenticationRequired: the session's login is longer ago than ten minutes.
            InvalidRequest: the new password cannot be taken.
            BadCredentials, TooManyAttempts, UserBlocked, Overloaded: as for `verify`.
        """
        view = self._recent(presented)
        username = view.user.username or ""
        ensure_acceptable(new_password, username=username, field="new_password")
        account = self._authenticator.verify_again(view, password, client)
        password_hash = self._authenticator.hash(new_password)
        with self._database.transaction() as connection:
            session, locked = self._lock_own(connection, view.session_id, account)
            mine = update(users).where(users.c.id == account.user_id)
            connection.execute(mine.values(password_hash=password_hash))
            user_id, reason = account.user_id, "password_changed"
            others = (sessions.c.user_id == user_id) & (sessions.c.id != session.id)
            self._sessions.end_rows(connection, others, reason, user_id=user_id, client=client)
            self._audit.write(
                connection,
                reason,
                client,
                user_id=user_id,
                session_id=session.id,
            )
            return self._sessions.renew(connection, session, presented, locked[account.user_id])

    def _lock_own(
        self, connection: Transaction, session_id: UUID, account: Account | None = None
    ) -> tuple[Session, dict[UUID, User]]:
        """Return a session and its user, both locked, and with them the user of an account.

        Raises:
            TokenError: the session has ended meanwhile.
            Crossed: its user became another one while the locks were waited for.
            BadCredentials, UserBlocked: as for `lock_account`.
        """
        user_id = self._sessions.reload(connection, session_id).user.id
        if account is None:
            locked = self._users.lock(connection, [user_id])
        else:
            locked = self._authenticator.lock(connection, account, user_id)
        session = self._sessions.reload(connection, session_id, lock=True)
        if session.user.id not in locked:
            raise Crossed
        return session, locked

    def _bind(
        self, presented: str, session_id: UUID, account: Account, client: ClientInfo
    ) -> Grant:
        with self._database.transaction() as connection:
            session, locked = self._lock_own(connection, session_id, account)
            if session.identity is None:
                raise IdentityBound  # it was unbound by somebody else just now
            user = self._bind_user(
                *(connection, locked[session.user.id], locked[account.user_id], client),
                appid=session.identity.appid,
                session_id=session.id,
            )
            return self._sessions.renew(connection, session, presented, user)

    def _bind_user(
        self,
        connection: Transaction,
        user: User,
        account: User,
        client: ClientInfo,
        *,
        appid: str,
        session_id: UUID | None = None,
    ) -> User:
        """Let the WeChat user belong to the account, inside the caller's transaction.

        Both users are locked. The user that a silent first login made is merged away. Its live
        sessions end, but for `session_id`: none of them has proved the account's password.

        Raises:
            IdentityBound: the WeChat user has another account, or the account another WeChat
                user of the same app.
            UserBlocked: one of them is disabled.
        """
        if user.id == account.id:
            return account
        others = sessions.c.user_id == user.id
        if session_id is not None:
            others &= sessions.c.id != session_id
        self._sessions.end_rows(connection, others, "revoked", user_id=user.id, client=client)
        merged = self._users.merge(connection, user, account)
        self._sessions.end_surplus(connection, account.id, client)
        self._audit.write(
            connection, "bound", client, user_id=account.id, session_id=session_id, appid=appid
        )
        return merged

    def _unbind(self, session_id: UUID, appid: str | None, client: ClientInfo) -> User:
        with self._database.transaction() as connection:
            session, _ = self._lock_own(connection, session_id)
            user = session.user
            mine = identities.c.user_id == user.id, identities.c.provider == WECHAT
            query = select(*IDENTITY_COLUMNS).where(*mine)
            bound = [Identity._make(row) for row in connection.execute(query)]
            leaving = [one for one in bound if appid in {None, one.appid}]
            if not leaving:
                return user
            if user.username is None and len(leaving) == len(bound):
                raise LastCredential
            self._users.part(connection, user.id, leaving)
            theirs = sessions.c.identity_id.in_([one.id for one in leaving])
            others = theirs & (sessions.c.user_id == user.id) & (sessions.c.id != session.id)
            self._sessions.end_rows(connection, others, "unbound", user_id=user.id, client=client)
            own = update(sessions).where(sessions.c.id == session.id, theirs)
            connection.execute(own.values(identity_id=null()))
            for one in leaving:
                self._audit.write(
                    connection,
                    "unbound",
                    client,
                    user_id=user.id,
                    session_id=session.id,
                    appid=one.appid,
                )
            return user

    def _name(
        self,
        connection: Transaction,
        session_id: UUID,
        presented: str,
        naming: Mapping[str, str],
        client: ClientInfo,
    ) -> Grant:
        """Give the session's own user a username; the session gets a new token with that."""
        session, _ = self._lock_own(connection, session_id)
        mine = update(users).where(users.c.id == session.user.id, users.c.username.is_(None))
        if not connection.execute(mine.values(naming)).rowcount:
            raise UsernameTaken
        new = NewSession(
            session.user._replace(username=naming["username"]),
            session.identity,
            client,
            replacing=presented,
            event="registered",
            auth_time=session.auth_time,
        )
        return self._sessions.issue(connection, new)

    def _recent(self, presented: str) -> SessionView:
        view = self._sessions.check(presented)
        self._sessions.ensure_recent(view)
        return view
