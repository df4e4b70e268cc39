"""Maintenance: ``purge-sessions``, ``upgrade-database``, ``downgrade-database``, ``keys …``."""

import dataclasses
import math
import sys
import time
from contextlib import suppress
from datetime import timedelta

import click

from wxsession.cli import options
from wxsession.cli.base import (
    EXIT_MORE_IS_LEFT,
    EXIT_NOT_ALL,
    Command,
    Group,
    pass_services,
)
from wxsession.cli.output import Progress, json_option, show, table, words
from wxsession.errors import Overloaded
from wxsession.operations.batching import LARGEST_SIZE
from wxsession.operations.purge import PurgeResult
from wxsession.operations.reseal import Resealing
from wxsession.services import Services


@click.command("purge-sessions", cls=Command)
@click.option("--older-than", type=options.Duration(), default=None, help="Default: the retention.")
@click.option(
    "--batch-size",
    type=click.IntRange(1, LARGEST_SIZE),
    default=None,
    help="Rows in a transaction. Default: as many as the database deletes quickly.",
)
@click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), default=None)
@click.option("--dry-run", is_flag=True, help="Count, but delete nothing.")
@json_option
@pass_services
def purge_sessions(
    services: Services,
    older_than: timedelta | None,
    batch_size: int | None,
    max_seconds: float | None,
    *,
    dry_run: bool,
) -> None:
    """Delete the sessions that expired or ended longer ago than the retention.

    Audit events are deleted after their own retention, login codes, tickets and failed attempts
    when they have expired; --older-than applies to sessions only. Exits with 0 when everything is
    done, 3 when time is up and more is left, 4 when another purge is running, 1 when the database
    cannot be used.
    """
    age = services.settings.retention if older_than is None else older_than
    if dry_run:
        found, events = services.purge.count(age), services.purge.count_audit_events()
        show(
            {"would_delete": found, "would_delete_audit_events": events},
            words(
                "{sessions} sessions and {events} audit events to delete.",
                sessions=found,
                events=events,
            ),
        )
        return
    deadline = math.inf if max_seconds is None else time.monotonic() + max_seconds
    with Progress("sessions deleted") as progress:
        done = services.purge.run(
            age, batch_size=batch_size, max_seconds=max_seconds, progress=progress
        )
    show({**dataclasses.asdict(done), "seconds": round(done.seconds, 3)}, _summary(done))
    if not done.complete:
        sys.exit(EXIT_MORE_IS_LEFT)
    _count_sealed(services.resealing, deadline)


@click.command("upgrade-database", cls=Command)
@pass_services
def upgrade_database(services: Services) -> None:
    """Bring the schema to the newest revision; safe to run again, and by several at once."""
    from wxsession.storage.migrate import upgrade  # noqa: PLC0415 - Alembic takes half a second to load

    revision = upgrade(services.database)
    click.echo(words("The database is at revision {revision}.", revision=revision))


@click.command("downgrade-database", cls=Command)
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_services
def downgrade_database(services: Services, revision: str, *, yes: bool) -> None:
    """Take the schema back to an older revision, before an older version is installed.

    What later revisions added is lost.
    """
    from wxsession.storage.migrate import downgrade  # noqa: PLC0415 - as above

    if not yes:
        question = words("Drop what was added since {revision}?", revision=revision)
        click.confirm(question, abort=True, err=True)
    reached = downgrade(services.database, revision)
    click.echo(words("The database is at revision {revision}.", revision=reached))


@click.group("keys", cls=Group)
def keys() -> None:
    """Work with what the server's secret keys have sealed."""


@keys.command("reseal")
@click.option("--batch-size", type=click.IntRange(1, 10_000), default=500)
@json_option
@pass_services
def reseal(services: Services, batch_size: int) -> None:
    """Seal with the newest key what an older key has sealed; can be stopped and run again.

    Exits with 0 when everything is done, 5 when there are values that no key opens, 1 when the
    database cannot be used.
    """
    with Progress("values resealed") as progress:
        done = services.resealing.run(batch_size=batch_size, progress=progress)
    show(done._asdict(), words("{count} values resealed.", count=done.resealed))
    if done.unopened:
        text = words(
            "{count} values cannot be opened: the key that sealed them is not in"
            " WXSESSION_SECRET_KEYS. Add it there, and run this again; `keys status` shows which"
            " key it is.",
            count=done.unopened,
        )
        click.echo(text, err=True)
        sys.exit(EXIT_NOT_ALL)


@keys.command("status")
@json_option
@pass_services
def status(services: Services) -> None:
    """Show how many values each key has sealed; a key with none may be removed."""
    with Progress("values counted") as progress:
        found = services.resealing.status(progress=progress)
    titles = ("KEY", "ID", "SESSION_KEYS", "PHONE NUMBERS", "ACCESS_TOKENS", "SECOND FACTORS")
    show(
        {"keys": [use._asdict() for use in found]},
        table(titles, [(use.number or "unknown", *use[1:]) for use in found]),
    )


def _count_sealed(resealing: Resealing, deadline: float) -> None:
    """Count what lies under which key, for an alert that cannot count itself; the next run may."""

    def go_on(_done: int) -> None:
        if time.monotonic() > deadline:
            raise Overloaded

    with suppress(Overloaded):
        resealing.status(progress=go_on)


def _summary(done: PurgeResult) -> str:
    text = words(
        "{sessions} sessions, {login_codes} login codes, {tickets} tickets, {device_codes} device"
        " codes, {failed_attempts} failed attempts and {audit_events} audit events deleted in"
        " {batches} batches, {seconds:.1f} s.",
        **dataclasses.asdict(done),
    )
    return text if done.complete else text + " " + words("Time is up, more is left.")
