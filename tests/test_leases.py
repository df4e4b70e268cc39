"""Leases: renewed while something is under way, by a thread that ends with it."""

import os
import queue
import sys
import threading

import pytest

from tests.support.waiting import eventually
from wxsession.errors import Overloaded
from wxsession.storage.leases import Leases


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "leases"]


@pytest.fixture(autouse=True)
def alone() -> None:
    """Wait for the threads of other tests' leases to end."""
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
    assert not threads()
    for _ in range(2):
        with leases.renewed(renewals.renew, "one"):
            renewals.next()
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
