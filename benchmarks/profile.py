"""Where the CPU of a request goes, by part: ``python -m benchmarks.profile login``.

The whole application runs in this process, with PostgreSQL and WeChat in others, and no server in
front. A timer that counts CPU looks every few milliseconds at what is running. A sample belongs to
the module of ours that is the nearest on the stack, and to the library that it has called.
"""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import packages_distributions
from pathlib import Path
from types import FrameType
from typing import Final

import click

from benchmarks import filling
from benchmarks.database import Postgres
from benchmarks.in_process import environ_of, send
from benchmarks.outcome import Table
from benchmarks.processes import cpu_seconds
from benchmarks.wechat import WeChat, logins_of_each
from tests.support.service import ROOT
from tests.support.settings import settings_for
from wxsession import create_app
from wxsession.services import EXTENSION

_EVERY: Final = 0.001
_WARM_UP: Final = 200
_LEAST_SHARE: Final = 0.01
_LIBRARIES: Final = frozenset(packages_distributions()) - {"wxsession", "benchmarks", "tests"}
_OURS: Final = f"{ROOT / 'wxsession'}/"

KINDS: Final = {
    "check": ("GET", "/check_session"),
    "login": ("POST", "/login"),
    "refresh": ("POST", "/refresh"),
    "logout": ("POST", "/logout"),
}

Samples = Counter[tuple[str, str]]
"""How often a module of ours, and a library below it, was seen."""


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option("--count", default=2_000, help="How many requests.")
def main(kind: str, count: int) -> None:
    """Print where the CPU of so many requests goes, with a user for each of them."""
    with Postgres() as server, WeChat(delay=0) as wechat:
        server.create_database("profile")
        table = profile(server, "profile", wechat.url, kind=kind, count=count)
    for row in (table.head, *table.rows):
        click.echo("{:<64} {:<16} {:>6}".format(*row))


def profile(server: Postgres, database: str, wechat_url: str, *, kind: str, count: int) -> Table:
    """Return where the CPU of so many requests goes, on an empty database."""
    url = server.url(database)
    filling.migrate(url)
    users = count + _WARM_UP
    filling.fill(url, users)
    if kind == "login":
        requests = [*logins_of_each(range(users)), *logins_of_each(range(users))]
    else:
        requests = filling.bearers(filling.present(url, users))
    app = create_app(settings_for(url, wechat_url=wechat_url))
    with closing(app.extensions[EXTENSION].database):
        before = len(requests) - count
        for request in requests[:before]:
            send(app.wsgi_app, environ_of(*KINDS[kind], request))
        samples, began = Samples(), (cpu_seconds(server.pid)[0], time.process_time())
        with _sampling(samples):
            for request in requests[before:]:
                send(app.wsgi_app, environ_of(*KINDS[kind], request))
        ended = cpu_seconds(server.pid)[0], time.process_time()
    sql, app_cpu = (1e6 * (b - a) / count for a, b in zip(began, ended, strict=True))
    title = f"{kind}: {app_cpu:.0f} µs of the application and {sql:.0f} µs of PostgreSQL"
    shares = {part: times / samples.total() for part, times in samples.most_common()}
    rows = [(*part, f"{share:.0%}") for part, share in shares.items() if share >= _LEAST_SHARE]
    return Table((title, "calls", "share"), rows)


@contextmanager
def _sampling(samples: Samples) -> Iterator[None]:
    def sample(_signal: int, frame: FrameType | None) -> None:
        samples[_part(frame)] += 1

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _part(frame: FrameType | None) -> tuple[str, str]:
    """Return the nearest module of ours on a stack, and the library that it has called."""
    library = "–"
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_OURS):
            return str(Path(path.removeprefix(_OURS)).with_suffix("")), library
        package = frame.f_globals.get("__name__", "?").partition(".")[0]
        if package in _LIBRARIES:
            library = package  # the outermost of several, which ours has called
        frame = frame.f_back
    return "(around it)", library


if __name__ == "__main__":
    main()
