"""Fifty refreshes of one token at once: one rotation, one next token, nobody is turned away."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sqlalchemy import select

from tests.proof.deployment import Deployment, at_once, deployed
from tests.proof.outcome import Outcome
from tests.support.service import token_of
from wxsession.storage.tables import sessions

_AT_ONCE = 50


def prove(database_url: str, rounds: int) -> Outcome:
    """Refresh one token fifty times at once, in so many rounds."""
    violations: list[str] = []
    with deployed(database_url) as deployment, ThreadPoolExecutor(_AT_ONCE) as pool:
        for number in range(rounds):
            token = token_of(deployment.service.log_in(deployment.wechat.code(f"user-{number}")))
            violations += _refresh(deployment, pool, token)
    return Outcome(rounds, tuple(violations), f"{rounds * _AT_ONCE} refreshes")


def _refresh(deployment: Deployment, pool: ThreadPoolExecutor, token: str) -> list[str]:
    answers = at_once(pool, [partial(deployment.service.refresh, token)] * _AT_ONCE)
    violations = [f"{answer.status_code} {answer.text}" for answer in answers if not answer.ok]
    granted = {token_of(answer) for answer in answers if answer.ok}
    presented = deployment.signer.load(token)
    [next_] = deployment.signer.successors(presented)
    if granted != {deployment.signer.dump(next_)}:
        violations.append(f"{len(granted)} different tokens were granted")
    query = select(sessions.c.token_hash).where(sessions.c.id == presented.session_id)
    with deployment.local.database.statement() as connection:
        if bytes(connection.execute(query).scalar_one()) != next_.hash:
            violations.append("the session was rotated more than once")
    dead = [token for token in granted if not deployment.service.check(token).ok]
    return violations + ["the next token does not work"] * len(dead)
