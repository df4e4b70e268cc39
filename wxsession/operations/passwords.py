"""Passwords as an operator sets them: new accounts, forgotten passwords, lifted locks.

What an operator sets is known to two people, so it is over after a while; what the user then sets
stays. Every change is written to the audit, in the transaction that makes it.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select

from wxsession.accounts.authenticator import Authenticator
from wxsession.accounts.passwords import new_username, normalised_username
from wxsession.common.clock import Clock
from wxsession.errors import InvalidRequest, NoSuchUser
from wxsession.events.audit import SYSTEM, UNKNOWN, Audit
from wxsession.sessions.service import SessionService
from wxsession.storage import tables as t
from wxsession.storage.database import Database
from wxsession.users.client import ClientInfo
from wxsession.users.merging import Users, ensure_known
from wxsession.users.user import User

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another one
_GROUPS = 4
_GROUP = 4  # 79 bits in all


@dataclass(frozen=True, slots=True)
class TemporaryPassword:
    """A password that was just set; what is stored of it is a hash."""

    user_id: UUID
    username: str
    password: str = field(repr=False)
    valid_until: datetime
    sessions_ended: int


class PasswordAdministration:
    """What an operator may do about passwords.

    `actor` is the operator's name, and `client` is from where.
    """

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

    def create(
        self, username: str, *, valid_for: timedelta, actor: str = UNKNOWN
    ) -> TemporaryPassword:
        """Create a user with this username and a temporary password.

        Raises:
            InvalidRequest: the username is not acceptable.
            UsernameTaken: another user has it.
            Overloaded: the database, or a place for hashing, was not free in time.
        """
        name, password = new_username(username), _drawn()
        password_hash = self._authenticator.hash(password)
        valid_until = self._clock() + valid_for
        with self._database.transaction() as transaction:
            user = self._users.register(transaction, name, password_hash)
            self._authenticator.set_password(transaction, user.id, password_hash, valid_until)
            self._audit.write(transaction, "user.created", SYSTEM, user_id=user.id, actor=actor)
        return TemporaryPassword(user.id, name, password, valid_until, 0)

    def set_temporary(
        self,
        user_id: UUID,
        *,
        valid_for: timedelta,
        actor: str = UNKNOWN,
        client: ClientInfo = SYSTEM,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> TemporaryPassword:
        """Give a user a temporary password, lift the lock, and end every live session.

        Ending the sessions may take many transactions; if it is stopped half way, run it again.

        Raises:
            NoSuchUser: no user has this id.
            InvalidRequest: the user has no username.
            Overloaded: the database, or a place for hashing, was not free in time.
        """
        password = _drawn()
        password_hash = self._authenticator.hash(password)
        valid_until = self._clock() + valid_for
        with self._database.transaction() as transaction:
            user = self._users.lock(transaction, [user_id]).get(user_id)
            ensure_known(transaction, user_id)
            if user is None:
                raise NoSuchUser
            if user.username is None:
                raise InvalidRequest.of("user", "has no username, so a password opens nothing")
            self._authenticator.set_password(transaction, user_id, password_hash, valid_until)
            self._audit.write(
                transaction,
                "password.changed",
                client,
                user_id=user_id,
                reason="reset",
                actor=actor,
            )
        self._authenticator.unlock(user)
        done = self._sessions.end_every(
            user_id, "password_changed", client=client, actor=actor, progress=progress
        )
        return TemporaryPassword(user_id, user.username, password, valid_until, done)

    def unlock(
        self, whom: UUID | str, *, actor: str = UNKNOWN, client: ClientInfo = SYSTEM
    ) -> UUID:
        """Forget the wrong passwords that were tried for a user; return the user's id.

        `whom` is an id or a username. Those that an address tried stay counted for that address.

        Raises:
            NoSuchUser: no user has this id.
            InvalidRequest: no user has this username.
            Overloaded: the database did not answer in time.
        """
        user = self._find(whom)
        with self._database.transaction() as transaction:
            self._audit.write(transaction, "login.unlocked", client, user_id=user.id, actor=actor)
        self._authenticator.unlock(user)
        return user.id

    def _find(self, whom: UUID | str) -> User:
        c = t.users.c
        is_it = c.id == whom if isinstance(whom, UUID) else c.username == normalised_username(whom)
        with self._database.statement() as connection:
            row = connection.execute(select(c.id, c.username).where(is_it)).first()
            if row is None and isinstance(whom, UUID):
                ensure_known(connection, whom)
        if row is None:
            raise InvalidRequest.of("username", "is that of nobody")
        return User(row.id, row.username)


def _drawn() -> str:
    """Return a password that can be read out and typed."""
    letters = [secrets.choice(_LETTERS) for _ in range(_GROUPS * _GROUP)]
    groups = ("".join(letters[at : at + _GROUP]) for at in range(0, len(letters), _GROUP))
    return "-".join(groups)
