"""The time of the simulator."""

from datetime import UTC, datetime, timedelta
from threading import Lock


class SettableClock:
    """A callable that returns an aware UTC time, and that a test can move.

    Without a start it runs: it returns real time plus all that it was moved by. With a start it
    stands still at that moment until it is moved. Thread-safe.
    """

    def __init__(self, start: datetime | None = None) -> None:
        """Run, or stand still at `start`.

        Raises:
            ValueError: `start` has no time zone.
        """
        self._lock = Lock()
        self._stands_at = None if start is None else _aware(start)
        self._offset = timedelta()

    def __call__(self) -> datetime:
        """Return the time."""
        with self._lock:
            return self._now()

    def advance(self, **duration: float) -> None:
        """Move by a duration, named as by `timedelta`: `clock.advance(days=7)`.

        Raises:
            OverflowError: the new time is out of range; the clock has not moved.
        """
        step = timedelta(**duration)
        with self._lock:
            self._now() + step  # raises before the clock is moved
            self._offset += step

    def set(self, moment: datetime) -> None:
        """Move to `moment`; a running clock continues from there.

        Raises:
            ValueError: `moment` has no time zone.
        """
        moment = _aware(moment)
        with self._lock:
            self._offset += moment - self._now()

    def _now(self) -> datetime:
        return (self._stands_at or datetime.now(UTC)) + self._offset


def _aware(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError("the time must have a time zone")
    return moment.astimezone(UTC)
