"""A phone number as WeChat tells it, by code and in open data alike."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

NUMBER = re.compile(r"[0-9]{1,20}")
COUNTRY_CODE = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number as people of its country write it, and the country's calling code."""

    number: str = field(repr=False)
    country_code: str

    def masked(self) -> str:
        """Return the number with all but the first three and the last two digits hidden.

        Source: 小程序安全指引, "敏感信息泄露", in the mini-program documentation.
        """
        shown = len("138") + len("00")
        if len(self.number) <= shown:
            return "*" * len(self.number)
        return self.number[:3] + "*" * (len(self.number) - shown) + self.number[-2:]


def phone_number_of(data: Mapping[str, object]) -> PhoneNumber | None:
    """Return the phone number that WeChat's data hold, if they hold one.

    Source: "获取手机号" in the mini-program documentation.
    """
    number, country_code = data.get("purePhoneNumber"), data.get("countryCode")
    if not (isinstance(number, str) and isinstance(country_code, str)):
        return None
    if not (NUMBER.fullmatch(number) and COUNTRY_CODE.fullmatch(country_code)):
        return None
    return PhoneNumber(number, country_code)
