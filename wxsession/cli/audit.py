"""What happened, as an operator looks for it: ``flask audit …``."""

from typing import Any
from uuid import UUID

import click

from wxsession.cli import options
from wxsession.cli.base import Group, pass_services
from wxsession.cli.output import event_table, json_option, show_each, words
from wxsession.events.search import EventFilter
from wxsession.services import Services


@click.group("audit", cls=Group)
def audit() -> None:
    """Find out what happened, to whom, from where, and by whom."""


@audit.command("list")
@click.option("--user", "user_id", type=click.UUID, default=None, help="To this user.")
@click.option("--event", default=None, type=options.TEXT, help="Of this name: user.disabled.")
@click.option("--address", default=None, type=options.Address(), help="From this address.")
@options.since
@options.until
@options.limit
@options.after
@json_option
@pass_services
def list_events(services: Services, /, limit: int, after: UUID | None, **filters: Any) -> None:
    """List events, newest first; with --json an object in each line."""
    found = services.event_search.find(EventFilter(**filters), limit=limit + 1, after=after)
    shown, more = found[:limit], ""
    if len(found) > limit:
        more = "\n" + words("There are more: --after {id}", id=shown[-1].id)
    show_each(shown, event_table(shown, with_user=True) + more)
