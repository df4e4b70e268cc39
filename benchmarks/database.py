"""The PostgreSQL of the benchmark, and what it says about its own work."""

import tempfile
from collections.abc import Mapping
from typing import Any, Final

import psycopg

from benchmarks.machine import LOAD_CORE, on_core
from tests.support.postgres import PostgresServer

_SETTINGS: Final = {
    # What is measured is the work for a request. A checkpoint, an autovacuum in the middle of a
    # round would be measured with it; every database is vacuumed once, after it was filled.
    "autovacuum": "off",
    "checkpoint_timeout": "1d",
    "max_wal_size": "8GB",
    "shared_buffers": "1GB",
    "timezone": "UTC",
}
_ON_DISK: Final = {"fsync": "on", "full_page_writes": "on"}


class Postgres(PostgresServer):
    """A server on the load's core, so that the first is the application's alone."""

    def __init__(self, *, on_disk: bool = False, settings: Mapping[str, str] | None = None) -> None:
        """Start nothing yet; `on_disk` every commit waits for the disk, as in production.

        `settings` go before all others.
        """
        own = _SETTINGS | _ON_DISK if on_disk else _SETTINGS
        super().__init__(
            settings={**own, **(settings or {})},
            folder=tempfile.gettempdir() if on_disk else None,
        )

    def start(self) -> None:
        """Return when the server answers."""
        with on_core(LOAD_CORE):
            super().start()

    def plain_url(self, database: str) -> str:
        """Return the URL of a database as every driver reads it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def scalar(self, database: str, query: str) -> Any:
        """Return the first value that a query of ours gives, outside of any measurement."""
        with psycopg.connect(self.plain_url(database), autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None

    def run(self, database: str, *statements: str) -> None:
        """Execute statements of ours, each by itself."""
        with psycopg.connect(self.plain_url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def vacuum(self, database: str) -> None:
        """Vacuum a database that was filled, so that the first reader does not do it."""
        self.run(database, "VACUUM (ANALYZE, FREEZE)", "CHECKPOINT")

    def version(self) -> str:
        """Return the version of the server."""
        return str(self.scalar("postgres", "SHOW server_version")).split()[0]
