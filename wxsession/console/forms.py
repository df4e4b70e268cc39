"""What filters have in common: moments by the clock of a browser, and addresses."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from wxsession.errors import InvalidRequest
from wxsession.users.client import address_of

LONGEST: Final = 64
"""How many characters somebody may type into the field of a filter."""
_FURTHEST_ZONE: Final = 15 * 60


def text_in(name: str, text: str) -> str:
    """Return what was typed.

    Raises:
        InvalidRequest: no row can have that.
    """
    if len(text) > LONGEST or "\0" in text:
        raise InvalidRequest.of(name, f"must have at most {LONGEST} characters")
    return text


def address_in(name: str, text: str) -> str:
    """Return the address that was typed, in the form in which addresses are stored.

    Raises:
        InvalidRequest: it is none.
    """
    if len(text) > LONGEST or not re.fullmatch(r"[0-9A-Fa-f:.]+(%\w+)?", text, re.ASCII):
        raise InvalidRequest.of(name, "is not an IPv4 or IPv6 address")
    return address_of(text)


def moment_in(name: str, text: str, zone: str) -> datetime:
    """Return the moment that was typed, by the clock of a browser so many minutes from UTC.

    Raises:
        InvalidRequest: it is none.
    """
    minutes = int(zone) if re.fullmatch(r"-?\d{1,3}", zone, re.ASCII) else 0
    if abs(minutes) > _FURTHEST_ZONE:
        minutes = 0
    try:
        typed = datetime.fromisoformat(text)
        return typed.replace(tzinfo=UTC) + timedelta(minutes=minutes)
    except (ValueError, OverflowError):
        raise InvalidRequest.of(name, "is not a date, or not one with a time") from None
