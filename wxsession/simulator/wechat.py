"""WeChat: its state and its rules, without HTTP."""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from functools import partial
from math import isfinite
from secrets import token_bytes
from threading import Lock
from typing import Final

from . import generators, open_data
from .clock import SettableClock
from .codes import Codes, PhoneCodes, Quota
from .credentials import AccessTokens, Apps
from .errors import WeChatError, require
from .faults import Fault, apply_fault
from .generators import Entropy
from .server_api import Endpoint, Reply, Request, ServerApi
from .session_keys import Rotation, SessionKeys
from .users import ANONYMOUS, CHINA, PhoneNumbers, profile, steps_until

_MAX_DELAY: Final = 3600.0


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
        self.clock = clock or SettableClock()
        self.drip = drip
        self._lock = Lock()
        self._apps = Apps(apps, ip_whitelist or {})
        self._entropy = entropy
        self._codes = Codes(entropy)
        self._keys = SessionKeys(rotate_after, entropy)
        self._quota = Quota(calls_per_minute)
        self._tokens = AccessTokens(entropy)
        self._phone_codes = PhoneCodes(entropy)
        self._numbers = PhoneNumbers()
        self._api = ServerApi(
            self._apps, self._keys, self._tokens, self._phone_codes, self._numbers
        )
        self._rules: dict[Endpoint, Callable[[Request, datetime], dict[str, object]]] = {
            Endpoint.STABLE_TOKEN: self._fetch_token,
            Endpoint.USER_PHONE_NUMBER: self._api.user_phone_number,
            Endpoint.CHECK_SESSION: self._api.check_session,
            Endpoint.RESET_SESSION_KEY: self._api.reset_session_key,
        }
        self._bound = {self._apps.resolve(appid) for appid in open_platform}
        self._blocked: set[str] = set()
        self._profiles: dict[str, dict[str, object]] = {}
        self._faults: deque[Fault | int] = deque()
        self._delay = 0.0
        self._exchanges: list[str] = []
        self._phone_exchanges: list[str] = []
        self._token_fetches = 0

    # The phone.

    def login(self, user: str, appid: str | None = None) -> str:
        """Play wx.login: return a new code, good for five minutes and one exchange.

        This is the moment at which a session_key that is due is rotated.
        """
        appid, now = self._appid(appid), self.clock()
        with self._lock:
            self._keys.rotate_if_due(user, appid, now)
            return self._codes.issue(user, appid, now)

    def user_info(
        self, user: str, appid: str | None = None, *, legacy: bool = False
    ) -> dict[str, object]:
        """Play wx.getUserInfo: return its whole result, encrypted with the current session_key.

        Keys: errMsg, rawData, userInfo, signature, encryptedData, iv. The profile is the anonymous
        one that WeChat gives away today, unless `set_profile` said otherwise. A `legacy` base
        library, of 2016, has encryptData instead, and no iv: it was the session_key itself.
        """
        appid, now = self._appid(appid), self.clock()
        with self._lock:
            key = self._keys.current(user, appid, now)
            info = dict(self._profiles.get(user, ANONYMOUS))
            union = {"unionId": generators.unionid(user)} if appid in self._bound else {}
        secret = {"openId": generators.openid(appid, user), **info, **union}
        marked = open_data.watermarked(secret, appid, now)
        raw_data = open_data.compact(info)
        return {
            "errMsg": "getUserInfo:ok",
            "rawData": raw_data,
            "userInfo": info,
            "signature": open_data.sign(raw_data, key),
            **(
                {"encryptData": open_data.encrypt(open_data.compact(marked), key, key)}
                if legacy
                else self._encrypted(marked, key)
            ),
        }

    def phone_code(self, user: str, appid: str | None = None) -> str:
        """Play the button getPhoneNumber: return its code, good for five minutes and one use."""
        appid, now = self._appid(appid), self.clock()
        with self._lock:
            return self._phone_codes.issue(user, appid, now)

    def phone_number(self, user: str, appid: str | None = None) -> dict[str, object]:
        """Play the button getPhoneNumber of years ago: return errMsg, encryptedData and iv."""
        with self._lock:
            number = self._numbers.of(user)
        return self._open_data("getPhoneNumber", number, user, appid)

    def group(self, user: str, appid: str | None = None) -> dict[str, object]:
        """Play wx.getShareInfo in the one chat group there is: return errMsg, encryptedData, iv."""
        group = {"openGId": generators.open_gid(self._appid(appid))}
        return self._open_data("getShareInfo", group, user, appid)

    def steps(self, user: str, appid: str | None = None) -> dict[str, object]:
        """Play wx.getWeRunData: return errMsg, encryptedData, iv; the data are 31 days of steps."""
        walked = {"stepInfoList": steps_until(self.clock(), user)}
        return self._open_data("getWeRunData", walked, user, appid)

    def _open_data(
        self, method: str, data: Mapping[str, object], user: str, appid: str | None
    ) -> dict[str, object]:
        appid, now = self._appid(appid), self.clock()
        with self._lock:
            key = self._keys.current(user, appid, now)
        marked = open_data.watermarked(data, appid, now)
        return {"errMsg": f"{method}:ok", **self._encrypted(marked, key)}

    def _encrypted(self, data: Mapping[str, object], key: str) -> dict[str, str]:
        iv = generators.session_key(self._entropy)
        return {"encryptedData": open_data.encrypt(open_data.compact(data), key, iv), "iv": iv}

    # WeChat's endpoints.

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
        """Answer one code2Session request, and tell what becomes of the answer on the wire."""
        exchange = partial(self._exchange, query, client_ip)
        return self._reply(exchange, client_ip, self._exchanges, query.get("js_code", ""))

    def answer(self, endpoint: Endpoint, request: Request) -> Reply:
        """Answer one call of another endpoint, and tell what becomes of the answer on the wire."""
        rule = partial(self._rules[endpoint], request)
        if endpoint is Endpoint.USER_PHONE_NUMBER:
            return self._reply(rule, request.client_ip, self._phone_exchanges, request.code())
        return self._reply(rule, request.client_ip)

    def _reply(
        self,
        rule: Callable[[datetime], Mapping[str, object]],
        client_ip: str,
        codes: list[str] | None = None,
        code: str = "",
    ) -> Reply:
        """Serve the next fault, or else let the rule speak; `codes` remembers a call's code."""
        now = self.clock()
        with self._lock:
            rid = generators.rid(now, self._entropy)
            fault = self._faults.popleft() if self._faults else None
            if fault is Fault.CONNECTION_REFUSED:
                return Reply({}, rid, fault)  # nobody was asked
            if codes is not None:
                codes.append(code)
            if isinstance(fault, int):
                return Reply(WeChatError.of(fault, client_ip), rid, delay=self._delay)
            try:
                answer = apply_fault(rule(now), fault, of_a_code=codes is not None)
            except WeChatError as error:
                return Reply(error, rid, fault, self._delay)
            return Reply(answer, rid, fault, self._delay)

    def _fetch_token(self, request: Request, now: datetime) -> dict[str, object]:
        answer = self._api.stable_token(request, now)
        self._token_fetches += 1
        return answer

    def _exchange(
        self, query: Mapping[str, str], client_ip: str, now: datetime
    ) -> dict[str, object]:
        # The order of the checks: 41002 before all, then 40013, 40125 and 40029 in this sequence,
        # has been observed. Where 45011 stands among them is a choice.
        for name, errcode in (("appid", 41002), ("secret", 41004), ("js_code", 41008)):
            require(bool(query.get(name)), errcode)
        appid = self._apps.authenticate(query, "authorization_code", client_ip)
        code = self._codes.find(query["js_code"], appid, now)
        self._quota.draw(code.user, appid, now)
        require(code.user not in self._blocked, 40226)
        code.spend()
        # Which key a code returns that was issued before the last rotation is not established.
        union = {"unionid": generators.unionid(code.user)} if appid in self._bound else {}
        return {
            "session_key": self._keys.current(code.user, appid, now),
            "openid": generators.openid(appid, code.user),
            **union,
        }

    # What a test may know.

    def openid(self, user: str, appid: str | None = None) -> str:
        """Return by which name the app knows the user; another app knows another."""
        return generators.openid(self._appid(appid), user)

    def unionid(self, user: str) -> str:
        """Return by which name all bound apps know the user, if there are any."""
        return generators.unionid(user)

    def session_key(self, user: str, appid: str | None = None) -> str:
        """Return the key that WeChat holds now, whether or not a server has received it."""
        appid, now = self._appid(appid), self.clock()
        with self._lock:
            return self._keys.current(user, appid, now)

    @property
    def exchanges(self) -> list[str]:
        """The codes it was asked about, in that order; "" where the call named none."""
        with self._lock:
            return list(self._exchanges)

    @property
    def phone_exchanges(self) -> list[str]:
        """The phone codes it was asked about, in that order; "" where the call named none."""
        with self._lock:
            return list(self._phone_exchanges)

    @property
    def token_fetches(self) -> int:
        """How often an access token was asked for and given, the same one or a new one."""
        with self._lock:
            return self._token_fetches

    # What a test may do.

    def bind_open_platform(self, appid: str | None = None) -> None:
        """Bind an app to the open platform account: from now on its answers have a unionid."""
        appid = self._appid(appid)
        with self._lock:
            self._bound.add(appid)

    def set_ip_whitelist(self, ips: Collection[str] | None, appid: str | None = None) -> None:
        """Let an app call from these addresses alone; None: from all of them again."""
        appid = self._appid(appid)
        with self._lock:
            self._apps.set_whitelist(appid, ips)

    def set_profile(self, user: str, /, **fields: str | int) -> None:
        """Let a user show a real profile: nickName, avatarUrl, gender, language, city and so on.

        Raises:
            ValueError: WeChat has no such field, or not with such a value.
        """
        whole = profile(**fields)
        with self._lock:
            self._profiles[user] = whole

    def set_phone_number(self, user: str, number: str, country_code: str = CHINA) -> None:
        """Give a user a phone number, without its country code; before, it is an invented one.

        Raises:
            ValueError: one of the two is anything but digits.
        """
        with self._lock:
            self._numbers.set(user, number, country_code)

    def expire_tokens(self, appid: str | None = None) -> None:
        """Let all access tokens of an app expire: they are answered 42001, and a new one is due."""
        self._end_tokens(appid, 42001)

    def revoke_tokens(self, appid: str | None = None) -> None:
        """End all access tokens of an app before their time: they are answered 40001."""
        self._end_tokens(appid, 40001)

    def _end_tokens(self, appid: str | None, errcode: int) -> None:
        appid, now = self._appid(appid), self.clock()
        with self._lock:
            self._tokens.end(appid, errcode, now)

    def block(self, user: str) -> None:
        """Put a user on the list of high risks: every login is intercepted with 40226."""
        with self._lock:
            self._blocked.add(user)

    def fail_next(self, fault: Fault | int, times: int = 1) -> None:
        """Let the next calls fail, of whichever endpoint, after those that are to fail already.

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
        if not (isfinite(seconds) and 0 <= seconds <= _MAX_DELAY):
            raise ValueError(f"an answer can wait 0 to {_MAX_DELAY:.0f} seconds")
        with self._lock:
            self._delay = float(seconds)

    def _appid(self, appid: str | None) -> str:
        return self._apps.resolve(appid)
