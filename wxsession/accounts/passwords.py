"""Usernames and passwords: their rules, and argon2id.

The parameters are OWASP's minimum for argon2id (Password Storage Cheat Sheet): 19 MiB, two passes,
one lane. A hash takes tens of milliseconds of processor time, so the number of hashes that a
process computes at once is half the number of processors.
"""

import secrets
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from wxsession.accounts.common_passwords import is_common
from wxsession.common.limits import ConcurrencyLimit, Places, processors
from wxsession.common.wording import Sentence
from wxsession.errors import InvalidRequest
from wxsession.users.invisible import is_invisible

SHORTEST_USERNAME, LONGEST_USERNAME = 3, 64
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128
_TIMEOUT = 5.0

_WITHOUT_MEANING = {"Cs", "Co", "Cn"}  # surrogates, private use, unassigned

OWASP_MINIMUM = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class Passwords:
    """Hashes and verifies passwords; a caller holds a place of `budget` while it waits and hashes.

    At most `part` of the places are for passwords: guessing costs a client nothing, so a flood of
    guesses must leave the rest to logins by code.
    """

    def __init__(
        self, *, part: int, budget: Places, hasher: PasswordHasher = OWASP_MINIMUM
    ) -> None:
        self._hasher = hasher
        self._part = Places(part)
        self._budget = budget
        self._limit = ConcurrencyLimit(max(1, processors() // 2), timeout=_TIMEOUT)

    @property
    def waiting(self) -> int:
        """How many passwords wait to be hashed."""
        return self._limit.waiting

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places for hashing, and for waiting to hash.

        Raises:
            Overloaded: too many are waiting.
        """
        with self._part.one(), self._budget.one():
            yield

    def hash(self, password: str) -> str:
        """Return the hash to store for a password.

        Raises:
            Overloaded: too many are waiting, or this one has waited too long.
        """
        with self.place(), self._limit.one():
            return self._hasher.hash(_normalised(password))

    def fits(self, password: str, stored: str | None) -> bool:
        """Return whether the password matches the stored hash; without one, False as slowly.

        The caller holds a `place`.

        Raises:
            Overloaded: this one has waited too long.
        """
        with self._limit.one():
            # Computed even if it is not used: the first call of a process hashes it, and must
            # take as long for a known username as for an unknown one.
            decoy = self._decoy
            try:
                return self._hasher.verify(stored or decoy, _normalised(password)) and bool(stored)
            except (VerificationError, InvalidHashError):
                return False

    def is_outdated(self, stored: str) -> bool:
        """Return whether a hash was made with other parameters than the current ones."""
        return self._hasher.check_needs_rehash(stored)

    @cached_property
    def _decoy(self) -> str:
        return self._hasher.hash(secrets.token_bytes())


def normalised_username(username: str) -> str:
    """Return the username as it is stored and compared: NFKC, case folded."""
    # NFKC again, because case folding does not preserve it (Unicode Standard, 3.13).
    folded = unicodedata.normalize("NFKC", username).casefold()
    return unicodedata.normalize("NFKC", folded)


def new_credentials(username: str, password: str) -> str:
    """Return the stored form of a new username, having checked it and its password.

    Raises:
        InvalidRequest: with everything that is wrong with either.
    """
    name = normalised_username(username)
    faults: list[Mapping[str, str]] = []
    for check in (
        lambda: new_username(username),
        lambda: ensure_acceptable(password, username=name),
    ):
        try:
            check()
        except InvalidRequest as refusal:
            faults += refusal.errors
    if faults:
        raise InvalidRequest(faults)
    return name


def new_username(username: str) -> str:
    """Return the stored form of a new username.

    Raises:
        InvalidRequest: it is too short, too long, or has invisible characters.
    """
    name = normalised_username(username)
    if not SHORTEST_USERNAME <= len(name) <= LONGEST_USERNAME:
        raise InvalidRequest.of("username", _length(SHORTEST_USERNAME, LONGEST_USERNAME))
    for letter in name:
        if unicodedata.category(letter) in _WITHOUT_MEANING or (
            letter != " " and is_invisible(letter)
        ):
            raise InvalidRequest.of(
                "username",
                Sentence(
                    "has an invisible character, U+{code:04X}; leave it out", code=ord(letter)
                ),
            )
    if name != " ".join(name.split()):
        raise InvalidRequest.of(
            "username", "must not begin or end with a blank, nor have two in a row"
        )
    return name


def ensure_acceptable(password: str, *, username: str, field: str = "password") -> None:
    """Return if this password may be set; there are no rules about its composition.

    Raises:
        InvalidRequest: it is too short or too long, one of the commonest, or the username.
    """
    folded = normalised_username(password)
    if len(password) > LONGEST_PASSWORD or len(folded) < SHORTEST_PASSWORD:
        raise InvalidRequest.of(field, _length(SHORTEST_PASSWORD, LONGEST_PASSWORD))
    # Folded: case or full-width letters do not make it uncommon.
    if is_common(folded) or _is_date(folded):
        raise InvalidRequest.of(field, "is one of the most common passwords")
    if folded == username:
        raise InvalidRequest.of(field, "is the username")


def _length(shortest: int, longest: int) -> Sentence:
    return Sentence("needs {shortest} to {longest} characters", shortest=shortest, longest=longest)


def _normalised(password: str) -> bytes:
    # NIST SP 800-63B, 5.1.1.2: two keyboards may encode the same letter differently.
    return unicodedata.normalize("NFKC", password).encode()


def _is_date(folded: str) -> bool:
    """Return whether a password is a day of this or the last century, in digits alone."""
    for form in ("%Y%m%d", "%d%m%Y", "%m%d%Y"):
        with suppress(ValueError):
            if datetime.strptime(folded, form).year // 100 in {19, 20} and folded.isdecimal():  # noqa: DTZ007 - a day, not a moment
                return True
    return False
