"""An authenticator with one passkey (WebAuthn): what a laptop does with a finger on it."""

import hashlib
import json
import secrets
from base64 import urlsafe_b64encode
from typing import Final

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

_SEEN_AND_KNOWN: Final = 0x05
_NEW: Final = 0x40
_NO_MODEL: Final = bytes(16)


class Authenticator:
    """Makes a passkey for the console at an origin, and responds with it."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._host = hashlib.sha256(origin.partition("//")[2].encode()).digest()
        self._id = secrets.token_bytes(16)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._used = 0

    def register(self, options: str) -> str:
        """Return the response to the options of a registration."""
        point = self._key.public_key().public_numbers()
        x, y = (number.to_bytes(32) for number in (point.x, point.y))
        public_key = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})  # ES256 (RFC 9053)
        credential = _NO_MODEL + len(self._id).to_bytes(2) + self._id + public_key
        data = self._data(_SEEN_AND_KNOWN | _NEW) + credential
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client = self._client("webauthn.create", options)
        return self._response(clientDataJSON=client, attestationObject=attestation)

    def respond(self, options: str) -> str:
        """Return the response to the options of an authentication."""
        client, data = self._client("webauthn.get", options), self._data(_SEEN_AND_KNOWN)
        signature = self._key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._response(clientDataJSON=client, authenticatorData=data, signature=signature)

    def _data(self, flags: int) -> bytes:
        self._used += 1
        return self._host + bytes([flags]) + self._used.to_bytes(4)

    def _client(self, kind: str, options: str) -> bytes:
        challenge = json.loads(options)["challenge"]
        return json.dumps({"type": kind, "challenge": challenge, "origin": self._origin}).encode()

    def _response(self, **parts: bytes) -> str:
        id_ = _text(self._id)
        response = {name: _text(part) for name, part in parts.items()}
        return json.dumps({"id": id_, "rawId": id_, "type": "public-key", "response": response})


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
