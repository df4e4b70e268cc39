"""Long work finds the size of its batches by itself, and leaves time to others."""

import pytest

from wxsession.operations.batching import FIRST_SIZE, LARGEST_SIZE, SMALLEST_SIZE, BatchSize

TARGET = 0.05


@pytest.mark.parametrize("row_seconds", [1e-5, 3e-6, 4e-4])
def test_it_comes_to_batches_that_take_as_long_as_they_should(row_seconds: float) -> None:
    size = BatchSize(FIRST_SIZE, TARGET)
    for _ in range(10):
        size = size.adjusted(size.size * row_seconds)
    assert size.size * row_seconds == pytest.approx(TARGET, rel=0.01)


def test_it_follows_a_database_that_gets_slower() -> None:
    size = BatchSize(8000, TARGET)
    for _ in range(3):
        size = size.adjusted(size.size * TARGET / 2000)
    assert size.size == 2000


@pytest.mark.parametrize(("seconds", "size"), [(0.0, 2000), (1e-9, 2000), (60.0, 500)])
def test_one_odd_batch_changes_it_by_a_factor_of_two_at_most(seconds: float, size: int) -> None:
    assert BatchSize(1000, TARGET).adjusted(seconds).size == size


def test_a_batch_is_never_too_small_to_be_worth_a_transaction_nor_without_bounds() -> None:
    slow = fast = BatchSize(FIRST_SIZE, TARGET)
    for _ in range(20):
        slow, fast = slow.adjusted(60), fast.adjusted(0)
    assert (slow.size, fast.size) == (SMALLEST_SIZE, LARGEST_SIZE)


@pytest.mark.parametrize("seconds", [0.0, TARGET, 60.0])
def test_a_size_that_was_given_stays(seconds: float) -> None:
    assert BatchSize(7).adjusted(seconds) == BatchSize(7)


def test_the_pause_is_half_of_what_the_batch_took() -> None:
    assert BatchSize(7).pause_after(0.05) == 0.025


def test_the_pause_is_long_enough_for_others_to_get_in_however_short_the_batch_was() -> None:
    size = BatchSize(1000, TARGET, shortest_pause=0.015)
    assert [size.pause_after(0.002), size.pause_after(0.05)] == [0.015, 0.025]
    assert size.adjusted(TARGET / 2).shortest_pause == 0.015
