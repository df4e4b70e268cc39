"""The codes that a phone gets from WeChat: from wx.login, and from the button getPhoneNumber."""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from .errors import WeChatError, require
from .generators import Entropy, login_code, phone_code

_LIFETIME: Final = timedelta(minutes=5)
_MINUTE: Final = timedelta(minutes=1)


@dataclass
class Code:
    """A code, which stands for a user of an app."""

    user: str
    appid: str
    issued_at: datetime
    used: bool = False

    def is_expired(self, now: datetime) -> bool:
        """Return whether the five minutes are over. At the last instant they are."""
        return now - self.issued_at >= _LIFETIME

    def spend(self) -> None:
        """Use the code up.

        Raises:
            WeChatError: 40163: it was used before.
        """
        require(not self.used, 40163)
        self.used = True


class Codes:
    """The codes that were issued, used or not, until they expire."""

    def __init__(self, entropy: Entropy, generate: Callable[[Entropy], str]) -> None:
        """Start without codes; `generate` makes the text of a new one."""
        self._entropy = entropy
        self._generate = generate
        self._codes: OrderedDict[str, Code] = OrderedDict()  # oldest first

    def issue(self, user: str, appid: str, now: datetime) -> str:
        """Issue a new code. Older codes of the same user stay valid (not established)."""
        while self._codes and next(iter(self._codes.values())).is_expired(now):
            self._codes.popitem(last=False)
        text = self._generate(self._entropy)
        self._codes[text] = Code(user, appid, now)
        return text

    def _unexpired(self, text: str, now: datetime) -> Code:
        code = self._codes.get(text)
        if code is None or code.is_expired(now):
            raise WeChatError.of(40029)
        return code


class LoginCodes(Codes):
    """The codes of wx.login, and how often a user's codes are exchanged.

    "Each user 100 times a minute" is what the older documentation says; today's has no number.
    """

    def __init__(self, entropy: Entropy, exchanges_per_minute: int) -> None:
        """Start without codes."""
        super().__init__(entropy, login_code)
        self._limit = exchanges_per_minute
        self._exchanges: defaultdict[tuple[str, str], deque[datetime]] = defaultdict(deque)

    def find(self, text: str, appid: str, now: datetime) -> Code:
        """Return the code.

        Raises:
            WeChatError: 40029: it was never issued, has expired, or was issued for another app.
                What a *used* code gets after its five minutes is not established; here it has
                expired, too.
        """
        code = self._unexpired(text, now)
        require(code.appid == appid, 40029)
        return code

    def count_exchange(self, code: Code, now: datetime) -> None:
        """Count an exchange for the user of the code.

        Raises:
            WeChatError: 45011: the user has had all exchanges of the last 60 seconds. An exchange
                that is refused does not count.
        """
        exchanges = self._exchanges[code.user, code.appid]
        while exchanges and now - exchanges[0] >= _MINUTE:
            exchanges.popleft()
        require(len(exchanges) < self._limit, 45011)
        exchanges.append(now)


class PhoneCodes(Codes):
    """The codes of the button getPhoneNumber, which have nothing to do with those of wx.login."""

    def __init__(self, entropy: Entropy) -> None:
        """Start without codes."""
        super().__init__(entropy, phone_code)

    def find(self, text: str, appid: str, now: datetime) -> Code:
        """Return the code, which nobody has used.

        Raises:
            WeChatError: 40029: it was never issued, has expired, or was used (this endpoint has no
                40163); 40013: it was issued for another app.
        """
        code = self._unexpired(text, now)
        require(not code.used, 40029)
        require(code.appid == appid, 40013)
        return code
