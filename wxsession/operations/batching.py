"""The size of batches: long work that leaves the database to others in between."""

from dataclasses import dataclass, replace

FIRST_SIZE = 1000
SMALLEST_SIZE = 100
LARGEST_SIZE = 50_000
_LARGEST_CHANGE = 2

# Half of what the batch took, not all of it: users have a part of the machine while it runs, too,
# and a request that a batch kept waiting needs a moment, not as much time again.
_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class BatchSize:
    """How many rows the next batch has, adjusted to the time that batches take."""

    size: int
    target_seconds: float | None = None
    """How long a batch should take; None: the size stays as it is."""
    shortest_pause: float = 0.0
    """How long to pause after a batch, however short it was."""

    def adjusted(self, elapsed: float) -> "BatchSize":
        """Return the next size, after a batch that took `elapsed` seconds.

        It changes by a factor of two at most: one batch may have waited for a lock or a checkpoint.
        """
        if self.target_seconds is None:
            return self
        wanted = self.size * (self.target_seconds / elapsed if elapsed > 0 else _LARGEST_CHANGE)
        near = min(max(wanted, self.size / _LARGEST_CHANGE), self.size * _LARGEST_CHANGE)
        return replace(self, size=min(max(round(near), SMALLEST_SIZE), LARGEST_SIZE))

    def pause_after(self, elapsed: float) -> float:
        """Return how many seconds to pause after a batch that took `elapsed` seconds."""
        return max(elapsed * _PAUSE, self.shortest_pause)
