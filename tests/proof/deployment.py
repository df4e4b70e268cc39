"""What a proof runs against: a server of several processes, WeChat, and the database."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from sqlalchemy import insert

from tests.support.service import Service, Simulator
from tests.support.settings import settings_for
from tests.support.wsgi_servers import SHIPPED, Gunicorn
from wxsession.common.crypto import SecretKeys
from wxsession.services import Services
from wxsession.sessions.queries import purge_date
from wxsession.sessions.session import NewSession
from wxsession.sessions.tokens import TokenSigner
from wxsession.storage.database import Database, new_id
from wxsession.storage.tables import sessions, users
from wxsession.users.client import ClientInfo
from wxsession.users.user import User

A = TypeVar("A")
R = TypeVar("R")


@dataclass(frozen=True)
class Deployment:
    """A running service, the WeChat it asks, and services of our own on the same database."""

    service: Service
    wechat: Simulator
    local: Services
    signer: TokenSigner


@contextmanager
def deployed(
    database_url: str,
    *,
    server: Gunicorn = SHIPPED,
    module: str = "wsgi:app",
    **settings: object,
) -> Iterator[Deployment]:
    """Yield a deployment with these settings."""
    with ExitStack() as stack:
        wechat = Simulator()
        service = Service(
            database_url,
            wechat_url=wechat.url,
            server=server,
            module=module,
            **settings,
        )
        for starting in wechat, service:  # side by side: each takes a second
            stack.callback(starting.stop)
            starting.launch()
        for starting in wechat, service:
            starting.await_answer()
        local = stack.enter_context(services(database_url, **settings))
        yield Deployment(
            service, wechat, local, TokenSigner(SecretKeys(local.settings.secret_keys))
        )


@contextmanager
def services(database_url: str, **settings: object) -> Iterator[Services]:
    """Yield services on a database in this process."""
    built = Services.build(settings_for(database_url, **settings))
    try:
        yield built
    finally:
        built.database.close()


def at_once(pool: ThreadPoolExecutor, calls: Sequence[Callable[[], R]]) -> list[R]:
    """Return what the calls return, all begun in the same moment; the pool has room for all."""
    barrier = threading.Barrier(len(calls))

    def begin(call: Callable[[], R]) -> R:
        barrier.wait(60)
        return call()

    return list(pool.map(begin, calls))


def issue_token(local: Services, user_id: UUID) -> str:
    """Return the token of a new session that no login was needed for."""
    user = User(user_id)
    with local.database.transaction() as connection:
        new = NewSession(user, None, ClientInfo(None, None), new_user=True)
        grant = local.sessions.issue(connection, new)
    return grant.session_token


def add_user(database: Database) -> UUID:
    """Return the id of a new user without an identity."""
    user_id = new_id()
    with database.long_transaction() as connection:
        connection.execute(insert(users).values(id=user_id, created_at=datetime.now(UTC)))
    return user_id


def add_sessions(
    database: Database, user_id: UUID, count: int, *, expired: timedelta
) -> list[UUID]:
    """Return the ids of new sessions that expired so long ago; nobody holds their tokens."""
    over = datetime.now(UTC) - expired
    ids = [new_id() for _ in range(count)]
    same = {
        "user_id": user_id,
        "token_hash": bytes(32),
        "created_at": over - timedelta(days=7),
        "auth_time": over - timedelta(days=7),
        "absolute_expires_at": over + timedelta(days=23),
        "idle_expires_at": over,
        "purge_on": purge_date(over),
    }
    with database.transaction() as connection:
        connection.execute(insert(sessions), [{"id": id_, **same} for id_ in ids])
    return ids
