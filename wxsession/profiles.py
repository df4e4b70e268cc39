"""Profiles: what a user is called and looks like, and the phone number, by way of a session."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import update

from wxsession.errors import InvalidRequest, Overloaded, SessionKeyStale
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import SessionView
from wxsession.storage.database import Database, retry_on_disconnect
from wxsession.storage.tables import users
from wxsession.users.merging import is_merged
from wxsession.users.phone_numbers import PhoneNumber, PhoneNumbers
from wxsession.users.user import Identity, User
from wxsession.wechat.api import WeChatApi
from wxsession.wechat.key_checks import KeyChecks
from wxsession.wechat.open_data import OpenData, OpenDataReader, ParsedOpenData, profile_of
from wxsession.wechat.phone_number import phone_number_of


class ProfileService:
    """What a session's user may see and change of the profile; `presented` is a session token."""

    def __init__(
        self,
        database: Database,
        *,
        sessions: SessionService,
        open_data: OpenDataReader,
        wechat: WeChatApi,
        key_checks: KeyChecks,
        phones: PhoneNumbers,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._open_data = open_data
        self._wechat = wechat
        self._key_checks = key_checks
        self._phones = phones

    def user(self, presented: str) -> User:
        """Return the user.

        Raises:
            TokenError: the token is no way in.
            Overloaded: the database did not answer in time.
        """
        return self._sessions.check(presented).user

    def change(self, presented: str, changes: Mapping[str, str | None]) -> User:
        """Return the user with another `nickname` or `avatar_url`; None clears it.

        Raises:
            TokenError: the token is no way in.
            Overloaded: the database did not answer in time.
        """
        return self._save(self._sessions.check(presented).user, changes)

    def take(self, presented: str, data: OpenData) -> tuple[User, Mapping[str, Any] | None]:
        """Return the user as open data change the profile, and the data; None was refused.

        Raises:
            TokenError: the token is no way in.
            InvalidRequest: the data have not the form of open data, or were forged.
            OpenDataError: they cannot be read, or are not meant for this user.
            Overloaded: the database did not answer in time.
        """
        view = self._sessions.check(presented)
        found = self._read(view, data)
        if found is None:
            return view.user, None
        return self._save(view.user, profile_of(found), phone_number_of(found)), found

    def phone_number_by_code(self, presented: str, code: str) -> PhoneNumber:
        """Return the number that a code of the button getPhoneNumber stands for, and keep it.

        Raises:
            TokenError: the token is no way in.
            InvalidCode: WeChat does not take the code, or not from this user.
            WeChatError: WeChat did not answer the question.
            Overloaded: the database, or a place among the WeChat calls, was not free in time.
        """
        view = self._sessions.check(presented)
        phone = self._wechat.phone_number(view.identity, code)
        self._save(view.user, {}, phone)
        return phone

    def phone_number_from(self, presented: str, data: OpenData) -> PhoneNumber:
        """Return the number that WeChat encrypted, and keep it.

        Raises:
            TokenError: the token is no way in.
            InvalidRequest: the data hold no phone number.
            OpenDataError: they cannot be read, or are not meant for this user.
            Overloaded: the database did not answer in time.
        """
        view = self._sessions.check(presented)
        phone = phone_number_of(self._read(view, data) or {})
        if phone is None:
            raise InvalidRequest.of("encryptedData", "holds no phone number")
        self._save(view.user, {}, phone)
        return phone

    def _read(self, view: SessionView, data: OpenData) -> Mapping[str, Any] | None:
        if data.was_refused:
            return None
        identity = view.identity
        if identity is None:  # a login by password has given us no key of WeChat's
            raise SessionKeyStale
        given = ParsedOpenData.of(data)
        try:
            return retry_on_disconnect(lambda: self._read_once(identity, given))
        except SessionKeyStale:
            if not self._key_checks.confirms(identity):
                raise  # the keys may be stale; otherwise the data were never made for this user
        name = "encryptedData" if data.encrypted_data is not None else "rawData"
        raise InvalidRequest.of(name, "was not made by WeChat for this user")

    def _read_once(self, identity: Identity, given: ParsedOpenData) -> Mapping[str, Any]:
        with self._database.statement() as connection:
            return self._open_data.read(connection, identity, given)

    def _save(
        self, user: User, changes: Mapping[str, str | None], phone: PhoneNumber | None = None
    ) -> User:
        """Return the user with these changes, having written what is not so already."""
        changed: dict[str, Any] = {
            name: value for name, value in changes.items() if getattr(user, name) != value
        }
        columns = dict(changed)
        if phone is not None and phone != user.phone:
            columns |= self._phones.columns(phone, user.id)
            changed["phone"] = phone
        if columns:
            retry_on_disconnect(lambda: self._write(user.id, columns))
        return user._replace(**changed)

    def _write(self, user_id: UUID, columns: Mapping[str, object]) -> None:
        with self._database.statement() as connection:
            writing = update(users).where(users.c.id == user_id, ~is_merged())
            if not connection.execute(writing.values(**columns)).rowcount:
                raise Overloaded  # merged into an account in this moment: again, and it is there
