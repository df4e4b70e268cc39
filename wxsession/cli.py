"""The commands: ``flask purge-sessions``, ``flask upgrade-database``, ``flask keys reseal``."""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Self, TypeVar

import click

from wxsession.db import Database
from wxsession.errors import PurgeRunning, WxSessionError
from wxsession.key_ring import KeyRing
from wxsession.purge import BATCH_SIZE, Purge, Purged
from wxsession.settings import Settings, duration

T = TypeVar("T")

EXIT_MORE_IS_LEFT = 3
EXIT_ANOTHER_IS_RUNNING = 4


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


def commands(
    database: Database, purge: Purge, ring: KeyRing, settings: Settings
) -> list[click.Command]:
    """Return the commands over these parts."""

    @click.command("purge-sessions")
    @click.option("--older-than", type=Duration(), default=None, help="Default: the retention.")
    @click.option("--batch-size", type=click.IntRange(1, 50_000), default=BATCH_SIZE)
    @click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), default=None)
    @click.option("--dry-run", is_flag=True, help="Count, and delete nothing.")
    @click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
    def purge_sessions(
        older_than: timedelta | None,
        batch_size: int,
        max_seconds: float | None,
        *,
        dry_run: bool,
        as_json: bool,
    ) -> None:
        """Delete what has been expired or ended for longer than the retention.

        Exits with 0 when all is done, 3 when the time is up and more is left, 4 when another
        purge is running, 1 when the database cannot be used.
        """
        age = settings.retention if older_than is None else older_than
        if dry_run:
            _count(purge, age, as_json=as_json)
            return
        with Progress("sessions deleted") as progress:
            done = _exit_on_error(
                lambda: purge.run(
                    age, batch_size=batch_size, max_seconds=max_seconds, progress=progress
                )
            )
        _summarise(done, as_json=as_json)
        if not done.complete:
            sys.exit(EXIT_MORE_IS_LEFT)

    @click.command("upgrade-database")
    def upgrade_database() -> None:
        """Bring the schema to the newest revision; safe to run again, and by several at once."""
        from wxsession.schema import upgrade  # noqa: PLC0415 - Alembic takes half a second to load

        revision = _exit_on_error(lambda: upgrade(database))
        click.echo(f"The database is at revision {revision}.")

    @click.group("keys")
    def keys() -> None:
        """Work on what lies under the server's secret keys."""

    @keys.command("reseal")
    @click.option("--batch-size", type=click.IntRange(1, 10_000), default=500)
    @click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
    def reseal(batch_size: int, *, as_json: bool) -> None:
        """Seal with the newest key what lies under an older one; may be stopped and run again."""
        with Progress("session_keys sealed anew") as progress:
            done = _exit_on_error(lambda: ring.reseal(batch_size=batch_size, progress=progress))
        click.echo(json.dumps({"resealed": done}) if as_json else f"{done} sealed anew.")

    return [purge_sessions, upgrade_database, keys]


def _exit_on_error(action: Callable[[], T]) -> T:
    try:
        return action()
    except PurgeRunning:
        click.echo("Another purge is running.", err=True)
        sys.exit(EXIT_ANOTHER_IS_RUNNING)
    except WxSessionError as error:
        raise click.ClickException(f"{error.code}: see the log") from None


def _count(purge: Purge, age: timedelta, *, as_json: bool) -> None:
    found = _exit_on_error(lambda: purge.count(age))
    click.echo(json.dumps({"would_delete": found}) if as_json else f"{found} sessions to delete.")


def _summarise(done: Purged, *, as_json: bool) -> None:
    if as_json:
        facts = dataclasses.asdict(done)
        click.echo(json.dumps({**facts, "seconds": round(done.seconds, 3)}))
        return
    left = "" if done.complete else " Time is up, more is left."
    click.echo(
        f"{done.sessions} sessions and {done.login_codes} login codes deleted"
        f" in {done.batches} batches, {done.seconds:.1f} s.{left}"
    )


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
