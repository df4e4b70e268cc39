"""Authentication: which account a username and password open."""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_, select, update

from wxsession.accounts.passwords import Passwords, normalised_username
from wxsession.accounts.throttle import Throttle
from wxsession.common.clock import Clock
from wxsession.errors import BadCredentials, Overloaded, UserBlocked
from wxsession.events.audit import Audit
from wxsession.sessions.session import SessionView
from wxsession.storage.database import Database
from wxsession.storage.tables import users
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo
from wxsession.users.merging import Users
from wxsession.users.user import User


@dataclass(frozen=True, slots=True)
class Credentials:
    """A username as it was typed, and a password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """A user whose password was verified, and the hash that it matched."""

    user_id: UUID
    password_hash: str = field(repr=False)


class Authenticator:
    """Verifies passwords, and limits how often a caller may guess them."""

    def __init__(
        self,
        database: Database,
        *,
        passwords: Passwords,
        throttle: Throttle,
        users: Users,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._users = users
        self._audit = audit
        self._clock = clock

    def verify(
        self, credentials: Credentials, client: ClientInfo, *, session_of: UUID | None = None
    ) -> Account:
        """Return the account that the credentials open; no connection is held while hashing.

        `session_of` is the user whose live session the credentials are sent with, if the account
        has to be that user's.

        Raises:
            BadCredentials: no such user, or a wrong password.
            TooManyAttempts: too many passwords were wrong recently, or are being tried, for this
                name or from this address.
            Overloaded: the database or a place for hashing was not free in time.
        """
        name = normalised_username(credentials.username)
        # The place first: a caller refused for lack of one costs no statement for counting.
        with (
            self._passwords.place(),
            self._throttle.guess(name, client, session_of=session_of) as guess,
        ):
            account = self.find(name)
            stored = account.password_hash if account else None
            if not self._passwords.fits(credentials.password, stored) or account is None:
                user_id = account.user_id if account else None
                refusal = BadCredentials()
                self._audit.count("login.failed", client, reason=refusal.code, user_id=user_id)
                if guess.is_last:
                    self._audit.count("login.locked", client, user_id=user_id)
                raise refusal
        if self._passwords.is_outdated(account.password_hash):
            with suppress(Overloaded):  # the old hash is as good as before
                return self._rehash(account, credentials.password)
        return account

    def lock(self, transaction: Transaction, account: Account, *others: UUID) -> dict[UUID, User]:
        """Lock the account's user, and others, in the caller's transaction; return them by id.

        Raises:
            BadCredentials: the password was changed since it was verified.
            UserBlocked: the account is disabled.
        """
        locked = self._users.lock(transaction, {account.user_id, *others})
        # The password was verified without a lock, and may have been changed since.
        unchanged = select(users.c.id).where(
            users.c.id == account.user_id, users.c.password_hash == account.password_hash
        )
        if account.user_id not in locked or transaction.execute(unchanged).first() is None:
            raise BadCredentials
        if locked[account.user_id].disabled_at is not None:
            raise UserBlocked
        return locked

    def hash(self, password: str) -> str:
        """Return the hash of a password.

        Raises:
            Overloaded: no place for hashing was free in time.
        """
        return self._passwords.hash(password)

    def set_password(
        self,
        transaction: Transaction,
        user_id: UUID,
        password_hash: str,
        expires_at: datetime | None = None,
    ) -> None:
        """Set the hash of a password, and until when it holds, in the caller's transaction."""
        mine = update(users).where(users.c.id == user_id)
        transaction.execute(
            mine.values(password_hash=password_hash, password_expires_at=expires_at)
        )

    def unlock(self, user: User) -> None:
        """Forget the wrong passwords that were tried for a user.

        Raises:
            Overloaded: the database did not answer in time.
        """
        self._throttle.unlock(user.username, user.id)

    def forget(self, transaction: Transaction, user: User) -> None:
        """Delete what is counted for a user, in the caller's transaction."""
        self._throttle.forget(transaction, user.id, user.username)

    def registration(
        self, client: ClientInfo, user_id: UUID | None
    ) -> AbstractContextManager[None]:
        """Return a block in which this client registers; `user_id` is the session's user, if any.

        Raises:
            TooManyAttempts: too many registrations from this address, or of this user.
        """
        return self._throttle.registration(client, user_id)

    def find(self, username: str) -> Account | None:
        """Return the account of a normalised username, or None if it has no password that holds."""
        c = users.c
        query = select(c.id, c.password_hash).where(c.username == username, self._holds())
        with self._database.statement() as connection:
            row = connection.execute(query).first()
        return Account(*row) if row else None

    def may_log_in(self, transaction: Transaction, user: User) -> bool:
        """Return whether a locked user has a username and a password that holds."""
        c = users.c
        query = select(c.id).where(c.id == user.id, c.username.is_not(None), self._holds())
        return transaction.execute(query).first() is not None

    def _holds(self) -> ColumnElement[bool]:
        """Return the condition that a user has a password, and not an expired one."""
        expires_at = users.c.password_expires_at
        return and_(
            users.c.password_hash.is_not(None),
            or_(expires_at.is_(None), expires_at > self._clock()),
        )

    def _rehash(self, account: Account, password: str) -> Account:
        """Replace the account's hash by one with the current parameters; return the account."""
        password_hash = self._passwords.hash(password)
        # If the password was changed since it was verified, the new hash stays.
        mine = update(users).where(
            users.c.id == account.user_id, users.c.password_hash == account.password_hash
        )
        with self._database.statement() as connection:
            done = connection.execute(mine.values(password_hash=password_hash)).rowcount
        return Account(account.user_id, password_hash) if done else account

    def verify_again(self, view: SessionView, password: str, client: ClientInfo) -> Account:
        """Verify the password of the session's user; return the account.

        Raises:
            BadCredentials: the password is wrong, or the user has none.
            TooManyAttempts, Overloaded: as for `verify`.
        """
        if view.user.username is None:
            with self._passwords.place():
                self._passwords.fits(password, None)  # takes as long as a wrong password
            raise BadCredentials
        credentials = Credentials(view.user.username, password)
        account = self.verify(credentials, client, session_of=view.user.id)
        if account.user_id != view.user.id:
            raise BadCredentials
        return account
