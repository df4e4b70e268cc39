"""What commands print: JSON, or tables and facts for people; and their progress.

Names and user agents come from clients. A control character is a command to a terminal, so these
characters are escaped for people; JSON escapes them anyway.
"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Self
from uuid import UUID

import click

from wxsession.common.wording import Sentence, in_language, language_of_locale
from wxsession.events.event import Event

_AS_JSON = "wxsession.as_json"


def _remember(ctx: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click calls it so
    ctx.meta[_AS_JSON] = value


json_option = click.option(
    "--json", is_flag=True, expose_value=False, callback=_remember, help="Print JSON."
)


def words(template: str, **values: object) -> str:
    """Return a sentence in the language of the terminal, with these values in it."""
    return in_terminal_language(Sentence(template, **values))


def in_terminal_language(text: str) -> str:
    """Return a text in the language of the terminal, or in English if it is not known there."""
    return in_language(text, language_of_locale(os.environ))


def show(value: object, text: str) -> None:
    """Print what a command found or did: the value as one line of JSON, or the text for people.

    Dataclasses in the value become objects; the JSON is ASCII only.
    """
    as_json = click.get_current_context().meta[_AS_JSON]
    click.echo(json.dumps(value, default=_plain) if as_json else text)


def show_each(values: Sequence[object], text: str) -> None:
    """Print each value as a line of JSON, or the text for people."""
    if click.get_current_context().meta[_AS_JSON]:
        for value in values:
            click.echo(json.dumps(value, default=_plain))
    else:
        click.echo(text)


def table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return aligned lines under their titles."""
    lines = [list(titles), *([as_text(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def facts(named: Mapping[str, object]) -> str:
    """Return names and values, one a line, the values aligned."""
    width = max(map(len, named))
    return "\n".join(f"{name.ljust(width)}  {as_text(value)}" for name, value in named.items())


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
    """A counter on a terminal, nothing anywhere else; called with the number that is done."""

    def __init__(self, what: str) -> None:
        self._what = words(what)
        self._shown = sys.stderr.isatty()
        self._last = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Leave the counter as it is, and continue on the next line."""
        if self._last:
            click.echo(err=True)

    def __call__(self, done: int) -> None:
        """Show how much is done, at most five times a second."""
        now = time.monotonic()
        if self._shown and now - self._last > 0.2:  # noqa: PLR2004 - seconds; a terminal is slow
            click.echo(f"\r{done} {self._what}", nl=False, err=True)
            self._last = now


_EVENT_COLUMNS = {
    "AT": "at",
    "EVENT": "event",
    "COUNT": "count",
    "REASON": "reason",
    "BY": "actor",
    "USER ID": "user_id",
    "SESSION ID": "session_id",
    "APPID": "appid",
    "ADDRESS": "client_address",
    "USER AGENT": "user_agent",
}


def event_table(events: Sequence[Event], *, with_user: bool = False) -> str:
    """Return a line for each event, with its user unless that is always the same."""
    titles = [title for title in _EVENT_COLUMNS if with_user or title != "USER ID"]
    rows = [[getattr(event, _EVENT_COLUMNS[title]) for title in titles] for event in events]
    return table(titles, rows)
