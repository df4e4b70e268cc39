"""Database round trips, counted by the server: BEGIN, COMMIT and ROLLBACK are trips as well."""

import socket
import time
from itertools import cycle, islice
from typing import Final

from benchmarks.database import Postgres
from benchmarks.load import Work, ask

_ASKED: Final = 5


def round_trips(postgres: Postgres, database: str, port: int, work: Work) -> float:
    """Return how many statements a database is sent for a request, on a warm connection.

    PostgreSQL is to be logging statements.
    """
    before = postgres.statements(database)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for message in islice(cycle(work.messages()), _ASKED):
            status, body = ask(connection, message)
            if status >= 400:
                raise RuntimeError(f"{status}: {body[:200]!r}")
    time.sleep(0.05)  # some say ROLLBACK only when they have answered
    return (postgres.statements(database) - before) / _ASKED
