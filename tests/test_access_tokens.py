"""One access token for everybody: fetched once, sealed, replaced when it is rejected."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from sqlalchemy import insert, select

from tests.support.databases import ON_BOTH
from tests.support.line import HeldLine
from tests.support.settings import APPID, APPS
from wxsession.common.crypto import Sealer, SecretKeys
from wxsession.errors import AppRejected, WeChatRateLimited, WeChatTimeout, WeChatUnreachable
from wxsession.simulator import Fault, SettableClock, WeChat, wechat_transport
from wxsession.storage.database import Database, connect, new_id
from wxsession.storage.leases import LEASE, Leases
from wxsession.storage.tables import access_tokens
from wxsession.wechat.access_tokens import COLUMN, AccessTokens, associated_id
from wxsession.wechat.apps import Apps
from wxsession.wechat.client import WeChatClient
from wxsession.wechat.failures import AccessTokenRejected

pytestmark = ON_BOTH

PATIENCE = 20.0
SEALER = Sealer(SecretKeys(("a-secret-key-that-is-made-up-for-tests",)))

Make = Callable[..., AccessTokens]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = connect(database_url)
    yield database
    database.close()


@pytest.fixture
def make(database: Database, wechat: WeChat, clock: SettableClock) -> Make:
    return maker(database, wechat_transport(wechat), clock)


def maker(database: Database, http: requests.Session, clock: SettableClock) -> Make:
    client = WeChatClient(
        http,
        url="https://api.weixin.qq.com",
        timeout=(0.5, 0.5),
        apps=Apps(APPS),
        concurrency=64,
    )

    def made(**seams: Callable[[float], None]) -> AccessTokens:
        leases = Leases(interval=0.01, patience=PATIENCE, **seams)
        return AccessTokens(database, client, sealer=SEALER, clock=clock, leases=leases)

    return made


def token_of(tokens: AccessTokens) -> str:
    return tokens.use(APPID, lambda token: token)


def test_a_token_is_fetched_once_and_kept_sealed(
    make: Make, wechat: WeChat, database: Database
) -> None:
    token = token_of(make())
    assert token_of(make()) == token
    assert wechat.token_fetches == 1
    with database.statement() as connection:
        row = connection.execute(select(access_tokens)).one()
    assert token.encode() not in bytes(row.sealed)
    opened = SEALER.open(bytes(row.sealed), row=associated_id(APPID), column=COLUMN)
    assert opened.decode() == token
    assert (row.claim_id, row.claimed_until) == (None, None)


def test_fifty_at_once_fetch_once(make: Make, wechat: WeChat) -> None:
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda _: token_of(make()), range(50)))
    assert len(set(found)) == 1
    assert wechat.token_fetches == 1


def test_a_token_is_renewed_before_it_ends(
    make: Make, wechat: WeChat, clock: SettableClock
) -> None:
    first = token_of(make())
    clock.advance(minutes=114)
    assert token_of(make()) == first
    clock.advance(minutes=2)
    assert token_of(make()) != first
    assert wechat.token_fetches == 2


def test_a_token_that_cannot_be_renewed_is_good_to_its_end(
    make: Make, wechat: WeChat, clock: SettableClock
) -> None:
    first = token_of(make())
    clock.advance(minutes=116)
    for fault in 45009, 40164, Fault.CONNECTION_REFUSED, Fault.TIMEOUT_AFTER_EXCHANGE:
        wechat.fail_next(fault)
        assert token_of(make()) == first
    clock.advance(minutes=4)
    wechat.fail_next(45009)
    with pytest.raises(WeChatRateLimited):
        token_of(make())
    assert token_of(make()) != first


def test_a_rejected_token_is_replaced_once(make: Make, wechat: WeChat) -> None:
    token_of(make())
    asked: list[str] = []

    def call(token: str) -> str:
        asked.append(token)
        if len(asked) == 1:
            wechat.revoke_tokens()
            raise AccessTokenRejected
        return token

    assert make().use(APPID, call) == asked[1] != asked[0]
    assert wechat.token_fetches == 2


def test_a_second_rejection_is_the_operators_affair(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def call(_token: str) -> str:
        raise AccessTokenRejected

    with pytest.raises(AppRejected) as caught:
        make().use(APPID, call)
    assert caught.value.__context__ is None
    assert f"{APPID}: WeChat rejects the access_token that it has just issued" in caplog.text
    assert "another server fetches access_tokens of this app" in caplog.text


def test_a_fetch_that_fails_gives_the_claim_back(make: Make, wechat: WeChat) -> None:
    wechat.fail_next(Fault.CONNECTION_REFUSED)
    with pytest.raises(WeChatUnreachable):
        token_of(make())
    assert token_of(make())


@pytest.mark.parametrize("errcode", [40001, 40164, 89503, 50004])
def test_an_app_that_gets_no_token_is_rejected(make: Make, wechat: WeChat, errcode: int) -> None:
    wechat.fail_next(errcode)
    with pytest.raises(AppRejected):
        token_of(make())


def claimed(database: Database, clock: SettableClock) -> None:
    """Let a worker claim the fetch and die."""
    claim = {"appid": APPID, "claim_id": new_id(), "claimed_until": clock() + LEASE}
    with database.statement() as connection:
        connection.execute(insert(access_tokens).values(**claim))


def test_a_worker_that_died_is_overtaken_after_its_lease(
    make: Make, database: Database, clock: SettableClock
) -> None:
    claimed(database, clock)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds=seconds)

    assert token_of(make(sleep=sleep))
    assert sum(waits) == pytest.approx(LEASE.total_seconds(), abs=0.5)


def test_a_fetch_that_takes_long_is_not_overtaken(
    database: Database, clock: SettableClock, wechat: WeChat
) -> None:
    line = HeldLine(wechat)
    query = select(access_tokens.c.claimed_until)
    with ThreadPoolExecutor(1) as pool:
        fetch = pool.submit(token_of, maker(database, line.session(), clock)())
        let_go = line.next()
        for _ in range(3):
            clock.advance(seconds=LEASE.total_seconds() - 1)
            deadline = time.monotonic() + 30
            with database.statement() as connection:
                while connection.execute(query).scalar_one() != clock() + LEASE:
                    assert time.monotonic() < deadline
        let_go.set()
        assert fetch.result(60)
    assert wechat.token_fetches == 1


def test_waiting_for_another_worker_has_an_end(
    make: Make, database: Database, clock: SettableClock
) -> None:
    claimed(database, clock)
    with pytest.raises(WeChatTimeout):
        token_of(make(sleep=lambda _seconds: None))


def test_a_rejection_that_comes_late_costs_the_next_token_nothing(
    make: Make, wechat: WeChat
) -> None:
    tokens = make()
    asked: list[str] = []

    def reject_if_revoked(token: str) -> str:
        if token == asked[0]:
            raise AccessTokenRejected
        return token

    def call_slowly(token: str) -> str:
        asked.append(token)
        if len(asked) == 1:
            wechat.revoke_tokens()
            make().use(APPID, reject_if_revoked)  # somebody else was faster to find out
            raise AccessTokenRejected
        return token

    assert tokens.use(APPID, call_slowly) != asked[0]
    assert wechat.token_fetches == 2
