"""Profiles: the nickname, avatar and phone number of a session's user."""

from collections.abc import Mapping
from typing import Any

from wxsession.accounts.profile_rows import Profiles, changed_by
from wxsession.errors import InvalidRequest, SessionKeyStale
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import SessionView
from wxsession.storage.database import Database, retry_on_disconnect
from wxsession.users.client import ClientInfo
from wxsession.users.phone_numbers import PhoneNumber
from wxsession.users.user import User
from wxsession.wechat.api import WeChatApi
from wxsession.wechat.key_checks import KeyChecks
from wxsession.wechat.open_data import OpenData, ParsedOpenData, profile_of
from wxsession.wechat.phone_number import phone_number_of


class ProfileService:
    """Reads and changes the profile of a session's user.

    `presented` is the session token; `client` is who changes something.
    """

    def __init__(
        self,
        database: Database,
        *,
        sessions: SessionService,
        profiles: Profiles,
        wechat: WeChatApi,
        key_checks: KeyChecks,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._profiles = profiles
        self._wechat = wechat
        self._key_checks = key_checks

    def user(self, presented: str) -> User:
        """Return the user.

        Raises:
            TokenError: the token is not accepted.
            Overloaded: the database did not answer in time.
        """
        return self._sessions.check(presented).user

    def change(self, presented: str, changes: Mapping[str, str | None], client: ClientInfo) -> User:
        """Change the `nickname` or `avatar_url`, which None clears; return the user.

        Raises:
            TokenError: the token is not accepted.
            Overloaded: the database did not answer in time.
        """
        return self._save(self._sessions.check(presented), client, changes)

    def take(
        self, presented: str, data: OpenData, client: ClientInfo
    ) -> tuple[User, Mapping[str, Any] | None]:
        """Update the profile from open data; return the user and the data.

        The data are None if the user did not give permission.

        Raises:
            TokenError: the token is not accepted.
            InvalidRequest: the data are malformed or forged.
            OpenDataError: the data cannot be read, or are not of this user.
            Overloaded: the database did not answer in time.
        """
        view = self._sessions.check(presented)
        found = self._read(view, data)
        if found is None:
            return view.user, None
        return self._save(view, client, profile_of(found), phone_number_of(found)), found

    def phone_number_by_code(self, presented: str, code: str, client: ClientInfo) -> PhoneNumber:
        """Exchange a code of the button getPhoneNumber; store and return the number.

        Raises:
            TokenError: the token is not accepted.
            InvalidCode: WeChat does not accept the code, or not for this user.
            WeChatError: WeChat did not give a usable response.
            Overloaded: the database, or a place among the WeChat calls, was not free in time.
        """
        view = self._sessions.check(presented)
        phone = self._wechat.phone_number(view.identity, code)
        self._save(view, client, {}, phone)
        return phone

    def phone_number_from(self, presented: str, data: OpenData, client: ClientInfo) -> PhoneNumber:
        """Decrypt a phone number from WeChat; store and return it.

        Raises:
            TokenError: the token is not accepted.
            InvalidRequest: the data are malformed or forged, or have no phone number.
            OpenDataError: the data cannot be read, or are not of this user.
            Overloaded: the database did not answer in time.
        """
        view = self._sessions.check(presented)
        phone = phone_number_of(self._read(view, data) or {})
        if phone is None:
            raise InvalidRequest.of("encryptedData", "has no phone number")
        self._save(view, client, {}, phone)
        return phone

    def _read(self, view: SessionView, data: OpenData) -> Mapping[str, Any] | None:
        if data.was_refused:
            return None
        identity = view.identity
        if identity is None:  # a login by password brings no session_key
            raise SessionKeyStale
        sent = ParsedOpenData.of(data)
        try:
            return retry_on_disconnect(lambda: self._profiles.read(self._database, identity, sent))
        except SessionKeyStale:
            # If our newest key is the current one, the keys are not stale: the data are forged.
            if not self._key_checks.confirms(identity):
                raise
        name = "encryptedData" if data.encrypted_data is not None else "rawData"
        raise InvalidRequest.of(name, "was not made by WeChat for this user")

    def _save(
        self,
        view: SessionView,
        client: ClientInfo,
        changes: Mapping[str, str | None],
        phone: PhoneNumber | None = None,
    ) -> User:
        """Write the changes that differ from the session's user; return the changed user."""
        if not changed_by(view.user, changes, phone):
            return view.user
        return retry_on_disconnect(lambda: self._write(view, client, changes, phone))

    def _write(
        self,
        view: SessionView,
        client: ClientInfo,
        changes: Mapping[str, str | None],
        phone: PhoneNumber | None,
    ) -> User:
        with self._database.transaction() as transaction:
            return self._profiles.write(
                transaction, view.user, changes, client, phone=phone, session_id=view.session_id
            )
