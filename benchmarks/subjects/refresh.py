"""Refreshes, each with a token that has not been refreshed yet."""

from benchmarks import filling
from benchmarks.bench import Bench
from benchmarks.load import Work
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import Target, compare
from benchmarks.servers import Ours

_NAME = "refresh"


def measure(bench: Bench) -> Outcome:
    """Refresh, and count what that costs the database."""
    filled = bench.fresh(bench.scale.growth[0])  # a check of a refreshed session confirms it first
    count = min(filled.sessions, round(bench.scale.logins * max(1, bench.scale.seconds)))

    def work() -> Work:
        tokens = filling.present(filled.url, count)
        return Work("POST", "/refresh", filling.bearers(tokens), once=True)

    with Ours(filled.url) as server:
        results = compare(bench, [Target(_NAME, server, work, filled.name)])
    bench.drop(filled)
    trips = results[_NAME].round_trips
    return of_results(results, [Figure("refresh, round trips", 3, trips, unit="", at_most=True)])
