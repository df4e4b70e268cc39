"""What happened: ``flask events …``."""

import click

from wxsession.cli.base import Group, pass_services
from wxsession.cli.output import json_option, show, table
from wxsession.events.feed import MOST
from wxsession.services import Services

_COLUMNS = {
    "AT": "at",
    "EVENT": "event",
    "COUNT": "count",
    "REASON": "reason",
    "USER ID": "user_id",
    "NEW USER ID": "new_user_id",
    "APPID": "appid",
    "BY": "actor",
}


@click.group("events", cls=Group)
def events() -> None:
    """Read what happened, as other programs read it."""


@events.command("list")
@click.option("--after", default=None, help="Continue after this cursor.")
@click.option("--limit", type=click.IntRange(1, MOST), default=100, show_default=True)
@json_option
@pass_services
def list_events(services: Services, after: str | None, limit: int) -> None:
    """List events, oldest first; the last second is not among them."""
    page = services.feed.read(after, limit=limit)
    rows = [[getattr(event, name) for name in _COLUMNS.values()] for event in page.events]
    more = f"\nContinue with --after {page.next}" if page.next else ""
    show({"events": page.events, "next": page.next}, table(list(_COLUMNS), rows) + more)
