"""Who may call WeChat: an app with its secret, and then with an access token."""

from collections import defaultdict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from .errors import WeChatError, require
from .generators import Entropy, access_token

_TOKEN_LIFETIME: Final = timedelta(seconds=7200)
_OVERLAP: Final = timedelta(minutes=5)

_REFRESH_PAUSE: Final = timedelta(seconds=30)
_REFRESHES_A_DAY: Final = 20
_DAY: Final = timedelta(days=1)


class Apps:
    """The apps: their secrets, their IP whitelists, and which share an open platform account."""

    def __init__(
        self,
        secrets: Mapping[str, str],
        whitelists: Mapping[str, Collection[str]],
        bound: Collection[str],
    ) -> None:
        """Know these apps; the first is the default.

        Raises:
            ValueError: there is no app, or `whitelists` or `bound` names an unknown one.
        """
        if not secrets:
            raise ValueError("a WeChat needs at least one app")
        self._secrets = dict(secrets)
        self._whitelists = {
            self.resolve(appid): frozenset(ips) for appid, ips in whitelists.items()
        }
        self._bound = {self.resolve(appid) for appid in bound}

    def resolve(self, appid: str | None) -> str:
        """Return the appid; for None that of the default app.

        Raises:
            ValueError: the app is unknown.
        """
        if appid is None:
            return next(iter(self._secrets))
        if appid not in self._secrets:
            raise ValueError("unknown app")
        return appid

    def set_whitelist(self, appid: str, ips: Collection[str] | None) -> None:
        """Let an app call from these addresses only; None: from everywhere."""
        self._whitelists.pop(appid, None)
        if ips is not None:
            self._whitelists[appid] = frozenset(ips)

    def bind(self, appid: str) -> None:
        """Bind an app to the open platform account."""
        self._bound.add(appid)

    def is_bound(self, appid: str) -> bool:
        """Return whether an app learns its users' unionids."""
        return appid in self._bound

    def authenticate(
        self, credentials: Mapping[str, object], grant_type: str, client_ip: str
    ) -> str:
        """Return the appid of the caller. `credentials` has an appid and a secret, right or wrong.

        That 40013 comes before 40125 has been observed. The positions of 40002 and 40164 are a
        choice.

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
    ended_errcode: int | None = None  # set when the token ends before its time

    def errcode(self, now: datetime) -> int | None:
        """Return why the token is refused, or None if it is accepted."""
        return self.ended_errcode or (42001 if now >= self.expires_at else None)


class AccessTokens:
    """The access tokens of `/cgi-bin/stable_token`: one for each app, and two for five minutes."""

    def __init__(self, entropy: Entropy) -> None:
        """Start without tokens."""
        self.fetches = 0
        self._entropy = entropy
        self._tokens: dict[str, _Token] = {}
        self._latest: dict[str, _Token] = {}
        self._refreshes: defaultdict[str, deque[datetime]] = defaultdict(deque)

    def fetch(self, appid: str, now: datetime, *, force_refresh: bool) -> tuple[str, int]:
        """Return the app's token, old or new, and for how many seconds it is valid: at least 300.

        A token in its last five minutes is replaced, and both are valid for five minutes from then
        on. A forced refresh ends the old token at once: the documentation grants no overlap.

        Raises:
            WeChatError: 45009: the 21st refresh within a day. That a day is any 24 hours, and not
                a calendar day, is a choice.
        """
        old = self._latest.get(appid)
        if old is not None and old.errcode(now) is not None:
            old = None
        if force_refresh and self._may_refresh(appid, now):
            if old is not None:
                old.ended_errcode = 40001  # "is invalid or not latest"
            token = self._issue(appid, now)
        elif old is None:
            token = self._issue(appid, now)
        elif old.expires_at - now < _OVERLAP:
            old.expires_at = now + _OVERLAP
            token = self._issue(appid, now)
        else:
            token = old
        self.fetches += 1
        return token.text, int((token.expires_at - now).total_seconds())

    def appid_of(self, text: str, now: datetime) -> str:
        """Return the app that a token was issued to.

        Raises:
            WeChatError: 41001: `text` is empty; 40001: it is no token, or one that was ended;
                42001: the token has expired.
        """
        require(bool(text), 41001)
        token = self._tokens.get(text)
        if token is None:
            raise WeChatError.of(40001)
        if errcode := token.errcode(now):
            raise WeChatError.of(errcode)
        return token.appid

    def end(self, appid: str, errcode: int, now: datetime) -> None:
        """End all valid tokens of an app: from now on they are refused with `errcode`."""
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

    def _issue(self, appid: str, now: datetime) -> _Token:
        token = _Token(access_token(self._entropy), appid, now + _TOKEN_LIFETIME)
        self._tokens[token.text] = self._latest[appid] = token
        return token
