"""WeChat: its phones, its endpoints and its controls, without HTTP."""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from math import isfinite
from secrets import token_bytes
from threading import Lock
from types import MappingProxyType
from typing import Final

from . import generators, open_data
from .clock import SettableClock
from .codes import LoginCodes, PhoneCodes
from .credentials import AccessTokens, Apps
from .errors import WeChatError
from .faults import Fault, apply_fault
from .generators import Entropy
from .push import Push, Pushes
from .server_api import Reply, Request, ServerApi
from .session_keys import Rotation, SessionKeys
from .users import CHINA, Users, steps

Rule = Callable[[Request, datetime], Mapping[str, object]]

_MAX_DELAY: Final = 3600.0


class WeChat:
    """WeChat's mini-program login, as far as a login server can see it.

    A user exists as soon as it is named. Every `appid` may be left out: then it is that of the
    first app. An unknown one is a `ValueError`. All methods are thread-safe, and each is one step:
    of two exchanges of one code exactly one succeeds.
    """

    def __init__(  # noqa: PLR0913 - settings, all but the apps with a default
        self,
        apps: Mapping[str, str],
        clock: Callable[[], datetime] | None = None,
        rotate_after: Rotation = timedelta(seconds=300),
        *,
        open_platform: Collection[str] = (),
        ip_whitelist: Mapping[str, Collection[str]] | None = None,
        push: Mapping[str, tuple[str, str | None]] | None = None,
        calls_per_minute: int = 100,
        drip: float = 1.0,
        entropy: Entropy = token_bytes,
    ) -> None:
        """Create a WeChat that has these apps.

        Args:
            apps: the secret of each appid; the first app is the default.
            clock: returns an aware time; by default a running `SettableClock`.
            rotate_after: the least age at which a session_key is replaced, or "always" or "never".
            open_platform: the apps that are bound to one open platform account.
            ip_whitelist: the addresses that an app may call from; an app without one: any.
            push: the token and the EncodingAESKey of each app that has messages; None in place of
                the key: they are not encrypted.
            calls_per_minute: how many exchanges a user has in a minute.
            drip: seconds between two bytes under `Fault.DRIP`.
            entropy: returns that many random bytes.

        Raises:
            ValueError: there is no app, or an argument names an unknown one.
        """
        self.clock = clock or SettableClock()
        self._lock = Lock()
        self._entropy = entropy
        self._apps = Apps(apps, ip_whitelist or {}, open_platform)
        self._users = Users()
        self._session_keys = SessionKeys(rotate_after, entropy)
        self._login_codes = LoginCodes(entropy, calls_per_minute)
        self._phone_codes = PhoneCodes(entropy)
        self._access_tokens = AccessTokens(entropy)
        self._api = ServerApi(
            apps=self._apps,
            users=self._users,
            session_keys=self._session_keys,
            login_codes=self._login_codes,
            phone_codes=self._phone_codes,
            access_tokens=self._access_tokens,
        )
        self._pushes = Pushes(push or {}, entropy)
        self._faults: deque[Fault | int] = deque()
        self._delay = 0.0
        self._drip = drip
        self._exchanges: list[str] = []
        self._phone_exchanges: list[str] = []

    # The phone.

    def login(self, user: str, appid: str | None = None) -> str:
        """Return what wx.login does: a new code, valid for five minutes and one exchange.

        This is the moment at which a session_key that is due is replaced.
        """
        appid, now = self._appid(appid), self.clock()
        with self._lock:
            self._session_keys.rotate_if_due(user, appid, now)
            return self._login_codes.issue(user, appid, now)

    def user_info(
        self, user: str, appid: str | None = None, *, legacy: bool = False
    ) -> dict[str, object]:
        """Return what wx.getUserInfo does, encrypted under the current session_key.

        Keys: errMsg, rawData, userInfo, signature, encryptedData, iv. The profile is the anonymous
        one that WeChat returns today, unless `set_profile` was called. A `legacy` base library, of
        2016, has encryptData instead, and no iv: that was the session_key itself.
        """
        appid, now = self._appid(appid), self.clock()
        with self._lock:
            key = self._session_keys.current(user, appid, now)
            profile = self._users.profile(user)
            union = {"unionId": generators.unionid(user)} if self._apps.is_bound(appid) else {}
        identified = {"openId": generators.openid(appid, user), **profile, **union}
        data = open_data.watermarked(identified, appid, now)
        raw_data = open_data.compact(profile)
        if legacy:
            encrypted = {"encryptData": open_data.encrypt(open_data.compact(data), key, key)}
        else:
            encrypted = self._encrypted(data, key)
        return {
            "errMsg": "getUserInfo:ok",
            "rawData": raw_data,
            "userInfo": profile,
            "signature": open_data.sign(raw_data, key),
            **encrypted,
        }

    def phone_code(self, user: str, appid: str | None = None) -> str:
        """Return what the button getPhoneNumber does: a code for five minutes and one use."""
        appid, now = self._appid(appid), self.clock()
        with self._lock:
            return self._phone_codes.issue(user, appid, now)

    def phone_number(self, user: str, appid: str | None = None) -> dict[str, object]:
        """Return what the button did before it had codes: errMsg, encryptedData and iv."""
        with self._lock:
            number = self._users.phone_number(user)
        return self._open_data("getPhoneNumber", number, user, appid)

    def group(self, user: str, appid: str | None = None) -> dict[str, object]:
        """Return what wx.getShareInfo does: errMsg, encryptedData, iv. There is one chat group."""
        group = {"openGId": generators.open_gid(self._appid(appid))}
        return self._open_data("getShareInfo", group, user, appid)

    def steps(self, user: str, appid: str | None = None) -> dict[str, object]:
        """Return what wx.getWeRunData does: errMsg, encryptedData, iv; the data are 31 days."""
        return self._open_data(
            "getWeRunData", {"stepInfoList": steps(user, self.clock())}, user, appid
        )

    def _open_data(
        self, method: str, data: Mapping[str, object], user: str, appid: str | None
    ) -> dict[str, object]:
        appid, now = self._appid(appid), self.clock()
        with self._lock:
            key = self._session_keys.current(user, appid, now)
        marked = open_data.watermarked(data, appid, now)
        return {"errMsg": f"{method}:ok", **self._encrypted(marked, key)}

    def _encrypted(self, data: Mapping[str, object], key: str) -> dict[str, str]:
        iv = generators.session_key(self._entropy)  # 16 random bytes in base64, too
        return {"encryptedData": open_data.encrypt(open_data.compact(data), key, iv), "iv": iv}

    # What WeChat sends.

    def push(
        self,
        event: str,
        user: str = "alice",
        appid: str | None = None,
        *,
        xml: bool = False,
        members: Mapping[str, object] = MappingProxyType({}),
    ) -> Push:
        """Return the request that tells an app's server of an event about a user.

        `members` are more of the message, `RevokeInfo` for example, or replace what it has.

        Raises:
            ValueError: the app has no messages.
        """
        appid, now = self._appid(appid), self.clock()
        openid = generators.openid(appid, user)
        about = {"MsgType": "event", "Event": event, "OpenID": openid, "AppID": appid}
        return self._pushes.message(appid, openid, {**about, **members}, now, xml=xml)

    def verify_push(self, appid: str | None = None) -> Push:
        """Return the request by which WeChat asks whether a URL is that of an app's server.

        Raises:
            ValueError: the app has no messages.
        """
        return self._pushes.verification(self._appid(appid), self.clock())

    # The endpoints. Each takes one call of a server, and consumes the next fault.

    def code2session(self, query: Mapping[str, str], client_ip: str) -> dict[str, object]:
        """Return what auth.code2Session does. Only faults that change the answer itself are seen.

        Raises:
            WeChatError: any error of the endpoint.
        """
        answer = self.jscode2session(Request(query, client_ip)).answer
        if isinstance(answer, WeChatError):
            raise answer
        return dict(answer)

    def jscode2session(self, request: Request) -> Reply:
        """Reply to `/sns/jscode2session`."""
        code = request.query.get("js_code", "")
        return self._reply(self._api.code2session, request, self._exchanges, code)

    def stable_token(self, request: Request) -> Reply:
        """Reply to `/cgi-bin/stable_token`."""
        return self._reply(self._api.stable_token, request)

    def user_phone_number(self, request: Request) -> Reply:
        """Reply to `/wxa/business/getuserphonenumber`."""
        code = request.phone_code()
        return self._reply(self._api.user_phone_number, request, self._phone_exchanges, code)

    def check_session(self, request: Request) -> Reply:
        """Reply to `/wxa/checksession`."""
        return self._reply(self._api.check_session, request)

    def reset_session_key(self, request: Request) -> Reply:
        """Reply to `/wxa/resetusersessionkey`."""
        return self._reply(self._api.reset_session_key, request)

    def _reply(
        self, rule: Rule, request: Request, codes: list[str] | None = None, code: str = ""
    ) -> Reply:
        """Apply the next fault, the rule, or both; append a request's code to `codes`."""
        now = self.clock()
        with self._lock:
            rid = generators.rid(now, self._entropy)
            fault = self._faults.popleft() if self._faults else None
            if fault is Fault.CONNECTION_REFUSED:
                return Reply({}, rid, fault)  # the request never arrived
            if codes is not None:
                codes.append(code)
            if isinstance(fault, int):  # before the rule, which would use up the code
                return Reply(WeChatError.of(fault, request.client_ip), rid, delay=self._delay)
            answer: Mapping[str, object] | WeChatError
            try:
                answer = apply_fault(rule(request, now), fault, of_a_code=codes is not None)
            except WeChatError as error:
                answer = error
            return Reply(answer, rid, fault, self._delay, self._drip)

    # What a test can see.

    def openid(self, user: str, appid: str | None = None) -> str:
        """Return the user's openid, which is another one in another app."""
        return generators.openid(self._appid(appid), user)

    def unionid(self, user: str) -> str:
        """Return the user's unionid, which is the same in all bound apps."""
        return generators.unionid(user)

    def session_key(self, user: str, appid: str | None = None) -> str:
        """Return the key that WeChat holds now, whether or not a server has received it."""
        appid, now = self._appid(appid), self.clock()
        with self._lock:
            return self._session_keys.current(user, appid, now)

    @property
    def exchanges(self) -> list[str]:
        """The login codes that servers sent, in that order; "" for a request without one."""
        with self._lock:
            return list(self._exchanges)

    @property
    def phone_exchanges(self) -> list[str]:
        """The phone codes that servers sent, in that order; "" for a request without one."""
        with self._lock:
            return list(self._phone_exchanges)

    @property
    def token_fetches(self) -> int:
        """How many responses had an access token, new or not."""
        with self._lock:
            return self._access_tokens.fetches

    # What a test can change.

    def bind_open_platform(self, appid: str | None = None) -> None:
        """Bind an app to the open platform account: from now on its answers have a unionid."""
        appid = self._appid(appid)
        with self._lock:
            self._apps.bind(appid)

    def set_ip_whitelist(self, ips: Collection[str] | None, appid: str | None = None) -> None:
        """Let an app call from these addresses only; None: from everywhere again."""
        appid = self._appid(appid)
        with self._lock:
            self._apps.set_whitelist(appid, ips)

    def set_profile(self, user: str, /, **fields: str | int) -> None:
        """Give a user a real profile: nickName, avatarUrl, gender, language, city and so on.

        Raises:
            ValueError: WeChat has no such field, or its value has another type.
        """
        with self._lock:
            self._users.set_profile(user, fields)

    def set_phone_number(self, user: str, number: str, country_code: str = CHINA) -> None:
        """Set a user's phone number, without the country code; until then it is an invented one.

        Raises:
            ValueError: one of the two has anything but digits.
        """
        with self._lock:
            self._users.set_phone_number(user, number, country_code)

    def expire_tokens(self, appid: str | None = None) -> None:
        """Let all access tokens of an app expire: they get 42001, and the next fetch a new one."""
        self._end_tokens(appid, 42001)

    def revoke_tokens(self, appid: str | None = None) -> None:
        """End all access tokens of an app before their time: they get 40001."""
        self._end_tokens(appid, 40001)

    def _end_tokens(self, appid: str | None, errcode: int) -> None:
        appid, now = self._appid(appid), self.clock()
        with self._lock:
            self._access_tokens.end(appid, errcode, now)

    def block(self, user: str) -> None:
        """Put a user on the list of high risks: every login gets 40226."""
        with self._lock:
            self._users.block(user)

    def fail_next(self, fault: Fault | int, times: int = 1) -> None:
        """Let the next requests fail, to whichever endpoint, after those that already will.

        An errcode is returned before anything is checked, so the code stays valid. All other faults
        except CONNECTION_REFUSED happen on the way back, so the code is used up.

        Raises:
            ValueError: `fault` is 0, which is no error, or `times` is less than 1.
        """
        if fault == 0 or times < 1:
            raise ValueError(f"cannot fail {times} times with {fault}")
        with self._lock:
            self._faults.extend([fault] * times)

    def answer_after(self, seconds: float) -> None:
        """Delay every later answer; 0 ends it. Codes are used up at once.

        Raises:
            ValueError: `seconds` is not between 0 and an hour.
        """
        if not (isfinite(seconds) and 0 <= seconds <= _MAX_DELAY):
            raise ValueError(f"a delay must be 0 to {_MAX_DELAY:.0f} seconds")
        with self._lock:
            self._delay = float(seconds)

    def _appid(self, appid: str | None) -> str:
        return self._apps.resolve(appid)
