"""Rounds: each target in turn for a second, between two measurements of the bare Flask route.

No machine has the same speed twice, and one that is shared changes it from second to second. So a
measurement is compared with the two beside it alone, and that again and again: a ratio is the
median over the rounds, and its quartiles say how far it can be trusted.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

from benchmarks.bench import Bench
from benchmarks.flights import flights
from benchmarks.load import CONNECTIONS, Reading, Request, Work, asking
from benchmarks.noise import GROSS_NOISE, CpuTimes, Noise
from benchmarks.processes import cpu_seconds
from benchmarks.servers import OnOneCore, Serve, running

_SETTLED = 0.1
"""Seconds until a server has ended the requests that the load generator did not wait for."""

BARE = "bare Flask route"
OURS = "wxsession"


class RequestsFailed(Exception):
    """What was measured are errors; the message says whose."""


@dataclass(frozen=True)
class Target:
    """A kind of server and the work that it is given."""

    name: str
    serve: Serve
    url: str
    """The URL of its database."""
    work: Callable[[], Work]
    """Is called for each measurement."""
    connections: int = CONNECTIONS
    beside: Callable[[int], AbstractContextManager[object]] = lambda _port: nullcontext()
    """What goes on while it is measured, given the port of the server."""
    waits: float = 0.0
    """The seconds that each request waits for somebody else."""
    has_flights: bool = False
    """Whether to count how often a request waits for PostgreSQL."""


@dataclass(frozen=True)
class Measurement:
    """One target, for a moment."""

    reading: Reading
    app_cpu: float
    """Microseconds for a request, user and system, of the server and all its processes."""
    postgres_cpu: float
    noise: Noise


@dataclass(frozen=True)
class Spread:
    """Several values of the same thing: their median and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return the spread of at least one value."""
        some = list(values)
        if len(some) == 1:
            return cls(some[0], some[0], some[0])
        low, median, high = statistics.quantiles(some, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True)
class Comparison:
    """A measurement and those of the bare route before and after it."""

    mine: Measurement
    bare: tuple[Measurement, Measurement]

    def ratio(self, of: Callable[[Measurement], float]) -> float:
        """Return something as a multiple of what the bare route has."""
        return _ratio(2 * of(self.mine), sum(map(of, self.bare)))

    @property
    def noise(self) -> float:
        """The share of the machine that others had in the noisiest of the three."""
        return max(one.noise.total for one in (self.mine, *self.bare))


@dataclass
class Result:
    """How a target stands: a comparison for each round."""

    name: str
    flights: float | None = None
    rounds: list[Comparison] = field(default_factory=list)

    @property
    def counted(self) -> list[Comparison]:
        """The rounds that were not grossly disturbed; if most of them were, all of them."""
        quiet = [one for one in self.rounds if one.noise <= GROSS_NOISE]
        return quiet if 2 * len(quiet) >= len(self.rounds) else self.rounds

    def median(self, of: Callable[[Measurement], float]) -> float:
        """Return the median of something."""
        return statistics.median(of(one.mine) for one in self.counted)

    def to_bare(self, of: Callable[[Measurement], float]) -> Spread:
        """Return something as a ratio to the bare route's."""
        return Spread.of(one.ratio(of) for one in self.counted)

    def to(self, other: "Result", of: Callable[[Measurement], float]) -> Spread:
        """Return something as a ratio to what another target had in the same rounds."""
        both = list(zip(self.rounds, other.rounds, strict=True))
        quiet = [pair for pair in both if max(one.noise for one in pair) <= GROSS_NOISE]
        both = quiet if 2 * len(quiet) >= len(both) else both
        return Spread.of(_ratio(mine.ratio(of), others.ratio(of)) for mine, others in both)


def rate(measurement: Measurement) -> float:
    """Return the requests per second."""
    return measurement.reading.per_second


def app_cpu(measurement: Measurement) -> float:
    """Return the microseconds of the application for a request."""
    return measurement.app_cpu


def postgres_cpu(measurement: Measurement) -> float:
    """Return the microseconds of PostgreSQL for a request."""
    return measurement.postgres_cpu


def all_cpu(measurement: Measurement) -> float:
    """Return the microseconds of both for a request."""
    return measurement.app_cpu + measurement.postgres_cpu


def p50(measurement: Measurement) -> float:
    """Return the milliseconds within which half was answered."""
    return measurement.reading.p50


def p99(measurement: Measurement) -> float:
    """Return the milliseconds within which all but one of a hundred were answered."""
    return measurement.reading.p99


def compare(
    bench: Bench,
    targets: Sequence[Target],
    *,
    to_bare: Sequence[Request] = (Request(),),
    rounds: int | None = None,
) -> dict[str, Result]:
    """Return how all of them stand, by their names, the bare Flask route first.

    `to_bare` is what the bare route is sent: where it is what a check costs that is asked, the same
    tokens, which it does not look at. Without `rounds` there are as many as the scale has.

    Raises:
        RequestsFailed: one of them answers with errors.
    """
    bare = Target(BARE, lambda _url: bench.bare, "", asking("/check", to_bare))
    results = {one.name: Result(one.name) for one in (bare, *targets)}
    for one in targets:
        if one.has_flights:
            results[one.name].flights = flights(bench.postgres, one.serve, one.url, one.work())
    servers = {one.name: one.serve(one.url) for one in targets}
    with running(*servers.values()):
        for one in targets:
            _warm_up(bench, one, servers[one.name])
        _warm_up(bench, bare, bench.bare)
        bares = [measure(bench, bare, bench.bare)]
        for _ in range(rounds or bench.scale.rounds):
            for one in targets:
                mine = measure(bench, one, servers[one.name])
                bares.append(measure(bench, bare, bench.bare))
                results[one.name].rounds.append(Comparison(mine, (bares[-2], bares[-1])))
    # The bare route beside itself shows how noisy a ratio is that ought to be 1.
    results[BARE].rounds += [
        Comparison(here, (before, after))
        for (before, here), (_, after) in pairwise(pairwise([bares[0], *bares, bares[-1]]))
    ]
    return results


def in_pairs(
    bench: Bench, one: Target, other: Target, *, pairs: int
) -> list[tuple[Measurement, Measurement]]:
    """Return measurements of two targets that differ in little, one beside the other.

    It is left to chance which of a pair goes first: a shared machine changes its speed in a rhythm,
    and by turns, one of them would now and then have all the slow moments (a difference of 1 % was
    seen as one of 7 %).

    Raises:
        RequestsFailed: one of them answers with errors.
    """
    both = [(target, target.serve(target.url)) for target in (one, other)]
    with running(*(server for _, server in both)):
        for target, server in both:
            _warm_up(bench, target, server)
        found = []
        for _ in range(pairs):
            seen = {place: measure(bench, *both[place]) for place in random.sample((0, 1), 2)}
            found.append((seen[0], seen[1]))
    return found


def ratio_of_pairs(
    pairs: Sequence[tuple[Measurement, Measurement]], of: Callable[[Measurement], float]
) -> Spread:
    """Return something of the first of each pair as a ratio to the second's."""
    quiet = [p for p in pairs if max(one.noise.total for one in p) <= GROSS_NOISE]
    counted = quiet if 2 * len(quiet) >= len(pairs) else pairs
    return Spread.of(_ratio(of(one), of(other)) for one, other in counted)


def measure(bench: Bench, one: Target, server: OnOneCore) -> Measurement:
    """Return one measurement of a target.

    Raises:
        RequestsFailed: it answers with errors.
    """
    work, postgres = one.work(), bench.postgres.pid
    with one.beside(server.port):
        before, began = CpuTimes.now(), cpu_seconds(server.pid, postgres)
        reading = bench.load.run(
            server.port, work, seconds=bench.scale.seconds, connections=one.connections
        )
        time.sleep(_SETTLED + 3 * one.waits)
        after, ended = CpuTimes.now(), cpu_seconds(server.pid, postgres)
    if reading.failed or not reading.requests:
        raise RequestsFailed(f"{one.name}: {reading.failed} of {reading.requests} failed")
    if work.once and reading.begun > len(work.requests):
        raise RequestsFailed(f"{one.name}: {len(work.requests)} were prepared, too few")
    app, sql = (1e6 * (b - a) / reading.begun for a, b in zip(began, ended, strict=True))
    measurement = Measurement(reading, app, sql, before.until(after))
    bench.say(
        f"  {one.name}: {reading.per_second:.0f}/s, p99 {reading.p99:.1f} ms,"
        f" {app:.0f} µs, PostgreSQL {sql:.0f} µs, noise {measurement.noise.total:.1%}"
    )
    return measurement


def _warm_up(bench: Bench, one: Target, server: OnOneCore) -> None:
    seconds = bench.scale.warm_up
    bench.load.run(server.port, one.work(), seconds=seconds, connections=one.connections)
    time.sleep(_SETTLED + 3 * one.waits)


def _ratio(one: float, other: float) -> float:
    return one / (other or math.nan)  # the clock of the CPU ticks a hundred times in a second
