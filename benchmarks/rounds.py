"""Rounds: three or fewer are measured in turn, there and back, between two bare Flask routes.

No machine has the same speed twice. So only measurements of the same round are compared. A
measurement is repeated if other processes took too much of the machine meanwhile, and a whole round
if the bare route changed between its beginning and its end. What stays disturbed has no ratio.
"""

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import product

from benchmarks.bench import Bench
from benchmarks.load import CONNECTIONS, Reading, Request, Work, asking
from benchmarks.noise import MAX_DRIFT, CpuTimes, Noise, worst
from benchmarks.processes import cpu_seconds
from benchmarks.servers import OnOneCore
from benchmarks.trips import round_trips

_TRIES = 3
_GROUP = 3

BARE = "bare Flask route"
OURS = "wxsession"


class RequestsFailed(Exception):
    """What was measured are errors; the message says whose."""


@dataclass(frozen=True)
class Target:
    """A server and the work that it is given; `work` is called for each measurement."""

    name: str
    server: OnOneCore
    work: Callable[[], Work]
    database: str | None = None
    """Its database in PostgreSQL."""
    connections: int = CONNECTIONS
    beside: Callable[[], AbstractContextManager[object]] = nullcontext
    """What goes on while it is measured."""


@dataclass(frozen=True)
class Measurement:
    """One target, for some seconds."""

    reading: Reading
    app_cpu: float
    """Microseconds for a request, user and system, of the server and all its processes."""
    postgres_cpu: float
    busy: float
    """The share of its core that the server had."""
    noise: Noise


@dataclass
class Result:
    """The measurements of a target: a pair for each round that counts."""

    name: str
    round_trips: float | None = None
    pairs: list[tuple[Measurement, Measurement]] = field(default_factory=list)
    bare: list[tuple[Measurement, Measurement]] = field(default_factory=list)
    """The measurements of the bare route, in the same rounds."""
    seen: list[Measurement] = field(default_factory=list)
    """Every measurement, the disturbed ones too."""

    @property
    def is_disturbed(self) -> bool:
        """Whether there was no quiet round to measure it in."""
        return not self.pairs

    @property
    def noise(self) -> Noise:
        """The noisiest of the measurements that count; of all, if none does."""
        counted = [measurement for pair in self.pairs for measurement in pair] or self.seen
        return worst([measurement.noise for measurement in counted])

    def median(self, of: Callable[[Measurement], float]) -> float:
        """Return the median over the measurements that count; over all, if none does."""
        counted = [measurement for pair in self.pairs for measurement in pair] or self.seen
        return statistics.median(map(of, counted))

    def to_bare(self, of: Callable[[Measurement], float]) -> float | None:
        """Return the median over the rounds of something's ratio to the bare route's."""
        ratios = [
            _sum(of, mine) / _sum(of, bare)
            for mine, bare in zip(self.pairs, self.bare, strict=True)
            if _sum(of, bare)
        ]
        return statistics.median(ratios) if ratios else None

    def to(self, other: "Result", of: Callable[[Measurement], float]) -> float | None:
        """Return something as a ratio to another target's."""
        mine, others = self.to_bare(of), other.to_bare(of)
        return None if mine is None or not others else mine / others


def rate(measurement: Measurement) -> float:
    """Return the requests per second."""
    return measurement.reading.per_second


def app_cpu(measurement: Measurement) -> float:
    """Return the microseconds of the application for a request."""
    return measurement.app_cpu


def p50(measurement: Measurement) -> float:
    """Return the milliseconds within which half was answered."""
    return measurement.reading.p50


def p99(measurement: Measurement) -> float:
    """Return the milliseconds within which all but one of a hundred were answered."""
    return measurement.reading.p99


def compare(
    bench: Bench, targets: Sequence[Target], *, to_bare: Sequence[Request] = (Request(),)
) -> dict[str, Result]:
    """Return how all of them stand, by their names, the bare Flask route first.

    Their servers are running already. `to_bare` is what the bare route is sent: where it is what
    a check costs that is asked, the same tokens, which it does not look at.

    Raises:
        RequestsFailed: one of them answers with errors.
    """
    bare = Target(BARE, bench.bare, asking("/check", to_bare))
    results = {one.name: Result(one.name) for one in (bare, *targets)}
    for one in (bare, *targets):
        _warm_up(bench, one)
    with bench.postgres.logging_statements():
        for one in targets:
            if one.database:
                with one.beside():
                    results[one.name].round_trips = round_trips(
                        bench.postgres, one.database, one.server.port, one.work()
                    )
    for _, start in product(range(bench.scale.rounds), range(0, len(targets), _GROUP)):
        _round(bench, [bare, *targets[start : start + _GROUP]], results)
    return results


def _round(bench: Bench, group: Sequence[Target], results: dict[str, Result]) -> None:
    """Measure a group on the way there and on the way back; note what may be compared."""
    while True:
        there = {one.name: _quiet_measurement(bench, one) for one in group}
        back = {one.name: _quiet_measurement(bench, one) for one in reversed(group)}
        for one in group:
            results[one.name].seen += [there[one.name], back[one.name]]
        bare = there[BARE], back[BARE]
        if _comparable(bare) and not _drifted(bare):
            break
        bench.say("  a disturbed round: the bare Flask route is not what it was")
        if not bench.can_repeat(2 * len(group)):
            return
    for one in group:
        if _comparable(pair := (there[one.name], back[one.name])):
            results[one.name].pairs.append(pair)
            results[one.name].bare.append(bare)


def _quiet_measurement(bench: Bench, one: Target) -> Measurement:
    for _ in range(_TRIES):
        measurement = measure(bench, one)
        if not measurement.noise.is_disturbing or not bench.can_repeat():
            break
    return measurement


def measure(bench: Bench, one: Target) -> Measurement:
    """Return one measurement of a target.

    Raises:
        RequestsFailed: it answers with errors.
    """
    with one.beside():
        work, postgres = one.work(), bench.postgres.pid
        before, began = CpuTimes.now(), cpu_seconds(one.server.pid, postgres)
        reading = bench.load.run(
            one.server.port, work, seconds=bench.scale.seconds, connections=one.connections
        )
        after, ended = CpuTimes.now(), cpu_seconds(one.server.pid, postgres)
    if reading.failed or not reading.requests:
        raise RequestsFailed(f"{one.name}: {reading.failed} of {reading.requests} failed")
    if work.once and reading.requests > len(work.requests):
        raise RequestsFailed(f"{one.name}: {len(work.requests)} were prepared, too few")
    app, sql = (b - a for a, b in zip(began, ended, strict=True))
    measurement = Measurement(
        reading,
        app_cpu=1e6 * app / reading.requests,
        postgres_cpu=1e6 * sql / reading.requests,
        busy=app / (after.at - before.at),
        noise=before.until(after),
    )
    bench.say(
        f"  {one.name}: {reading.per_second:.0f}/s, p99 {reading.p99:.1f} ms,"
        f" {measurement.app_cpu:.0f} µs, noise {measurement.noise.total:.1%}"
    )
    return measurement


def _warm_up(bench: Bench, one: Target) -> None:
    seconds = bench.scale.warm_up
    bench.load.run(one.server.port, one.work(), seconds=seconds, connections=one.connections)


def _comparable(pair: tuple[Measurement, Measurement]) -> bool:
    return not any(measurement.noise.is_disturbing for measurement in pair)


def _drifted(pair: tuple[Measurement, Measurement]) -> bool:
    first, last = sorted(map(rate, pair))
    return last > first * (1 + MAX_DRIFT)


def _sum(of: Callable[[Measurement], float], pair: tuple[Measurement, Measurement]) -> float:
    return sum(map(of, pair))
