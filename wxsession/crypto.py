"""The one home of the server's keys, and of encryption at rest.

Columns are sealed and opened here and nowhere else: AES-256-GCM under keys derived from the
server's secrets. A value's row and column are its associated data, so a ciphertext that was moved
to another row does not open. Nonces are random: one key may seal 2**32 values before collisions
matter (NIST SP 800-38D, 8.3); a new secret key starts that count again.
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

    What is derived for one purpose tells nothing about the secret, nor about what is derived
    for another one, so a leak in one place stays there.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secret.encode() for secret in secrets)

    def derive(self, purpose: str) -> tuple[bytes, ...]:
        """Return a key of 32 bytes for `purpose` from each secret, oldest first (HKDF-SHA256)."""
        info = b"wxsession " + purpose.encode()
        return tuple(
            HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)
            for secret in self._secrets
        )

    def __repr__(self) -> str:
        """Return how many secrets there are, and none of them."""
        return f"<SecretKeys: {len(self._secrets)}>"


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
