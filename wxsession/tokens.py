"""Session tokens: a session's id and a secret, signed, as one string.

``wxs_`` + base64url(session id, 16 bytes + secret, 32 bytes) + ``.`` + base64url(HMAC-SHA256).
The signature is there to turn garbage away before it costs a query. It does not stand for the
secret: whoever steals the signing key still has to know 256 bits that only the device has,
and whoever steals the database finds only their hash.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from uuid import UUID

from itsdangerous import BadSignature, Signer

from wxsession.errors import InvalidToken
from wxsession.keys import SecretKeys

PREFIX = "wxs_"
_ID_BYTES = 16
_SECRET_BYTES = 32

# The last character of the signature carries four bits: only the sixteen spellings that leave
# the other two at zero are taken, so that no token can be written in two ways.
_SHAPE = re.compile(r"wxs_[A-Za-z0-9_-]{64}\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", re.ASCII)


@dataclass(frozen=True, slots=True)
class SessionToken:
    """What a device presents: which session, and the secret that proves it."""

    session_id: UUID
    secret: bytes = field(repr=False)

    @property
    def hash(self) -> bytes:
        """SHA-256 of the secret, the only trace of it that is stored."""
        return hashlib.sha256(self.secret).digest()

    def is_hashed_as(self, stored: bytes) -> bool:
        """Tell in constant time whether `stored` is this token's hash."""
        return hmac.compare_digest(self.hash, stored)


class TokenSigner:
    """Writes and reads session tokens; accepts those of every key, signs with the newest."""

    def __init__(self, keys: SecretKeys) -> None:
        self._signer = Signer(
            list(keys.derive("session token signature")),
            digest_method=hashlib.sha256,
            key_derivation="none",  # HKDF has done it, once and not at every call
        )
        self._succession = keys.derive("session token succession")

    def draw(self, session_id: UUID) -> SessionToken:
        """Return a first token for a session: 256 bits from the operating system."""
        return SessionToken(session_id, secrets.token_bytes(_SECRET_BYTES))

    def successors(self, token: SessionToken) -> tuple[SessionToken, ...]:
        """Return what may follow `token`, under the newest key first.

        Derived, not drawn: a device that lost the answer to its refresh asks again and gets the
        same next token, and nothing that could be presented has to be stored for that.
        """
        seed = token.session_id.bytes + token.secret
        return tuple(
            SessionToken(token.session_id, hmac.digest(key, seed, "sha256"))
            for key in reversed(self._succession)
        )

    def dump(self, token: SessionToken) -> str:
        """Return the token as the string that travels."""
        payload = urlsafe_b64encode(token.session_id.bytes + token.secret)
        return PREFIX + self._signer.sign(payload).decode("ascii")

    def load(self, text: str) -> SessionToken:
        """Return the token that `text` spells.

        Raises:
            InvalidToken: `text` is none, or was signed with none of our keys.
        """
        if not _SHAPE.fullmatch(text):
            raise InvalidToken
        try:
            payload = self._signer.unsign(text[len(PREFIX) :])
        except BadSignature:
            raise InvalidToken from None
        raw = urlsafe_b64decode(payload)
        return SessionToken(UUID(bytes=raw[:_ID_BYTES]), raw[_ID_BYTES:])
