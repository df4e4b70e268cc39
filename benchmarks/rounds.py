"""Rounds: three or fewer are measured in turn, there and back, between two bare Flask routes.

A machine is never twice as fast as before. So nothing is compared but what was measured in one
round; a leg during which others took too much of the machine is measured again, and so is a whole
round if the bare route was not the same at its end as at its beginning. What stays disturbed has
no ratio.
"""

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import product

from benchmarks.bench import Bench
from benchmarks.load import CONNECTIONS, Reading, Request, Work, asking
from benchmarks.noise import DRIFT, Moment, Noise, worst
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
class Contestant:
    """A server and the work that it is given; `work` is called for each leg."""

    name: str
    server: OnOneCore
    work: Callable[[], Work]
    database: str | None = None
    """Its database in PostgreSQL."""
    connections: int = CONNECTIONS
    beside: Callable[[], AbstractContextManager[object]] = nullcontext
    """What goes on while it is measured."""


@dataclass(frozen=True)
class Leg:
    """One contestant, for some seconds."""

    reading: Reading
    app_cpu: float
    """Microseconds for a request, user and system, of the server and all its processes."""
    postgres_cpu: float
    busy: float
    """The share of its core that the server had."""
    noise: Noise


@dataclass
class Standing:
    """What is known of a contestant after all rounds; a pair of legs for each that counts."""

    name: str
    round_trips: float | None = None
    pairs: list[tuple[Leg, Leg]] = field(default_factory=list)
    bare: list[tuple[Leg, Leg]] = field(default_factory=list)
    """The legs of the bare route, in the same rounds."""
    seen: list[Leg] = field(default_factory=list)
    """Every leg, the disturbed ones too."""

    @property
    def is_disturbed(self) -> bool:
        """Whether there was no quiet round to measure it in."""
        return not self.pairs

    @property
    def noise(self) -> Noise:
        """The noisiest of the legs that count; of all, if none does."""
        counted = [leg for pair in self.pairs for leg in pair] or self.seen
        return worst([leg.noise for leg in counted])

    def median(self, of: Callable[[Leg], float]) -> float:
        """Return the median of something over the legs that count; over all, if none does."""
        counted = [leg for pair in self.pairs for leg in pair] or self.seen
        return statistics.median(map(of, counted))

    def to_bare(self, of: Callable[[Leg], float]) -> float | None:
        """Return the median over the rounds of something's ratio to the bare route's."""
        ratios = [
            _sum(of, mine) / _sum(of, bare)
            for mine, bare in zip(self.pairs, self.bare, strict=True)
            if _sum(of, bare)
        ]
        return statistics.median(ratios) if ratios else None

    def to(self, other: "Standing", of: Callable[[Leg], float]) -> float | None:
        """Return something as a ratio to another contestant's."""
        mine, others = self.to_bare(of), other.to_bare(of)
        return None if mine is None or not others else mine / others


def rate(leg: Leg) -> float:
    """Return the requests per second."""
    return leg.reading.per_second


def app_cpu(leg: Leg) -> float:
    """Return the microseconds of the application for a request."""
    return leg.app_cpu


def p50(leg: Leg) -> float:
    """Return the milliseconds within which half was answered."""
    return leg.reading.p50


def p99(leg: Leg) -> float:
    """Return the milliseconds within which all but one of a hundred were answered."""
    return leg.reading.p99


def compare(
    bench: Bench, contestants: Sequence[Contestant], *, to_bare: Sequence[Request] = (Request(),)
) -> dict[str, Standing]:
    """Return how all of them stand, by their names, the bare Flask route first.

    Their servers are running already. `to_bare` is what the bare route is sent: where it is what
    a check costs that is asked, the same tokens, which it does not look at.

    Raises:
        RequestsFailed: one of them answers with errors.
    """
    bare = Contestant(BARE, bench.bare, asking("/check", to_bare))
    standings = {one.name: Standing(one.name) for one in (bare, *contestants)}
    for one in (bare, *contestants):
        _warm_up(bench, one)
    with bench.postgres.logging_statements():
        for one in contestants:
            if one.database:
                with one.beside():
                    standings[one.name].round_trips = round_trips(
                        bench.postgres, one.database, one.server.port, one.work()
                    )
    for _, start in product(range(bench.scale.rounds), range(0, len(contestants), _GROUP)):
        _round(bench, [bare, *contestants[start : start + _GROUP]], standings)
    return standings


def _round(bench: Bench, group: Sequence[Contestant], standings: dict[str, Standing]) -> None:
    """Measure a group on the way there and on the way back; note what may be compared."""
    while True:
        there = {one.name: _quiet_leg(bench, one) for one in group}
        back = {one.name: _quiet_leg(bench, one) for one in reversed(group)}
        for one in group:
            standings[one.name].seen += [there[one.name], back[one.name]]
        bare = there[BARE], back[BARE]
        if _comparable(bare) and not _drifted(bare):
            break
        bench.say("  a disturbed round: the bare Flask route is not what it was")
        if not bench.may_repeat(2 * len(group)):
            return
    for one in group:
        if _comparable(pair := (there[one.name], back[one.name])):
            standings[one.name].pairs.append(pair)
            standings[one.name].bare.append(bare)


def _quiet_leg(bench: Bench, one: Contestant) -> Leg:
    for _ in range(_TRIES):
        leg = measure(bench, one)
        if not leg.noise.is_disturbing or not bench.may_repeat():
            break
    return leg


def measure(bench: Bench, one: Contestant) -> Leg:
    """Return one leg of a contestant.

    Raises:
        RequestsFailed: it answers with errors.
    """
    with one.beside():
        work, postgres = one.work(), bench.postgres.pid
        before, began = Moment.now(), cpu_seconds(one.server.pid, postgres)
        reading = bench.load.run(
            one.server.port, work, seconds=bench.scale.seconds, connections=one.connections
        )
        after, ended = Moment.now(), cpu_seconds(one.server.pid, postgres)
    if reading.failed or not reading.requests:
        raise RequestsFailed(f"{one.name}: {reading.failed} of {reading.requests} failed")
    if work.once and reading.requests > len(work.requests):
        raise RequestsFailed(f"{one.name}: {len(work.requests)} were prepared, too few")
    app, sql = (b - a for a, b in zip(began, ended, strict=True))
    leg = Leg(
        reading,
        app_cpu=1e6 * app / reading.requests,
        postgres_cpu=1e6 * sql / reading.requests,
        busy=app / (after.at - before.at),
        noise=before.until(after),
    )
    bench.say(
        f"  {one.name}: {reading.per_second:.0f}/s, p99 {reading.p99:.1f} ms,"
        f" {leg.app_cpu:.0f} µs, noise {leg.noise.total:.1%}"
    )
    return leg


def _warm_up(bench: Bench, one: Contestant) -> None:
    seconds = bench.scale.warm_up
    bench.load.run(one.server.port, one.work(), seconds=seconds, connections=one.connections)


def _comparable(pair: tuple[Leg, Leg]) -> bool:
    return not any(leg.noise.is_disturbing for leg in pair)


def _drifted(pair: tuple[Leg, Leg]) -> bool:
    first, last = sorted(map(rate, pair))
    return last > first * (1 + DRIFT)


def _sum(of: Callable[[Leg], float], pair: tuple[Leg, Leg]) -> float:
    return sum(map(of, pair))
