"""Accounts of the business: usernames and passwords, bound to WeChat users and unbound."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, insert, null, select, update
from sqlalchemy.exc import IntegrityError

from wxsession.accounts.passwords import (
    Passwords,
    ensure_acceptable,
    new_credentials,
    normalised_username,
)
from wxsession.accounts.throttle import Throttle
from wxsession.audit import Audit
from wxsession.clock import Clock
from wxsession.errors import (
    BadCredentials,
    Crossed,
    IdentityBound,
    InvalidRequest,
    LastCredential,
    ReauthenticationRequired,
    UserBlocked,
    UsernameTaken,
)
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import DescribedSession, Grant, SessionView
from wxsession.storage.database import Database, new_id, retry_on_disconnect, upsert
from wxsession.storage.tables import WECHAT, identities, sessions, unbound_identities, users
from wxsession.users.client import ClientInfo
from wxsession.users.merging import lock_users, merge, move_identities
from wxsession.users.phone_numbers import PhoneNumbers
from wxsession.users.user import User

RECENT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A username as somebody typed it, and a password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bound:
    """A WeChat user that leads to an account; `current` is that of the session that asks."""

    appid: str
    bound_at: datetime
    current: bool


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
        clock: Clock,
        *,
        apps: frozenset[str],
        link_by_unionid: bool,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._sessions = sessions_
        self._phones = phones
        self._audit = audit
        self._clock = clock
        self._apps = apps
        self._link_by_unionid = link_by_unionid

    def verify(
        self, credentials: Credentials, client: ClientInfo, *, session_of: UUID | None = None
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

    def lock_account(
        self, connection: Connection, account: Account, *others: UUID
    ) -> dict[UUID, User]:
        """Return the account's user, and others, locked inside the caller's transaction.

        Raises:
            BadCredentials: the password was changed since it was verified.
            UserBlocked: the account is disabled.
        """
        locked = lock_users(connection, {account.user_id, *others})
        unchanged = select(users.c.id).where(
            users.c.id == account.user_id, users.c.password_hash == account.password_hash
        )
        if account.user_id not in locked or connection.execute(unchanged).first() is None:
            raise BadCredentials
        if locked[account.user_id].disabled_at is not None:
            raise UserBlocked
        return locked

    def bind_user(  # noqa: PLR0913 - two users, and who did it from where
        self,
        connection: Connection,
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
        now = self._clock()
        others = sessions.c.user_id == user.id
        if session_id is not None:
            others &= sessions.c.id != session_id
        self._sessions.end_rows(connection, others, "revoked", now, user_id=user.id, client=client)
        merged = merge(connection, user, account, self._phones, now)
        self._sessions.end_surplus(connection, account.id, client)
        connection.execute(
            *self._audit.entry(
                "bound", client, user_id=account.id, session_id=session_id, appid=appid
            )
        )
        return merged

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

    def bind(self, presented: str, credentials: Credentials, client: ClientInfo) -> Grant:
        """Let the session's WeChat user belong to an account; return the session's next token.

        Asked again by a device that lost the answer, with the same token, the same again.

        Raises:
            TokenError: the presented token is no way in.
            ReauthenticationRequired: the session's login is longer ago than ten minutes, or was
                not one by WeChat.
            BadCredentials, TooManyAttempts, UserBlocked, Overloaded: as for `verify` and
                `lock_account`.
            IdentityBound: as for `bind_user`.
        """
        view = self._recent(presented)
        if view.identity is None:
            raise ReauthenticationRequired
        account = self.verify(credentials, client)
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
            self._ensure_recent(view)
        else:
            self._verified_again(view, password, client)
        which = None if everything else self._app_of(view, appid)
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
        account = self._verified_again(view, password, client)
        password_hash = self._passwords.hash(new_password)
        now = self._clock()
        with self._database.transaction() as connection:
            session, locked = self._lock_own(connection, view.session_id, account)
            mine = update(users).where(users.c.id == account.user_id)
            connection.execute(mine.values(password_hash=password_hash))
            self._sessions.end_others(connection, session, "password_changed", now, client=client)
            connection.execute(
                *self._audit.entry(
                    "password_changed", client, user_id=account.user_id, session_id=session.id
                )
            )
            return self._sessions.renew(connection, session, presented, locked[account.user_id])

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

    def _verified_again(self, view: SessionView, password: str, client: ClientInfo) -> Account:
        """Return the session's own account, having verified its password.

        Raises:
            BadCredentials: it is wrong, or there is none.
            TooManyAttempts, Overloaded: as for `verify`.
        """
        if view.user.username is None:
            with self._passwords.place():
                self._passwords.fits(password, None)  # no takes as long as no to a wrong one
            raise BadCredentials
        credentials = Credentials(view.user.username, password)
        account = self.verify(credentials, client, session_of=view.user.id)
        if account.user_id != view.user.id:
            raise BadCredentials
        return account

    def _lock_own(
        self, connection: Connection, session_id: UUID, account: Account | None = None
    ) -> tuple[DescribedSession, dict[UUID, User]]:
        """Return a session and its user, both locked, and with them the user of an account.

        Raises:
            TokenError: the session has ended meanwhile.
            Crossed: its user became another one while the locks were waited for.
            BadCredentials, UserBlocked: as for `lock_account`.
        """
        user_id = self._sessions.reload(connection, session_id).user.id
        if account is None:
            locked = lock_users(connection, [user_id])
        else:
            locked = self.lock_account(connection, account, user_id)
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
            user = self.bind_user(
                *(connection, locked[session.user.id], locked[account.user_id], client),
                appid=session.identity.appid,
                session_id=session.id,
            )
            return self._sessions.renew(connection, session, presented, user)

    def _unbind(self, session_id: UUID, appid: str | None, client: ClientInfo) -> User:
        now = self._clock()
        with self._database.transaction() as connection:
            session, _ = self._lock_own(connection, session_id)
            user = session.user
            c = identities.c
            query = select(c.id, c.appid, c.unionid).where(
                c.user_id == user.id, c.provider == WECHAT
            )
            bound = connection.execute(query).all()
            leaving = [one for one in bound if appid in {None, one.appid}]
            if not leaving:
                return user
            if user.username is None and len(leaving) == len(bound):
                raise LastCredential
            # They get users of their own instead of going: who they are is known by their ids.
            people: dict[object, UUID] = {}
            for id_, _, unionid in leaving:
                person = unionid if unionid and self._link_by_unionid else id_
                if person not in people:
                    people[person] = new_id()
                    connection.execute(insert(users).values(id=people[person], created_at=now))
                move_identities(connection, c.id == id_, people[person], now)
            record = [
                {"user_id": user.id, "identity_id": one.id, "unbound_at": now} for one in leaving
            ]
            noting = upsert(self._database, unbound_identities).values(record)
            connection.execute(noting.on_conflict_do_nothing())
            theirs = sessions.c.identity_id.in_([one.id for one in leaving])
            others = theirs & (sessions.c.user_id == user.id) & (sessions.c.id != session.id)
            self._sessions.end_rows(
                connection, others, "unbound", now, user_id=user.id, client=client
            )
            own = update(sessions).where(sessions.c.id == session.id, theirs)
            connection.execute(own.values(identity_id=null()))
            for one in leaving:
                entry = self._audit.entry(
                    *("unbound", client),
                    user_id=user.id,
                    session_id=session.id,
                    appid=one.appid,
                )
                connection.execute(*entry)
            return user

    def _make(
        self, connection: Connection, name: str, password_hash: str, client: ClientInfo
    ) -> Grant:
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
        client: ClientInfo,
    ) -> Grant:
        """Give the session's own user a username; the session gets a new token with that."""
        session, _ = self._lock_own(connection, view.session_id)
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
