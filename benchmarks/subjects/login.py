"""Logins of users who are known, with a WeChat that answers at once and with one that does not."""

from collections.abc import Callable
from functools import partial

from benchmarks.bench import Bench
from benchmarks.flights import flights
from benchmarks.load import Work
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import OURS, Target, app_cpu, compare
from benchmarks.servers import Express, Ours, Peer, running
from benchmarks.wechat import WeChat, logins, logins_of_each

_LATENCY = 0.1
_CONNECTIONS = 64
_USERS = 3_000

_AT_ONCE = f"{OURS}, WeChat after 0 ms"
_LATER = f"{OURS}, WeChat after {1000 * _LATENCY:.0f} ms"
_TUTORIAL = "the tutorial, WeChat after 0 ms"
_EXPRESS = "express, WeChat after 0 ms"
_PEERS = {_TUTORIAL: "tutorial_sqlalchemy", _EXPRESS: "express"}

_HOW = (
    "A worker with the threads that it is shipped with, which are started as they are needed."
    f" Where WeChat takes its time, {_CONNECTIONS} connections log in. Everybody has logged in"
    " before, and WeChat gives the session_key that it gave then. The tutorial has"
    " requests, an ORM and a random token in a table; express asks with fetch and pg, and"
    " regenerates the session."
)


def measure(bench: Bench) -> Outcome:
    """Log in one login after the other, on as many connections as keep the server busy."""
    filled = bench.fresh(bench.scale.growth[0])  # logins end sessions that others present
    users = min(_USERS, filled.sessions // 2)
    strangers = range(users, filled.sessions)

    def known() -> Work:
        return Work("POST", "/login", logins(bench.scale.prepared, range(users)), once=True)

    def ours(wechat: WeChat) -> Callable[[str], Ours]:
        return partial(Ours, threads=None, wechat_url=wechat.url)

    with WeChat(delay=0) as at_once, WeChat(delay=_LATENCY) as later:
        _log_everybody_in(bench, ours(at_once)(filled.url), users)
        peers = {name: bench.peer(module, users, 1) for name, module in _PEERS.items()}
        tutorial = partial(Peer, _PEERS[_TUTORIAL], WECHAT_URL=at_once.url)
        express = partial(Express, WECHAT_URL=at_once.url)
        results = compare(
            bench,
            [
                Target(_AT_ONCE, ours(at_once), filled.url, known, has_flights=True),
                Target(_TUTORIAL, tutorial, peers[_TUTORIAL].url, known, has_flights=True),
                Target(_EXPRESS, express, peers[_EXPRESS].url, known, has_flights=True),
                Target(
                    _LATER,
                    ours(later),
                    filled.url,
                    known,
                    connections=_CONNECTIONS,
                    waits=_LATENCY,
                ),
            ],
        )
        new_key = Work("POST", "/login", logins(bench.scale.prepared, strangers), once=True)
        flights_with_key = flights(bench.postgres, ours(at_once), filled.url, new_key)
    for one in (filled, *peers.values()):
        bench.drop(one)
    login = results[_AT_ONCE]
    cheaper = results[_TUTORIAL].to(login, app_cpu)
    return of_results(
        results,
        [
            *(
                Figure(f"login, {name}: app CPU", 8, results[name].to_bare(app_cpu), at_most=True)
                for name in (_AT_ONCE, _LATER)
            ),
            Figure("login, flights", 4, login.flights or 0, unit="", at_most=True),
            Figure("login, session_key is new: flights", 4, flights_with_key, "", at_most=True),
            Figure("login, app CPU of the tutorial's against ours", 2, cheaper),
        ],
        [_HOW],
    )


def _log_everybody_in(bench: Bench, server: Ours, users: int) -> None:
    """Let everybody log in once, so that WeChat's keys are known."""
    work = Work("POST", "/login", logins_of_each(range(users)), once=True)
    with running(server):
        bench.load.run(server.port, work, seconds=4 * bench.scale.warm_up)
