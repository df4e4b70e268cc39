"""What commands share: how they print, how they count, how they fail.

Names and user agents are whatever somebody sent. On a terminal a control character is a command,
so people see those characters escaped; in JSON they are escaped anyway.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Self, TypeVar
from uuid import UUID

import click

from wxsession.errors import (
    ClocksDisagree,
    NoSuchSession,
    NoSuchUser,
    PurgeRunning,
    UserMerged,
    WxSessionError,
)

T = TypeVar("T")

_WECHAT_SILENT = "WeChat could not be asked; the log says why. Run this again later"
_CURES: Mapping[str, str] = {
    "not_ready": (
        "the database has no schema of this version: run `flask --app wsgi upgrade-database`"
    ),
    "database_unavailable": (
        "the database cannot be used; the log says why. See whether it runs, and whether"
        " WXSESSION_DATABASE_URL leads to it"
    ),
    "overloaded": (
        "the database did not answer, or had no time for this; the log says why. Run this again"
    ),
    "app_rejected": "WeChat refuses the app; the log says what to correct",
    "wechat_rate_limited": _WECHAT_SILENT,
    "wechat_busy": _WECHAT_SILENT,
    "wechat_unreachable": _WECHAT_SILENT,
    "wechat_timeout": _WECHAT_SILENT,
    "wechat_unintelligible": _WECHAT_SILENT,
}

EXIT_MORE_IS_LEFT = 3
EXIT_ANOTHER_IS_RUNNING = 4
EXIT_NOT_ALL = 5
"""Some of what was asked could not be done, and what is missing was said."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def exit_on_error(action: Callable[[], T]) -> T:
    """Return what the action returns, or leave with a message and a status for the shell."""
    try:
        return action()
    except PurgeRunning:
        click.echo("Another purge is running.", err=True)
        sys.exit(EXIT_ANOTHER_IS_RUNNING)
    except ClocksDisagree as apart:
        raise click.ClickException(
            f"this host's clock and the database's differ by {apart.seconds} seconds; nothing was"
            " deleted. Set the clock of the one that is wrong."
        ) from None
    except UserMerged as merged:
        raise click.ClickException(f"this user was merged into {merged.new_id}") from None
    except NoSuchUser:
        raise click.ClickException("no user has this id") from None
    except NoSuchSession:
        raise click.ClickException("no session has this id") from None
    except WxSessionError as error:
        cure = _CURES.get(error.code, f"{error.code}: see the log")
        raise click.ClickException(cure) from None


def print_json(value: object) -> None:
    """Print a value, records in it included, as one line of JSON; ASCII alone."""
    click.echo(json.dumps(value, default=_plain))


def print_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned lines under their titles."""
    lines = [list(titles), *([as_text(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, one a line, the values aligned."""
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name.ljust(width)}  {as_text(value)}")


def as_text(value: object) -> str:
    """Return a value for people: times to the second in UTC, ``-`` for nothing."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    return "".join(_harmless(character) for character in str(value))


def _harmless(character: str) -> str:
    if character.isprintable() and character != "\\":
        return character
    return character.encode("unicode_escape").decode()


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(type(value).__name__)


class Progress:
    """A counter on a terminal, nothing anywhere else; called with how much is done."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()
        self._last = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Leave the counter as it stands, and go on in the next line."""
        if self._last:
            click.echo(err=True)

    def __call__(self, done: int) -> None:
        """Show how much is done, at most five times a second."""
        now = time.monotonic()
        if self._shown and now - self._last > 0.2:  # noqa: PLR2004 - seconds; a terminal is slow
            click.echo(f"\r{done} {self._what}", nl=False, err=True)
            self._last = now
