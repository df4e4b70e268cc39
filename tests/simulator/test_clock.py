"""The clock of the simulated world."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from wxsession.simulator import SettableClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_clock_with_a_start_stands_still_until_it_is_moved() -> None:
    clock = SettableClock(NOON)
    assert clock() == clock() == NOON
    clock.advance(days=7, seconds=1)
    assert clock() == NOON + timedelta(days=7, seconds=1)


def test_a_clock_without_a_start_runs_with_real_time() -> None:
    clock = SettableClock()
    before = datetime.now(UTC)
    assert before <= clock() <= datetime.now(UTC)
    clock.advance(hours=1)
    assert clock() - before >= timedelta(hours=1)


@pytest.mark.parametrize("clock", [SettableClock(NOON), SettableClock()], ids=["stands", "runs"])
def test_a_clock_can_be_set_back_and_forth(clock: SettableClock) -> None:
    for moment in (NOON + timedelta(days=400), NOON - timedelta(days=400), NOON):
        clock.set(moment)
        assert timedelta() <= clock() - moment < timedelta(minutes=1)


def test_times_are_utc_whatever_the_clock_was_set_to() -> None:
    clock = SettableClock(NOON.astimezone(timezone(timedelta(hours=8))))
    assert clock() == NOON
    assert clock().tzinfo is UTC


def test_a_time_without_a_zone_is_refused() -> None:
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(ValueError, match="time zone"):
        SettableClock(naive)
    clock = SettableClock(NOON)
    with pytest.raises(ValueError, match="time zone"):
        clock.set(naive)


def test_a_step_beyond_the_calendar_moves_nothing() -> None:
    clock = SettableClock(NOON)
    with pytest.raises(OverflowError):
        clock.advance(days=999_999_999)
    assert clock() == NOON
