"""A phone number as WeChat returns it, by code and in open data alike."""

from collections.abc import Mapping

from wxsession.users.phone_numbers import COUNTRY_CODE, NUMBER, PhoneNumber


def phone_number_of(data: Mapping[str, object]) -> PhoneNumber | None:
    """Return the phone number in WeChat's data, or None if they have none.

    Source: "获取手机号" in the mini-program documentation.
    """
    number, country_code = data.get("purePhoneNumber"), data.get("countryCode")
    if not (isinstance(number, str) and isinstance(country_code, str)):
        return None
    if not (NUMBER.fullmatch(number) and COUNTRY_CODE.fullmatch(country_code)):
        return None
    return PhoneNumber(number, country_code)
