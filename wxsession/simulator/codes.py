"""Login codes and phone codes, and how often a user's login codes may be exchanged."""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from .errors import WeChatError, require
from .generators import Entropy, login_code, phone_code

CODE_LIFETIME: Final = timedelta(minutes=5)


@dataclass
class Code:
    """One call of wx.login, or one press of a button that gives out codes of its own."""

    user: str
    appid: str
    issued_at: datetime
    used: bool = False

    def expired(self, now: datetime) -> bool:
        """Tell whether its five minutes are over: at the last instant they are."""
        return now - self.issued_at >= CODE_LIFETIME

    def spend(self) -> None:
        """Use the code up.

        Raises:
            WeChatError: 40163, somebody has done so before.
        """
        if self.used:
            raise WeChatError.of(40163)
        self.used = True


class Codes:
    """The codes that are out, spent or not, for as long as they live."""

    def __init__(self, entropy: Entropy, generate: Callable[[Entropy], str] = login_code) -> None:
        """Start with none; `generate` makes the text of one."""
        self._entropy = entropy
        self._generate = generate
        self._codes: OrderedDict[str, Code] = OrderedDict()  # oldest first

    def issue(self, user: str, appid: str, now: datetime) -> str:
        """Give out a new code. An older one of the same user stays good (not established)."""
        while self._codes and next(iter(self._codes.values())).expired(now):
            self._codes.popitem(last=False)
        text = self._generate(self._entropy)
        self._codes[text] = Code(user, appid, now)
        return text

    def find(self, text: str, appid: str, now: datetime) -> Code:
        """Return the code that `appid` may ask about.

        Raises:
            WeChatError: 40029: never issued, expired, or issued for another app. What a *spent*
                code answers after its five minutes is not established; here it has expired, too.
        """
        code = self._codes.get(text)
        if code is None or code.appid != appid or code.expired(now):
            raise WeChatError.of(40029)
        return code


class PhoneCodes(Codes):
    """The phone codes that are out: five minutes and one use, and nothing to do with wx.login."""

    def __init__(self, entropy: Entropy) -> None:
        """Start with none."""
        super().__init__(entropy, phone_code)

    def find(self, text: str, appid: str, now: datetime) -> Code:
        """Return the code that `appid` may ask about.

        Raises:
            WeChatError: 40029: never issued, expired or spent, for this endpoint knows no 40163;
                40013: issued for another app.
        """
        code = self._codes.get(text)
        if code is None or code.used or code.expired(now):
            raise WeChatError.of(40029)
        require(code.appid == appid, 40013)
        return code


_MINUTE: Final = timedelta(minutes=1)


class Quota:
    """So many calls for one user of one app in any sixty seconds.

    "Each user 100 times a minute" is what the older documentation says; today's names no number.
    """

    def __init__(self, per_minute: int) -> None:
        """Allow `per_minute` calls for each."""
        self._per_minute = per_minute
        self._calls: defaultdict[tuple[str, str], deque[datetime]] = defaultdict(deque)

    def draw(self, user: str, appid: str, now: datetime) -> None:
        """Count one call.

        Raises:
            WeChatError: 45011, it was one too many; a refused call does not count.
        """
        calls = self._calls[user, appid]
        while calls and now - calls[0] >= _MINUTE:
            calls.popleft()
        if len(calls) >= self._per_minute:
            raise WeChatError.of(45011)
        calls.append(now)
