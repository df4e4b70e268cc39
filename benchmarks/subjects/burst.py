"""Many logins in one moment, beside the same logins one after the other."""

import time
from dataclasses import dataclass
from functools import partial

from benchmarks.bench import Bench
from benchmarks.crowd import Crowd, send_crowd
from benchmarks.load import CONNECTIONS, Work
from benchmarks.outcome import Figure, Outcome, Table
from benchmarks.processes import children, cpu_seconds, resident_bytes
from benchmarks.rounds import Spread
from benchmarks.servers import Ours
from benchmarks.wechat import WeChat, logins

_CASES = ((None, 0.1), (None, 0.3), (128, 0.1))
"""The threads of a worker, those that it is shipped with if None, and the latency of WeChat."""
_ROUNDS = 3
_SETTLED = 0.2
_MIB = 2**20

_HOW = (
    f"A worker, started for each of {_ROUNDS} rounds. First {CONNECTIONS} clients log in one login"
    " after the other, then all come in one moment, each on a connection of its own."
)


@dataclass(frozen=True)
class _Round:
    crowd: Crowd
    in_loop: float
    """Milliseconds of the application for a login, one after the other."""
    in_burst: float
    memory: tuple[float, float]
    """MiB of the worker before and after the burst."""


def measure(bench: Bench) -> Outcome:
    """Let the same server do both, again and again."""
    filled = bench.fresh(bench.scale.growth[0])
    rows, figures = [], []
    for threads, latency in _CASES:
        serve = partial(Ours, filled.url, threads=threads)
        rounds = [
            _round(bench, serve, latency, filled.sessions)
            for _ in range(min(_ROUNDS, bench.scale.rounds))
        ]
        name = (
            f"{bench.scale.burst} logins at once, WeChat after {1000 * latency:.0f} ms,"
            f" {threads or 'all'} threads"
        )
        good = min(one.crowd.good for one in rounds)
        ratio = Spread.of(one.in_burst / one.in_loop for one in rounds)
        figures += [
            Figure(f"{name}: answered with 200", bench.scale.burst, good, unit=""),
            Figure(f"{name}: app CPU against one after the other", 1.3, ratio, at_most=True),
        ]
        if threads:
            grown = Spread.of(after / before for before, after in (one.memory for one in rounds))
            figures.append(Figure(f"{name}: memory of a worker", 1.3, grown, at_most=True))
        rows.append((name, *_row(rounds)))
    bench.drop(filled)
    head = ("", "good", "seconds", "app CPU ms", "in a loop ms", "before MiB", "after MiB")
    return Outcome([Table(head, rows)], figures, [_HOW])


def _row(rounds: list[_Round]) -> tuple[str, ...]:
    columns = [
        (one.crowd.good, one.crowd.seconds, one.in_burst, one.in_loop, *one.memory)
        for one in rounds
    ]
    good, *others = (Spread.of(column).median for column in zip(*columns, strict=True))
    return (f"{good:.0f}", *(f"{value:.1f}" for value in others))


def _round(bench: Bench, serve: "partial[Ours]", latency: float, users: int) -> _Round:
    with WeChat(delay=latency) as wechat, serve(wechat_url=wechat.url) as server:
        worker = children(children(server.pid)[0])[0]
        for _ in ("to warm up", "to measure"):
            work = Work("POST", "/login", logins(bench.scale.prepared, range(users)), once=True)
            began = cpu_seconds(server.pid)[0]
            done = bench.load.run(server.port, work, seconds=bench.scale.seconds).begun
            time.sleep(_SETTLED + latency)
            in_loop = (cpu_seconds(server.pid)[0] - began) / done
        before = resident_bytes(worker) / _MIB
        began = cpu_seconds(server.pid)[0]
        crowd = send_crowd(server.port, bench.scale.burst, users=users)
        in_burst = (cpu_seconds(server.pid)[0] - began) / bench.scale.burst
        after = resident_bytes(worker) / _MIB
    one = _Round(crowd, 1000 * in_loop, 1000 * in_burst, (before, after))
    bench.say(f"  {crowd.good} good in {crowd.seconds:.1f} s: {one}")
    return one
