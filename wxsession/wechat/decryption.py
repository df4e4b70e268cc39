"""What WeChat signs and encrypts for a mini-program's server: checked and opened, nothing else.

AES-CBC encrypts and does not authenticate. Whoever flips a bit of the iv flips that bit of the
first sixteen bytes of the plaintext and of nothing else, and no key is needed for that. What the
content gives away is refused here: the text has to be JSON as WeChat writes it, and data of a
known kind has to begin as data of that kind do. The first block of a phone number is exactly
``{"phoneNumber":"``, that of steps ``{"stepInfoList":``, and that of user info ``{"openId":"``
with five characters of an openid, which a reader compares with the user's own. So nothing can be
changed there and be believed.

What cannot be seen: the first characters of an openGId (``{"openGId":"`` leaves four of them) and
of the nickname in what wx.getUserProfile encrypts (``{"nickName":"`` leaves three bytes), unless
its signed rawData comes along. Neither is proof of anything: users choose their nicknames.
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
"""The bytes of a key, of an iv and of a block."""

_LINE_BREAKS = str.maketrans("", "", "\r\n")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')

# Which field comes first in data of the kind that has one of these fields. Sources:
# "开放数据校验与解密", "wx.getUserProfile", "获取手机号" and the official test vector.
_USER_INFO = frozenset({"nickName", "avatarUrl", "gender", "openId", "unionId"})
_PHONE = frozenset({"phoneNumber", "purePhoneNumber", "countryCode"})


class Undecipherable(ValueError):
    """It was not encrypted under this key, or it was altered, or it is nothing of WeChat's."""


def decoded(text: str) -> bytes:
    """Return the bytes of base64 that may be broken into lines.

    Raises:
        ValueError: any other foreign character, or a wrong padding.
    """
    joined = text.translate(_LINE_BREAKS)
    if len(joined) % 4:  # b64decode overlooks a padding after what needs none
        raise ValueError("the padding is wrong")
    return b64decode(joined, validate=True)


def is_signed(raw_data: str, signature: str, session_key: str) -> bool:
    """Tell whether WeChat signed `raw_data`, byte by byte as it came, under this key.

    The key goes in as the text it is. Source: "数据签名校验" in the mini-program documentation.
    """
    signed = (raw_data + session_key).encode(errors="surrogatepass")
    expected = hashlib.sha1(signed, usedforsecurity=False).hexdigest()
    given = signature.lower().encode(errors="surrogatepass")
    return hmac.compare_digest(expected.encode(), given)


def decrypt(encrypted: bytes, iv: bytes | None, session_key: str) -> dict[str, Any]:
    """Return what WeChat encrypted: a JSON object that has a watermark.

    Without an iv, the key is the iv as well; so it was in 2016.
    Source: "加密数据解密算法" in the mini-program documentation.

    Raises:
        Undecipherable: it is not that, under this key.
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
    """Return the JSON object in a text: no field twice, and nothing that has no UTF-8.

    Raises:
        Undecipherable: it is something else.
    """
    try:
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
        json.dumps(data, ensure_ascii=False).encode()
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
    raise Undecipherable  # NaN and Infinity are Python's JSON, and nobody else's


def _is_compact(text: str, data: Mapping[str, Any]) -> bool:
    """Tell whether nothing is in the text but the data: no blanks, no second way to write them.

    Only the characters inside strings may be escaped in any way that JSON knows.
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
    """Tell whether a whole number is the pure one, with its country code before it or without."""
    whole, pure, country_code = (
        data.get(name) for name in ("phoneNumber", "purePhoneNumber", "countryCode")
    )
    if not (isinstance(whole, str) and isinstance(pure, str) and isinstance(country_code, str)):
        return True  # no number, and not to be taken for one
    if not whole.endswith(pure):
        return False
    return whole.removesuffix(pure).strip("+- ").removeprefix("00") in {"", country_code}
