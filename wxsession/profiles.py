"""Profiles: what a user is called and looks like, and the phone number, by way of a session."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, update

from wxsession.audit import SYSTEM, UNKNOWN, Audit
from wxsession.clock import Clock
from wxsession.crypto import Unsealable
from wxsession.errors import InvalidRequest, Overloaded, SessionKeyStale, WeChatError
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import SessionView
from wxsession.storage.database import Database, retry_on_disconnect
from wxsession.storage.tables import identities, users
from wxsession.users.merging import is_merged
from wxsession.users.phone_numbers import PhoneNumber, PhoneNumbers
from wxsession.users.user import Identity, User, identity_from, select_identities
from wxsession.wechat.access_tokens import AccessTokens
from wxsession.wechat.client import WeChatClient
from wxsession.wechat.open_data import OpenData, OpenDataReader, profile_of
from wxsession.wechat.phone_number import phone_number_of
from wxsession.wechat.session_keys import SessionKeyStore


class SessionKeysReset(NamedTuple):
    """What became of the session_keys of a user, whose old ones may be known to somebody."""

    reset: int
    """WeChat has replaced these; for these identities there is a new key."""
    dead: int
    """WeChat had replaced these before."""
    unopened: int
    """No server key opens these, so WeChat could not be asked."""
    of_other_apps: int
    """The app is not in the settings, so WeChat could not be asked."""


class ProfileService:
    """What a session's user may see and change about himself; `presented` is a session token.

    With `check_session_keys`, open data that fit no kept key are told apart: WeChat is asked
    whether the newest key is its own. If it is, they were never made for this user.
    """

    def __init__(  # noqa: PLR0913 - each is a collaborator
        self,
        database: Database,
        wechat: WeChatClient,
        access_tokens: AccessTokens,
        reader: OpenDataReader,
        ring: SessionKeyStore,
        sessions: SessionService,
        *,
        phones: PhoneNumbers,
        audit: Audit,
        clock: Clock,
        check_session_keys: bool,
    ) -> None:
        self._database = database
        self._wechat = wechat
        self._access_tokens = access_tokens
        self._reader = reader
        self._ring = ring
        self._sessions = sessions
        self._phones = phones
        self._audit = audit
        self._clock = clock
        self._check_session_keys = check_session_keys

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
        appid, openid = self._app_of(view.identity)
        with self._wechat.budget.one():
            phone = self._access_tokens.use(
                appid, lambda token: self._wechat.phone_number(appid, token, code, openid)
            )
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
            raise _invalid("encryptedData", "holds no phone number")
        self._save(view.user, {}, phone)
        return phone

    def reset_session_keys(self, user_id: UUID, *, actor: str = UNKNOWN) -> SessionKeysReset:
        """Let WeChat replace the session_keys of a user, whose old ones may be known to somebody.

        A WeChat user of whom no key is kept does not count: there is none that could have leaked.

        Raises:
            WeChatError: WeChat did not answer the question.
            Overloaded: the database, or a place among the WeChat calls, was not free in time.
        """
        mine = select_identities().where(identities.c.user_id == user_id)
        with self._database.statement() as connection:
            known = [identity_from(row)[0] for row in connection.execute(mine)]
        count = Counter(self._reset(identity, user_id, actor) for identity in known)
        return SessionKeysReset(*(count[name] for name in SessionKeysReset._fields))

    def _reset(self, identity: Identity, user_id: UUID, actor: str) -> str | None:
        """Return as which of `SessionKeysReset` it counts, if as any."""
        try:
            with self._database.statement() as connection:
                kept = self._ring.newest(connection, identity.id)
        except Unsealable:
            return "unopened"
        if kept is None:
            return None
        if identity.appid not in self._wechat.apps:
            return "of_other_apps"
        reset = self._wechat.reset_session_key
        try:
            with self._wechat.budget.one():
                fresh = self._access_tokens.use(
                    identity.appid,
                    lambda token: reset(identity.appid, token, identity.openid, kept.session_key),
                )
        except SessionKeyStale:
            return "dead"
        with self._database.transaction() as connection:
            lock = select(identities.c.id).where(identities.c.id == identity.id)
            connection.execute(lock.with_for_update())
            self._ring.remember(connection, identity.id, fresh, self._clock())
            noted = self._audit.entry(
                *("session_key_reset", SYSTEM), user_id=user_id, appid=identity.appid, actor=actor
            )
            connection.execute(*noted)
        return "reset"

    def _app_of(self, identity: Identity | None) -> tuple[str, str | None]:
        """Return the app that a session came from, and who its user is there."""
        if identity is not None and identity.appid in self._wechat.apps:
            return identity.appid, identity.openid
        return next(iter(self._wechat.apps)), None

    def _read(self, view: SessionView, data: OpenData) -> Mapping[str, Any] | None:
        if data.was_refused:
            return None
        identity = view.identity
        if identity is None:  # a login by password has given us no key of WeChat's
            raise SessionKeyStale
        try:
            return retry_on_disconnect(lambda: self._read_once(identity, data))
        except SessionKeyStale:
            if not self._check_session_keys or not self._has_current_key(identity):
                raise
        name = "encryptedData" if data.encrypted_data is not None else "rawData"
        raise _invalid(name, "was not made by WeChat for this user")

    def _read_once(self, identity: Identity, data: OpenData) -> Mapping[str, Any] | None:
        with self._database.statement() as connection:
            return self._reader.read(connection, identity, data)

    def _has_current_key(self, identity: Identity) -> bool:
        """Tell whether WeChat says that our newest key is its own; what is not known is no."""
        if identity.appid not in self._wechat.apps:
            return False
        try:
            with self._database.statement() as connection:
                kept = self._ring.keys(connection, identity.id)
            return bool(kept) and self._is_current(identity, kept[0].session_key)
        except (WeChatError, Overloaded):
            return False

    def _is_current(self, identity: Identity, session_key: str) -> bool:
        ask = self._wechat.is_session_key_current
        with self._wechat.budget.one():
            return self._access_tokens.use(
                identity.appid,
                lambda token: ask(identity.appid, token, identity.openid, session_key),
            )

    def _save(
        self, user: User, changes: Mapping[str, str | None], phone: PhoneNumber | None = None
    ) -> User:
        """Return the user with these changes, having written what is not so already."""
        changed: dict[str, Any] = {
            name: value for name, value in changes.items() if getattr(user, name) != value
        }
        columns = dict(changed)
        if phone is not None and phone != self._phones.open(user.phone_number_sealed, user.id):
            sealed = self._phones.columns(phone, user.id)
            columns |= sealed
            changed["phone_number_sealed"] = sealed["phone_number_sealed"]
        if columns:
            retry_on_disconnect(lambda: self._write(user.id, columns))
        return user._replace(**changed)

    def _write(self, user_id: UUID, columns: Mapping[str, object]) -> None:
        with self._database.statement() as connection:
            writing = update(users).where(users.c.id == user_id, ~is_merged())
            if not connection.execute(writing.values(**columns)).rowcount:
                raise Overloaded  # merged into an account in this moment: again, and it is there


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest([{"field": field, "message": message}])
