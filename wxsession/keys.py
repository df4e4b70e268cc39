"""The server's secret keys, and what is derived from them for each purpose."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


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
