"""A logout, refreshes and checks that write, all at once: afterwards nothing can be used."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import requests

from tests.proof.deployment import Deployment, at_once, deployed
from tests.proof.outcome import Outcome
from tests.support.service import code_of, token_of

_LANES = 4
_REFUSALS = {None, "session_ended", "session_superseded"}


def prove(database_url: str, rounds: int) -> Outcome:
    """Race as often; every check writes, because the touch interval is nothing."""
    with (
        deployed(database_url, touch_interval="0", max_sessions=100_000) as deployment,
        ThreadPoolExecutor(_LANES) as lanes,
    ):
        lengths = [rounds // _LANES + 1] * _LANES
        shares = list(lanes.map(partial(_race_often, deployment), range(_LANES), lengths))
    violations = [fault for faults, _ in shares for fault in faults]
    refreshed = sum(count for _, count in shares)
    seen = f"in {refreshed} rounds a refresh came before the logout"
    return Outcome(sum(lengths), tuple(violations), seen)


def _race_often(deployment: Deployment, lane: int, rounds: int) -> tuple[list[str], int]:
    violations: list[str] = []
    refreshed = 0
    with ThreadPoolExecutor(6) as pool:
        for number in range(rounds):
            code = deployment.wechat.code(f"user-{lane}-{number}")
            token = token_of(deployment.service.log_in(code))
            tokens, wrong = _race(deployment, pool, token)
            violations += wrong
            refreshed += len(tokens) > 1
            for left in tokens:
                if deployment.service.check(left).ok or deployment.service.refresh(left).ok:
                    violations.append("a token outlives the logout")
    return violations, refreshed


def _race(
    deployment: Deployment, pool: ThreadPoolExecutor, token: str
) -> tuple[set[str], list[str]]:
    """Return every token that may have come out of the race, and what was wrong in it."""
    service = deployment.service

    def refresh_twice() -> requests.Response:
        first = service.refresh(token)
        return service.refresh(token_of(first)) if first.ok else first

    calls: list[Callable[[], requests.Response]] = [
        partial(service.log_out, token),
        partial(service.refresh, token),
        refresh_twice,
        partial(service.check, token),
        partial(service.check, token),
    ]
    answers = at_once(pool, calls)
    wrong = [
        f"{answer.status_code} {answer.text}"
        for answer in answers
        if code_of(answer) not in _REFUSALS
    ]
    grants = [answer for answer in answers[1:3] if answer.ok]
    return {token, *map(token_of, grants)}, wrong
