"""Questions to WeChat about stored session_keys: whether one is current, and its replacement."""

from collections import Counter
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select

from wxsession.common.clock import Clock
from wxsession.common.crypto import Unsealable
from wxsession.errors import Overloaded, SessionKeyStale, WeChatError
from wxsession.events.audit import SYSTEM, UNKNOWN, Audit
from wxsession.storage.database import Database
from wxsession.storage.tables import identities
from wxsession.users.user import Identity, identity_from, select_identities
from wxsession.wechat.api import WeChatApi
from wxsession.wechat.session_keys import SessionKeyStore


class SessionKeysReset(NamedTuple):
    """The result of resetting a user's session_keys: the number of identities in each state."""

    reset: int
    """WeChat has replaced the key, and the new one is stored."""
    dead: int
    """WeChat had replaced the key before."""
    unopened: int
    """No server key opens the stored key, so WeChat could not be asked."""
    of_other_apps: int
    """The app is not configured, so WeChat could not be asked."""


class KeyChecks:
    """Asks WeChat about session_keys; with `enabled` also when open data fit none of them."""

    def __init__(
        self,
        database: Database,
        *,
        session_keys: SessionKeyStore,
        wechat: WeChatApi,
        audit: Audit,
        clock: Clock,
        enabled: bool,
    ) -> None:
        self._database = database
        self._session_keys = session_keys
        self._wechat = wechat
        self._audit = audit
        self._clock = clock
        self._enabled = enabled

    def confirms(self, identity: Identity) -> bool:
        """Return whether WeChat confirms our newest session_key; False if it cannot be asked."""
        if not self._enabled or identity.appid not in self._wechat.apps:
            return False
        try:
            kept = self._session_keys.keys(self._database, identity.id)
            return bool(kept) and self._wechat.is_session_key_current(identity, kept[0].session_key)
        except (WeChatError, Overloaded):
            return False

    def reset(self, user_id: UUID, *, actor: str = UNKNOWN) -> SessionKeysReset:
        """Let WeChat replace the session_keys of a user, because the old ones may have leaked.

        An identity without a stored key does not count.

        Raises:
            WeChatError: WeChat did not give a usable response.
            Overloaded: the database, or a place among the WeChat calls, was not free in time.
        """
        theirs = select_identities().where(identities.c.user_id == user_id)
        with self._database.statement() as connection:
            known = [identity_from(row) for row in connection.execute(theirs)]
        count = Counter(self._reset(identity, user_id, actor) for identity in known)
        return SessionKeysReset(*(count[name] for name in SessionKeysReset._fields))

    def _reset(self, identity: Identity, user_id: UUID, actor: str) -> str | None:
        """Reset one identity's key; return the field of `SessionKeysReset` to count, or None."""
        try:
            kept = self._session_keys.newest(self._database, identity.id)
        except Unsealable:
            return "unopened"
        if kept is None:
            return None
        if identity.appid not in self._wechat.apps:
            return "of_other_apps"
        try:
            fresh = self._wechat.reset_session_key(identity, kept.session_key)
        except SessionKeyStale:
            return "dead"
        with self._database.transaction() as transaction:
            lock = select(identities.c.id).where(identities.c.id == identity.id)
            if transaction.execute(lock.with_for_update()).first() is None:
                return None  # it was deleted meanwhile
            self._session_keys.remember(transaction, identity.id, fresh, self._clock())
            self._audit.write(
                transaction,
                "session_key.reset",
                SYSTEM,
                user_id=user_id,
                appid=identity.appid,
                actor=actor,
            )
        return "reset"
