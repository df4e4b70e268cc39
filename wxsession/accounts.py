"""Accounts of the business: usernames and passwords, bound to WeChat users and unbound."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, and_, insert, null, select, update
from sqlalchemy.exc import IntegrityError

from wxsession.audit import Audit
from wxsession.db import Database, new_id, upsert
from wxsession.errors import (
    BadCredentials,
    IdentityBound,
    InvalidRequest,
    LastCredential,
    ReauthenticationRequired,
    UserBlocked,
    UsernameTaken,
)
from wxsession.merging import lock, merge
from wxsession.models import WECHAT, Client, User, identities, sessions, users
from wxsession.passwords import (
    Passwords,
    ensure_acceptable,
    new_credentials,
    normalised_username,
)
from wxsession.phone_numbers import PhoneNumbers
from wxsession.sessions import Grant, SessionService, SessionView
from wxsession.throttle import Throttle

RECENT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A username as somebody typed it, and a password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """A user whose password was given, and the hash that it fitted."""

    user_id: UUID
    password_hash: str = field(repr=False)


class AccountService:
    """What can be done with accounts; a presented token is the string that a device sent."""

    def __init__(  # noqa: PLR0913 - an account needs each of them
        self,
        database: Database,
        passwords: Passwords,
        throttle: Throttle,
        sessions_: SessionService,
        phones: PhoneNumbers,
        audit: Audit,
        clock: Callable[[], datetime],
        *,
        apps: frozenset[str],
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._sessions = sessions_
        self._phones = phones
        self._audit = audit
        self._clock = clock
        self._apps = apps

    def verified(
        self, credentials: Credentials, client: Client, *, session_of: UUID | None = None
    ) -> Account:
        """Return the account that the credentials open; no connection is held while hashing.

        `session_of` is the user whose live session they come with, if it is to be that one's.

        Raises:
            BadCredentials: no such user, or a wrong password.
            TooManyAttempts: too many were wrong lately, or are being tried, for this name or from
                this address.
            Overloaded: the database or a place for hashing was not free in time.
        """
        name = normalised_username(credentials.username)
        # The place first: who finds none has cost no counting.
        with (
            self._passwords.place(),
            self._throttle.guess(name, client, session_of=session_of) as guess,
        ):
            account = self._account(name)
            stored = account.password_hash if account else None
            if not self._passwords.fits(credentials.password, stored) or account is None:
                user_id = account.user_id if account else None
                refusal = BadCredentials()
                self._audit.count("login_failed", client, reason=refusal.code, user_id=user_id)
                if guess.is_last:
                    self._audit.count("login_locked", client, user_id=user_id)
                raise refusal
        if self._passwords.is_outdated(account.password_hash):
            return self._rehash(account, credentials.password)
        return account

    def lock(self, connection: Connection, account: Account, *others: UUID) -> dict[UUID, User]:
        """Return the account's user, and others, locked inside the caller's transaction.

        Raises:
            BadCredentials: the password was changed since it was verified.
            UserBlocked: the account is disabled.
        """
        locked = lock(connection, {account.user_id, *others})
        unchanged = select(users.c.id).where(
            users.c.id == account.user_id, users.c.password_hash == account.password_hash
        )
        if account.user_id not in locked or connection.execute(unchanged).first() is None:
            raise BadCredentials
        if locked[account.user_id].disabled_at is not None:
            raise UserBlocked
        return locked

    def attach(  # noqa: PLR0913 - two users, and who did it from where
        self,
        connection: Connection,
        user: User,
        account: User,
        client: Client,
        *,
        appid: str,
        session_id: UUID | None = None,
    ) -> User:
        """Let the WeChat user belong to the account, inside the caller's transaction.

        Both users are locked. The user that a silent first login made is merged away.

        Raises:
            IdentityBound: the WeChat user has another account, or the account another WeChat
                user of the same app.
        """
        if user.id == account.id:
            return account
        merged = merge(connection, user, account, self._phones)
        self._sessions.end_surplus(connection, account.id, client)
        connection.execute(
            *self._audit.entry(
                "bound", client, user_id=account.id, session_id=session_id, appid=appid
            )
        )
        return merged

    def register(self, presented: str | None, credentials: Credentials, client: Client) -> Grant:
        """Return a session of a new user, or of the session's own user with a username from now on.

        Raises:
            InvalidRequest: the username or the password cannot be taken.
            UsernameTaken: somebody has the name, or the session's user has one.
            ReauthenticationRequired: the session's login is longer ago than ten minutes.
            TokenError: the presented token is no way in.
            TooManyAttempts: too many users were made from this address, or names found taken.
            Overloaded: as for `verified`.
        """
        name = new_credentials(credentials.username, credentials.password)
        view = self._recent(presented) if presented is not None else None
        with self._throttle.registration(client, view.user.id if view else None):
            if (view and view.user.username is not None) or self._account(name):
                raise UsernameTaken
            password_hash = self._passwords.hash(credentials.password)
            try:
                with self._database.transaction() as connection:
                    if view is None or presented is None:
                        return self._make(connection, name, password_hash, client)
                    return self._name(connection, view, presented, name, password_hash, client)
            except IntegrityError:
                raise UsernameTaken from None

    def bind(self, presented: str, credentials: Credentials, client: Client) -> User:
        """Return the account that the session's WeChat user belongs to from now on.

        Raises:
            TokenError: the presented token is no way in.
            ReauthenticationRequired: the session's login is longer ago than ten minutes, or was
                not one by WeChat.
            BadCredentials, TooManyAttempts, UserBlocked, Overloaded: as for `verified` and `lock`.
            IdentityBound: as for `attach`.
        """
        view = self._recent(presented)
        if view.identity is None:
            raise ReauthenticationRequired
        account = self.verified(credentials, client)
        with self._database.transaction() as connection:
            locked = self.lock(connection, account, view.user.id)
            session = self._sessions.reread(connection, view.session_id)
            if session.user.id not in locked or session.identity is None:
                raise IdentityBound  # it was bound, or unbound, by somebody else just now
            return self.attach(
                connection,
                locked[session.user.id],
                locked[account.user_id],
                client,
                appid=session.identity.appid,
                session_id=session.id,
            )

    def unbind(
        self, presented: str, client: Client, *, appid: str | None, password: str | None
    ) -> User:
        """Take the WeChat user of an app away from the session's account; return the account.

        Without `appid` it is the app of the session. The password stands in for a login of the
        last ten minutes. An app that has no WeChat user here is no error. Sessions of that WeChat
        user end, but the one that asks goes on, as one of the account.

        Raises:
            TokenError: the presented token is no way in.
            InvalidRequest: the appid is not one of ours, or none is known.
            ReauthenticationRequired: no password, and the login is longer ago than ten minutes.
            LastCredential: the user would have no way to log in.
            BadCredentials, TooManyAttempts, Overloaded: as for `verified`.
        """
        view = self._sessions.check(presented)
        if password is None:
            self._ensure_recent(view)
        else:
            self._verified_again(view, password, client)
        appid = self._app_of(view, appid)
        now = self._clock()
        with self._database.transaction() as connection:
            lock(connection, [view.user.id])
            session = self._sessions.reread(connection, view.session_id)
            bound = select(identities.c.appid, identities.c.id).where(
                identities.c.user_id == session.user.id, identities.c.provider == WECHAT
            )
            mine: dict[str, UUID] = {row.appid: row.id for row in connection.execute(bound)}
            if appid not in mine:
                return session.user
            if session.user.username is None and len(mine) == 1:
                raise LastCredential
            identity_id = mine[appid]
            # It gets a user of its own instead of going: a unionid would lead it back here else.
            alone = new_id()
            connection.execute(insert(users).values(id=alone, created_at=now))
            moving = update(identities).where(identities.c.id == identity_id)
            connection.execute(moving.values(user_id=alone))
            of_it = and_(
                sessions.c.user_id == session.user.id, sessions.c.identity_id == identity_id
            )
            others = and_(of_it, sessions.c.id != session.id)
            self._sessions.end_rows(
                connection, others, "revoked", now, user_id=session.user.id, client=client
            )
            connection.execute(update(sessions).where(of_it).values(identity_id=null()))
            connection.execute(
                *self._audit.entry(
                    *("unbound", client),
                    user_id=session.user.id,
                    session_id=session.id,
                    appid=appid,
                )
            )
            return session.user

    def change_password(
        self, presented: str, password: str, new_password: str, client: Client
    ) -> None:
        """Change the password; every other session of the user ends.

        Raises:
            TokenError: the presented token is no way in.
            ReauthenticationRequired: the session's login is longer ago than ten minutes.
            InvalidRequest: the new password cannot be taken.
            BadCredentials, TooManyAttempts, UserBlocked, Overloaded: as for `verified`.
        """
        view = self._recent(presented)
        username = view.user.username or ""
        ensure_acceptable(new_password, username=username, field="new_password")
        account = self._verified_again(view, password, client)
        password_hash = self._passwords.hash(new_password)
        now = self._clock()
        with self._database.transaction() as connection:
            self.lock(connection, account)
            session = self._sessions.reread(connection, view.session_id)
            mine = update(users).where(users.c.id == account.user_id)
            connection.execute(mine.values(password_hash=password_hash))
            self._sessions.end_others(connection, session, "password_changed", now, client=client)
            connection.execute(
                *self._audit.entry(
                    "password_changed", client, user_id=account.user_id, session_id=session.id
                )
            )

    def _account(self, name: str) -> Account | None:
        query = select(users.c.id, users.c.password_hash).where(
            users.c.username == name, users.c.password_hash.is_not(None)
        )
        with self._database.statement() as connection:
            row = connection.execute(query).first()
        return Account(*row) if row else None

    def _rehash(self, account: Account, password: str) -> Account:
        """Return the account under a hash of today's strength."""
        password_hash = self._passwords.hash(password)
        mine = update(users).where(
            users.c.id == account.user_id, users.c.password_hash == account.password_hash
        )
        with self._database.statement() as connection:
            done = connection.execute(mine.values(password_hash=password_hash)).rowcount
        return Account(account.user_id, password_hash) if done else account

    def _verified_again(self, view: SessionView, password: str, client: Client) -> Account:
        # A user without a username has no password to be wrong, and is told as much.
        name = view.user.username or str(view.user.id)
        return self.verified(Credentials(name, password), client, session_of=view.user.id)

    def _make(self, connection: Connection, name: str, password_hash: str, client: Client) -> Grant:
        made = upsert(self._database, users).values(
            id=new_id(), username=name, password_hash=password_hash, created_at=self._clock()
        )
        row = connection.execute(made.on_conflict_do_nothing().returning(users.c.id)).first()
        if row is None:
            raise UsernameTaken
        user = User(row.id, username=name)
        return self._sessions.issue(
            connection, user, None, client, new_user=True, event="registered"
        )

    def _name(  # noqa: PLR0913 - a session, its token, and what its user is to have
        self,
        connection: Connection,
        view: SessionView,
        presented: str,
        name: str,
        password_hash: str,
        client: Client,
    ) -> Grant:
        """Give the session's own user a username; the session gets a new token with that."""
        lock(connection, [view.user.id])
        session = self._sessions.reread(connection, view.session_id)
        mine = update(users).where(users.c.id == session.user.id, users.c.username.is_(None))
        naming = mine.values(username=name, password_hash=password_hash)
        if not connection.execute(naming).rowcount:
            raise UsernameTaken
        return self._sessions.issue(
            connection,
            session.user._replace(username=name),
            session.identity,
            client,
            replacing=presented,
            event="registered",
            auth_time=session.auth_time,
        )

    def _recent(self, presented: str) -> SessionView:
        view = self._sessions.check(presented)
        self._ensure_recent(view)
        return view

    def _ensure_recent(self, view: SessionView) -> None:
        if self._clock() - view.auth_time > RECENT:
            raise ReauthenticationRequired

    def _app_of(self, view: SessionView, appid: str | None) -> str:
        if appid is None and view.identity is not None:
            return view.identity.appid
        if appid is None or appid not in self._apps:
            raise InvalidRequest([{"field": "appid", "message": "not an app of this server"}])
        return appid
