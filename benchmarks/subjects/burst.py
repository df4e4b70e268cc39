"""Many logins in one moment, beside the same logins one after the other."""

import statistics
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.crowd import Crowd, send_crowd
from benchmarks.filling import MOST_USERS
from benchmarks.load import CONNECTIONS, Work
from benchmarks.noise import CpuTimes, Noise, worst
from benchmarks.outcome import Figure, Outcome, Table
from benchmarks.processes import children, cpu_seconds, resident_bytes
from benchmarks.servers import Ours
from benchmarks.wechat import WeChat, logins

_LATENCIES = (0.1, 0.3)
_MIB = 2**20

_HOW = (
    "A worker as it is shipped, started for each round. First {connections} clients log in one"
    " login after the other, then {burst} come in one moment, each on a connection of its own."
)


@dataclass(frozen=True)
class _Round:
    crowd: Crowd
    in_loop: float
    """Milliseconds of the application for a login, one after the other."""
    in_burst: float
    memory: tuple[float, float]
    """MiB of the worker before and after the burst."""
    noise: Noise


def measure(bench: Bench) -> Outcome:
    """Let the same server do both, again and again."""
    filled = bench.fresh(bench.scale.growth[0])
    rows, figures, noises = [], [], []
    for latency in _LATENCIES:
        rounds = [
            _round(bench, filled.url, latency, min(filled.sessions, MOST_USERS))
            for _ in range(bench.scale.rounds)
        ]
        quiet = [one for one in rounds if not one.noise.is_disturbing]
        noises += [one.noise for one in rounds]
        name = f"{bench.scale.burst} logins at once, WeChat after {1000 * latency:.0f} ms"
        good = min(one.crowd.good for one in rounds)
        ratio = statistics.median(one.in_burst / one.in_loop for one in quiet) if quiet else None
        figures += [
            Figure(f"{name}: answered with 200", bench.scale.burst, good, unit=""),
            Figure(f"{name}: app CPU against one after the other", 1.3, ratio, at_most=True),
        ]
        rows.append((name, *_row(rounds)))
    bench.drop(filled)
    head = ("", "good", "seconds", "app CPU ms", "in a loop ms", "worker MiB", "before MiB")
    how = _HOW.format(connections=CONNECTIONS, burst=bench.scale.burst)
    return Outcome([Table(head, rows)], figures, worst(noises), [how])


def _row(rounds: list[_Round]) -> tuple[str, ...]:
    columns = [
        (one.crowd.good, one.crowd.seconds, one.in_burst, one.in_loop, one.memory[1], one.memory[0])
        for one in rounds
    ]
    good, *others = (statistics.median(column) for column in zip(*columns, strict=True))
    return (f"{good:.0f}", *(f"{value:.1f}" for value in others))


def _round(bench: Bench, url: str, latency: float, users: int) -> _Round:
    while True:
        one = _try(bench, url, latency, users)
        bench.say(
            f"  {one.crowd.good} good in {one.crowd.seconds:.1f} s: {one.in_burst:.2f} ms,"
            f" {one.in_loop:.2f} ms in a loop, noise {one.noise.total:.1%}"
        )
        if not one.noise.is_disturbing or not bench.can_repeat():
            return one


def _try(bench: Bench, url: str, latency: float, users: int) -> _Round:
    with WeChat(delay=latency) as wechat, Ours(url, threads=None, wechat_url=wechat.url) as server:
        worker = children(children(server.pid)[0])[0]
        for seconds in bench.scale.warm_up, bench.scale.seconds:
            work = Work(
                "POST", "/login", logins(round(bench.scale.logins * max(1, seconds)), users)
            )
            before, began = CpuTimes.now(), cpu_seconds(server.pid)[0]
            done = bench.load.run(server.port, work, seconds=seconds).requests
            in_loop = (cpu_seconds(server.pid)[0] - began) / done
        few = resident_bytes(worker) / _MIB
        began = cpu_seconds(server.pid)[0]
        crowd = send_crowd(server.port, bench.scale.burst, users=users)
        in_burst = (cpu_seconds(server.pid)[0] - began) / bench.scale.burst
        noise = before.until(CpuTimes.now())
        many = resident_bytes(worker) / _MIB
    return _Round(crowd, 1000 * in_loop, 1000 * in_burst, (few, many), noise)
