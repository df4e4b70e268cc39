"""Flights: how often a request waits for PostgreSQL, whatever travels in one wait.

They are counted on the wire. Statements that are sent without waiting for the answers before them
are one flight, and so is a BEGIN that travels with the first statement.
"""

import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import cycle, islice
from select import select
from typing import Final

from benchmarks.database import Postgres
from benchmarks.load import Work, ask
from benchmarks.servers import Serve

_ASKED: Final = 7
_PAUSE: Final = 0.01
"""A client that sends nothing for so many seconds, with an answer to come, waits for it."""

_AFTERWARDS: Final = 0.1
"""Seconds in which a server may still say ROLLBACK, having answered."""


class CountingProxy:
    """Stands between clients and PostgreSQL; `flights` counts since it was set."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        """Listen on a port of 127.0.0.1."""
        self.flights = 0
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Take connections until `close` is called."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._upstream) as server, suppress(OSError):
            is_asking = False
            while True:
                # An answer is kept back until the client has nothing more to say: otherwise an
                # answer that is quick would split what the client sends without looking at it.
                heard, _, _ = select([client, server], [], [])
                if client not in heard and is_asking:
                    heard = select([client], [], [], _PAUSE)[0] or heard
                here, there = (client, server) if client in heard else (server, client)
                if not (data := here.recv(1 << 16)):
                    return
                self.flights += is_asking and here is server
                is_asking = here is client
                there.sendall(data)


@contextmanager
def counting(upstream: tuple[str, int]) -> Iterator[CountingProxy]:
    """Run a proxy before a PostgreSQL."""
    proxy = CountingProxy(upstream)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()


def flights(postgres: Postgres, serve: Serve, url: str, work: Work) -> float:
    """Return how often a request waits for PostgreSQL, on a warm connection."""
    counted = []
    with (
        counting((postgres.host, postgres.port)) as proxy,
        serve(url.replace(f":{postgres.port}/", f":{proxy.port}/")) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection,
    ):
        for message in islice(cycle(work.messages()), _ASKED):
            proxy.flights = 0
            status, body = ask(connection, message)
            if status >= 400:
                raise RuntimeError(f"{status}: {body[:200]!r}")
            time.sleep(_AFTERWARDS)
            counted.append(proxy.flights)
    return statistics.median(counted[1:])
