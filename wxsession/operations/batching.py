"""The pace of long work beside others: how much it does at once, how long it rests after it."""

from dataclasses import dataclass, replace

FIRST_SIZE = 1000
SMALLEST_SIZE = 100
LARGEST_SIZE = 50_000
_MOST_CHANGE = 2

# Half a batch's time, not all of it: users share the machine with the batch itself as well, and
# whoever was kept waiting by one needs a moment to get in, not as much time again.
_REST = 0.5


@dataclass(frozen=True, slots=True)
class BatchSize:
    """The size of the next batch, which follows from the time that batches take."""

    size: int
    aim: float | None = None
    """The seconds that a batch should take; None keeps the size as it is."""
    shortest_rest: float = 0.0
    """The seconds that others need to get in, however short a batch was."""

    def after(self, seconds: float) -> "BatchSize":
        """Return the batch size after a batch that took so long.

        One batch alone, which waited for a lock or met a checkpoint, changes it by a factor of
        two at most.
        """
        if self.aim is None:
            return self
        wanted = self.size * _MOST_CHANGE if seconds <= 0 else self.size * self.aim / seconds
        near = min(max(wanted, self.size / _MOST_CHANGE), self.size * _MOST_CHANGE)
        return replace(self, size=min(max(round(near), SMALLEST_SIZE), LARGEST_SIZE))

    def pause_after(self, seconds: float) -> float:
        """Return for how long to rest after a batch that took so long."""
        return max(seconds * _REST, self.shortest_rest)
