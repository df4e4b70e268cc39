"""From the start of gunicorn to the first answer."""

import time
from collections.abc import Callable

from benchmarks.bench import Bench
from benchmarks.outcome import Outcome, Table
from benchmarks.rounds import BARE, OURS, Spread
from benchmarks.servers import OnOneCore, Ours, Peer


def measure(bench: Bench) -> Outcome:
    """Start both in turn, again and again."""
    url = bench.ours(bench.scale.growth[0]).url
    starts = [
        (_start(lambda: Peer("bare_flask")), _start(lambda: Ours(url)))
        for _ in range(bench.scale.starts)
    ]
    bare, ours = (Spread.of(seconds).median for seconds in zip(*starts, strict=True))
    ratio = Spread.of(mine / others for others, mine in starts)
    rows = [(BARE, f"{bare:.2f}", "1.00"), (OURS, f"{ours:.2f}", f"{ratio.median:.2f}")]
    head = (f"median of {bench.scale.starts}", "seconds", "× bare Flask")
    return Outcome([Table(head, rows)])


def _start(make: Callable[[], OnOneCore]) -> float:
    begun = time.monotonic()
    with make():
        return time.monotonic() - begun
