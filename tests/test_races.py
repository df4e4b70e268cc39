"""Two at once, and the server that fails in between."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select, text

from tests.support.app import services_of
from tests.support.databases import ON_BOTH, ON_POSTGRESQL
from tests.support.phone import Phone, problem
from tests.support.settings import APPID, settings_for
from tests.support.statements import overhearing
from wxsession import create_app
from wxsession.errors import Disconnected, WeChatTimeout
from wxsession.logins.codes import LoginCodes
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat, wechat_transport
from wxsession.storage.leases import LEASE, Leases
from wxsession.storage.tables import identities, login_codes, session_keys, sessions, users
from wxsession.users.client import ClientInfo

pytestmark = ON_BOTH

HERE = ClientInfo("203.0.113.7", "phone")


@pytest.fixture
def unhurried(database_url: str, clock: SettableClock, wechat: WeChat) -> Iterator[Flask]:
    """Return a server whose WeChat takes its time for real."""
    http = wechat_transport(wechat, real_time=True)
    app = create_app(settings_for(database_url), clock=clock, http=http)
    yield app
    services_of(app).database.close()


@pytest.fixture
def codes(services: Services, clock: SettableClock) -> LoginCodes:
    """Return login codes whose waiting moves the clock."""
    return LoginCodes(
        services.database,
        clock=clock,
        leases=Leases(patience=20, sleep=lambda seconds: clock.advance(seconds=seconds)),
        replay=timedelta(seconds=10),
    )


def test_the_same_code_many_times_at_once_is_exchanged_once(
    unhurried: Flask, wechat: WeChat
) -> None:
    phones = [Phone(unhurried, wechat, "alice") for _ in range(8)]
    code = phones[0].code()
    wechat.answer_after(0.3)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda phone: phone.log_in(code), phones))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert wechat.exchanges == [code]
    assert len({phone.token for phone in phones}) == 8
    assert [phone.check().status_code for phone in phones] == [200] * 8


def test_a_refusal_is_told_to_everybody_who_waits_for_it(unhurried: Flask, wechat: WeChat) -> None:
    phones = [Phone(unhurried, wechat, "alice") for _ in range(8)]
    wechat.answer_after(0.3)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda phone: phone.log_in("0" * 32), phones))
    assert {problem(answer) for answer in answers} == {(400, "invalid_code", None)}
    assert len(wechat.exchanges) == 1


def test_a_claim_of_a_dead_worker_is_taken_over_when_its_lease_is_over(
    codes: LoginCodes, clock: SettableClock
) -> None:
    dead = codes.claim(APPID, "code", HERE)
    claimed_at = clock()
    alive = codes.claim(APPID, "code", HERE)
    assert alive.claim_id != dead.claim_id
    assert alive.identity_id is None
    assert LEASE <= clock() - claimed_at <= timedelta(seconds=3)


def test_whoever_waits_for_a_dead_worker_holds_nobody_else_up(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock
) -> None:
    app = make_app(wechat_concurrency=1)
    phones = [Phone(app, wechat, "alice") for _ in range(4)]
    code = phones[0].code()
    database = services_of(app).database
    dead = LoginCodes(database, clock=clock, leases=Leases(), replay=timedelta(0))
    dead.claim(APPID, code, ClientInfo(phones[0].address, phones[0].user_agent))
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(phone.log_in, code) for phone in phones]
        for name in "bob", "carol", "dave":
            assert Phone(app, wechat, name).log_in().status_code == 200
        assert not any(one.done() for one in waiting)
        clock.advance(seconds=LEASE.total_seconds())
        assert [one.result().status_code for one in waiting] == [200] * 4


def test_a_claim_is_ones_own_for_as_long_as_its_work_takes(
    services: Services, clock: SettableClock
) -> None:
    replay = timedelta(seconds=10)
    renewing = Leases(interval=0.01)
    codes = LoginCodes(services.database, clock=clock, leases=renewing, replay=replay)
    others = LoginCodes(services.database, clock=clock, leases=Leases(), replay=replay)

    def see_it_renewed() -> None:
        deadline = time.monotonic() + 30
        query = select(login_codes.c.expires_at)
        while time.monotonic() < deadline:
            with services.database.statement() as connection:
                if connection.execute(query).scalar_one() == clock() + LEASE:
                    return
        raise AssertionError("it was not renewed")

    claim = codes.claim(APPID, "code", HERE)
    with codes.renewed(claim):
        for _ in range(4):
            clock.advance(seconds=LEASE.total_seconds() - 1)
            see_it_renewed()
            with pytest.raises(WeChatTimeout):
                others.claim(APPID, "code", HERE)
    clock.advance(seconds=LEASE.total_seconds())
    assert others.claim(APPID, "code", HERE).claim_id != claim.claim_id


def test_what_the_dead_one_notes_after_all_does_not_count(
    codes: LoginCodes, services: Services, clock: SettableClock
) -> None:
    slow = codes.claim(APPID, "code", HERE)
    clock.advance(seconds=LEASE.total_seconds())
    codes.claim(APPID, "code", HERE)
    codes.release(slow)
    with services.database.statement() as connection:
        assert connection.execute(select(login_codes.c.outcome)).all() == [(None,)]


def test_waiting_for_somebody_elses_exchange_ends(services: Services, clock: SettableClock) -> None:
    # The clock stands still: the lease never ends.
    leases = Leases(patience=1, sleep=lambda _seconds: None)
    impatient = LoginCodes(services.database, clock=clock, leases=leases, replay=timedelta(0))
    impatient.claim(APPID, "code", HERE)
    with pytest.raises(WeChatTimeout):
        impatient.claim(APPID, "code", HERE)


def fail_at_session_inserts(services: Services, times: int, sqlstate: str) -> None:
    """Let PostgreSQL refuse the next inserts of a session, whatever is rolled back."""
    with services.database.statement() as connection:
        connection.execute(text("CREATE SEQUENCE failures"))
        connection.execute(
            text(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                f" IF nextval('failures') <= {times} THEN"
                f" RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END IF; RETURN NEW; END $$"
            )
        )
        connection.execute(
            text(
                "CREATE TRIGGER t BEFORE INSERT ON wxsession_sessions"
                " FOR EACH ROW EXECUTE FUNCTION fail()"
            )
        )


@ON_POSTGRESQL
def test_a_login_outlives_one_failure_of_the_database_after_the_code_is_spent(
    phone: Phone, services: Services, wechat: WeChat
) -> None:
    fail_at_session_inserts(services, 1, "40P01")
    assert phone.log_in().status_code == 200
    assert phone.check().status_code == 200
    assert len(wechat.exchanges) == 1


@ON_POSTGRESQL
def test_a_login_that_the_database_fails_for_good_leaves_nothing_but_a_spent_code(
    phone: Phone, services: Services
) -> None:
    fail_at_session_inserts(services, 4, "40P01")
    code = phone.code()
    assert problem(phone.log_in(code)) == (503, "overloaded", None)
    with services.database.statement() as connection:
        for table in (users, identities, session_keys, sessions):
            count = select(func.count()).select_from(table)
            assert connection.execute(count).scalar_one() == 0
    started = time.monotonic()
    assert problem(phone.log_in(code)) == (400, "code_used", None)
    assert time.monotonic() - started < 5  # at once, and not after the lease
    assert phone.log_in().status_code == 200


def test_a_refresh_whose_session_always_changes_gives_up_with_a_clear_error(
    phone: Phone, app: Flask, clock: SettableClock
) -> None:
    phone.log_in()
    oldest = phone.token
    phone.refresh()
    phone.refresh()
    clock.advance(minutes=1)  # beyond the grace: it is a copy, if the session is as it was read
    busy = [False]

    def change_it(statement: str) -> None:
        if not statement.startswith("UPDATE") or busy[0]:
            return
        busy[0] = True
        clock.advance(microseconds=1)
        with services_of(app).database.statement() as other:
            other.execute(sessions.update().values(idle_expires_at=clock() + timedelta(days=1)))
        busy[0] = False

    with overhearing(services_of(app).database, before=change_it):
        answer = phone.lose_refresh(oldest)
    assert problem(answer) == (503, "overloaded", None)
    assert phone.check().status_code == 200


def test_a_claim_whose_answer_was_lost_is_still_ones_own(phone: Phone, app: Flask) -> None:
    lost: list[str] = []

    def lose_it(statement: str) -> None:
        if statement.startswith("INSERT INTO wxsession_login_codes") and not lost:
            lost.append(statement)
            raise Disconnected

    with overhearing(services_of(app).database, after=lose_it):
        assert phone.log_in().status_code == 200
    assert lost
