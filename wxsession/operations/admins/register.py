"""The register of admins: who may use the console, and in which role.

There is no admin before somebody with a shell on the server adds one. Who is added or reset gets a
link, good once and for an hour, and sets a password and a second factor there. Every change is
written to the audit, in the transaction that makes it: `reason` is the name of the admin whom it is
about.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, update

from wxsession.accounts.passwords import normalised_username
from wxsession.accounts.throttle import Throttle
from wxsession.common.clock import Clock
from wxsession.common.crypto import Sealer
from wxsession.common.wording import Sentence
from wxsession.errors import Forbidden, InvalidRequest, NoSuchAdmin
from wxsession.events.audit import SYSTEM, UNKNOWN, Audit
from wxsession.operations.admins import totp
from wxsession.operations.admins.admin import ADMIN_COLUMNS, Admin, Role, admin_from, hash_of
from wxsession.storage.database import Database, new_id, upsert
from wxsession.storage.tables import (
    LONGEST_ADMIN_NAME,
    admin_links,
    admin_passkeys,
    admin_sessions,
    admins,
)
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo
from wxsession.users.invisible import is_invisible

LINK_LIFETIME = timedelta(hours=1)
LINK_COLUMN = "admin_links.totp_sealed"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Link:
    """What an admin opens to set a password; `token` is the end of its address."""

    name: str
    role: Role
    token: str = field(repr=False)
    valid_until: datetime


class Admins:
    """Adds, resets, disables and lists admins; `actor` is who does that.

    `owner` is the owner who takes something from another admin in the console. A command has none:
    whoever has a shell on the server may also leave no owner.
    """

    def __init__(
        self,
        database: Database,
        *,
        sealer: Sealer,
        throttle: Throttle,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._throttle = throttle
        self._audit = audit
        self._clock = clock

    def every(self) -> list[Admin]:
        """Return all admins, by name.

        Raises:
            Overloaded: the database did not answer in time.
        """
        query = select(*ADMIN_COLUMNS).order_by(admins.c.name)
        with self._database.statement() as connection:
            return [admin_from(row) for row in connection.execute(query)]

    def add(
        self, name: str, role: Role, *, actor: str = UNKNOWN, client: ClientInfo = SYSTEM
    ) -> Link:
        """Add an admin; return the link to sign in for the first time.

        Raises:
            InvalidRequest: the name is not acceptable, or somebody has it.
            Overloaded: the database did not answer in time.
        """
        name = _new_name(name)
        admin_id, now = new_id(), self._clock()
        values = {"id": admin_id, "name": name, "role": role, "created_at": now}
        with self._database.transaction() as transaction:
            adding = upsert(self._database, admins).values(values).on_conflict_do_nothing()
            if transaction.execute(adding.returning(admins.c.id)).first() is None:
                raise InvalidRequest.of("name", "is that of an admin already")
            self._audit.write(transaction, "admin.added", client, reason=name, actor=actor)
            return self._new_link(transaction, admin_id, name, role)

    def reset(self, name: str, *, actor: str = UNKNOWN, client: ClientInfo = SYSTEM) -> Link:
        """Forget the password, the second factors and the sessions of an admin; return a new link.

        Raises:
            InvalidRequest: the admin is disabled, so the link would open nothing.
            NoSuchAdmin: no admin has this name.
            Overloaded: the database did not answer in time.
        """
        with self._database.transaction() as transaction:
            row = self._locked(transaction, name)
            if row.disabled_at is not None:
                raise InvalidRequest.of(
                    "name",
                    "is that of a disabled admin: enable the admin first (`admins enable NAME`)",
                )
            self._throw_out(transaction, row.id)
            transaction.execute(delete(admin_passkeys).where(admin_passkeys.c.admin_id == row.id))
            forgotten = {"password_hash": None, "totp_sealed": None, "totp_step": None}
            transaction.execute(update(admins).where(admins.c.id == row.id).values(forgotten))
            self._audit.write(transaction, "admin.reset", client, reason=row.name, actor=actor)
            link = self._new_link(transaction, row.id, row.name, Role(row.role))
        self._throttle.unlock_admin(row.name)
        return link

    def disable(
        self,
        name: str,
        *,
        owner: Admin | None = None,
        actor: str = UNKNOWN,
        client: ClientInfo = SYSTEM,
    ) -> None:
        """Let an admin in no more, and end the sessions.

        Raises:
            Forbidden: `owner` is an owner no more.
            NoSuchAdmin: no admin has this name.
            Overloaded: the database did not answer in time.
        """
        self._switch(name, "admin.disabled", actor, client, disabled_at=self._clock(), owner=owner)

    def enable(self, name: str, *, actor: str = UNKNOWN, client: ClientInfo = SYSTEM) -> None:
        """Let a disabled admin in again.

        Raises:
            NoSuchAdmin: no admin has this name.
            Overloaded: the database did not answer in time.
        """
        self._switch(name, "admin.enabled", actor, client, disabled_at=None)

    def change_role(
        self,
        name: str,
        role: Role,
        *,
        owner: Admin | None = None,
        actor: str = UNKNOWN,
        client: ClientInfo = SYSTEM,
    ) -> None:
        """Give an admin another role, from the next request on.

        Raises:
            Forbidden: `owner` is an owner no more.
            NoSuchAdmin: no admin has this name.
            Overloaded: the database did not answer in time.
        """
        with self._database.transaction() as transaction:
            row = self._locked(transaction, name, owner)
            if row.role == role:
                return
            transaction.execute(update(admins).where(admins.c.id == row.id).values(role=role))
            self._audit.write(
                transaction, "admin.role_changed", client, reason=row.name, actor=actor
            )

    def _switch(
        self,
        name: str,
        event: str,
        actor: str,
        client: ClientInfo,
        *,
        disabled_at: datetime | None,
        owner: Admin | None = None,
    ) -> None:
        """Disable or enable an admin; for one who is so already, nothing changes."""
        with self._database.transaction() as transaction:
            row = self._locked(transaction, name, owner)
            if (row.disabled_at is None) == (disabled_at is None):
                return
            switch = update(admins).where(admins.c.id == row.id)
            transaction.execute(switch.values(disabled_at=disabled_at))
            if disabled_at is not None:
                self._throw_out(transaction, row.id)
            self._audit.write(transaction, event, client, reason=row.name, actor=actor)

    def _locked(self, transaction: Transaction, name: str, owner: Admin | None = None) -> Any:
        """Return the row of an admin that nobody else changes until the end of the transaction.

        With `owner`, no owner is changed by anybody else, and the one who acts has to be one still.
        Nobody acts on themselves, so that one is left: of two who disable each other at once, the
        second finds out here.
        """
        c, name = admins.c, normalised_username(name)
        wanted = c.name == name
        if owner is not None:
            wanted |= (c.role == Role.OWNER) & c.disabled_at.is_(None)
        # In one order for everybody: nobody holds what another one needs first.
        query = select(admins).where(wanted).order_by(c.id).with_for_update()
        rows = {row.id: row for row in transaction.execute(query)}
        if owner is not None and owner.id not in rows:
            raise Forbidden
        for row in rows.values():
            if row.name == name:
                return row
        raise NoSuchAdmin

    def _throw_out(self, transaction: Transaction, admin_id: UUID) -> None:
        for table in (admin_sessions, admin_links):
            transaction.execute(delete(table).where(table.c.admin_id == admin_id))

    def _new_link(self, transaction: Transaction, admin_id: UUID, name: str, role: Role) -> Link:
        link = Link(name, role, secrets.token_urlsafe(_SECRET_BYTES), self._clock() + LINK_LIFETIME)
        secret = totp.new_secret().encode()
        row = {
            "link_hash": hash_of(link.token),
            "admin_id": admin_id,
            "totp_sealed": self._sealer.seal(secret, row=admin_id, column=LINK_COLUMN),
            "expires_at": link.valid_until,
        }
        transaction.execute(insert(admin_links).values(row))
        return link


def _new_name(text: str) -> str:
    """Return the stored form of a new admin's name; it is in events, and typed in commands.

    Raises:
        InvalidRequest: it is empty, too long, or has what cannot be seen.
    """
    name = normalised_username(text)
    if not 1 <= len(name) <= LONGEST_ADMIN_NAME or any(is_invisible(letter) for letter in name):
        raise InvalidRequest.of(
            "name",
            Sentence("needs 1 to {most} characters, and no blanks", most=LONGEST_ADMIN_NAME),
        )
    return name
