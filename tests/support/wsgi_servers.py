"""The servers that run the service, each called as `docs/en/deploy.md` has it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

GUNICORN: Final = (sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py")

GRANIAN_OPTIONS: Final = (
    "--interface wsgi --http 1 --backpressure 1536 --respawn-failed-workers"
    " --workers-kill-timeout 30 --log-config logging.json"
)
GRANIAN: Final = (sys.executable, "-m", "granian", *GRANIAN_OPTIONS.split())


@dataclass(frozen=True)
class Gunicorn:
    """The default server; without `workers` and `threads` it has those of `gunicorn.conf.py`."""

    workers: int | None = None
    threads: int | None = None
    options: tuple[str, ...] = ()
    """More of its own options, or other values of some."""

    settings: ClassVar[Mapping[str, object]] = {}
    """What the service has to be told; `gunicorn.conf.py` tells it the number of threads."""

    def command(self, port: int, module: str) -> list[str]:
        """Return how it is called, to serve a module on this port of 127.0.0.1."""
        workers = () if self.workers is None else ("--workers", str(self.workers))
        threads = () if self.threads is None else ("--threads", str(self.threads))
        # The client closes a kept connection: otherwise the server may close one in the moment in
        # which a test sends on it, and that looks like a worker that died.
        bound = ("--bind", f"127.0.0.1:{port}", "--keep-alive", "75")
        return [*GUNICORN, *bound, *workers, *threads, *self.options, module]


SHIPPED: Final = Gunicorn()
"""As `gunicorn.conf.py` has it."""


@dataclass(frozen=True)
class Granian:
    """The faster server."""

    workers: int = 2
    threads: int = 768
    options: tuple[str, ...] = ()
    """More of its own options, or other values of some."""

    @property
    def settings(self) -> Mapping[str, object]:
        """What the service has to be told."""
        return {"threads": self.threads}

    def command(self, port: int, module: str) -> list[str]:
        """Return how it is called, to serve a module on this port of 127.0.0.1."""
        size = ("--workers", str(self.workers), "--blocking-threads", str(self.threads))
        kept_for_a_minute = ("--http1-header-read-timeout", "60000")  # as for gunicorn
        bound = ("--port", str(port), *kept_for_a_minute)
        return [*GRANIAN, *bound, *size, *self.options, module]


WsgiServer = Gunicorn | Granian
