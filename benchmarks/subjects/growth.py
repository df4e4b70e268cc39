"""The check with few sessions and with many."""

from benchmarks.bench import Bench, Filled
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, of_standings
from benchmarks.rounds import Contestant, compare, rate
from benchmarks.servers import Ours, running


def measure(bench: Bench) -> Outcome:
    """Compare our service with itself."""
    counts = bench.scale.growth
    contestants = [_contestant(bench.ours(count)) for count in counts]
    with running(*(one.server for one in contestants)):
        standings = compare(bench, contestants)
    least, most = (standings[_name(count)] for count in (counts[0], counts[-1]))
    what = f"check with {counts[-1]:,} sessions against {counts[0]:,}"
    return of_standings(standings, [Figure(what, 0.95, most.to(least, rate))])


def _contestant(filled: Filled) -> Contestant:
    check = asking("/check_session", filled.requests)
    return Contestant(_name(filled.sessions), Ours(filled.url), check, filled.name)


def _name(count: int) -> str:
    return f"{count:,} sessions"
