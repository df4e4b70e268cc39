"""WeChat's messages as they travel: verified, opened, parsed; and sealed, for the simulator.

An app that has an EncodingAESKey takes encrypted messages alone. Of a message in clear only the
time and a nonce are signed, never the body: whoever has seen one signed URL, in the log of a proxy
for example, could send any message with it.

Source: "消息推送" in the mini-program documentation, with its vectors.
"""

import hashlib
import hmac
import json
import re
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any, NoReturn
from xml.parsers import expat

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from wxsession.errors import InvalidRequest, PushRefused
from wxsession.settings import PushSecrets

OLDEST = timedelta(minutes=5)
"""How far a message's timestamp may be from our time."""

CANCELLATION = "user_authorization_cancellation"
MODIFICATION = "user_info_modified"
REVOCATION = "user_authorization_revoke"

_ENCRYPTED = "Encrypt"
_OF_ENCRYPTED = frozenset({"ToUserName", _ENCRYPTED})
_PADDED_TO = 32
_IV = 16
_RANDOM = 16
_LENGTH = struct.Struct(">I")
_DEEPEST = 32
_BOM = "\ufeff"
_TIMESTAMP = re.compile(r"[0-9]{1,11}", re.ASCII)
_OPENID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SignedQuery:
    """The query of a request from WeChat, as it was sent; None is what was not sent."""

    timestamp: str
    nonce: str
    signature: str | None = field(default=None, repr=False)
    msg_signature: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """A verified message: its text in clear, and the members of it, by name."""

    appid: str
    text: str = field(repr=False)
    members: Mapping[str, Any] = field(repr=False)

    @property
    def is_xml(self) -> bool:
        """Whether the text is XML; otherwise it is JSON."""
        return _is_xml(self.text)


@dataclass(frozen=True, slots=True)
class UserEvent:
    """What WeChat says about one of its users; `revoked` are the numbers in RevokeInfo."""

    event: str
    appid: str
    openid: str
    revoked: frozenset[int]
    created_at: datetime | None


def signature(token: str, *parts: str) -> str:
    """Return the SHA-1 in hex by which WeChat signs these parts."""
    joined = "".join(sorted((token, *parts))).encode(errors="surrogatepass")
    return hashlib.sha1(joined, usedforsecurity=False).hexdigest()


def ensure_signed(app: PushSecrets, query: SignedQuery, now: datetime) -> None:
    """Return if WeChat signed the query, and lately.

    Raises:
        PushRefused: it did not, or not within the last five minutes.
    """
    expected = signature(app.token, query.timestamp, query.nonce)
    _ensure_equal(query.signature, expected)
    _ensure_recent(query.timestamp, now)


def opened(appid: str, app: PushSecrets, query: SignedQuery, body: bytes, now: datetime) -> Message:
    """Return the message that WeChat sent to an app: decrypted if the app has a key.

    Raises:
        PushRefused: WeChat did not sign it, or not lately, or for another app, or not as this app
            has it.
        InvalidRequest: it is neither JSON nor XML, or is nested too deeply.
    """
    if app.aes_key is None:
        ensure_signed(app, query, now)
        text = _text(body)
        if parsed(text).keys() == _OF_ENCRYPTED:
            raise PushRefused("no_key")
    else:
        encrypted = parsed(_text(body)).get(_ENCRYPTED)
        if not isinstance(encrypted, str):
            raise PushRefused("not_encrypted")
        expected = signature(app.token, query.timestamp, query.nonce, encrypted)
        _ensure_equal(query.msg_signature, expected)
        _ensure_recent(query.timestamp, now)
        text = _decrypted(encrypted, app.aes_key, appid)
    text = text.removeprefix(_BOM)  # JSON must not begin with one, see RFC 8259, 8.1
    return Message(appid, text, parsed(text))


def user_event(message: Message) -> UserEvent | None:
    """Return what a message says about a user, or None if it is about something else.

    Raises:
        PushRefused: it is about a user of another app.
        InvalidRequest: it does not say about whom.
    """
    found = message.members
    event = found.get("Event")
    # No set: the event may be a list or a mapping, which has no hash.
    if found.get("MsgType") != "event" or event not in (CANCELLATION, MODIFICATION, REVOCATION):
        return None
    if found.get("AppID", message.appid) != message.appid:
        raise PushRefused("appid")
    openid = found.get("OpenID")
    if not (isinstance(openid, str) and _OPENID.fullmatch(openid)):
        raise InvalidRequest.of("OpenID", "is not an openid")
    return UserEvent(
        event=str(event),
        appid=message.appid,
        openid=openid,
        revoked=_numbers(found.get("RevokeInfo")),
        created_at=_moment(found.get("CreateTime")),
    )


def sealed(
    message: str, *, appid: str, app: PushSecrets, random: bytes | None = None
) -> str | None:
    """Return a message as WeChat encrypts it for an app, or None if the app has no key.

    `random` are the 16 bytes that it begins with.
    """
    if app.aes_key is None:
        return None
    text = message.encode()
    plain = (random or _random()) + _LENGTH.pack(len(text)) + text + appid.encode()
    padder = PKCS7(_PADDED_TO * 8).padder()
    encryptor = _cipher(app.aes_key).encryptor()
    padded = padder.update(plain) + padder.finalize()
    return b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def parsed(text: str) -> Mapping[str, Any]:
    """Return the members of a message: a JSON object, or an XML element with elements in it.

    An XML element that has elements in it is a member that is a mapping, or a list of mappings if
    there are several of that name.

    Raises:
        InvalidRequest: it is neither, has a DOCTYPE, or is nested too deeply.
    """
    found = _parsed_xml(text) if _is_xml(text) else _parsed_json(text)
    if not isinstance(found, dict):
        raise InvalidRequest.of("body", "must be a JSON object or an XML element with members")
    return found


def _is_xml(text: str) -> bool:
    return text.lstrip(f"{_BOM} \t\r\n").startswith("<")


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except ValueError:
        raise InvalidRequest.of("body", "is not UTF-8") from None


def _ensure_equal(presented: str | None, expected: str) -> None:
    sent = (presented or "").encode(errors="surrogatepass")
    if not hmac.compare_digest(sent, expected.encode()):
        raise PushRefused("signature")


def _ensure_recent(timestamp: str, now: datetime) -> None:
    # Only after the signature: whoever cannot sign learns nothing about our clock.
    moment = _moment(timestamp)
    if moment is None or abs(now - moment) > OLDEST:
        raise PushRefused("timestamp")


def _decrypted(encrypted: str, key: bytes, appid: str) -> str:
    """Return the text in an encrypted message.

    The signature was verified before: what is wrong here tells nobody anything about the key.
    """
    try:
        decryptor = _cipher(key).decryptor()
        padded = decryptor.update(b64decode(encrypted, validate=True)) + decryptor.finalize()
        unpadder = PKCS7(_PADDED_TO * 8).unpadder()
        plain = unpadder.update(padded) + unpadder.finalize()
        (length,) = _LENGTH.unpack_from(plain, _RANDOM)
        rest = plain[_RANDOM + _LENGTH.size :]
        text, owner = rest[:length].decode(), rest[length:].decode()
    except (ValueError, struct.error):
        raise PushRefused("encryption") from None
    if owner != appid:
        raise PushRefused("appid")
    return text


def _cipher(key: bytes) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES256(key), modes.CBC(key[:_IV]))


def _random() -> bytes:
    return token_hex(_RANDOM // 2).encode()  # letters, as in WeChat's own examples


def _moment(timestamp: object) -> datetime | None:
    text = str(timestamp)
    return datetime.fromtimestamp(int(text), UTC) if _TIMESTAMP.fullmatch(text) else None


def _numbers(info: object) -> frozenset[int]:
    """Return the numbers in RevokeInfo, which is one number, or several, as text or not."""
    given = info if isinstance(info, list) else [info]
    return frozenset(int(number) for one in given for number in _NUMBER.findall(str(one)))


def _parsed_json(text: str) -> Any:
    try:
        found = json.loads(text.removeprefix(_BOM), parse_constant=_no_number)
        json.dumps(found, ensure_ascii=False).encode()  # fails on a lone surrogate
    except (ValueError, RecursionError):
        raise InvalidRequest.of("body", "is not JSON") from None
    return found


def _no_number(_name: str) -> NoReturn:
    raise ValueError  # NaN and Infinity, which Python accepts, are not JSON


def _parsed_xml(text: str) -> Any:
    """Return what is in an XML document; the name of its root does not matter.

    No library for hostile XML: without a DOCTYPE there are no entities, neither inner nor outer
    ones, so there is nothing else to defend against but depth.
    """
    parser = expat.ParserCreate("UTF-8")
    builder = _Builder()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = builder.refuse_doctype
    parser.StartElementHandler = builder.start
    parser.CharacterDataHandler = builder.add
    parser.EndElementHandler = builder.end
    try:
        parser.Parse(text.encode(), True)  # noqa: FBT003 - this is all of it
    except (expat.ExpatError, ValueError):
        raise InvalidRequest.of("body", "is not XML") from None
    return builder.root


class _Builder:
    """Makes mappings of elements that have elements, and text of the others."""

    def __init__(self) -> None:
        self.root: Any = None
        self._open: list[tuple[dict[str, Any], list[str]]] = []

    def refuse_doctype(self, *_: object) -> NoReturn:
        """Refuse the document before anything is declared in it.

        Raises:
            InvalidRequest: always.
        """
        raise InvalidRequest.of("body", "must not have a DOCTYPE")

    def start(self, _name: str, _attributes: object) -> None:
        """Begin an element.

        Raises:
            InvalidRequest: it is nested too deeply.
        """
        if len(self._open) == _DEEPEST:
            raise InvalidRequest.of("body", "is nested too deeply")
        self._open.append(({}, []))

    def add(self, text: str) -> None:
        """Add to the text of the innermost element."""
        self._open[-1][1].append(text)

    def end(self, name: str) -> None:
        """End an element."""
        members, text = self._open.pop()
        value: Any = members or "".join(text).strip()
        if not self._open:
            self.root = value
            return
        siblings = self._open[-1][0]
        if name not in siblings:
            siblings[name] = value
        elif isinstance(siblings[name], list):
            siblings[name].append(value)
        else:
            siblings[name] = [siblings[name], value]
