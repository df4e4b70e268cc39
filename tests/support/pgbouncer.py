"""PgBouncer in transaction mode, before a PostgreSQL of the tests."""

import os
import re
import shutil
import socket
import subprocess
from contextlib import suppress
from typing import Final

from tests.support.postgres import PostgresServer
from tests.support.service import Server, ServerFailed

KNOWS_STATEMENTS: Final = (1, 21)
"""The first version that knows prepared statements."""


class PgBouncer(Server):
    """A pooler that hands each transaction to whichever server connection is free."""

    def __init__(self, postgres: PostgresServer, *, prepares: bool = False) -> None:
        """Start nothing yet; with `prepares`, the pooler knows prepared statements.

        Raises:
            ServerFailed: the program is missing.
        """
        super().__init__({})
        self.prepares = prepares
        self._postgres = postgres
        self._program = _program()

    def command(self) -> list[str]:
        """Return how the pooler is called, having written what it reads."""
        knows = f"max_prepared_statements = {200 if self.prepares else 0}"
        configuration = self.directory / "pgbouncer.ini"
        configuration.write_text(
            f"""
            [databases]
            * = host={self._postgres.host} port={self._postgres.port} user=postgres
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = any
            pool_mode = transaction
            default_pool_size = 5
            {knows if version() >= KNOWS_STATEMENTS else ""}
            """
        )
        as_whom = ("-u", "nobody") if os.geteuid() == 0 else ()  # it refuses to run as root
        return [self._program, *as_whom, str(configuration)]

    def answers(self) -> bool:
        """Return whether it takes connections."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2):
            return True
        return False

    def database_url(self, database: str) -> str:
        """Return SQLAlchemy's URL of a database, by way of the pooler."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"


def version() -> tuple[int, ...]:
    """Return the version of the pooler's program.

    Raises:
        ServerFailed: it is missing.
    """
    output = subprocess.run(
        [_program(), "--version"], capture_output=True, text=True, check=True, timeout=10
    ).stdout
    numbers = re.search(r"PgBouncer ([\d.]+)", output)
    return tuple(map(int, re.findall(r"\d+", numbers[1]))) if numbers else ()


def _program() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise ServerFailed("the program 'pgbouncer' is missing: apt install pgbouncer")
    return found
