"""Times for what paces itself by one: each stands in for the module `time`."""

import time


class Stopwatch:
    """A time that moves when somebody sleeps, and at no other moment."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        """Return what time it is."""
        return self.seconds

    def sleep(self, seconds: float, /) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.pauses.append(seconds)


class Sleepless(Stopwatch):
    """The real time, in which nobody sleeps."""

    def monotonic(self) -> float:
        """Return what time it is."""
        return time.monotonic()
