"""Arguments and options of the commands, and which texts they refuse."""

import functools
import getpass
import os
import re
from collections.abc import Callable
from typing import Any

import click

from wxsession.events.audit import UNKNOWN
from wxsession.operations.directory import PAGE, UserFilter
from wxsession.storage.tables import LONGEST_ACTOR
from wxsession.users import phone_numbers
from wxsession.users.phone_numbers import PhoneNumber


class Matching(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A text that matches a pattern; otherwise the error describes the pattern."""

    def __init__(self, name: str, form: re.Pattern[str], described: str) -> None:
        self.name = name
        self._form = form
        self._described = described

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the text."""
        if not self._form.fullmatch(str(value)):
            self.fail(self._described, param, ctx)
        return str(value)


def _login_name() -> str:
    """Return the login name of the operator, also behind sudo, if it is known."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without a name; Windows, before Python 3.13
        return UNKNOWN
    return name[:LONGEST_ACTOR]


# Bytes on the command line that are not UTF-8 arrive as surrogates, which no database takes.
_TEXT = Matching("text", re.compile(r"[^\ud800-\udfff]+"), "must be UTF-8, and not empty")
_ACTOR_NAME = Matching(
    "name",
    re.compile(rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{LONGEST_ACTOR}}}"),
    f"must have 1 to {LONGEST_ACTOR} characters, and no control characters",
)
_PHONE = Matching(
    "digits", phone_numbers.NUMBER, "must be 1 to 20 digits, without the country code"
)
_COUNTRY_CODE = Matching("digits", phone_numbers.COUNTRY_CODE, "must be 1 to 6 digits, as in 86")

limit = click.option("--limit", type=click.IntRange(1, 10_000), default=PAGE, show_default=True)
after = click.option("--after", type=click.UUID, default=None, help="Continue after this id.")
user_id = click.argument("user_id", type=click.UUID)
session_id = click.argument("session_id", type=click.UUID)
actor = click.option(
    "--as",
    "actor",
    type=_ACTOR_NAME,
    default=_login_name,
    show_default="the login name",
    help="Your name for the audit.",
)


def user_filter(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which users are asked for; the command gets them as `wanted`."""

    @click.option("--username", type=_TEXT)
    @click.option("--phone", type=_PHONE, help="The number without its country code.")
    @click.option("--country-code", type=_COUNTRY_CODE, default="86", show_default=True)
    @click.option("--openid", type=_TEXT)
    @click.option("--unionid", type=_TEXT)
    @click.option("--disabled", is_flag=True, help="Only disabled ones.")
    @functools.wraps(command)
    def filtered(*args: object, phone: str | None, country_code: str, **given: Any) -> None:
        number = PhoneNumber(phone, country_code) if phone is not None else None
        names = ("username", "openid", "unionid", "disabled")
        wanted = UserFilter(phone=number, **{name: given.pop(name) for name in names})
        command(*args, wanted=wanted, **given)

    return filtered
