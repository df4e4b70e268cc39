"""The clock, which callers may set: nothing below asks the system what time it is."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the current time, with a time zone."""


def now() -> datetime:
    """Return the current time of the system, in UTC."""
    return datetime.now(UTC)
