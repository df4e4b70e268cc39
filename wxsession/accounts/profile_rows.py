"""Profiles as rows: a nickname, an avatar and a phone number, written with what is said of it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import update

from wxsession.errors import Overloaded
from wxsession.events.audit import Audit
from wxsession.storage.database import Database
from wxsession.storage.tables import users
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo
from wxsession.users.merging import is_deleted, is_merged
from wxsession.users.phone_numbers import PhoneNumber, PhoneNumbers
from wxsession.users.user import Identity, User
from wxsession.wechat.open_data import OpenDataReader, ParsedOpenData


class Profiles:
    """Reads what WeChat says about a user, and changes the user's row."""

    def __init__(self, open_data: OpenDataReader, phones: PhoneNumbers, audit: Audit) -> None:
        self._open_data = open_data
        self._phones = phones
        self._audit = audit

    def read(
        self, connection: Database | Transaction, identity: Identity, sent: ParsedOpenData
    ) -> Mapping[str, Any]:
        """Return open data of this WeChat user.

        Raises:
            OpenDataError: they cannot be read, or are not of this user.
        """
        return self._open_data.read(connection, identity, sent)

    def write(
        self,
        transaction: Transaction,
        user: User,
        changes: Mapping[str, str | None],
        client: ClientInfo,
        *,
        phone: PhoneNumber | None = None,
        session_id: UUID | None = None,
    ) -> User:
        """Write the changes that differ from the user, and their events; return the changed user.

        Raises:
            Overloaded: the user was just merged into an account, which a repeated request finds, or
                deleted, which it is told.
        """
        changed = changed_by(user, changes, phone)
        if not changed:
            return user
        columns = {name: value for name, value in changed.items() if name != "phone"}
        events = ["user.updated"] if columns else []
        if "phone" in changed and phone is not None:
            columns |= self._phones.columns(phone, user.id)
            events.append("phone_number.set")
        writing = update(users).where(users.c.id == user.id, ~is_merged(), ~is_deleted())
        if not transaction.execute(writing.values(columns)).rowcount:
            raise Overloaded
        for event in events:
            self._audit.write(transaction, event, client, user_id=user.id, session_id=session_id)
        return user._replace(**changed)


def changed_by(
    user: User, changes: Mapping[str, str | None], phone: PhoneNumber | None = None
) -> dict[str, Any]:
    """Return those fields of a user, with their new values, that the changes differ from."""
    changed: dict[str, Any] = {
        name: value for name, value in changes.items() if getattr(user, name) != value
    }
    if phone is not None and phone != user.phone:
        changed["phone"] = phone
    return changed
