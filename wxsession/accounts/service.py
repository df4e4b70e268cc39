"""Accounts: usernames and passwords, and the WeChat users bound to them."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import null, select, update
from sqlalchemy.exc import IntegrityError

from wxsession.accounts.authenticator import Account, Authenticator, Credentials
from wxsession.accounts.passwords import ensure_acceptable, new_credentials
from wxsession.errors import (
    Crossed,
    IdentityBound,
    InvalidRequest,
    LastCredential,
    Overloaded,
    ReauthenticationRequired,
    UserBlocked,
    UsernameTaken,
)
from wxsession.events.audit import Audit
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
    """A WeChat user bound to an account; `current` if the session belongs to this one."""

    appid: str
    bound_at: datetime
    current: bool


class AccountService:
    """Registers, binds and changes accounts; `presented` is the token string that a device sent."""

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
        """Return a session of the account; `presented` is the token sent with the request, if any.

        Raises:
            AccountError: the credentials are wrong, or too many were wrong before.
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
            AccountError: they are wrong, or too many were wrong before.
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
        """Bind a locked WeChat user to the account; return the account's user.

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
        """Register a new user, or give the session's user a username; return a session.

        Raises:
            InvalidRequest: the username or the password is not acceptable.
            UsernameTaken: another user has the name, or the session's user has one already.
            ReauthenticationRequired: the session's login is more than ten minutes ago.
            TokenError: the presented token is not accepted.
            TooManyAttempts: too many users were registered, or taken names tried, from this
                address.
            Overloaded: as for `verify`.
        """
        name = new_credentials(credentials.username, credentials.password)
        view = self._recent(presented) if presented is not None else None
        with self._authenticator.registration(client, view.user.id if view else None):
            if (view and view.user.username is not None) or self._authenticator.find(name):
                raise UsernameTaken
            password_hash = self._authenticator.hash(credentials.password)
            try:
                with self._database.transaction() as transaction:
                    if view is not None and presented is not None:
                        columns = {"username": name, "password_hash": password_hash}
                        return self._set_username(
                            transaction, view.session_id, presented, columns, client
                        )
                    user = self._users.register(transaction, name, password_hash)
                    new = NewSession(user, None, client, new_user=True)
                    return self._sessions.issue(transaction, new)
            except IntegrityError:  # the name was free above, and was taken while hashing
                raise UsernameTaken from None

    def bind(self, presented: str, credentials: Credentials, client: ClientInfo) -> Grant:
        """Bind the session's WeChat user to an account; return the session's next token.

        A device that lost the response may repeat the request with the same token; the result is
        the same.

        Raises:
            TokenError: the presented token is not accepted.
            ReauthenticationRequired: the session's login is more than ten minutes ago, or was
                not by WeChat.
            BadCredentials: the credentials are wrong, or the password was changed in between.
            TooManyAttempts, Overloaded: as for `verify`.
            IdentityBound: the WeChat user has another account, or the account another WeChat
                user of the same app.
            UserBlocked: one of the two is disabled.
        """
        view = self._recent(presented)
        if view.identity is None:
            raise ReauthenticationRequired
        account = self._authenticator.verify(credentials, client)
        return retry_on_disconnect(lambda: self._bind(presented, view.session_id, account, client))

    def identities(self, presented: str) -> list[Bound]:
        """Return the WeChat users bound to the session's user, oldest first.

        Raises:
            TokenError: the presented token is not accepted.
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
        """Unbind the WeChat user of an app from the session's account; return the account.

        Without `appid` the app is that of the session; `everything` unbinds those of all apps.
        The password replaces a login within the last ten minutes. An app without a bound WeChat
        user is no error. Sessions of the unbound WeChat users end, except this one, which stays a
        session of the account. No unionid binds them again.

        Raises:
            TokenError: the presented token is not accepted.
            InvalidRequest: the appid is unknown, or there is none.
            ReauthenticationRequired: no password, and the login is more than ten minutes ago.
            LastCredential: the user would have no way left to log in.
            BadCredentials, TooManyAttempts, Overloaded: as for `verify`.
        """
        view = self._sessions.check(presented)
        if password is None:
            self._sessions.ensure_recent(view)
        else:
            self._authenticator.verify_again(view, password, client)
        if appid is None and view.identity is not None:
            appid = view.identity.appid
        chosen = None if everything else self._apps.ensure_known(appid)
        return retry_on_disconnect(lambda: self._unbind(view.session_id, chosen, client))

    def release(
        self,
        transaction: Transaction,
        user: User,
        appid: str | None,
        client: ClientInfo,
        *,
        keeping: UUID | None = None,
        actor: str | None = None,
    ) -> list[UUID]:
        """Unbind the WeChat user of an app, or of all, from a locked user; return the new users.

        In the caller's transaction. The sessions of the WeChat user end; the session `keeping`
        stays, as one of the account.

        Raises:
            LastCredential: the user would have no way left to log in.
        """
        mine = identities.c.user_id == user.id, identities.c.provider == WECHAT
        query = select(*IDENTITY_COLUMNS).where(*mine)
        bound = [Identity._make(row) for row in transaction.execute(query)]
        leaving = [one for one in bound if appid in {None, one.appid}]  # None: of all apps
        if not leaving:
            return []
        # A username alone is no way in: its password may be a temporary one that has expired.
        if len(leaving) == len(bound) and not self._authenticator.may_log_in(transaction, user):
            raise LastCredential
        parted = self._users.part(transaction, user.id, leaving)
        theirs = sessions.c.identity_id.in_([one.id for one in leaving])
        others = theirs & (sessions.c.user_id == user.id)
        if keeping is not None:
            others &= sessions.c.id != keeping
        self._sessions.end_rows(
            transaction, others, "unbound", user_id=user.id, client=client, actor=actor
        )
        if keeping is not None:
            own = update(sessions).where(sessions.c.id == keeping, theirs)
            transaction.execute(own.values(identity_id=null()))
        for one, new_user_id in parted:
            for event in ("identity.unbound", "user.split"):
                self._audit.write(
                    transaction,
                    event,
                    client,
                    user_id=user.id,
                    new_user_id=new_user_id,
                    session_id=keeping,
                    appid=one.appid,
                    actor=actor,
                )
        return [new_user_id for _, new_user_id in parted]

    def change_password(
        self, presented: str, password: str | None, new_password: str, client: ClientInfo
    ) -> Grant:
        """Change the password, end all other sessions of the user, and return the next token.

        Without the current password the session's login has to be one by code: WeChat says who
        it is. That also lifts a lock that wrong passwords caused.

        Raises:
            TokenError: the presented token is not accepted.
            ReauthenticationRequired: the session's login is more than ten minutes ago, or was not
                by WeChat and the current password is missing.
            InvalidRequest: the new password is not acceptable, or the user has no username.
            BadCredentials, TooManyAttempts, UserBlocked, Overloaded: as for `verify`.
        """
        view = self._recent(presented)
        username = view.user.username
        ensure_acceptable(new_password, username=username or "", field="new_password")
        account = None
        if password is not None:
            account = self._authenticator.verify_again(view, password, client)
        elif view.identity is None:
            raise ReauthenticationRequired
        elif username is None:
            raise InvalidRequest.of("new_password", "this user has no username; register one")
        password_hash = self._authenticator.hash(new_password)
        with self._database.transaction() as transaction:
            session, locked = self._lock_own(transaction, view.session_id, account)
            user = session.user
            if user.username != username or (account is None and session.identity is None):
                raise ReauthenticationRequired  # moved to another user, or unbound, meanwhile
            self._authenticator.set_password(transaction, user.id, password_hash)
            others = (sessions.c.user_id == user.id) & (sessions.c.id != session.id)
            self._sessions.end_rows(
                transaction, others, "password_changed", user_id=user.id, client=client
            )
            self._audit.write(
                transaction,
                "password.changed",
                client,
                user_id=user.id,
                session_id=session.id,
                reason="reset" if account is None else None,
            )
            grant = self._sessions.renew(transaction, session, presented, locked[user.id])
        if account is None:
            with suppress(Overloaded):  # the password is changed in any case
                self._authenticator.unlock(user)
        return grant

    def _lock_own(
        self, transaction: Transaction, session_id: UUID, account: Account | None = None
    ) -> tuple[Session, dict[UUID, User]]:
        """Return a session, locked, and by id its user and that of the account, locked.

        Raises:
            TokenError: the session has ended since it was checked.
            Crossed: the session moved to another user while this waited for the locks.
            BadCredentials, UserBlocked: as for `Authenticator.lock`.
        """
        # Users are locked before sessions, so the session is read twice: without a lock, to know
        # its user, and again with one, because a merge may have moved it in between.
        user_id = self._sessions.reload(transaction, session_id).user.id
        if account is None:
            locked = self._users.lock(transaction, [user_id])
        else:
            locked = self._authenticator.lock(transaction, account, user_id)
        session = self._sessions.reload(transaction, session_id, lock=True)
        if session.user.id not in locked:
            raise Crossed
        return session, locked

    def _bind(
        self, presented: str, session_id: UUID, account: Account, client: ClientInfo
    ) -> Grant:
        with self._database.transaction() as transaction:
            session, locked = self._lock_own(transaction, session_id, account)
            if session.identity is None:
                raise IdentityBound  # another request has just unbound it
            user = self._bind_user(
                transaction,
                locked[session.user.id],
                locked[account.user_id],
                client,
                appid=session.identity.appid,
                session_id=session.id,
            )
            return self._sessions.renew(transaction, session, presented, user)

    def _bind_user(
        self,
        transaction: Transaction,
        user: User,
        account: User,
        client: ClientInfo,
        *,
        appid: str,
        session_id: UUID | None = None,
    ) -> User:
        """Bind the WeChat user to the account, inside the caller's transaction.

        The caller holds the locks of both users. The user that a silent first login created is
        merged into the account. Its live sessions end, except `session_id`: none of them has
        proved the account's password.

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
        self._sessions.end_rows(transaction, others, "revoked", user_id=user.id, client=client)
        merged = self._users.merge(transaction, user, account)
        self._sessions.end_surplus(transaction, account.id, client)
        self._audit.write(
            transaction,
            "user.merged",
            client,
            user_id=user.id,
            new_user_id=account.id,
            session_id=session_id,
            appid=appid,
            reason="bind",
        )
        self._audit.write(
            transaction,
            "identity.bound",
            client,
            user_id=account.id,
            session_id=session_id,
            appid=appid,
        )
        return merged

    def _unbind(self, session_id: UUID, appid: str | None, client: ClientInfo) -> User:
        with self._database.transaction() as transaction:
            session, _ = self._lock_own(transaction, session_id)
            self.release(transaction, session.user, appid, client, keeping=session.id)
            return session.user

    def _set_username(
        self,
        transaction: Transaction,
        session_id: UUID,
        presented: str,
        columns: Mapping[str, str],
        client: ClientInfo,
    ) -> Grant:
        """Set the username and password of the session's user; return the session's next token."""
        session, _ = self._lock_own(transaction, session_id)
        mine = update(users).where(users.c.id == session.user.id, users.c.username.is_(None))
        if not transaction.execute(mine.values(columns)).rowcount:
            raise UsernameTaken
        self._audit.write(
            transaction,
            "user.updated",
            client,
            user_id=session.user.id,
            session_id=session.id,
            reason="username",
        )
        new = NewSession(
            session.user._replace(username=columns["username"]),
            session.identity,
            client,
            replacing=presented,
            auth_time=session.auth_time,
        )
        return self._sessions.issue(transaction, new)

    def _recent(self, presented: str) -> SessionView:
        view = self._sessions.check(presented)
        self._sessions.ensure_recent(view)
        if view.opened_by is not None:
            # What ends all other sessions would end the one that this lives by, and what begins
            # another would outlive it: that is for the mini-program.
            raise ReauthenticationRequired
        return view
