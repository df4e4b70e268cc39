"""What a proof hands back."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """How often an invariant was tried, every way in which it did not hold, and what was seen."""

    runs: int
    violations: tuple[str, ...] = ()
    seen: str = ""
