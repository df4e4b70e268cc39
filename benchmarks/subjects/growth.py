"""The check with few sessions and with many."""

from benchmarks.bench import Bench
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import Target, compare, rate
from benchmarks.servers import Ours


def measure(bench: Bench) -> Outcome:
    """Compare our service with itself."""
    few, many = (_target(bench, count) for count in bench.scale.growth)
    results = compare(bench, [few, many])
    kept = results[many.name].to(results[few.name], rate)
    return of_results(results, [Figure(f"check with {many.name} against {few.name}", 0.95, kept)])


def _target(bench: Bench, count: int) -> Target:
    filled = bench.ours(count)
    check = asking("/check_session", filled.requests)
    return Target(f"{count:,} sessions", Ours, filled.url, check)
