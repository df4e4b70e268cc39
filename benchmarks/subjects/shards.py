"""Sessions spread over several databases: a simulation of two ways to choose the database.

Nothing of the service is asked. Users, sessions and identities are drawn, each row gets a bucket by
a hash, and each database has some of the buckets. Then it is counted how even that is, how much
moves when there are more databases, and how many of them each request has to ask.
"""

import hashlib
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from benchmarks.bench import Bench
from benchmarks.load import percentile
from benchmarks.outcome import Figure, Outcome, Table
from wxsession.storage.database import uuid7

_BUCKETS: Final = 1024
_SHARDS: Final = (4, 16, 64)
_MOST: Final = 20
"""How many sessions of a user are live at once at most, as `WXSESSION_MAX_SESSIONS` has it."""
_MEAN: Final = 3
_DRAWN: Final = 5_000
# Of a query, as a check has it on a busy machine: half of them within so many milliseconds.
_MEDIAN_MS, _P99_MS, _Z99 = 1.0, 10.0, 2.326

_HOW: Final = (
    "{users:,} users with {sessions:,} sessions. *By session*: a session is in the database that"
    " the hash of its own id chooses, a user and an identity in that of theirs. *By user*: the id"
    " of a session carries the bucket of its user in ten of its 62 random bits, and so leads to the"
    " database that has the user, all sessions and all events of this user; of a WeChat user, who"
    " is looked up by an openid, a directory in the database of that hash knows the user."
    " There are {buckets} buckets. A request that asks several databases at once waits for the"
    " slowest: their times are drawn from a distribution with a median of {median:g} ms and a p99"
    " of {p99:g} ms."
)


@dataclass(frozen=True)
class _User:
    id: UUID
    openid: str
    sessions: Sequence[UUID]


Place = Callable[[_User, UUID], int]
"""Returns the bucket of a user's session."""


def bucket(key: bytes) -> int:
    """Return the bucket of a key, the same for ever and everywhere."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) % _BUCKETS


def shard(number: int, shards: int) -> int:
    """Return the database that has a bucket: neighbours are together."""
    return number * shards // _BUCKETS


def _by_session(_user: _User, session_id: UUID) -> int:
    return bucket(session_id.bytes)


def _by_user(user: _User, _session_id: UUID) -> int:
    return bucket(user.id.bytes)


PLACES: Final[Mapping[str, Place]] = {"by session": _by_session, "by user": _by_user}


def touched(user: _User, place: Place) -> Mapping[str, Iterator[int]]:
    """Return the buckets of all rows that a request of a user needs, by the kind of the request."""
    some, home = user.sessions[0], bucket(user.id.bytes)
    directory = bucket(user.openid.encode())
    its, every = place(user, some), [place(user, one) for one in user.sessions]
    # A list by session cannot know where the sessions are: it asks everywhere.
    where = every if place is _by_user else list(range(_BUCKETS))
    return {
        "a check (session, user)": iter((its, home)),
        "a refresh (session, user)": iter((its, home)),
        "a logout (session, event)": iter((its, home)),
        "a login (WeChat user, user, session, event)": iter((directory, home, its)),
        "a user's list of sessions": iter((home, *where)),
        "the end of all sessions of a user": iter((home, *where)),
    }


def measure(bench: Bench) -> Outcome:
    """Draw a population, and count."""
    drawing = random.Random(2026)
    count = min(200_000, bench.scale.population.users)
    users = [_draw(drawing, number) for number in range(count)]
    sessions = sum(len(user.sessions) for user in users)
    uneven = {
        (name, shards): _uneven(users, place, shards)
        for name, place in PLACES.items()
        for shards in _SHARDS
    }
    asked = {
        (name, shards): _asked(users[:_DRAWN], place, shards)
        for name, place in PLACES.items()
        for shards in _SHARDS
    }
    worst = max(uneven[name, 16] for name in PLACES)
    by_user = max(asked["by user", 16].values())
    return Outcome(
        [
            _of_spread(uneven),
            _of_moves(users),
            _of_requests(asked),
            _of_waits(drawing),
        ],
        [
            Figure(
                "sessions of the fullest of 16 databases, against the mean",
                1.05,
                worst,
                at_most=True,
            ),
            Figure(
                "databases that a request asks by user, of 16", 3, by_user, unit="", at_most=True
            ),
        ],
        [
            _HOW.format(
                users=count,
                sessions=sessions,
                buckets=_BUCKETS,
                median=_MEDIAN_MS,
                p99=_P99_MS,
            )
        ],
    )


def _draw(drawing: random.Random, number: int) -> _User:
    """Return a user with some sessions: most have few, nobody more than the cap."""
    many = min(_MOST, 1 + int(drawing.expovariate(1 / (_MEAN - 0.5))))
    ids = [uuid7(1_790_000_000_000 + number, drawing.getrandbits(80)) for _ in range(many + 1)]
    return _User(ids[0], f"o{drawing.getrandbits(140):035x}", ids[1:])


def _uneven(users: Sequence[_User], place: Place, shards: int) -> float:
    """Return how full the fullest database is, against the mean."""
    full = Counter(shard(place(user, one), shards) for user in users for one in user.sessions)
    return max(full.values()) / (full.total() / shards)


def _asked(users: Sequence[_User], place: Place, shards: int) -> dict[str, float]:
    """Return how many databases a request of each kind asks, in the mean."""
    found: dict[str, list[int]] = {}
    for user in users:
        for kind, buckets in touched(user, place).items():
            found.setdefault(kind, []).append(len({shard(one, shards) for one in buckets}))
    return {kind: statistics.mean(counts) for kind, counts in found.items()}


def _of_spread(uneven: Mapping[tuple[str, int], float]) -> Table:
    head = ("the fullest database against the mean", *(f"of {shards}" for shards in _SHARDS))
    rows = [
        (f"sessions {name}", *(f"{uneven[name, shards]:.3f}" for shards in _SHARDS))
        for name in PLACES
    ]
    return Table(head, rows)


def _of_moves(users: Sequence[_User]) -> Table:
    """Return which share of the sessions moves, with buckets and without."""
    keys = [one for user in users[:_DRAWN] for one in user.sessions]
    hashes = [int.from_bytes(hashlib.blake2b(one.bytes, digest_size=8).digest()) for one in keys]
    rows = []
    for before, after in ((4, 8), (16, 32), (16, 17)):
        places = [shard(number, before) for number in range(_BUCKETS)]
        later = _grown(places, after)
        modulo = sum(one % before != one % after for one in hashes)
        moved = sum(places[one % _BUCKETS] != later[one % _BUCKETS] for one in hashes)
        shares = (f"{count / len(hashes):.0%}" for count in (modulo, moved))
        rows.append((f"from {before} to {after}", *shares))
    return Table(("sessions that move", "hash modulo the databases", "buckets"), rows)


def _grown(places: Sequence[int], shards: int) -> Sequence[int]:
    """Return where each bucket is when there are so many databases: the fullest give to the new."""
    later, full = list(places), Counter(places)
    for new in range(len(full), shards):
        while full[new] < _BUCKETS // shards:
            fullest = max(full, key=full.__getitem__)
            later[later.index(fullest)] = new
            full[fullest] -= 1
            full[new] += 1
    return later


def _of_requests(asked: Mapping[tuple[str, int], Mapping[str, float]]) -> Table:
    head = ("databases asked", *(f"{name}, {shards}" for name in PLACES for shards in _SHARDS))
    kinds = next(iter(asked.values()))
    rows = [(kind, *(f"{asked[key][kind]:.1f}" for key in asked)) for kind in kinds]
    return Table(head, rows)


def _of_waits(drawing: random.Random) -> Table:
    """Return how long one waits for the slowest of several databases."""
    sigma = math.log(_P99_MS / _MEDIAN_MS) / _Z99
    rows = []
    for several in (1, 2, 3, *_SHARDS):
        slowest = sorted(
            max(_MEDIAN_MS * math.exp(drawing.gauss(0, sigma)) for _ in range(several))
            for _ in range(_DRAWN)
        )
        cells = (f"{percentile(slowest, p):.1f}" for p in (50, 99))
        rows.append((f"{several} at once", *cells))
    return Table(("databases", "p50 ms", "p99 ms"), rows)
