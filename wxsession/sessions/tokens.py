"""Session tokens: a session's id and a secret, signed, as one string.

``wxs_`` + base64url(session id, 16 bytes + secret, 32 bytes) + ``.`` + base64url(HMAC-SHA256):
behind the prefix it is what itsdangerous signs. The signature is there to turn garbage away before
it costs a query. It does not stand for the secret: whoever steals the signing key still has to
know 256 bits that only the device has, and whoever steals the database finds only their hash.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from itsdangerous import Signer

from wxsession.common.crypto import SecretKeys
from wxsession.errors import InvalidToken

PREFIX = "wxs_"
_ID_BYTES = 16
_SECRET_BYTES = 32

_LENGTH = len(PREFIX) + 64 + len(".") + 43


class SessionToken(NamedTuple):
    """What a device presents: which session, and the secret that proves it."""

    key: bytes
    secret: bytes

    def __repr__(self) -> str:
        """Name the session, and keep the secret."""
        return f"SessionToken({self.session_id})"

    @property
    def session_id(self) -> UUID:
        """The id of the session."""
        return UUID(bytes=self.key)

    @property
    def hash(self) -> bytes:
        """SHA-256 of the secret, the only trace of it that is stored."""
        return hashlib.sha256(self.secret).digest()

    def is_hashed_as(self, stored: bytes) -> bool:
        """Return, in constant time, whether `stored` is this token's hash."""
        return hmac.compare_digest(self.hash, stored)


class Signatures:
    """Signs what travels with the newest key, and takes what any of the keys has signed.

    ``payload.signature``, both as they are spelled: base64 has several spellings of the same bytes,
    and its readers accept them; so a signed text has one.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        # The keys are derived already, each for one purpose alone.
        self._signers = [
            Signer(key, key_derivation="none", digest_method=hashlib.sha256)
            for key in reversed(keys)
        ]

    def sign(self, payload: bytes) -> str:
        """Return a payload with its signature."""
        return self._signers[0].sign(payload).decode()

    def payload(self, signed: str) -> bytes | None:
        """Return the payload of a signed text in ASCII, or None if no key of ours has signed it."""
        payload, _, signature = signed.encode().partition(b".")
        for signer in self._signers:
            if hmac.compare_digest(signer.get_signature(payload), signature):
                return payload
        return None


class TokenSigner:
    """Writes and reads session tokens; accepts those of every key, signs with the newest."""

    def __init__(self, keys: SecretKeys) -> None:
        self._signatures = Signatures(keys.derive("session token signature"))
        self._succession = keys.derive("session token succession")

    def draw(self, session_id: UUID) -> SessionToken:
        """Return a first token for a session: 256 bits from the operating system."""
        return SessionToken(session_id.bytes, secrets.token_bytes(_SECRET_BYTES))

    def successors(self, token: SessionToken) -> tuple[SessionToken, ...]:
        """Return what may follow `token`, under the newest key first.

        Derived, not drawn: a device that lost the answer to its refresh asks again and gets the
        same next token, and nothing that could be presented has to be stored for that.
        """
        seed = token.key + token.secret
        return tuple(
            SessionToken(token.key, hmac.digest(key, seed, "sha256"))
            for key in reversed(self._succession)
        )

    def dump(self, token: SessionToken) -> str:
        """Return the token as the string that travels."""
        payload = urlsafe_b64encode(token.key + token.secret)
        return PREFIX + self._signatures.sign(payload)

    def load(self, text: str) -> SessionToken:
        """Return the token that `text` spells.

        Raises:
            InvalidToken: `text` is not a token, or was signed with none of our keys.
        """
        if len(text) != _LENGTH or not text.startswith(PREFIX) or not text.isascii():
            raise InvalidToken
        payload = self._signatures.payload(text[len(PREFIX) :])
        if payload is None:
            raise InvalidToken
        raw = urlsafe_b64decode(payload)
        return SessionToken(raw[:_ID_BYTES], raw[_ID_BYTES:])
