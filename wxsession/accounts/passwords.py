"""Usernames and passwords: their rules, and argon2id.

Parameters are OWASP's minimum for argon2id (Password Storage Cheat Sheet): 19 MiB, two passes,
one lane. A hash takes tens of milliseconds of a processor, so each process makes only as many at
once as half of the processors can.
"""

import secrets
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from wxsession.errors import InvalidRequest
from wxsession.limits import ConcurrencyLimit, Places, processors
from wxsession.users.invisible import is_invisible

SHORTEST_USERNAME, LONGEST_USERNAME = 3, 64
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128
_REFUSED = 3000
_TIMEOUT = 5.0

_WITHOUT_MEANING = {"Cs", "Co", "Cn"}  # halves of characters, private ones, and not yet assigned

OWASP_MINIMUM = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class Passwords:
    """Hashes and verifies; a caller has a place of `budget` while it waits and hashes.

    At most `part` of the places are for that: guessing costs a client nothing, and a flood of it
    leaves the rest to logins by code.
    """

    def __init__(
        self, *, part: int, budget: Places, hasher: PasswordHasher = OWASP_MINIMUM
    ) -> None:
        self._hasher = hasher
        self._part = Places(part)
        self._budget = budget
        self._limit = ConcurrencyLimit(max(1, processors() // 2), timeout=_TIMEOUT)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place among those whose password is hashed, or waits for that.

        Raises:
            Overloaded: too many are waiting.
        """
        with self._part.one(), self._budget.one():
            yield

    def hash(self, password: str) -> str:
        """Return what may be stored of a password.

        Raises:
            Overloaded: too many are waiting, or it took too long until it was this one's turn.
        """
        with self.place(), self._limit.one():
            return self._hasher.hash(_normalised(password))

    def fits(self, password: str, stored: str | None) -> bool:
        """Return whether this is the password; without a stored one it takes as long to say no.

        The caller holds a `place`.

        Raises:
            Overloaded: it took too long until it was this one's turn.
        """
        with self._limit.one():
            decoy = self._decoy  # made before it is looked at, so that its making tells nothing
            try:
                return self._hasher.verify(stored or decoy, _normalised(password)) and bool(stored)
            except (VerificationError, InvalidHashError):
                return False

    def is_outdated(self, stored: str) -> bool:
        """Tell whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    @cached_property
    def _decoy(self) -> str:
        return self._hasher.hash(secrets.token_bytes())


def normalised_username(username: str) -> str:
    """Return the username as it is stored and compared: NFKC, case folded."""
    folded = unicodedata.normalize("NFKC", username).casefold()
    return unicodedata.normalize("NFKC", folded)


def new_credentials(username: str, password: str) -> str:
    """Return the stored form of a username that may be had together with this password.

    Raises:
        InvalidRequest: with everything that is wrong with either.
    """
    name = normalised_username(username)
    faults: list[Mapping[str, str]] = []
    for judge in (
        lambda: new_username(username),
        lambda: ensure_acceptable(password, username=name),
    ):
        try:
            judge()
        except InvalidRequest as refusal:
            faults += refusal.errors
    if faults:
        raise InvalidRequest(faults)
    return name


def new_username(username: str) -> str:
    """Return the stored form of a username that somebody wants to have.

    Raises:
        InvalidRequest: it is too short, too long, or has characters that nobody sees.
    """
    name = normalised_username(username)
    if not SHORTEST_USERNAME <= len(name) <= LONGEST_USERNAME:
        raise InvalidRequest.of(
            "username", f"needs {SHORTEST_USERNAME} to {LONGEST_USERNAME} characters"
        )
    for letter in name:
        if unicodedata.category(letter) in _WITHOUT_MEANING or (
            letter != " " and is_invisible(letter)
        ):
            raise InvalidRequest.of(
                "username", f"has a character that nobody sees, U+{ord(letter):04X}; leave it out"
            )
    if name != " ".join(name.split()):
        raise InvalidRequest.of(
            "username", "must not begin or end with a blank, nor have two together"
        )
    return name


def ensure_acceptable(password: str, *, username: str, field: str = "password") -> None:
    """Return if somebody may take this password; no rules about its composition.

    Raises:
        InvalidRequest: it is too short or too long, one of the commonest, or the username.
    """
    folded = normalised_username(password)
    if len(password) > LONGEST_PASSWORD or len(folded) < SHORTEST_PASSWORD:
        raise InvalidRequest.of(
            field, f"needs {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"
        )
    if folded in _commonest():  # full-width letters are hashed as what they stand for
        raise InvalidRequest.of(field, "is one of the commonest passwords")
    if folded == username:
        raise InvalidRequest.of(field, "is the username")


def _normalised(password: str) -> bytes:
    # NIST SP 800-63B, 5.1.1.2: two keyboards may write one letter in two ways.
    return unicodedata.normalize("NFKC", password).encode()


@cache
def _commonest() -> frozenset[str]:
    """Return the commonest among those that are long enough, so that the list refuses something."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415 - 40 ms, for who registers alone

    long_enough = [p for p in FREQUENCY_LISTS["passwords"] if len(p) >= SHORTEST_PASSWORD]
    return frozenset(long_enough[:_REFUSED])
