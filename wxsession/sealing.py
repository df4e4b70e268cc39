"""Encryption at rest: the only place where columns are sealed and opened.

AES-256-GCM under keys derived from the server's secrets. The row and the column a value stands
in are its associated data, so a ciphertext that was moved to another row does not open. Nonces
are drawn at random: one key may seal 2**32 values before their collisions matter (NIST SP
800-38D, 8.3); a new secret key starts that count anew.
"""

import hashlib
import secrets
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wxsession.keys import SecretKeys

_KEY_ID_BYTES = 4
_NONCE_BYTES = 12


class Unsealable(Exception):
    """The value was sealed under a key that is gone, was moved, or was tampered with."""


class Sealer:
    """Seals and opens values: with the newest key, with any key."""

    def __init__(self, keys: SecretKeys) -> None:
        derived = keys.derive("sealing")
        self._ciphers = {_key_id(key): AESGCM(key) for key in derived}
        self._newest = _key_id(derived[-1])

    def seal(self, value: bytes, *, row: UUID, column: str) -> bytes:
        """Return `value` sealed for this row and column: key id, nonce, ciphertext."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = self._ciphers[self._newest]
        return self._newest + nonce + cipher.encrypt(nonce, value, _place(row, column))

    def open(self, sealed: bytes, *, row: UUID, column: str) -> bytes:
        """Return what was sealed for this row and column.

        Raises:
            Unsealable: the key is not among ours, or the value is not the one sealed here.
        """
        key_id, rest = sealed[:_KEY_ID_BYTES], sealed[_KEY_ID_BYTES:]
        try:
            nonce, ciphertext = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
            return self._ciphers[key_id].decrypt(nonce, ciphertext, _place(row, column))
        except (KeyError, InvalidTag, ValueError):
            raise Unsealable(column) from None

    @property
    def key_ids(self) -> tuple[bytes, ...]:
        """The ids of the keys in the order of the secrets, oldest first."""
        return tuple(self._ciphers)

    @property
    def newest(self) -> bytes:
        """The id of the newest key, with which every current value begins (4 bytes)."""
        return self._newest


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"wxsession key id" + key).digest()[:_KEY_ID_BYTES]


def _place(row: UUID, column: str) -> bytes:
    return row.bytes + column.encode()
