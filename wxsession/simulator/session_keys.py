"""The one session_key that WeChat holds for each user of each app, and when it changes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from .generators import Entropy, openid, session_key

Rotation = timedelta | Literal["always", "never"]

_PERIODS: Final = {"always": timedelta(), "never": timedelta.max}


@dataclass(frozen=True)
class _Key:
    value: str
    since: datetime


class SessionKeys:
    """The current keys. A rotated one is gone at once.

    wx.login may rotate the key, but "not every call does": there is a shortest period, whose
    length WeChat does not publish. Acquiring a code rotates; exchanging it does not. So a phone
    can hold data under a key that its server never received (wx.checkSession, official docs).
    """

    def __init__(self, rotation: Rotation, entropy: Entropy) -> None:
        """Start with none.

        Raises:
            ValueError: `rotation` is neither a period nor "always" nor "never".
        """
        period = rotation if isinstance(rotation, timedelta) else _PERIODS.get(rotation)
        if period is None or period < timedelta():
            raise ValueError(f'rotate_after is a period, "always" or "never", not {rotation!r}')
        self._period = period
        self._entropy = entropy
        self._keys: dict[tuple[str, str], _Key] = {}
        self._users: dict[tuple[str, str], str] = {}  # by openid and appid

    def rotate_if_due(self, user: str, appid: str, now: datetime) -> None:
        """Rotate the key, if there is none or if it is due."""
        key = self._keys.get((user, appid))
        if key is None or now - key.since >= self._period:
            self._keys[user, appid] = _Key(session_key(self._entropy), now)
            self._users[openid(appid, user), appid] = user

    def current(self, user: str, appid: str, now: datetime) -> str:
        """Return the key that is valid now; a user without one gets a first."""
        if (user, appid) not in self._keys:
            self.rotate_if_due(user, appid, now)
        return self._keys[user, appid].value

    def user_of(self, known_openid: str, appid: str) -> str | None:
        """Return whose openid this is, or None if no such user of the app has a key."""
        return self._users.get((known_openid, appid))

    def reset(self, user: str, appid: str) -> str:
        """Replace a user's key, and return the new one. It is as old as the one it replaces."""
        key = _Key(session_key(self._entropy), self._keys[user, appid].since)
        self._keys[user, appid] = key
        return key.value
