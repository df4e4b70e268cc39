"""The commonest passwords of eight characters and more: nobody may take them.

They are stored as the first four bytes of their SHA-256, sorted: 87 KB, and one of 200,000 other
passwords is refused along with them. ``scripts/common_passwords.py`` makes the file, from the lists
of zxcvbn (MIT licence, Dan Wheeler and Dropbox), of Django (BSD licence, Django Software
Foundation) and of @zxcvbn-ts/language-common (MIT licence).
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_suffix(".bin")
_SIZE = 4


def is_common(folded: str) -> bool:
    """Return whether a password, folded like a username, is one of the commonest."""
    prefixes = _prefixes()
    places = range(len(prefixes) // _SIZE)
    wanted = _prefix(folded)
    found = bisect_left(places, wanted, key=lambda place: _at(prefixes, place))
    return found < len(places) and _at(prefixes, found) == wanted


def file_of(folded: Iterable[str]) -> bytes:
    """Return the contents of the file with these passwords."""
    return b"".join(sorted({_prefix(password) for password in folded}))


def _prefix(folded: str) -> bytes:
    return hashlib.sha256(folded.encode()).digest()[:_SIZE]


def _at(prefixes: bytes, place: int) -> bytes:
    return prefixes[place * _SIZE : (place + 1) * _SIZE]


@cache
def _prefixes() -> bytes:
    return FILE.read_bytes()
