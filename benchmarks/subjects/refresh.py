"""Refreshes and logouts, each with a token that has not been used for it yet."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from benchmarks import filling
from benchmarks.bench import Bench
from benchmarks.load import Work, each_once
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import Target, app_cpu, compare
from benchmarks.servers import Express, Ours, Peer, Serve

_REFRESH = "wxsession, refresh"
_LOGOUT = "wxsession, logout"
_PEERS: Final[Mapping[str, tuple[str, Serve]]] = {
    "flask-jwt-extended, blocklist in SQL, refresh": (
        "flask_jwt_extended_sqlalchemy",
        partial(Peer, "flask_jwt_extended_sqlalchemy"),
    ),
    "express-session, regenerate": ("express", Express),
}

_HOW = (
    "A refresh gives a new token and makes the old one useless: flask-jwt-extended by a row in its"
    " blocklist, which it looks at first; express-session by another session in its place."
)


def measure(bench: Bench) -> Outcome:
    """Refresh and log out, and count what that costs the database."""
    filled = bench.fresh(bench.scale.growth[0])  # a check of a refreshed session confirms it first
    count = min(filled.sessions, bench.scale.prepared)

    def presenting(path: str) -> Callable[[], Work]:
        def work() -> Work:
            return each_once(path, filling.bearers(filling.present(filled.url, count)), count)()

        return work

    targets = [
        Target(_REFRESH, Ours, filled.url, presenting("/refresh"), has_flights=True),
        Target(_LOGOUT, Ours, filled.url, presenting("/logout"), has_flights=True),
    ]
    databases = [filled]
    for name, (module, serve) in _PEERS.items():
        all_of_them = count * (bench.scale.rounds + 2)
        peer = bench.peer(module, all_of_them, all_of_them)
        refresh = each_once("/refresh", peer.requests, count)
        targets.append(Target(name, serve, peer.url, refresh, has_flights=True))
        databases.append(peer)
    results = compare(bench, targets)
    for one in databases:
        bench.drop(one)
    refreshed, ended = results[_REFRESH], results[_LOGOUT]
    return of_results(
        results,
        [
            Figure("refresh, app CPU", 2.4, refreshed.to_bare(app_cpu), at_most=True),
            Figure("refresh, flights", 2, refreshed.flights or 0, unit="", at_most=True),
            Figure("logout, app CPU", 2.4, ended.to_bare(app_cpu), at_most=True),
        ],
        [_HOW],
    )
