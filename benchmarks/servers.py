"""The servers that are compared: each on one core, with as many threads as all the others."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from benchmarks.machine import SERVER_CORE, on_core
from benchmarks.requirements import EXPRESS
from tests.support.service import Server, Service
from tests.support.wsgi_servers import Granian, Gunicorn

THREADS: Final = 8

Serve = Callable[[str], "OnOneCore"]
"""Makes a server, given the URL of its database."""

_SECRET_KEY: Final = "a-secret-key-that-is-made-up-for-the-peers"
ON_GRANIAN: Final = Granian(workers=1, threads=THREADS)


class OnOneCore(Server):
    """A server that has the first core for itself."""

    def launch(self) -> None:
        """Start the program and do not wait for it."""
        with on_core(SERVER_CORE):
            super().launch()

    @property
    def pid(self) -> int:
        """The process below which the whole server is."""
        if self._supervisor is None:
            raise RuntimeError("it was not started")
        return self._supervisor.pid


class Ours(OnOneCore, Service):
    """Our service as it is shipped, with one worker; settings are given in lower case."""

    def __init__(
        self,
        database_url: str,
        *,
        threads: int | None = THREADS,
        wechat_url: str = "http://127.0.0.1:9",
        module: str = "wsgi:app",
        **settings: object,
    ) -> None:
        """Start nothing yet; without `threads` it has those that it is shipped with."""
        super().__init__(
            database_url,
            server=Gunicorn(workers=1, threads=threads),
            wechat_url=wechat_url,
            module=module,
            **settings,
        )


class OursOnGranian(OnOneCore, Service):
    """Our service behind granian, with one worker; settings are given in lower case."""

    def __init__(self, database_url: str, **settings: object) -> None:
        """Start nothing yet."""
        super().__init__(database_url, server=ON_GRANIAN, **settings)  # type: ignore[arg-type]


class Peer(OnOneCore):
    """A Python application below `benchmarks/peers`, behind gunicorn as ours is."""

    alive = "/alive"

    def __init__(self, name: str, database_url: str = "", **environment: str) -> None:
        """Start nothing yet."""
        super().__init__(peer_environment(database_url) | environment)
        self._module = f"benchmarks.peers.{name}.app:app"

    def command(self) -> list[str]:
        """Return how gunicorn is called: not with the file of ours that lies where it looks."""
        options = ("--workers", "1", "--worker-class", "gthread", "--threads", str(THREADS))
        bound = ("--bind", f"127.0.0.1:{self.port}", "--keep-alive", "75")
        quiet = ("-c", "/dev/null", "--log-level", "warning", "--no-control-socket")
        return [sys.executable, "-m", "gunicorn", *quiet, *options, *bound, self._module]


class PeerOnGranian(Peer):
    """The same behind granian, as `OursOnGranian` is."""

    def command(self) -> list[str]:
        """Return how granian is called."""
        return ON_GRANIAN.command(self.port, self._module)


class Express(OnOneCore):
    """The application of Express, one process of Node."""

    alive = "/alive"

    def __init__(self, database_url: str, **environment: str) -> None:
        """Start nothing yet."""
        super().__init__(peer_environment(database_url) | environment)

    def command(self) -> list[str]:
        """Return how Node is called."""
        return ["node", str(EXPRESS / "app.js"), str(self.port)]


def peer_environment(database_url: str) -> dict[str, str]:
    """Return the environment of a peer, and of the program that fills its tables."""
    return {"DATABASE_URL": database_url, "SECRET_KEY": _SECRET_KEY}


@contextmanager
def running(*servers: OnOneCore) -> Iterator[None]:
    """Start servers, all at once, and stop them after the block."""
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
            server.launch()
        for server in servers:
            server.await_answer()
        yield
