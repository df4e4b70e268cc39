"""Many logins at once: of one user for the first time, up to the cap, and by one code."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import requests
from sqlalchemy import func, select

from tests.proof.deployment import Deployment, at_once, deployed
from tests.proof.outcome import Outcome
from tests.support.service import token_of
from tests.support.settings import APPID
from wxsession.simulator.generators import openid
from wxsession.storage.tables import identities, is_live, sessions, users

_AT_ONCE = 50
_SAME_CODE = 20
_CAP = 5


def prove_first(database_url: str, rounds: int) -> Outcome:
    """Fifty first logins of one openid at once: one user, and every session is good."""
    violations: list[str] = []
    with (
        deployed(database_url, max_sessions=_AT_ONCE, wechat_concurrency=_AT_ONCE) as deployment,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        for number in range(rounds):
            name = f"user-{number}"
            answers = _log_in(deployment, pool, name)
            violations += _refused(answers)
            tokens = {token_of(answer) for answer in answers if answer.ok}
            bad = sum(not deployment.service.check(token).ok for token in tokens)
            if bad or len(tokens) != _AT_ONCE:
                violations.append(f"{len(tokens)} tokens, {bad} of them bad")
            if (made := _made(deployment, name)) != (1, 1):
                violations.append(f"{made[0]} identities and {made[1]} users of one openid")
        if (found := _count_users(deployment)) != rounds:
            violations.append(f"{found} users of {rounds} openids")
    return Outcome(rounds, tuple(violations), f"{rounds * _AT_ONCE} logins")


def prove_cap(database_url: str, rounds: int) -> Outcome:
    """Fifty logins of one user at once leave no more sessions than the cap allows."""
    violations: list[str] = []
    with (
        deployed(database_url, max_sessions=_CAP, wechat_concurrency=_AT_ONCE) as deployment,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        for number in range(rounds):
            name = f"user-{number}"
            answers = _log_in(deployment, pool, name)
            violations += _refused(answers)
            tokens = [token_of(answer) for answer in answers if answer.ok]
            alive = sum(deployment.service.check(token).ok for token in tokens)
            if not alive == _live_sessions(deployment, name) == _CAP:
                violations.append(f"{alive} sessions where {_CAP} may be")
    return Outcome(rounds, tuple(violations), f"{rounds * _AT_ONCE} logins")


def prove_same_code(database_url: str, rounds: int) -> Outcome:
    """One code twenty times at once: WeChat is asked once, and everybody gets a session."""
    violations: list[str] = []
    with (
        deployed(database_url, max_sessions=_AT_ONCE, wechat_concurrency=_AT_ONCE) as deployment,
        ThreadPoolExecutor(_SAME_CODE) as pool,
    ):
        for number in range(rounds):
            code = deployment.wechat.code(f"user-{number}")
            before = len(deployment.wechat.exchanges())
            answers = at_once(pool, [partial(deployment.service.log_in, code)] * _SAME_CODE)
            violations += _refused(answers)
            if (asked := len(deployment.wechat.exchanges()) - before) != 1:
                violations.append(f"WeChat was asked {asked} times")
            tokens = {token_of(answer) for answer in answers if answer.ok}
            good = sum(deployment.service.check(token).ok for token in tokens)
            if good != _SAME_CODE:
                violations.append(f"{good} good sessions of {_SAME_CODE} logins")
    return Outcome(rounds, tuple(violations), f"{rounds * _SAME_CODE} logins")


def _log_in(deployment: Deployment, pool: ThreadPoolExecutor, name: str) -> list[requests.Response]:
    codes = [deployment.wechat.code(name) for _ in range(_AT_ONCE)]
    return at_once(pool, [partial(deployment.service.log_in, code) for code in codes])


def _refused(answers: list[requests.Response]) -> list[str]:
    return [f"{answer.status_code} {answer.text}" for answer in answers if not answer.ok]


def _made(deployment: Deployment, name: str) -> tuple[int, int]:
    """Return how many identities there are of a user of WeChat, and how many users of those."""
    query = select(func.count(identities.c.id.distinct()), func.count(users.c.id.distinct())).where(
        identities.c.openid == openid(APPID, name), users.c.id == identities.c.user_id
    )
    with deployment.local.database.statement() as connection:
        found, owners = connection.execute(query).one()
    return found, owners


def _count_users(deployment: Deployment) -> int:
    with deployment.local.database.statement() as connection:
        return connection.execute(select(func.count(users.c.id))).scalar_one()


def _live_sessions(deployment: Deployment, name: str) -> int:
    query = select(func.count(sessions.c.id)).where(
        sessions.c.identity_id == identities.c.id,
        identities.c.openid == openid(APPID, name),
        is_live(datetime.now(UTC)),
    )
    with deployment.local.database.statement() as connection:
        return connection.execute(query).scalar_one()
