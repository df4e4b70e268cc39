"""Waiting in tests: for what comes to hold, and no longer than a busy machine may take."""

import time
from collections.abc import Callable


def eventually(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Return as soon as it holds.

    Raises:
        AssertionError: it does not in so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)
