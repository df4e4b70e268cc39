"""Leases: claimed by one, and renewed by a thread for as long as something is under way."""

import os
import queue
import sys
import threading
from uuid import UUID

import pytest

from tests.support.threads import no_more_threads
from tests.support.waiting import eventually
from wxsession.errors import Overloaded
from wxsession.services import Services
from wxsession.simulator import SettableClock
from wxsession.storage.database import Database, new_id
from wxsession.storage.leases import LEASE, Leases, claiming
from wxsession.storage.tables import leases as rows


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "leases"]


@pytest.fixture(autouse=True)
def wait_for_other_tests() -> None:
    """Begin when the threads of other tests have ended."""
    eventually(lambda: not threads(), seconds=60)


class Renewals:
    """Everything that was asked to be renewed."""

    def __init__(self, *, fail: int = 0) -> None:
        self._seen: queue.Queue[frozenset[str]] = queue.Queue()
        self._fail = fail

    def renew(self, claims: frozenset[str]) -> None:
        """Renew them, or fail as a database does."""
        self._seen.put(claims)
        if self._fail:
            self._fail -= 1
            raise Overloaded

    def next(self) -> frozenset[str]:
        """Return what the next one was for."""
        return self._seen.get(timeout=30)


def test_what_is_under_way_is_renewed_all_at_once_and_again_and_again() -> None:
    leases, renewals = Leases(interval=0.01), Renewals()
    eventually(lambda: not threads())  # of other tests
    with leases.renewed(renewals.renew, "one"), leases.renewed(renewals.renew, "two"):
        while renewals.next() != {"one", "two"}:
            pass
        assert threads() == ["leases"]
        assert renewals.next() == {"one", "two"}
    eventually(lambda: not threads())


def test_a_database_that_is_away_for_a_moment_does_not_end_it() -> None:
    leases, renewals = Leases(interval=0.01), Renewals(fail=2)
    with leases.renewed(renewals.renew, "one"):
        assert [renewals.next() for _ in range(4)] == [{"one"}] * 4
    eventually(lambda: not threads())


def test_nothing_runs_before_and_after() -> None:
    leases, renewals = Leases(interval=0.01), Renewals()
    for _ in range(2):
        with leases.renewed(renewals.renew, "one"):
            renewals.next()
        eventually(lambda: not threads())


def test_what_nobody_can_renew_is_not_begun_and_not_renewed_later() -> None:
    leases, renewals = Leases(interval=0.01), Renewals()
    with no_more_threads(), pytest.raises(Overloaded), leases.renewed(renewals.renew, "one"):
        pass
    with leases.renewed(renewals.renew, "two"):
        assert [renewals.next() for _ in range(3)] == [{"two"}] * 3
    eventually(lambda: not threads())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_worker_renews_its_own() -> None:
    leases, renewals = Leases(interval=0.01), Renewals()
    with leases.renewed(renewals.renew, "the parent's"):
        renewals.next()
        child = os.fork()
        if not child:  # where the thread is not
            mine = Renewals()
            with leases.renewed(mine.renew, "the child's"):
                os._exit(mine.next() != {"the child's"})
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def claim(database: Database, clock: SettableClock, holder: UUID) -> bool:
    """Return whether `holder` gets the one row of the test."""
    claim = claiming(
        database, rows.c.holder, rows.c.held_until, is_free=rows.c.held_until <= clock()
    )
    claim = claim.values(name="job", holder=holder, held_until=clock() + LEASE)
    with database.statement() as connection:
        return connection.execute(claim).first() is not None


def test_a_row_is_claimed_by_one_until_the_lease_expires(
    services: Services, clock: SettableClock
) -> None:
    first, second = new_id(), new_id()
    assert claim(services.database, clock, first)
    clock.advance(seconds=LEASE.total_seconds(), microseconds=-1)
    assert not claim(services.database, clock, second)
    clock.advance(microseconds=1)
    assert claim(services.database, clock, second)
    assert not claim(services.database, clock, first)


def test_a_holder_whose_connection_broke_after_the_claim_may_claim_again(
    services: Services, clock: SettableClock
) -> None:
    holder = new_id()
    assert claim(services.database, clock, holder)
    assert claim(services.database, clock, holder)


def test_attempts_are_soon_at_first_and_end() -> None:
    pauses: list[float] = []
    count = sum(1 for _ in Leases(patience=1.0, sleep=pauses.append).attempts())
    assert count == len(pauses)
    assert pauses[:5] == [0.01, 0.02, 0.04, 0.08, 0.16]
    assert set(pauses[5:]) == {0.2}
    assert 1.0 < sum(pauses) <= 1.2
