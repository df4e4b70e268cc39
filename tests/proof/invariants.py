"""The list of what is proved, and how large."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.proof import kills, logins, logouts, purges, refreshes, tokens, writers
from tests.proof.outcome import Outcome

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"


@dataclass(frozen=True)
class Invariant:
    """A promise, the function that tries to break it, and two sizes to try it at."""

    name: str
    promise: str
    prove: Callable[[str, int], Outcome]
    full: int
    sample: int
    databases: tuple[str, ...] = (SQLITE, POSTGRESQL)


INVARIANTS: Final = (
    Invariant(
        "kills",
        "A process killed at any SQL boundary of login, refresh, logout or purge loses nothing"
        " acknowledged, leaves nothing half made, and the client's retry works",
        kills.prove,
        full=1000,
        sample=1,
    ),
    Invariant(
        "tokens",
        "A forged token is refused as one, and costs no query unless our own key signed it",
        tokens.prove,
        full=1_000_000,
        sample=4000,
    ),
    Invariant(
        "logouts",
        "After logout ∥ refresh ∥ touch no token is left that works",
        logouts.prove,
        full=1000,
        sample=20,
    ),
    Invariant(
        "refreshes",
        "50 refreshes at once: one rotation, 50 times the same next token",
        refreshes.prove,
        full=200,
        sample=3,
    ),
    Invariant(
        "first-logins",
        "50 first logins at once: one user, one identity, 50 good sessions",
        logins.prove_first,
        full=50,
        sample=2,
    ),
    Invariant(
        "cap",
        "50 logins at once with a cap of 5: 5 live sessions",
        logins.prove_cap,
        full=50,
        sample=2,
    ),
    Invariant(
        "same-code",
        "One code 20 times at once: WeChat is asked once, 20 good sessions",
        logins.prove_same_code,
        full=100,
        sample=3,
    ),
    Invariant(
        "writers",
        "50 writers on one SQLite file: never locked",
        writers.prove,
        full=1000,
        sample=20,
        databases=(SQLITE,),
    ),
    Invariant(
        "purges",
        "Four purge commands at once: each row is deleted once, none before its time",
        purges.prove_together,
        full=20,
        sample=1,
    ),
    Invariant(
        "extensions",
        "A session that is extended while purges run is not deleted",
        purges.prove_extended,
        full=100,
        sample=3,
    ),
)
