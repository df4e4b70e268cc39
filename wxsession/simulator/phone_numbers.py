"""The phone numbers of the users."""

from hashlib import sha256
from typing import Final

CHINA: Final = "86"


class PhoneNumbers:
    """One number for each user: an obviously invented one, 1380000xxxx, until it is set."""

    def __init__(self) -> None:
        """Start with none that was set."""
        self._numbers: dict[str, tuple[str, str]] = {}

    def set(self, user: str, number: str, country_code: str) -> None:
        """Give a user a number, without its country code.

        Raises:
            ValueError: one of the two is anything but digits.
        """
        for digits in (number, country_code):
            if not (digits.isascii() and digits.isdigit()):
                raise ValueError("a phone number and its country_code are digits alone")
        self._numbers[user] = number, country_code

    def of(self, user: str) -> dict[str, object]:
        """Return a user's number in WeChat's words.

        `phoneNumber` begins with the country code where that is not China's (official docs; that
        nothing is written around the code is a choice). The code is text on the wire.
        """
        number, country_code = self._numbers.get(user) or (_invented(user), CHINA)
        prefix = "" if country_code == CHINA else country_code
        return {
            "phoneNumber": prefix + number,
            "purePhoneNumber": number,
            "countryCode": country_code,
        }


def _invented(user: str) -> str:
    digest = sha256(user.encode(errors="surrogatepass")).digest()
    return f"1380000{int.from_bytes(digest[:4]) % 10_000:04d}"
