"""Checks while both kinds of logins that wait come as a flood."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.bench import Bench
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
_ROUNDS = 3  # each of them waits until the threads are taken

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
    settled = 3 * bench.scale.warm_up

    @contextmanager
    def both(port: int) -> Iterator[None]:
        flood = partial(impatient_clients, port, users=filled.sessions)
        with (
            flood(count=_CODES, settled=0, kind=CODES),
            flood(count=_PASSWORDS, settled=settled, kind=PASSWORDS),
        ):
            yield

    with WeChat(delay=_ANSWERS_AFTER) as wechat:
        serve = partial(Ours, threads=_THREADS, wechat_url=wechat.url, trusted_proxies=1)
        results = compare(
            bench,
            [
                Target(_QUIET, serve, filled.url, check),
                Target(_PRESSED, serve, filled.url, check, beside=both),
            ],
            rounds=min(_ROUNDS, bench.scale.rounds),
        )
    pressed = results[_PRESSED].median(p50)
    figure = Figure("check beside both floods, p50", 60, pressed, unit="ms", at_most=True)
    return of_results(results, [figure], [_HOW])
