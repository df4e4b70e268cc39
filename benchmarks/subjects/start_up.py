"""From the start of gunicorn to the first answer."""

import statistics
import time
from collections.abc import Callable

from benchmarks.bench import Bench
from benchmarks.noise import CpuTimes, Noise, worst
from benchmarks.outcome import Outcome, Table
from benchmarks.rounds import BARE
from benchmarks.servers import OnOneCore, Ours, Peer


def measure(bench: Bench) -> Outcome:
    """Start both again and again; the median of the undisturbed starts counts."""
    url = bench.ours(bench.scale.growth[0]).url
    makes: dict[str, Callable[[], OnOneCore]] = {
        BARE: lambda: Peer("bare_flask"),
        "wxsession": lambda: Ours(url),
    }
    starts: dict[str, list[tuple[float, Noise]]] = {name: [] for name in makes}
    for _ in range(bench.scale.starts):
        for name, make in makes.items():
            starts[name].append(_start(make))
    seconds = {name: _median(taken) for name, taken in starts.items()}
    bare = seconds[BARE]
    rows = [
        (
            name,
            "disturbed" if median is None else f"{median:.2f}",
            "disturbed" if median is None or bare is None else f"{median / bare:.2f}",
        )
        for name, median in seconds.items()
    ]
    head = (f"median of {bench.scale.starts}", "seconds", "× bare Flask")
    return Outcome([Table(head, rows)], noise=worst([n for t in starts.values() for _, n in t]))


def _start(make: Callable[[], OnOneCore]) -> tuple[float, Noise]:
    before, begun = CpuTimes.now(), time.monotonic()
    with make():
        return time.monotonic() - begun, before.until(CpuTimes.now())


def _median(starts: list[tuple[float, Noise]]) -> float | None:
    quiet = [seconds for seconds, noise in starts if not noise.is_disturbing]
    return statistics.median(quiet) if quiet else None
