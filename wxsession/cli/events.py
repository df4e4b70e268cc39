"""What happened: ``flask events …``."""

import sys
from uuid import UUID

import click

from wxsession.cli import options
from wxsession.cli.base import EXIT_MORE_IS_LEFT, Group, pass_services
from wxsession.cli.output import Progress, json_option, show, table, words
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
    more = "\n" + words("Continue with --after {cursor}", cursor=page.next) if page.next else ""
    show({"events": page.events, "next": page.next}, table(list(_COLUMNS), rows) + more)


@events.command("deliver")
@click.option("--webhook", "names", multiple=True, help="Only to this one. Default: to all.")
@click.option("--forever", is_flag=True, help="Go on, until the process is stopped.")
@json_option
@pass_services
def deliver(services: Services, names: tuple[str, ...], *, forever: bool) -> None:
    """Deliver events to the webhooks; can be stopped and run again.

    Exits with 0 when everything was taken, 3 when something was not and is tried again later, 4
    when another process delivers to the same webhook, 1 when the database cannot be used.
    """
    chosen = names or services.delivery.names
    if not chosen:
        raise click.ClickException(words("there is no webhook; set WXSESSION_WEBHOOKS"))
    if forever:
        services.delivery.run_forever(chosen)
    with Progress("events delivered") as progress:
        done = services.delivery.run_all(chosen, progress=progress)
    titles = ("WEBHOOK", "SENT", "FAILED", "WAITING", "DEAD")
    rows = [(name, *counts) for name, counts in done.items()]
    show({name: counts._asdict() for name, counts in done.items()}, table(titles, rows))
    if any(counts.waiting or counts.failed for counts in done.values()):
        sys.exit(EXIT_MORE_IS_LEFT)


@events.command("replay")
@click.argument("webhook")
@click.option("--event", "event_id", type=click.UUID, default=None, help="Only this one.")
@options.actor
@json_option
@pass_services
def replay(services: Services, webhook: str, event_id: UUID | None, actor: str) -> None:
    """Let events that are dead for a webhook be delivered again."""
    count = services.delivery.replay(webhook, event_id, actor=actor)
    text = words("{count} events are delivered again.", count=count)
    show({"webhook": webhook, "replayed": count}, text)
