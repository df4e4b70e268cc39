"""The search of an operator: one text, whatever it is of a user.

A user's or a session's id, a username, a phone number, an openid, a unionid, or how a nickname
begins: an index leads to each of them, however many users there are.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from wxsession.errors import NoSuchSession, NoSuchUser, UserMerged
from wxsession.operations.directory import PAGE, Directory, UserDetails, UserFilter, UserLine
from wxsession.users.phone_numbers import NUMBER, PhoneNumber

LONGEST: Final = 128
"""No text that is longer can be of a user."""

_EVERYBODY = UserFilter()
_COUNTRY_CODE = "86"
_MOST_DIGITS_OF_CODE = 3
_SEPARATORS = re.compile(r"[ ()-]")


@dataclass(frozen=True, slots=True)
class Found:
    """The users found; `is_all` is False if there are more."""

    users: tuple[UserLine, ...]
    is_all: bool


class UserSearch:
    """Finds users by whatever is known of them."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def find(self, text: str, *, within: UserFilter = _EVERYBODY, limit: int = PAGE) -> Found:
        """Return the users whom a text fits: first those it fits exactly.

        They are of the app, and disabled, if `within` has it so.

        Raises:
            Overloaded: the database did not answer in time.
        """
        text = text.strip()
        if not text or len(text) > LONGEST or "\0" in text:
            return Found((), is_all=True)
        with suppress(ValueError):
            named = self._by_id(UUID(text))
            return Found(tuple(one.user for one in named if _is(one, within)), is_all=True)
        found: dict[UUID, UserLine] = {}
        is_all = True
        for reading in _readings(text):
            wanted = replace(reading, appid=within.appid, disabled=within.disabled)
            page = self._directory.users(wanted, limit=limit)
            found |= {line.user_id: line for line in page.items if line.user_id not in found}
            is_all = is_all and page.next is None
        users = tuple(found.values())
        return Found(users[:limit], is_all and len(users) <= limit)

    def _by_id(self, id_: UUID) -> tuple[UserDetails, ...]:
        """Return whose id it is: of a user, of one who was merged, or of a session."""
        with suppress(NoSuchSession):
            id_ = self._directory.session(id_).user_id
        try:
            return (self._directory.user(id_),)
        except UserMerged as merged:
            return (self._directory.user(merged.new_id),)
        except NoSuchUser:
            return ()


def _is(one: UserDetails, wanted: UserFilter) -> bool:
    """Return whether a user is of the app and in the state that are wanted."""
    is_of_app = wanted.appid is None or wanted.appid in {its.appid for its in one.identities}
    return is_of_app and (one.user.disabled_at is not None or not wanted.disabled)


def _readings(text: str) -> Iterator[UserFilter]:
    """Yield what a text may be, the exact ones first."""
    yield UserFilter(username=text)
    for number in _numbers(_SEPARATORS.sub("", text)):
        yield UserFilter(phone=number)
    yield UserFilter(openid=text)
    yield UserFilter(unionid=text)
    yield UserFilter(nickname=text)


def _numbers(text: str) -> Iterator[PhoneNumber]:
    """Yield the phone numbers that a text may be: a country code begins with a plus."""
    if text.startswith("+"):
        digits = text.removeprefix("+")
        codes = range(1, _MOST_DIGITS_OF_CODE + 1)
        pairs = [(digits[:length], digits[length:]) for length in codes]
    else:
        pairs = [(_COUNTRY_CODE, text)]
    for code, number in pairs:
        if NUMBER.fullmatch(number) and NUMBER.fullmatch(code):
            yield PhoneNumber(number, code)
