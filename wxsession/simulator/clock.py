"""The time of the simulated world."""

from datetime import UTC, datetime, timedelta
from threading import Lock


class SettableClock:
    """A callable that tells an aware UTC time, and can be moved.

    Without a start it runs: real time, plus all that it was moved by. With one it stands still at
    that moment until somebody moves it. Safe to share between threads.
    """

    def __init__(self, start: datetime | None = None) -> None:
        """Start to run, or stand at `start`.

        Raises:
            ValueError: `start` has no time zone.
        """
        self._lock = Lock()
        self._stands_at = None if start is None else _aware(start)
        self._offset = timedelta()

    def __call__(self) -> datetime:
        """Tell the time."""
        with self._lock:
            return self._now()

    def advance(self, **duration: float) -> None:
        """Move by a duration, in the words of `timedelta`: `clock.advance(days=7)`.

        Raises:
            OverflowError: no calendar reaches that far; the clock stays where it was.
        """
        step = timedelta(**duration)
        with self._lock:
            self._now() + step  # raises before anything has moved
            self._offset += step

    def set(self, moment: datetime) -> None:
        """Move to `moment`. A clock that stands still stands there; one that runs goes on from it.

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
        raise ValueError("a clock needs a time with a time zone")
    return moment.astimezone(UTC)
