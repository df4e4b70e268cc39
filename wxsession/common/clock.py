"""The clock, which callers may set: nothing below asks the system what time it is."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

Clock = Callable[[], datetime]
"""Returns the current time, with a time zone."""


def now() -> datetime:
    """Return the current time of the system, in UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Return a moment as everything outside has it: in UTC, to the millisecond (RFC 3339)."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Timing(Protocol):
    """The part of the module `time` by which something paces itself."""

    def monotonic(self) -> float:
        """Return the seconds since some moment."""

    def sleep(self, seconds: float, /) -> None:
        """Return after so many seconds."""
