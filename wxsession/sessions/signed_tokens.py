"""Signed access tokens: what back ends verify by themselves, without asking here each time.

A token is a JWT (RFC 9068) signed with ES256, which every library verifies; some need a further
package for EdDSA. Only signing happens here, in a dozen lines over `cryptography`: a JOSE library
would be one more dependency of every installation, for its other half.

The price of a token that nobody asks about is its lifetime: so much later a logout is seen. It is
no session: nothing here takes one.
"""

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from wxsession.common.clock import Clock
from wxsession.common.crypto import SecretKeys
from wxsession.sessions.service import Asking, SessionService

ALGORITHM = "ES256"
_CURVE = ec.SECP256R1()
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the curve's base point (SEC 2, 2.4.2): a private key is between 1 and one less."""
_COORDINATE_BYTES = 32
_SEED_BYTES = 48
"""64 bits more than the order has: so the remainder prefers no key (FIPS 186-5, A.2.1)."""
_NO_APP = "wxsession"


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A JWT for back ends, and in how many seconds it expires."""

    access_token: str = field(repr=False)
    expires_in: int


class SignedTokens:
    """Issues signed access tokens with the newest key, and publishes every key.

    The keys are derived from the server's secrets, so that all processes have the same ones and
    nothing has to be stored.
    """

    def __init__(
        self, sessions: SessionService, keys: SecretKeys, *, lifetime: timedelta, clock: Clock
    ) -> None:
        self._sessions = sessions
        self._lifetime = lifetime // timedelta(seconds=1)
        self._clock = clock
        seeds = keys.derive("access token signature", length=_SEED_BYTES)
        self._signers = [_Signer(seed) for seed in reversed(seeds)]

    def issue(self, presented: str, issuer: str, asking: Asking) -> SignedToken:
        """Return a token for the user of a live session, and count that as use of the session.

        It expires no later than the session would.

        Raises:
            TokenError: as for `SessionService.check`.
            Overloaded: the database did not answer in time.
        """
        now = int(self._clock().timestamp())  # before the check, so that `exp` is never too late
        view = self._sessions.check(presented, asking)
        expires_in = min(self._lifetime, view.expires_in)
        appid = view.identity.appid if view.identity else None
        claims = {
            "iss": issuer,
            "sub": str(view.user.id),
            "aud": issuer,  # RFC 9068, 3: the default, where no resource was asked for
            "client_id": appid or _NO_APP,
            "sid": str(view.session_id),
            "auth_time": int(view.auth_time.timestamp()),
            "iat": now,
            "exp": now + expires_in,
            "jti": str(uuid4()),
        }
        if appid:
            claims["appid"] = appid
        return SignedToken(self._signers[0].sign(claims), expires_in)

    @property
    def keys(self) -> list[Mapping[str, str]]:
        """The public keys as JWKs (RFC 7517), newest first."""
        return [signer.public_key for signer in self._signers]


class _Signer:
    """One key: what it signs, and its public half."""

    def __init__(self, seed: bytes) -> None:
        secret = int.from_bytes(seed) % (_ORDER - 1) + 1
        self._key = ec.derive_private_key(secret, _CURVE)
        point = self._key.public_key().public_numbers()
        x, y = (_base64url(_fixed(coordinate)) for coordinate in (point.x, point.y))
        public = {"crv": "P-256", "kty": "EC", "x": x, "y": y}  # RFC 7638: these, in this order
        kid = _base64url(hashlib.sha256(_json(public)).digest())
        self.public_key: Mapping[str, str] = {**public, "use": "sig", "alg": ALGORITHM, "kid": kid}
        self._header = _base64url(_json({"typ": "at+jwt", "alg": ALGORITHM, "kid": kid}))

    def sign(self, claims: Mapping[str, object]) -> str:
        """Return the JWT with these claims (RFC 7515, 7.1)."""
        signed = f"{self._header}.{_base64url(_json(claims))}"
        signature = self._key.sign(signed.encode(), ec.ECDSA(SHA256()))
        r, s = decode_dss_signature(signature)
        return f"{signed}.{_base64url(_fixed(r) + _fixed(s))}"


def _fixed(number: int) -> bytes:
    return number.to_bytes(_COORDINATE_BYTES)


def _json(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
