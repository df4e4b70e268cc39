"""WeChat: its state and its rules, without HTTP."""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from secrets import token_bytes
from threading import Lock
from typing import Final

from . import open_data, shapes
from .clock import SettableClock
from .codes import Codes
from .errors import WeChatError
from .faults import Fault, altered
from .profiles import ANONYMOUS, profile
from .quota import Quota
from .session_keys import Rotation, SessionKeys
from .shapes import Entropy

_LONGEST_DELAY: Final = 3600.0


@dataclass(frozen=True)
class Reply:
    """What WeChat answers to one code2Session call, and what happens to the answer on its way."""

    answer: Mapping[str, object] | WeChatError
    rid: str
    fault: Fault | None = None
    delay: float = 0.0


class WeChat:
    """WeChat's mini-program login, as far as a login server can see it.

    Users spring into being when they are first named. All methods are safe to call from several
    threads; each is one step, so of two exchanges of one code exactly one succeeds.
    """

    def __init__(  # noqa: PLR0913 - the settings of a world, all with a sensible default
        self,
        apps: Mapping[str, str],
        clock: Callable[[], datetime] | None = None,
        rotate_after: Rotation = timedelta(seconds=300),
        *,
        open_platform: Collection[str] = (),
        ip_whitelist: Mapping[str, Collection[str]] | None = None,
        calls_per_minute: int = 100,
        drip: float = 1.0,
        entropy: Entropy = token_bytes,
    ) -> None:
        """Create a world.

        Args:
            apps: the secret of each appid; the first app is the default everywhere.
            clock: tells an aware time; a running `SettableClock` if there is none.
            rotate_after: how long a session_key is kept at least, or "always", or "never".
            open_platform: the apps that are bound to one open platform account.
            ip_whitelist: from which addresses an app may call; an app that is missing: from all.
            calls_per_minute: how many exchanges a user has in a minute.
            drip: seconds between two bytes under `Fault.DRIP`.
            entropy: gives that many random bytes.

        Raises:
            ValueError: there is no app, or something is said about an app that is unknown.
        """
        if not apps:
            raise ValueError("a WeChat without a single app has nobody to talk to")
        self.clock = clock or SettableClock()
        self.drip = drip
        self._lock = Lock()
        self._apps = dict(apps)
        self._entropy = entropy
        self._codes = Codes(entropy)
        self._keys = SessionKeys(rotate_after, entropy)
        self._quota = Quota(calls_per_minute)
        self._bound = {self._known(appid) for appid in open_platform}
        self._whitelists = {
            self._known(appid): frozenset(ips) for appid, ips in (ip_whitelist or {}).items()
        }
        self._blocked: set[str] = set()
        self._profiles: dict[str, dict[str, object]] = {}
        self._faults: deque[Fault | int] = deque()
        self._delay = 0.0
        self._exchanges: list[str] = []

    # The phone.

    def login(self, user: str, appid: str | None = None) -> str:
        """Play wx.login: return a new code, good for five minutes and one exchange.

        This is the moment at which a session_key that is due is rotated.
        """
        appid, now = self._known(appid), self.clock()
        with self._lock:
            self._keys.at_login(user, appid, now)
            return self._codes.issue(user, appid, now)

    def user_info(self, user: str, appid: str | None = None) -> dict[str, object]:
        """Play wx.getUserInfo: return its whole result, encrypted with the current session_key.

        Keys: errMsg, rawData, userInfo, signature, encryptedData, iv. The profile is the anonymous
        one that WeChat gives away today, unless `set_profile` said otherwise.
        """
        appid, now = self._known(appid), self.clock()
        with self._lock:
            key = self._keys.current(user, appid, now)
            info = dict(self._profiles.get(user, ANONYMOUS))
            union = {"unionId": shapes.unionid(user)} if appid in self._bound else {}
        secret = {"openId": shapes.openid(appid, user), **info, **union}
        plaintext = open_data.compact(open_data.watermarked(secret, appid, now))
        raw_data, iv = open_data.compact(info), shapes.session_key(self._entropy)
        return {
            "errMsg": "getUserInfo:ok",
            "rawData": raw_data,
            "userInfo": info,
            "signature": open_data.sign(raw_data, key),
            "encryptedData": open_data.encrypt(plaintext, key, iv),
            "iv": iv,
        }

    # WeChat's endpoint.

    def code2session(self, query: Mapping[str, str], client_ip: str) -> dict[str, object]:
        """Play auth.code2Session: return session_key, openid and, in a bound app, unionid.

        The next fault is consumed, too; here only those can be seen that change the answer itself.

        Raises:
            WeChatError: any error of the endpoint.
        """
        answer = self.reply(query, client_ip).answer
        if isinstance(answer, WeChatError):
            raise answer
        return dict(answer)

    def reply(self, query: Mapping[str, str], client_ip: str) -> Reply:
        """Answer one code2Session call, and tell what becomes of the answer on the wire."""
        now = self.clock()
        with self._lock:
            rid = shapes.rid(now, self._entropy)
            fault = self._faults.popleft() if self._faults else None
            if fault is Fault.CONNECTION_REFUSED:
                return Reply({}, rid, fault)  # nobody was asked
            self._exchanges.append(query.get("js_code", ""))
            if isinstance(fault, int):
                return Reply(WeChatError.of(fault, client_ip), rid, delay=self._delay)
            try:
                answer = altered(self._exchange(query, client_ip, now), fault)
            except WeChatError as error:
                return Reply(error, rid, fault, self._delay)
            return Reply(answer, rid, fault, self._delay)

    def _exchange(
        self, query: Mapping[str, str], client_ip: str, now: datetime
    ) -> dict[str, object]:
        # The order of the checks: 41002 before all, then 40013, 40125 and 40029 in this sequence,
        # has been observed. Where 40002, 40164 and 45011 stand among them is a choice.
        for name, errcode in (("appid", 41002), ("secret", 41004), ("js_code", 41008)):
            _require(bool(query.get(name)), errcode)
        appid, text = query["appid"], query["js_code"]
        _require(appid in self._apps, 40013)
        _require(query.get("grant_type") == "authorization_code", 40002)
        if client_ip not in self._whitelists.get(appid, {client_ip}):
            raise WeChatError.of(40164, client_ip)
        _require(query["secret"] == self._apps[appid], 40125)
        code = self._codes.find(text, appid, now)
        self._quota.draw(code.user, appid, now)
        _require(code.user not in self._blocked, 40226)
        code.spend()
        # Which key a code returns that was issued before the last rotation is not established.
        union = {"unionid": shapes.unionid(code.user)} if appid in self._bound else {}
        return {
            "session_key": self._keys.current(code.user, appid, now),
            "openid": shapes.openid(appid, code.user),
            **union,
        }

    # What a test may know.

    def openid(self, user: str, appid: str | None = None) -> str:
        """Return by which name the app knows the user; another app knows another."""
        return shapes.openid(self._known(appid), user)

    def unionid(self, user: str) -> str:
        """Return by which name all bound apps know the user, if there are any."""
        return shapes.unionid(user)

    def session_key(self, user: str, appid: str | None = None) -> str:
        """Return the key that WeChat holds now, whether or not a server has received it."""
        appid, now = self._known(appid), self.clock()
        with self._lock:
            return self._keys.current(user, appid, now)

    @property
    def exchanges(self) -> list[str]:
        """The codes it was asked about, in that order; "" where the call named none."""
        with self._lock:
            return list(self._exchanges)

    # What a test may do.

    def bind_open_platform(self, appid: str | None = None) -> None:
        """Bind an app to the open platform account: from now on its answers have a unionid."""
        appid = self._known(appid)
        with self._lock:
            self._bound.add(appid)

    def set_ip_whitelist(self, ips: Collection[str] | None, appid: str | None = None) -> None:
        """Let an app call from these addresses alone; None: from all of them again."""
        appid = self._known(appid)
        with self._lock:
            self._whitelists.pop(appid, None)
            if ips is not None:
                self._whitelists[appid] = frozenset(ips)

    def set_profile(self, user: str, /, **fields: str | int) -> None:
        """Let a user show a real profile: nickName, avatarUrl, gender, language, city and so on.

        Raises:
            ValueError: WeChat has no such field, or not with such a value.
        """
        whole = profile(**fields)
        with self._lock:
            self._profiles[user] = whole

    def block(self, user: str) -> None:
        """Put a user on the list of high risks: every login is intercepted with 40226."""
        with self._lock:
            self._blocked.add(user)

    def fail_next(self, fault: Fault | int, times: int = 1) -> None:
        """Let the next calls fail, after those that are to fail already.

        An errcode is answered before anything is looked at, so the code stays good; all other
        faults but CONNECTION_REFUSED happen on the way back, so the code is spent.

        Raises:
            ValueError: 0 is not an error, and fewer than one time is never.
        """
        if fault == 0 or times < 1:
            raise ValueError(f"cannot fail {times} times with {fault}")
        with self._lock:
            self._faults.extend([fault] * times)

    def answer_after(self, seconds: float) -> None:
        """Hold back every later answer for so long; 0 ends it. Codes are spent at once.

        Raises:
            ValueError: not between nothing and an hour.
        """
        if not (isfinite(seconds) and 0 <= seconds <= _LONGEST_DELAY):
            raise ValueError(f"an answer can wait 0 to {_LONGEST_DELAY:.0f} seconds")
        with self._lock:
            self._delay = float(seconds)

    def _known(self, appid: str | None) -> str:
        if appid is None:
            return next(iter(self._apps))
        if appid not in self._apps:
            raise ValueError("no such app in this world")
        return appid


def _require(fulfilled: bool, errcode: int) -> None:  # noqa: FBT001 - reads as the rule it is
    if not fulfilled:
        raise WeChatError.of(errcode)
