"""Who may call: apps by their secrets, and then by an access token."""

from collections import defaultdict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from .errors import WeChatError, require
from .generators import Entropy, access_token

TOKEN_LIFETIME: Final = timedelta(seconds=7200)
OVERLAP: Final = timedelta(minutes=5)

_REFRESH_PAUSE: Final = timedelta(seconds=30)
_REFRESHES_A_DAY: Final = 20
_DAY: Final = timedelta(days=1)


class Apps:
    """Appids, their secrets, and the addresses they may call from; the first is the default."""

    def __init__(
        self, secrets: Mapping[str, str], whitelists: Mapping[str, Collection[str]]
    ) -> None:
        """Know these apps.

        Raises:
            ValueError: there is none, or a whitelist is that of an unknown one.
        """
        if not secrets:
            raise ValueError("a WeChat without a single app has nobody to talk to")
        self._secrets = dict(secrets)
        self._whitelists = {
            self.resolve(appid): frozenset(ips) for appid, ips in whitelists.items()
        }

    def resolve(self, appid: str | None) -> str:
        """Return the appid, or that of the first app for None.

        Raises:
            ValueError: there is no such app.
        """
        if appid is None:
            return next(iter(self._secrets))
        if appid not in self._secrets:
            raise ValueError("no such app in this world")
        return appid

    def set_whitelist(self, appid: str, ips: Collection[str] | None) -> None:
        """Let an app call from these addresses alone; None: from all of them."""
        self._whitelists.pop(appid, None)
        if ips is not None:
            self._whitelists[appid] = frozenset(ips)

    def authenticate(
        self, credentials: Mapping[str, object], grant_type: str, client_ip: str
    ) -> str:
        """Return the appid of the caller, whose appid and secret are there, right or wrong.

        That 40013 comes before 40125 has been observed. Where 40002 and 40164 stand is a choice.

        Raises:
            WeChatError: 40013, 40002, 40164 or 40125.
        """
        appid = credentials["appid"]
        if not (isinstance(appid, str) and appid in self._secrets):
            raise WeChatError.of(40013)
        require(credentials.get("grant_type") == grant_type, 40002)
        if client_ip not in self._whitelists.get(appid, {client_ip}):
            raise WeChatError.of(40164, client_ip)
        require(credentials["secret"] == self._secrets[appid], 40125)
        return appid


@dataclass
class _Token:
    text: str
    appid: str
    expires_at: datetime
    ended_errcode: int | None = None  # the errcode it is answered with, whatever the time

    def errcode(self, now: datetime) -> int | None:
        """Return why the token is refused, if it is."""
        return self.ended_errcode or (42001 if now >= self.expires_at else None)


class AccessTokens:
    """The tokens of `/cgi-bin/stable_token`: one for each app, and for five minutes two."""

    def __init__(self, entropy: Entropy) -> None:
        """Start with none."""
        self._entropy = entropy
        self._tokens: dict[str, _Token] = {}
        self._latest: dict[str, _Token] = {}
        self._refreshes: defaultdict[str, deque[datetime]] = defaultdict(deque)

    def stable(self, appid: str, now: datetime, *, force_refresh: bool) -> tuple[str, int]:
        """Return the token of an app, and for how many seconds it is good: 300 at least.

        A token that is in its last five minutes is replaced, and both are good for five minutes
        from then on. A forced refresh ends the old one at once: the documentation names no grace.

        Raises:
            WeChatError: 45009, a twenty-first refresh within a day. That a day is any 24 hours,
                and not a calendar's, is a choice.
        """
        old = self._latest.get(appid)
        if old is not None and old.errcode(now) is not None:
            old = None
        if force_refresh and self._may_refresh(appid, now):
            if old is not None:
                old.ended_errcode = 40001  # "is invalid or not latest"
            return self._issue(appid, now)
        if old is None:
            return self._issue(appid, now)
        if old.expires_at - now < OVERLAP:
            old.expires_at = now + OVERLAP
            return self._issue(appid, now)
        return old.text, int((old.expires_at - now).total_seconds())

    def appid_of(self, text: str, now: datetime) -> str:
        """Return the app that a token stands for.

        Raises:
            WeChatError: 41001 there is none; 40001 it was never one, or is no longer; 42001 it
                has expired.
        """
        require(bool(text), 41001)
        token = self._tokens.get(text)
        if token is None:
            raise WeChatError.of(40001)
        if errcode := token.errcode(now):
            raise WeChatError.of(errcode)
        return token.appid

    def end(self, appid: str, errcode: int, now: datetime) -> None:
        """End all tokens of an app that are good now: from here on they are answered `errcode`."""
        for token in self._tokens.values():
            if token.appid == appid and token.errcode(now) is None:
                token.ended_errcode = errcode

    def _may_refresh(self, appid: str, now: datetime) -> bool:
        refreshes = self._refreshes[appid]
        while refreshes and now - refreshes[0] >= _DAY:
            refreshes.popleft()
        if refreshes and now - refreshes[-1] < _REFRESH_PAUSE:
            return False
        require(len(refreshes) < _REFRESHES_A_DAY, 45009)
        refreshes.append(now)
        return True

    def _issue(self, appid: str, now: datetime) -> tuple[str, int]:
        token = _Token(access_token(self._entropy), appid, now + TOKEN_LIFETIME)
        self._tokens[token.text] = self._latest[appid] = token
        return token.text, int(TOKEN_LIFETIME.total_seconds())
