"""Checks while both kinds of logins that wait come as a flood."""

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.filling import MOST_USERS
from benchmarks.impatient import CODES, PASSWORDS, impatient_clients
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import Target, compare, p50
from benchmarks.servers import Ours
from benchmarks.wechat import WeChat

_ANSWERS_AFTER = 4.0
_CODES = 48
_PASSWORDS = 52
_THREADS = 32

_HOW = (
    f"{_CODES} clients with codes that WeChat answers after {_ANSWERS_AFTER:.0f} s, {_PASSWORDS}"
    f" that guess passwords, each from a new address, and a worker of {_THREADS} threads, so that"
    " either flood alone could take all of them. Nobody waits for more than two seconds."
)

_QUIET = "check, nobody logs in"
_PRESSED = "check beside both floods"


def measure(bench: Bench) -> Outcome:
    """Compare the check with itself."""
    filled = bench.ours(bench.scale.growth[0])
    check = asking("/check_session", filled.requests)
    users, settled = min(filled.sessions, MOST_USERS), 3 * bench.scale.warm_up

    with (
        WeChat(delay=_ANSWERS_AFTER) as wechat,
        Ours(filled.url, threads=_THREADS, wechat_url=wechat.url, trusted_proxies=1) as server,
    ):

        @contextmanager
        def both() -> Iterator[None]:
            with (
                impatient_clients(server.port, _CODES, users=users, settled=0, kind=CODES),
                impatient_clients(
                    server.port, _PASSWORDS, users=users, settled=settled, kind=PASSWORDS
                ),
            ):
                yield

        results = compare(
            bench,
            [Target(_QUIET, server, check), Target(_PRESSED, server, check, beside=both)],
        )
    pressed = results[_PRESSED]
    median = None if pressed.is_disturbed else pressed.median(p50)
    figure = Figure("check beside both floods, p50", 60, median, unit="ms", at_most=True)
    return of_results(results, [figure], [_HOW])
