"""What WeChat knows about the users: profile, phone number, risk and steps."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from types import MappingProxyType
from typing import Final

CHINA: Final = "86"

# Since November 2022 every user looks like this to a newly released mini-program: grey avatar,
# "WeChat user". `language` is empty in all observations, although the docs say zh_CN.
_ANONYMOUS: Final[Mapping[str, object]] = MappingProxyType(
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

_CHINA_TIME: Final = timezone(timedelta(hours=8))
_DAYS: Final = 31
_MAX_STEPS: Final = 20_000


class Users:
    """The users. One exists as soon as it is named: anonymous, and with an invented number."""

    def __init__(self) -> None:
        """Start with users about whom nothing was set."""
        self._profiles: dict[str, dict[str, object]] = {}
        self._numbers: dict[str, tuple[str, str]] = {}
        self._blocked: set[str] = set()

    def profile(self, user: str) -> dict[str, object]:
        """Return the whole profile, with WeChat's names and in WeChat's order."""
        return dict(self._profiles.get(user, _ANONYMOUS))

    def set_profile(self, user: str, fields: Mapping[str, object]) -> None:
        """Replace the profile: what `fields` does not name is anonymous.

        Raises:
            ValueError: WeChat has no such field, or its value has another type.
        """
        for name, value in fields.items():
            if name not in _ANONYMOUS:
                raise ValueError(f"a profile has {', '.join(_ANONYMOUS)}; not {name}")
            if type(value) is not type(_ANONYMOUS[name]):
                raise ValueError(f"{name} must be of type {type(_ANONYMOUS[name]).__name__}")
            str(value).encode()  # text without UTF-8 can neither be signed nor encrypted
        self._profiles[user] = {**_ANONYMOUS, **fields}

    def phone_number(self, user: str) -> dict[str, object]:
        """Return the phone number as WeChat writes it; an invented one is 1380000xxxx.

        `phoneNumber` begins with the country code unless that is China's (official docs; that
        nothing is written around the code is a choice). The code is a string.
        """
        number, country_code = self._numbers.get(user) or (_invented_number(user), CHINA)
        prefix = "" if country_code == CHINA else country_code
        return {
            "phoneNumber": prefix + number,
            "purePhoneNumber": number,
            "countryCode": country_code,
        }

    def set_phone_number(self, user: str, number: str, country_code: str) -> None:
        """Set the phone number; `number` is without the country code.

        Raises:
            ValueError: one of the two has anything but digits.
        """
        for digits in (number, country_code):
            if not (digits.isascii() and digits.isdigit()):
                raise ValueError("a phone number and its country_code must have digits only")
        self._numbers[user] = number, country_code

    def block(self, user: str) -> None:
        """Put the user on the list of high risks."""
        self._blocked.add(user)

    def is_blocked(self, user: str) -> bool:
        """Return whether the user is on the list of high risks."""
        return user in self._blocked


def steps(user: str, now: datetime) -> list[dict[str, int]]:
    """Return a user's steps on each of 31 days, today last; a day is named by its first second.

    The steps of a day never change. That days are China's, and that the oldest comes first, was
    read off the official sample.
    """
    today = now.astimezone(_CHINA_TIME).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [int((today - timedelta(days=back)).timestamp()) for back in range(_DAYS - 1, -1, -1)]
    return [{"timestamp": day, "step": _number(f"{day}\0{user}", _MAX_STEPS)} for day in days]


def _invented_number(user: str) -> str:
    return f"1380000{_number(user, 10_000):04d}"


def _number(text: str, limit: int) -> int:
    # Derived and not drawn, so that a restart changes nothing.
    digest = sha256(text.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:4]) % limit
