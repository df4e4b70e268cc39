"""Maintenance: ``flask purge-sessions``, ``flask upgrade-database``, ``flask keys …``."""

import dataclasses
import sys
from datetime import timedelta

import click

from wxsession.cli.output import (
    EXIT_MORE_IS_LEFT,
    EXIT_NOT_ALL,
    Progress,
    exit_on_error,
    json_option,
    print_json,
    print_table,
)
from wxsession.operations.batching import LARGEST_SIZE
from wxsession.operations.purge import Purge, Purged
from wxsession.operations.reseal import Resealing
from wxsession.settings import duration
from wxsession.storage.database import Database


class Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A length of time like 30s, 15m, 1h or 7d."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return the duration, or say what one looks like."""
        try:
            return duration(str(value))
        except ValueError as fault:
            self.fail(str(fault), param, ctx)


def purge_sessions(purge: Purge, retention: timedelta) -> click.Command:
    """Return the command that deletes what has been over for long."""

    @click.command("purge-sessions")
    @click.option("--older-than", type=Duration(), default=None, help="Default: the retention.")
    @click.option(
        "--batch-size",
        type=click.IntRange(1, LARGEST_SIZE),
        default=None,
        help="Rows in a transaction. Default: as many as the database deletes quickly.",
    )
    @click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), default=None)
    @click.option("--dry-run", is_flag=True, help="Count, and delete nothing.")
    @json_option
    def purge_sessions(
        older_than: timedelta | None,
        batch_size: int | None,
        max_seconds: float | None,
        *,
        dry_run: bool,
        as_json: bool,
    ) -> None:
        """Delete what has been expired or ended for longer than the retention.

        Audit events go after their own retention, login codes and failed attempts when they are
        over; --older-than is about sessions alone. Exits with 0 when all is done, 3 when the
        time is up and more is left, 4 when another purge is running, 1 when the database cannot
        be used.
        """
        age = retention if older_than is None else older_than
        if dry_run:
            _count(purge, age, as_json=as_json)
            return
        with Progress("sessions deleted") as progress:
            done = exit_on_error(
                lambda: purge.run(
                    age, batch_size=batch_size, max_seconds=max_seconds, progress=progress
                )
            )
        _summarise(done, as_json=as_json)
        if not done.complete:
            sys.exit(EXIT_MORE_IS_LEFT)

    return purge_sessions


def upgrade_database(database: Database) -> click.Command:
    """Return the command that migrates the database."""

    @click.command("upgrade-database")
    def upgrade_database() -> None:
        """Bring the schema to the newest revision; safe to run again, and by several at once."""
        from wxsession.storage.migrate import upgrade  # noqa: PLC0415 - Alembic takes half a second to load

        revision = exit_on_error(lambda: upgrade(database))
        click.echo(f"The database is at revision {revision}.")

    return upgrade_database


def keys(resealing: Resealing) -> click.Group:
    """Return the commands about the server's secret keys."""

    @click.group("keys")
    def keys() -> None:
        """Work on what lies under the server's secret keys."""

    @keys.command("reseal")
    @click.option("--batch-size", type=click.IntRange(1, 10_000), default=500)
    @json_option
    def reseal(batch_size: int, *, as_json: bool) -> None:
        """Seal with the newest key what lies under an older one; may be stopped and run again.

        Exits with 0 when all is done, 5 when there are values that no key opens, 1 when the
        database cannot be used.
        """
        with Progress("values sealed anew") as progress:
            done = exit_on_error(lambda: resealing.run(batch_size=batch_size, progress=progress))
        if as_json:
            print_json(done._asdict())
        else:
            click.echo(f"{done.resealed} sealed anew.")
        if done.unopened:
            click.echo(
                f"{done.unopened} cannot be opened: they lie under a key that is not in"
                " WXSESSION_SECRET_KEYS. Put it back there, and run this again; `keys status`"
                " shows which one.",
                err=True,
            )
            sys.exit(EXIT_NOT_ALL)

    @keys.command("status")
    @json_option
    def status(*, as_json: bool) -> None:
        """Show how many values lie under which key: before it is removed, none may."""
        with Progress("values counted") as progress:
            found = exit_on_error(lambda: resealing.status(progress=progress))
        if as_json:
            print_json({"keys": [use._asdict() for use in found]})
            return
        titles = ("KEY", "ID", "SESSION_KEYS", "PHONE NUMBERS", "ACCESS_TOKENS")
        print_table(titles, [(use.number or "unknown", *use[1:]) for use in found])

    return keys


def _count(purge: Purge, age: timedelta, *, as_json: bool) -> None:
    found = exit_on_error(lambda: purge.count(age))
    events = exit_on_error(purge.count_audit_events)
    if as_json:
        print_json({"would_delete": found, "would_delete_audit_events": events})
    else:
        click.echo(f"{found} sessions and {events} audit events to delete.")


def _summarise(done: Purged, *, as_json: bool) -> None:
    if as_json:
        print_json({**dataclasses.asdict(done), "seconds": round(done.seconds, 3)})
        return
    left = "" if done.complete else " Time is up, more is left."
    click.echo(
        f"{done.sessions} sessions, {done.login_codes} login codes,"
        f" {done.failed_attempts} failed attempts and {done.audit_events} audit events deleted"
        f" in {done.batches} batches, {done.seconds:.1f} s.{left}"
    )
