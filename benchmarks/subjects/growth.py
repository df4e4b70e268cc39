"""The check with few sessions and with many."""

from benchmarks.bench import Bench, FilledDatabase
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import Target, compare, rate
from benchmarks.servers import Ours, running


def measure(bench: Bench) -> Outcome:
    """Compare our service with itself."""
    counts = bench.scale.growth
    targets = [_target(bench.ours(count)) for count in counts]
    with running(*(one.server for one in targets)):
        results = compare(bench, targets)
    least, most = (results[_name(count)] for count in (counts[0], counts[-1]))
    what = f"check with {counts[-1]:,} sessions against {counts[0]:,}"
    return of_results(results, [Figure(what, 0.95, most.to(least, rate))])


def _target(filled: FilledDatabase) -> Target:
    check = asking("/check_session", filled.requests)
    return Target(_name(filled.sessions), Ours(filled.url), check, filled.name)


def _name(count: int) -> str:
    return f"{count:,} sessions"
