"""Limits: a budget refuses at once, a concurrency limit lets one wait in line."""

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.waiting import eventually
from wxsession.common.limits import ConcurrencyLimit, Places, processors
from wxsession.errors import (
    DatabaseUnavailable,
    Disconnected,
    Overloaded,
    WeChatTimeout,
    WxSessionError,
)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


class Crowd:
    """Threads that come to a limit one after the other."""

    def __init__(self, limit: ConcurrencyLimit, pool: ThreadPoolExecutor) -> None:
        self.limit = limit
        self.came_in: queue.Queue[int] = queue.Queue()
        self._pool = pool
        self._leaves = [threading.Event() for _ in range(8)]

    def send(self, number: int) -> Future[str]:
        """Let one come, and return what becomes of him; he is in line now, or in."""
        comes = threading.Event()
        future = self._pool.submit(self._come, number, comes)
        assert comes.wait(30)
        return future

    def let_leave(self, number: int) -> None:
        """Let one who is in, or will be, go."""
        self._leaves[number].set()

    def _come(self, number: int, comes: threading.Event) -> str:
        comes.set()
        try:
            with self.limit.one():
                self.came_in.put(number)
                assert self._leaves[number].wait(30)
        except WxSessionError as error:
            return error.code
        return "was in"


def test_a_budget_refuses_who_finds_no_place_and_has_it_again_afterwards() -> None:
    budget = Places(2)
    with budget.one(), budget.one(), pytest.raises(Overloaded), budget.one():
        pass
    with budget.one(), budget.one():
        pass


def test_a_caller_whose_place_somebody_took_first_waits_for_the_next_one(
    pool: ThreadPoolExecutor,
) -> None:
    places = Places(1)
    for _ in range(20):
        assert places.take()
        waits = pool.submit(places.take_within, 60)
        while not waits.done():
            places.give_back()
            if not places.take():  # for once, the one who waits was first
                break
        assert waits.result(60)
        places.give_back()


def test_waiting_for_a_place_has_an_end() -> None:
    places = Places(1)
    assert places.take_within(0)
    assert not places.take_within(0)
    assert not places.take_within(0.01)
    places.give_back()
    assert places.take_within(0)


def test_waiting_in_line_has_an_end() -> None:
    limit = ConcurrencyLimit(1, timeout=0.01)
    with limit.one(), pytest.raises(Overloaded), limit.one():
        pass
    with limit.one():
        pass  # who left the line got no place


def test_everybody_has_a_turn_and_no_more_at_once_than_may_be(pool: ThreadPoolExecutor) -> None:
    crowd = Crowd(ConcurrencyLimit(2, timeout=60), pool)
    becomes = [crowd.send(number) for number in range(8)]
    inside = {crowd.came_in.get(timeout=30), crowd.came_in.get(timeout=30)}
    for _ in range(6):
        assert crowd.came_in.empty()
        crowd.let_leave(inside.pop())
        inside.add(crowd.came_in.get(timeout=30))
    for number in inside:
        crowd.let_leave(number)
    assert [one.result(30) for one in becomes] == ["was in"] * 8


def test_closing_sends_the_line_away_and_lets_who_is_in_go_on(pool: ThreadPoolExecutor) -> None:
    crowd = Crowd(ConcurrencyLimit(1, timeout=60), pool)
    inside = crowd.send(0)
    crowd.came_in.get(timeout=30)
    waits = [crowd.send(number) for number in range(1, 5)]
    crowd.limit.close(lambda: WeChatTimeout(retry_after=5))
    assert {one.result(30) for one in waits} == {"wechat_timeout"}
    assert crowd.send(5).result(30) == "wechat_timeout"
    crowd.let_leave(0)
    assert inside.result(30) == "was in"
    crowd.limit.open()
    crowd.let_leave(6)
    assert crowd.send(6).result(30) == "was in"


def test_a_failure_that_would_be_everybodys_ends_the_wait_of_the_line() -> None:
    limit = ConcurrencyLimit(1, timeout=60, shared_errors=(DatabaseUnavailable,))
    with ThreadPoolExecutor(4) as pool:

        def fail() -> str:
            try:
                with limit.one():
                    assert sees.wait(30)
                    raise DatabaseUnavailable
            except WxSessionError as error:
                return error.code

        sees = threading.Event()
        becomes = [pool.submit(fail) for _ in range(4)]
        sees.set()
        assert {one.result(30) for one in becomes} == {"database_unavailable"}
    with limit.one():
        pass  # the next one asks again


def test_a_failure_that_is_ones_own_leaves_the_line_as_it_is(pool: ThreadPoolExecutor) -> None:
    limit = ConcurrencyLimit(1, timeout=60, shared_errors=(DatabaseUnavailable,))
    crowd = Crowd(limit, pool)
    with pytest.raises(Disconnected), limit.one():
        waits = crowd.send(0)
        eventually(lambda: limit.waiting == 1)
        raise Disconnected
    crowd.let_leave(0)
    assert waits.result(30) == "was in"


def test_there_is_a_processor() -> None:
    assert processors() >= 1
