"""Phone codes: what the button getPhoneNumber hands to the mini-program."""

from datetime import datetime

from .codes import Code, Codes
from .errors import WeChatError, require
from .shapes import Entropy, phone_code


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
