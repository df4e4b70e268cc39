"""What WeChat knows about a user: the profile, the phone number, the steps."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from types import MappingProxyType
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
        number, country_code = self._numbers.get(user) or (_invented_number(user), CHINA)
        prefix = "" if country_code == CHINA else country_code
        return {
            "phoneNumber": prefix + number,
            "purePhoneNumber": number,
            "countryCode": country_code,
        }


def _invented_number(user: str) -> str:
    digest = sha256(user.encode(errors="surrogatepass")).digest()
    return f"1380000{int.from_bytes(digest[:4]) % 10_000:04d}"


# Since November 2022 every user looks like this to a newly released mini-program: grey avatar,
# "WeChat user". `language` is empty in all observations, although the docs say zh_CN.
ANONYMOUS: Final[Mapping[str, object]] = MappingProxyType(
    {
        "nickName": "微信用户",
        "gender": 0,
        "language": "",
        "city": "",
        "province": "",
        "country": "",
        "avatarUrl": (
            "https://thirdwx.qlogo.cn/mmopen/vi_32/"
            "POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg/132"
        ),
    }
)


def profile(**fields: str | int) -> dict[str, object]:
    """Return a whole profile, in WeChat's words and order: the given fields, the rest anonymous.

    Raises:
        ValueError: a field that WeChat does not have, or a value of the wrong type.
    """
    for name, value in fields.items():
        if name not in ANONYMOUS:
            raise ValueError(f"a profile has {', '.join(ANONYMOUS)}; not {name}")
        if type(value) is not type(ANONYMOUS[name]):
            raise ValueError(f"{name} has to be of type {type(ANONYMOUS[name]).__name__}")
        str(value).encode()  # what has no UTF-8 can be neither signed nor encrypted
    return {**ANONYMOUS, **fields}


DAYS: Final = 31

_CHINA: Final = timezone(timedelta(hours=8))
_MAX_STEPS: Final = 20_000


def steps_until(moment: datetime, user: str) -> list[dict[str, int]]:
    """Return a user's steps of 31 days, today's last; each day is named by its first second.

    A day's steps are the same whenever they are asked for. That days are those of China, and the
    oldest comes first, was read off the official sample.
    """
    today = moment.astimezone(_CHINA).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [int((today - timedelta(days=back)).timestamp()) for back in range(DAYS - 1, -1, -1)]
    return [{"timestamp": day, "step": _steps(user, day)} for day in days]


def _steps(user: str, day: int) -> int:
    digest = sha256(f"{day}\0{user}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:4]) % _MAX_STEPS
