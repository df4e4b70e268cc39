"""What commands of an operator take: their arguments and options, and which texts are refused."""

import getpass
import os
import re

import click

from wxsession.audit import UNKNOWN
from wxsession.operations.administration import PAGE
from wxsession.storage.tables import LONGEST_ACTOR
from wxsession.users import phone_numbers


class Matching(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A text of a form that is described to whoever types another one."""

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
    """Return who runs this, through sudo too, as far as that is known."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without a name; Windows, before Python 3.13
        return UNKNOWN
    return name[:LONGEST_ACTOR]


# What is no UTF-8 on the command line comes as surrogates, which no database takes.
TEXT = Matching("text", re.compile(r"[^\ud800-\udfff]+"), "must be UTF-8, and not empty")
_ACTOR_NAME = Matching(
    "name",
    re.compile(rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{LONGEST_ACTOR}}}"),
    f"must have 1 to {LONGEST_ACTOR} characters, and no control characters",
)
PHONE = Matching("digits", phone_numbers.NUMBER, "must be 1 to 20 digits, without the country code")
COUNTRY_CODE = Matching("digits", phone_numbers.COUNTRY_CODE, "must be 1 to 6 digits, as in 86")

limit = click.option("--limit", type=click.IntRange(1, 10_000), default=PAGE, show_default=True)
after = click.option("--after", type=click.UUID, default=None, help="Go on after this id.")
user_id = click.argument("user_id", type=click.UUID)
session_id = click.argument("session_id", type=click.UUID)
actor = click.option(
    *("--as", "actor"),
    type=_ACTOR_NAME,
    default=_login_name,
    show_default="the login name",
    help="Who does this, for the audit.",
)
