"""Verification and decryption of what WeChat signs and encrypts for a mini-program's server.

AES-CBC encrypts and does not authenticate. An attacker who flips a bit of the iv flips that bit
of the first sixteen bytes of the plaintext and nothing else, and needs no key for that. Tampering
that shows in the content is rejected here: the text has to be JSON as WeChat writes it, and data
of a known kind have to begin like data of that kind. The first block of a phone number is exactly
``{"phoneNumber":"``, that of steps ``{"stepInfoList":``, and that of user info ``{"openId":"``
with five characters of an openid, which a reader compares with the user's own. So no change of
these goes unnoticed.

Tampering that cannot be detected: the first characters of an openGId (``{"openGId":"`` leaves
four of them) and of the nickname in data of wx.getUserProfile (``{"nickName":"`` leaves three
bytes), unless its signed rawData is sent as well. Neither proves anything: users choose their
nicknames.
"""

import hashlib
import hmac
import json
import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, NoReturn

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

BLOCK = 16
"""The length of a key, an iv and a block, in bytes."""

_LINE_BREAKS = str.maketrans("", "", "\r\n")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')

# Data with one of these fields are of that kind, see `_is_of_its_kind`. Sources:
# "开放数据校验与解密", "wx.getUserProfile", "获取手机号" and the official test vector.
_USER_INFO = frozenset({"nickName", "avatarUrl", "gender", "openId", "unionId"})
_PHONE = frozenset({"phoneNumber", "purePhoneNumber", "countryCode"})


class Undecipherable(ValueError):
    """The data were not encrypted by WeChat under this key, or were tampered with."""


def decoded(text: str) -> bytes:
    """Return the bytes of a base64 text, which may have line breaks.

    Raises:
        ValueError: another character that is not base64, or a wrong padding.
    """
    joined = text.translate(_LINE_BREAKS)
    if len(joined) % 4:  # b64decode ignores a padding that is not needed
        raise ValueError("the padding is wrong")
    return b64decode(joined, validate=True)


def is_signed(raw_data: str, signature: str, session_key: str) -> bool:
    """Return whether WeChat signed `raw_data` under this key.

    `raw_data` is the text as received, and the key is used as text, not decoded.
    Source: "数据签名校验" in the mini-program documentation.
    """
    signed = (raw_data + session_key).encode(errors="surrogatepass")
    expected = hashlib.sha1(signed, usedforsecurity=False).hexdigest()
    presented = signature.lower().encode(errors="surrogatepass")
    return hmac.compare_digest(expected.encode(), presented)


def decrypt(encrypted: bytes, iv: bytes | None, session_key: str) -> dict[str, Any]:
    """Return the JSON object that WeChat encrypted; it has a watermark.

    Without an iv the key is used as the iv, as in 2016.
    Source: "加密数据解密算法" in the mini-program documentation.

    Raises:
        Undecipherable: the data do not decrypt to such an object under this key.
    """
    try:
        key = decoded(session_key)
        text = _decrypted(encrypted, key if iv is None else iv, key).decode()
    except ValueError:
        raise Undecipherable from None
    data = parsed(text)
    if not (_is_compact(text, data) and isinstance(data.get("watermark"), dict)):
        raise Undecipherable
    if not _is_of_its_kind(data):
        raise Undecipherable
    return data


def parsed(text: str) -> dict[str, Any]:
    """Return the JSON object in a text; it has no duplicate field, and is encodable as UTF-8.

    Raises:
        Undecipherable: the text is anything else.
    """
    try:
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
        json.dumps(data, ensure_ascii=False).encode()  # fails on a lone surrogate, as in "\ud800"
    except (ValueError, RecursionError):
        raise Undecipherable from None
    if not isinstance(data, dict):
        raise Undecipherable
    return data


def _decrypted(encrypted: bytes, iv: bytes, key: bytes) -> bytes:
    if not len(key) == len(iv) == BLOCK:
        raise Undecipherable
    decryptor = Cipher(algorithms.AES128(key), modes.CBC(iv)).decryptor()
    padded = decryptor.update(encrypted) + decryptor.finalize()
    unpadder = PKCS7(BLOCK * 8).unpadder()
    return unpadder.update(padded) + unpadder.finalize()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Undecipherable
    return found


def _no_number(_name: str) -> NoReturn:
    raise Undecipherable  # NaN and Infinity, which Python accepts, are not JSON


def _is_compact(text: str, data: Mapping[str, Any]) -> bool:
    """Return whether the text is the data in compact form: no blanks, one way to write a number.

    Characters inside strings may be escaped in any way that JSON allows.
    """
    plain = _STRING.sub(lambda found: _compact(json.loads(found[0])), text)
    return plain == _compact(data)


def _compact(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _is_of_its_kind(data: Mapping[str, Any]) -> bool:
    first = next(iter(data))
    if data.keys() & _PHONE:
        return first == "phoneNumber" and _is_phone(data)
    if data.keys() & _USER_INFO:
        return first in {"openId", "nickName"}
    if isinstance(data.get("openGId"), str):
        return first == "openGId"
    if isinstance(data.get("stepInfoList"), list):
        return first == "stepInfoList"
    return True


def _is_phone(data: Mapping[str, Any]) -> bool:
    """Return whether `phoneNumber` is `purePhoneNumber`, with or without the country code."""
    whole, pure, country_code = (
        data.get(name) for name in ("phoneNumber", "purePhoneNumber", "countryCode")
    )
    if not (isinstance(whole, str) and isinstance(pure, str) and isinstance(country_code, str)):
        return True  # not a complete phone number; `phone_number_of` returns None for it
    if not whole.endswith(pure):
        return False
    return whole.removesuffix(pure).strip("+- ").removeprefix("00") in {"", country_code}
