"""The long run: every invariant at full size, on both databases, written down."""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import psycopg

from tests.proof.invariants import INVARIANTS, POSTGRESQL, Invariant
from tests.proof.outcome import Outcome
from tests.proof.page import Row, page
from tests.support.postgres import PostgresServer
from tests.support.service import ROOT
from wxsession.storage.database import connect
from wxsession.storage.migrate import upgrade

_NAMES = [invariant.name for invariant in INVARIANTS]


@click.command()
@click.option("--sample", is_flag=True, help="As short as in the tests.")
@click.option("--only", type=click.Choice(_NAMES), multiple=True, help="Not all of them.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=ROOT / "docs" / "proof.md",
    help="Default: docs/proof.md.",
)
def main(*, sample: bool, only: tuple[str, ...], output: Path) -> None:
    """Try the invariants and write down how often they held; exit with 1 if one did not."""
    chosen = [invariant for invariant in INVARIANTS if not only or invariant.name in only]
    options = [*(["--sample"] if sample else []), *(f"--only {name}" for name in only)]
    with PostgresServer() as postgres:
        rows = [
            _prove(invariant, database, postgres, sample=sample)
            for invariant in chosen
            for database in invariant.databases
        ]
        version = _version(postgres)
    command = " ".join(["python -m tests.proof", *options])
    output.parent.mkdir(exist_ok=True)
    output.write_text(page(rows, command=command, postgresql=version))
    sys.exit(any(row.outcome.violations for row in rows))


def _prove(invariant: Invariant, database: str, postgres: PostgresServer, *, sample: bool) -> Row:
    click.echo(f"{invariant.name} on {database} … ", nl=False)
    begun = time.monotonic()
    with _empty_database(invariant, database, postgres) as url:
        try:
            outcome = invariant.prove(url, invariant.sample if sample else invariant.full)
        except Exception as error:  # noqa: BLE001 - the other invariants are tried all the same
            outcome = Outcome(0, (f"it could not be tried: {error!r}",))
    seconds = time.monotonic() - begun
    click.echo(f"{outcome.runs} runs, {len(outcome.violations)} violations, {seconds:.0f} s")
    for fault in outcome.violations:
        click.echo(f"  {fault}")
    return Row(invariant.name, invariant.promise, database, outcome, seconds)


@contextmanager
def _empty_database(invariant: Invariant, database: str, postgres: PostgresServer) -> Iterator[str]:
    """Yield the URL of a migrated database."""
    if database == POSTGRESQL:
        postgres.create_database(invariant.name)
        yield _migrated(postgres.url(invariant.name))
        postgres.drop_database(invariant.name)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield _migrated(f"sqlite:///{folder}/wxsession.db")


def _migrated(url: str) -> str:
    database = connect(url)
    upgrade(database)
    database.close()
    return url


def _version(postgres: PostgresServer) -> str:
    address = f"host=127.0.0.1 port={postgres.port} user=postgres"
    with psycopg.connect(address) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return str(row[0]).split()[0] if row else "unknown"


if __name__ == "__main__":
    main()
