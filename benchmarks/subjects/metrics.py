"""What it costs a check that the service counts and Prometheus may ask."""

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Final

from benchmarks.bench import Bench, FilledDatabase
from benchmarks.in_process import environ_of, send
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, Table
from benchmarks.rounds import (
    Measurement,
    Target,
    app_cpu,
    in_pairs,
    p99,
    rate,
    ratio_of_pairs,
)
from benchmarks.servers import Ours
from tests.support.service import free_port
from tests.support.settings import settings_for
from wxsession import create_app
from wxsession.services import EXTENSION

_PAIRS: Final = 8
"""Between two starts of both servers: two of the same kind differ by a few percent, too, because
one has had more luck with where its things lie in memory."""
_BLOCKS, _CALLS = 80, 20

_HOW: Final = (
    "{pairs} pairs: each measurement is compared with the one beside it; after every {few} both"
    " servers are started anew. The last two rows are of"
    " one process without a server in front, PostgreSQL's CPU not included: the least of {blocks}"
    " blocks of {calls} checks each, in turn, which moves less on a busy machine. The figure for"
    " the CPU is their difference, against a whole check with metrics off in the rows above."
)


def measure(bench: Bench) -> Outcome:
    """Let two servers that differ in this alone check the same sessions, in turn."""
    filled = bench.ours()
    check = asking("/check_session", filled.requests)
    on = Target("check, metrics on", partial(Ours, metrics=_an_address()), filled.url, check)
    off = Target("check, metrics off", Ours, filled.url, check)
    starts = range(bench.scale.rounds)
    pairs = [pair for _ in starts for pair in in_pairs(bench, on, off, pairs=_PAIRS)]
    with_, without = (_medians(measured) for measured in zip(*pairs, strict=True))
    kept = ratio_of_pairs(pairs, rate)
    blocks = _BLOCKS * bench.scale.rounds
    counted, plain = _in_process(filled, blocks)
    head = ("", "requests/s", "p99 ms", "app CPU µs")
    rows = [
        (on.name, *with_),
        (off.name, *without),
        ("in one process, metrics on", "–", "–", f"{counted:.1f}"),
        ("in one process, metrics off", "–", "–", f"{plain:.1f}"),
    ]
    return Outcome(
        [Table(head, rows)],
        [
            Figure("check with metrics on, its rate", 0.97, kept),
            Figure(
                "check with metrics on, app CPU",
                1.03,
                1 + (counted - plain) / statistics.median(app_cpu(one) for _, one in pairs),
                at_most=True,
            ),
        ],
        [_HOW.format(pairs=len(pairs), few=_PAIRS, blocks=blocks, calls=_CALLS)],
    )


def _in_process(filled: FilledDatabase, blocks: int) -> tuple[float, float]:
    """Return the µs of CPU that a check takes with metrics on, and with metrics off."""
    request = environ_of("GET", "/check_session", filled.requests[0])
    apps = [
        create_app(settings_for(filled.url, **settings))
        for settings in ({"metrics": _an_address()}, {})
    ]
    calls = [partial(send, app.wsgi_app, request) for app in apps]
    with (
        closing(apps[0].extensions[EXTENSION].database),
        closing(apps[1].extensions[EXTENSION].database),
    ):
        for call in calls:
            _cpu(call, 10 * _CALLS)
        taken = [tuple(_cpu(call, _CALLS) for call in calls) for _ in range(blocks)]
    return min(one for one, _ in taken), min(other for _, other in taken)


def _cpu(call: Callable[[], None], times: int) -> float:
    begun = time.thread_time()
    for _ in range(times):
        call()
    return (time.thread_time() - begun) / times * 1e6


def _an_address() -> str:
    return f"127.0.0.1:{free_port()}"


def _medians(measured: tuple[Measurement, ...]) -> list[str]:
    ordered = [sorted(map(of, measured)) for of in (rate, p99, app_cpu)]
    return [f"{some[len(some) // 2]:.0f}" for some in ordered]
