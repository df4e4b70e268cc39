"""The server's keys, and encryption at rest.

Columns are sealed and opened only here, with AES-256-GCM and keys derived from the server's
secrets. A value's row and column are its associated data, so a ciphertext that was moved to
another row does not open. Nonces are random: a key may seal 2**32 values before collisions
matter (NIST SP 800-38D, 8.3); a new secret key starts the count again.
"""

import hashlib
import secrets
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_ID_BYTES = 4
_NONCE_BYTES = 12


class SecretKeys:
    """The server's secrets, oldest first: the last one signs and seals, all are accepted.

    A key derived for one purpose reveals neither the secret nor the key of another purpose, so a
    leaked key does no harm elsewhere.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secret.encode() for secret in secrets)

    def derive(self, purpose: str, *, length: int = 32) -> tuple[bytes, ...]:
        """Return a key of `length` bytes for `purpose` from each secret, oldest first.

        By HKDF-SHA256.
        """
        info = b"wxsession " + purpose.encode()
        return tuple(
            HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(secret)
            for secret in self._secrets
        )

    def __repr__(self) -> str:
        """Return the number of secrets, and no secret."""
        return f"<SecretKeys: {len(self._secrets)}>"


class Unsealable(Exception):
    """The value was sealed under a key that is gone, was moved, or was tampered with."""


class Sealer:
    """Seals values with the newest key, and opens those sealed with any key."""

    def __init__(self, keys: SecretKeys) -> None:
        derived = keys.derive("sealing")
        self._ciphers = {_key_id(key): AESGCM(key) for key in derived}
        self._newest = _key_id(derived[-1])

    def seal(self, value: bytes, *, row: UUID, column: str) -> bytes:
        """Return `value` sealed for this row and column: key id, nonce, ciphertext."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = self._ciphers[self._newest]
        return self._newest + nonce + cipher.encrypt(nonce, value, _associated_data(row, column))

    def open(self, sealed: bytes, *, row: UUID, column: str) -> bytes:
        """Return the value that was sealed for this row and column.

        Raises:
            Unsealable: the key is unknown, or the value was moved or tampered with.
        """
        key_id, rest = sealed[:_KEY_ID_BYTES], sealed[_KEY_ID_BYTES:]
        try:
            nonce, ciphertext = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
            associated = _associated_data(row, column)
            return self._ciphers[key_id].decrypt(nonce, ciphertext, associated)
        except (KeyError, InvalidTag, ValueError):
            raise Unsealable(column) from None

    @property
    def key_ids(self) -> tuple[bytes, ...]:
        """The ids of the keys in the order of the secrets, oldest first."""
        return tuple(self._ciphers)

    @property
    def newest(self) -> bytes:
        """The id of the newest key (4 bytes); a value sealed with that key begins with it."""
        return self._newest


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"wxsession key id" + key).digest()[:_KEY_ID_BYTES]


def _associated_data(row: UUID, column: str) -> bytes:
    return row.bytes + column.encode()
