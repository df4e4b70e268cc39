"""How an admin gets in: a password with a code, both set through a link; and the session.

A session is a row under the hash of 256 random bits. It ends after half an hour without use, after
twelve hours in any case, and with the admin's password, role or standing. Whoever cannot say a
password and a code learns nothing but that one of three is wrong, as slowly for an unknown name.
"""

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, delete, insert, select, update

from wxsession.accounts.passwords import Passwords, ensure_acceptable, normalised_username
from wxsession.accounts.throttle import Throttle
from wxsession.common.clock import Clock
from wxsession.common.crypto import Sealer, Unsealable
from wxsession.errors import BadCredentials, InvalidLink, InvalidRequest, NotSignedIn
from wxsession.events.audit import Audit
from wxsession.operations.admins import totp
from wxsession.operations.admins.admin import ADMIN_COLUMNS, Admin, admin_from, hash_of
from wxsession.operations.admins.register import LINK_COLUMN
from wxsession.storage.database import Database, Executor
from wxsession.storage.tables import admin_links, admin_sessions, admins
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo

IDLE = timedelta(minutes=30)
LIFETIME = timedelta(hours=12)
FRESH = timedelta(minutes=10)
"""How long a second factor is good for what cannot be undone."""
TOTP_COLUMN = "admins.totp_sealed"
_TOUCHED_AFTER = timedelta(minutes=1)
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class AdminSession:
    """A live session; `is_fresh` says that its second factor is at most ten minutes old."""

    admin: Admin
    token: str = field(repr=False)
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a link is for: an admin sets a password, and an app reads the secret of its codes."""

    name: str
    totp_secret: str = field(repr=False)
    totp_uri: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignIn:
    """What somebody typed to get in."""

    name: str
    password: str = field(repr=False)
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Found:
    """An admin who may be the one, and the secret of the codes."""

    admin: Admin
    password_hash: str | None = field(repr=False)
    secret: str | None = field(repr=False)


class AdminSessions:
    """Lets admins in, says who is in, and ends sessions."""

    def __init__(
        self,
        database: Database,
        *,
        passwords: Passwords,
        throttle: Throttle,
        sealer: Sealer,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._sealer = sealer
        self._audit = audit
        self._clock = clock

    def invitation(self, link: str) -> Invitation:
        """Return what a link is for; looking does not use it up.

        Raises:
            InvalidLink: it was used, has expired, or never was one.
            Overloaded: the database did not answer in time.
        """
        with self._database.statement() as connection:
            admin, secret = self._invited(connection, link)
        return Invitation(admin.name, secret, totp.uri(secret, admin.name))

    def accept(self, link: str, password: str, code: str, client: ClientInfo) -> str:
        """Set the password and the second factor of a link's admin, once; return a session token.

        Raises:
            InvalidLink: it was used, has expired, or never was one.
            InvalidRequest: the password is not acceptable, or the code is not the app's.
            Overloaded: the database, or a place for hashing, was not free in time.
        """
        with self._database.statement() as connection:
            admin, secret = self._invited(connection, link)
        ensure_acceptable(password, username=admin.name)
        now = self._clock()
        step = totp.step_of(code, secret, now)
        if step is None:
            raise InvalidRequest.of("code", "is not the one that the app shows now")
        password_hash = self._passwords.hash(password)
        sealed = self._sealer.seal(secret.encode(), row=admin.id, column=TOTP_COLUMN)
        with self._database.transaction() as transaction:
            # The admin first, as a reset does: in another order, both would wait for each other.
            mine = update(admins).where(admins.c.id == admin.id, admins.c.disabled_at.is_(None))
            values = {"password_hash": password_hash, "totp_sealed": sealed, "totp_step": step}
            if not transaction.execute(mine.values(values)).rowcount:
                raise InvalidLink
            c = admin_links.c
            taking = delete(admin_links).where(c.link_hash == hash_of(link), c.expires_at > now)
            if not transaction.execute(taking).rowcount:
                raise InvalidLink
            return self.begin(transaction, admin, client)

    def sign_in(self, typed: SignIn, client: ClientInfo) -> str:
        """Return the token of a new session.

        Raises:
            BadCredentials: the name, the password or the code is wrong.
            TooManyAttempts: too many were wrong for this name or from this address.
            Overloaded: the database, or a place for hashing, was not free in time.
        """
        name = normalised_username(typed.name)
        with self._passwords.place(), self._throttle.admin_guess(name, client):
            with self._database.statement() as connection:
                found = self._find(connection, admins.c.name == name)
            stored = found.password_hash if found else None
            fits = self._passwords.fits(typed.password, stored)
            token = self._begin_with(found, typed.code, client) if found and fits else None
            if token is None:
                raise self._refused(found, client)
            return token

    def begin(self, transaction: Transaction, admin: Admin, client: ClientInfo) -> str:
        """Begin a session in the caller's transaction, which is a login; return its token."""
        now, token = self._clock(), secrets.token_urlsafe(_TOKEN_BYTES)
        transaction.execute(update(admins).where(admins.c.id == admin.id).values(last_login_at=now))
        for table in (admin_sessions, admin_links):  # a few rows: no timer has to clear them
            transaction.execute(delete(table).where(table.c.expires_at <= now))
        row = {
            "token_hash": hash_of(token),
            "admin_id": admin.id,
            "created_at": now,
            "last_used_at": now,
            "second_factor_at": now,
            "expires_at": now + LIFETIME,
            "client_address": client.address,
            "user_agent": client.user_agent,
        }
        transaction.execute(insert(admin_sessions).values(row))
        self._audit.write(transaction, "admin.signed_in", client, actor=admin.name)
        return token

    def check(self, token: str) -> AdminSession:
        """Return the live session of a token; that counts as use.

        Raises:
            NotSignedIn: it has ended or expired, or never was one.
            Overloaded: the database did not answer in time.
        """
        now, c = self._clock(), admin_sessions.c
        query = (
            select(*ADMIN_COLUMNS, c.last_used_at, c.second_factor_at)
            .join(admin_sessions, c.admin_id == admins.c.id)
            .where(
                c.token_hash == hash_of(token),
                c.expires_at > now,
                c.last_used_at > now - IDLE,
                admins.c.disabled_at.is_(None),
            )
        )
        with self._database.statement() as connection:
            row = connection.execute(query).first()
            if row is None:
                raise NotSignedIn
            if row.last_used_at <= now - _TOUCHED_AFTER:
                mine = update(admin_sessions).where(c.token_hash == hash_of(token))
                connection.execute(mine.values(last_used_at=now))
        return AdminSession(admin_from(row), token, row.second_factor_at > now - FRESH)

    def refresh_factor(self, session: AdminSession, code: str, client: ClientInfo) -> None:
        """Verify a code again, for what cannot be undone.

        Raises:
            BadCredentials: it is wrong, or was used before.
            TooManyAttempts: too many were wrong.
            Overloaded: the database did not answer in time.
        """
        admin = session.admin
        with self._throttle.admin_guess(admin.name, client, signed_in=True):
            with self._database.transaction() as transaction:
                found = self._find(transaction, admins.c.id == admin.id)
                is_right = found is not None and self._take_code(transaction, found, code)
                if is_right:
                    self.freshen(transaction, session)
            if not is_right:
                raise self._refused(found, client)

    def freshen(self, transaction: Transaction, session: AdminSession) -> None:
        """Note in the caller's transaction that a second factor was seen now."""
        mine = update(admin_sessions).where(admin_sessions.c.token_hash == hash_of(session.token))
        if not transaction.execute(mine.values(second_factor_at=self._clock())).rowcount:
            raise NotSignedIn

    def end(self, token: str, client: ClientInfo) -> None:
        """End a session; nothing happens if it has ended already.

        Raises:
            Overloaded: the database did not answer in time.
        """
        c = admin_sessions.c
        who = select(admins.c.name).join(admin_sessions, c.admin_id == admins.c.id)
        with self._database.transaction() as transaction:
            name = transaction.execute(who.where(c.token_hash == hash_of(token))).scalar()
            ending = delete(admin_sessions).where(c.token_hash == hash_of(token))
            if transaction.execute(ending).rowcount:
                self._audit.write(transaction, "admin.signed_out", client, actor=name)

    def _invited(self, connection: Executor, link: str) -> tuple[Admin, str]:
        c = admin_links.c
        query = (
            select(*ADMIN_COLUMNS, c.totp_sealed)
            .join(admin_links, c.admin_id == admins.c.id)
            .where(
                c.link_hash == hash_of(link),
                c.expires_at > self._clock(),
                admins.c.disabled_at.is_(None),
            )
        )
        row = connection.execute(query).first()
        secret = None if row is None else self._opened(row.totp_sealed, row.id, LINK_COLUMN)
        if row is None or secret is None:
            raise InvalidLink
        return admin_from(row), secret

    def _find(self, connection: Executor, condition: ColumnElement[bool]) -> _Found | None:
        columns = (*ADMIN_COLUMNS, admins.c.password_hash, admins.c.totp_sealed)
        query = select(*columns).where(condition, admins.c.disabled_at.is_(None))
        row = connection.execute(query).first()
        if row is None:
            return None
        secret = self._opened(row.totp_sealed, row.id, TOTP_COLUMN)
        return _Found(admin_from(row), row.password_hash, secret)

    def _opened(self, sealed: bytes | None, admin_id: UUID, column: str) -> str | None:
        if sealed is None:
            return None
        try:
            return self._sealer.open(bytes(sealed), row=admin_id, column=column).decode()
        except Unsealable:
            return None

    def _begin_with(self, found: _Found, code: str, client: ClientInfo) -> str | None:
        """Return the token of a new session, None if the code is not right and new."""
        with self._database.transaction() as transaction:
            if self._take_code(transaction, found, code):
                return self.begin(transaction, found.admin, client)
        return None

    def _take_code(self, transaction: Transaction, found: _Found, code: str) -> bool:
        """Return whether a code is right and new; of two who send it at once, one gets in."""
        now = self._clock()
        step = None if found.secret is None else totp.step_of(code, found.secret, now)
        if step is None:
            return False
        c = admins.c
        # The password was verified without a lock, and may have been reset since.
        taking = update(admins).where(
            c.id == found.admin.id,
            c.password_hash == found.password_hash,
            c.disabled_at.is_(None),
            c.totp_step < step,
        )
        return bool(transaction.execute(taking.values(totp_step=step)).rowcount)

    def _refused(self, found: _Found | None, client: ClientInfo) -> BadCredentials:
        refusal = BadCredentials()
        name = found.admin.name if found else None
        self._audit.count("admin.refused", client, reason=refusal.code, actor=name)
        return refusal
