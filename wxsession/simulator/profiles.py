"""What wx.getUserInfo tells about a user."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

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
