"""Open data: what WeChat encrypts, and the phone sends to its developer's server.

`signature` is the SHA-1 of rawData followed by the *text* of the session_key; `encryptedData` is
AES-128-CBC under the decoded key, padded to blocks of 16 bytes. In the other direction, a server
signs a request about a user with HMAC-SHA256, again under the *text* of the key (official docs;
their vectors for all three are in the tests).
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha1, sha256
from hmac import new as hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7


def compact(data: Mapping[str, object]) -> str:
    """Return JSON as WeChat writes it: no spaces, no escapes, keys in their given order."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def sign(raw_data: str, session_key: str) -> str:
    """Return the signature of rawData: 40 lower-case hex digits."""
    return sha1((raw_data + session_key).encode(), usedforsecurity=False).hexdigest()


def hmac_signature(session_key: str, body: str = "") -> str:
    """Return a server's signature of a request about a user: 64 lower-case hex digits."""
    return hmac(session_key.encode(), body.encode(), sha256).hexdigest()


def watermarked(data: Mapping[str, object], appid: str, taken_at: datetime) -> dict[str, object]:
    """Return the data with a watermark: for which app, and when, they were taken."""
    mark = {"timestamp": int(taken_at.timestamp()), "appid": appid}
    return {**data, "watermark": mark}


def encrypt(plaintext: str, session_key: str, iv: str) -> str:
    """Return encryptedData; it, the key and the iv are base64."""
    padder = PKCS7(algorithms.AES.block_size).padder()
    padded = padder.update(plaintext.encode()) + padder.finalize()
    encryptor = _cipher(session_key, iv).encryptor()
    return b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def decrypt(encrypted_data: str, session_key: str, iv: str) -> str:
    """Return the plaintext of encryptedData.

    Raises:
        ValueError: it is not encryptedData, or of another key or iv.
    """
    decryptor = _cipher(session_key, iv).decryptor()
    padded = decryptor.update(b64decode(encrypted_data)) + decryptor.finalize()
    unpadder = PKCS7(algorithms.AES.block_size).unpadder()
    return (unpadder.update(padded) + unpadder.finalize()).decode()


def _cipher(session_key: str, iv: str) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES128(b64decode(session_key)), modes.CBC(b64decode(iv)))
