"""Fifty refreshes of one token at once: one rotation, one next token, nobody is turned away."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sqlalchemy import select

from tests.proof.outcome import Outcome
from tests.proof.world import World, at_once, world
from tests.support.service import token_of
from wxsession.storage.tables import sessions

_AT_ONCE = 50


def prove(database_url: str, rounds: int) -> Outcome:
    """Refresh one token fifty times at once, in so many rounds."""
    violations: list[str] = []
    with world(database_url) as parties, ThreadPoolExecutor(_AT_ONCE) as pool:
        for number in range(rounds):
            token = token_of(parties.service.log_in(parties.wechat.code(f"user-{number}")))
            violations += _refresh(parties, pool, token)
    return Outcome(rounds, tuple(violations), f"{rounds * _AT_ONCE} refreshes")


def _refresh(parties: World, pool: ThreadPoolExecutor, token: str) -> list[str]:
    answers = at_once(pool, [partial(parties.service.refresh, token)] * _AT_ONCE)
    violations = [f"{answer.status_code} {answer.text}" for answer in answers if not answer.ok]
    granted = {token_of(answer) for answer in answers if answer.ok}
    presented = parties.signer.load(token)
    [next_] = parties.signer.successors(presented)
    if granted != {parties.signer.dump(next_)}:
        violations.append(f"{len(granted)} different tokens were granted")
    query = select(sessions.c.token_hash).where(sessions.c.id == presented.session_id)
    with parties.here.database.statement() as connection:
        if bytes(connection.execute(query).scalar_one()) != next_.hash:
            violations.append("the session was rotated more than once")
    dead = [token for token in granted if not parties.service.check(token).ok]
    return violations + ["the next token does not work"] * len(dead)
