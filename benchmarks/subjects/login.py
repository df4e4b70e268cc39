"""Logins of users who are known, with a WeChat that takes its usual time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.filling import MOST_USERS
from benchmarks.load import Work
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.processes import cpu_seconds
from benchmarks.rounds import Target, compare, rate
from benchmarks.servers import Ours
from benchmarks.trips import round_trips
from benchmarks.wechat import WeChat, logins

_LATENCY = 0.1
_CPU_BOUND = 0.9


def measure(bench: Bench) -> Outcome:
    """Log in on as many connections as there may be calls of WeChat at once."""
    filled = bench.fresh(bench.scale.growth[0])  # logins end sessions that others present
    users, threads = min(filled.sessions, MOST_USERS), bench.scale.login_threads
    name = f"login, {threads} threads"
    count = round(bench.scale.logins * max(1, bench.scale.seconds))

    def work() -> Work:
        return Work("POST", "/login", logins(count, users), once=True)

    def log_in_again() -> Work:
        return Work("POST", "/login", logins(count, 1), once=True)

    with (
        WeChat(delay=_LATENCY) as wechat,
        Ours(
            filled.url,
            threads=2 * threads,  # three quarters of which may wait
            wechat_url=wechat.url,
            wechat_concurrency=threads,
        ) as server,
    ):
        target = Target(
            name,
            server,
            work,
            filled.name,
            connections=threads,
            beside=lambda: _with_nothing_left_over(server.pid),
        )
        results = compare(bench, [target])
        bench.load.run(server.port, log_in_again(), seconds=bench.scale.warm_up, connections=1)
        with bench.postgres.logging_statements(), _with_nothing_left_over(server.pid):
            again = round_trips(bench.postgres, filled.name, server.port, log_in_again())
    bench.drop(filled)
    login = results[name]
    share = None if login.is_disturbed else login.median(rate) * _LATENCY / threads
    busy = login.median(lambda measurement: measurement.busy)
    bound = f"the CPU is the limit: {busy:.0%} of the core" if busy >= _CPU_BOUND else ""
    how = (
        f"A worker with {2 * threads} threads, {threads} of which may ask WeChat"
        " (`WXSESSION_WECHAT_CONCURRENCY`), and so many connections to it. The logins that are"
        " under way when the load ends have cost CPU, but are not counted."
    )
    return of_results(
        results,
        [
            Figure("login, against threads / latency", 0.6, share, limit=bound),
            Figure("login, round trips", 8, again, unit="", at_most=True),
            Figure(
                "login with a new session_key, round trips",
                8,
                login.round_trips,
                unit="",
                at_most=True,
            ),
        ],
        [how, f"The server had {busy:.0%} of its core."],
    )


@contextmanager
def _with_nothing_left_over(server: int) -> Iterator[None]:
    """Wait for the logins that the load before did not wait for; they would cost this one CPU."""
    spent: list[float] = []
    while spent != (now := cpu_seconds(server)):
        spent = now
        time.sleep(2 * _LATENCY)
    yield
