"""Refreshes and logouts, each with a token that has not been used for it yet."""

from collections.abc import Callable

from benchmarks import filling
from benchmarks.bench import Bench
from benchmarks.load import Work
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import Target, app_cpu, compare
from benchmarks.servers import Ours

_REFRESH = "wxsession, refresh"
_LOGOUT = "wxsession, logout"


def measure(bench: Bench) -> Outcome:
    """Refresh and log out, and count what that costs the database."""
    filled = bench.fresh(bench.scale.growth[0])  # a check of a refreshed session confirms it first
    count = min(filled.sessions, bench.scale.prepared)

    def presenting(path: str) -> Callable[[], Work]:
        def work() -> Work:
            tokens = filling.present(filled.url, count)
            return Work("POST", path, filling.bearers(tokens), once=True)

        return work

    targets = [
        Target(_REFRESH, Ours, filled.url, presenting("/refresh"), has_flights=True),
        Target(_LOGOUT, Ours, filled.url, presenting("/logout"), has_flights=True),
    ]
    results = compare(bench, targets)
    bench.drop(filled)
    refresh, logout = results[_REFRESH], results[_LOGOUT]
    return of_results(
        results,
        [
            Figure("refresh, app CPU", 2.4, refresh.to_bare(app_cpu), at_most=True),
            Figure("refresh, flights", 2, refresh.flights or 0, unit="", at_most=True),
            Figure("logout, app CPU", 2.4, logout.to_bare(app_cpu), at_most=True),
        ],
    )
