"""The session_key that WeChat holds for each user of each app, and when it changes."""

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
    """The current keys. A replaced one is invalid at once.

    wx.login may replace the key, but "not every call does": there is a least age, which WeChat does
    not publish. Getting a code may replace the key; exchanging the code does not. So a phone can
    have data under a key that its server never received (wx.checkSession, official docs).
    """

    def __init__(self, rotation: Rotation, entropy: Entropy) -> None:
        """Start without keys.

        Raises:
            ValueError: `rotation` is neither a period nor "always" nor "never".
        """
        period = rotation if isinstance(rotation, timedelta) else _PERIODS.get(rotation)
        if period is None or period < timedelta():
            raise ValueError('rotate_after must be a period, "always" or "never"')
        self._period = period
        self._entropy = entropy
        self._keys: dict[tuple[str, str], _Key] = {}
        self._users: dict[tuple[str, str], str] = {}  # by openid and appid

    def rotate_if_due(self, user: str, appid: str, now: datetime) -> None:
        """Make a key if there is none, or if the current one is old enough."""
        key = self._keys.get((user, appid))
        if key is None or now - key.since >= self._period:
            self._keys[user, appid] = _Key(session_key(self._entropy), now)
            self._users[openid(appid, user), appid] = user

    def current(self, user: str, appid: str, now: datetime) -> str:
        """Return the valid key, which is made if there is none."""
        if (user, appid) not in self._keys:
            self.rotate_if_due(user, appid, now)
        return self._keys[user, appid].value

    def user_of(self, known_openid: str, appid: str) -> str | None:
        """Return the user of an openid, or None if no such user of the app has a key."""
        return self._users.get((known_openid, appid))

    def reset(self, user: str, appid: str) -> str:
        """Replace a user's key, and return the new one, which counts as just as old."""
        key = _Key(session_key(self._entropy), self._keys[user, appid].since)
        self._keys[user, appid] = key
        return key.value
