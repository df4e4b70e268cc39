"""Open data: data about a user that WeChat gave the mini-program, signed or encrypted.

WeChat uses the session_key of that moment, and a wx.login may have replaced it since. So the
stored keys are tried, newest first, and one of them has to fit both the signature and the
encrypted data.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from wxsession.common.clock import Clock
from wxsession.errors import InvalidRequest, SessionKeyStale, WatermarkMismatch
from wxsession.storage.database import Database
from wxsession.storage.tables import LONGEST_AVATAR_URL, LONGEST_NICKNAME
from wxsession.storage.transaction import Transaction
from wxsession.users.invisible import is_invisible, turns
from wxsession.users.user import Identity, User
from wxsession.wechat import decryption as wechat_data
from wxsession.wechat.decryption import BLOCK, Undecipherable
from wxsession.wechat.session_keys import FRESH, SessionKeyStore

FURTHEST_AHEAD = timedelta(minutes=5)
"""How far WeChat's clock may be ahead of ours."""

# The nickname and avatar that the old functions return for every user since November 2022.
# Source: "小程序用户头像昵称获取规则调整公告"; the values are observed.
_ANONYMOUS_NICKNAME = "微信用户"
_ANONYMOUS_AVATAR = (
    "POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg"
)
_IDS = frozenset({"openId", "unionId"})
_USER_INFO = ("nickName", "gender", "language", "city", "province", "country", "avatarUrl")
_SIGNATURE = re.compile(r"[0-9a-fA-F]{40}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# A URL as in RFC 3986, without user information and without quotes: it cannot end an HTML attribute
# in which a page puts it unescaped, and a client that fetches it sends no password.
_HOST = r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"
_CHARACTER = r"(?:[A-Za-z0-9._~:/?@!$&()*+,;=-]|%[0-9A-Fa-f]{2})"
_ADDRESS = re.compile(rf"(?i:https?)://{_HOST}(?:[/?]{_CHARACTER}*)?(?:#{_CHARACTER}*)?")


@dataclass(frozen=True, slots=True)
class OpenData:
    """Open data as the mini-program sent them; None is a field that was not sent."""

    raw_data: str | None = field(default=None, repr=False)
    signature: str | None = field(default=None, repr=False)
    encrypted_data: str | None = field(default=None, repr=False)
    iv: str | None = field(default=None, repr=False)
    iv_is_session_key: bool = False
    """Whether the session_key is the iv, as in base libraries of 2016 (field `encryptData`)."""

    @property
    def was_refused(self) -> bool:
        """Whether no field was sent: the user did not give permission."""
        return self == OpenData()


@dataclass(frozen=True, slots=True)
class ParsedOpenData:
    """Well-formed open data; a half that was not sent is None."""

    signed: tuple[str, str] | None
    encrypted: tuple[bytes, bytes | None] | None

    @classmethod
    def of(cls, data: OpenData) -> "ParsedOpenData":
        """Parse the fields.

        Raises:
            InvalidRequest: with every field that is wrong.
        """
        faults: dict[str, str] = {}
        for name, value, other in (
            ("signature", data.signature, data.raw_data),
            ("rawData", data.raw_data, data.signature),
            ("iv", data.iv, None if data.iv_is_session_key else data.encrypted_data),
            ("encryptedData", data.encrypted_data, data.iv),
        ):
            if value is None and other is not None:
                faults[name] = "is required together with its counterpart"
        if data.signature is not None and not _SIGNATURE.fullmatch(data.signature):
            faults["signature"] = "must be 40 hexadecimal digits"
        iv, encrypted = (
            _bytes(data.iv, "iv", faults),
            _bytes(data.encrypted_data, "encryptedData", faults),
        )
        if iv is not None and len(iv) != BLOCK:
            faults["iv"] = "must be 16 bytes"
        if encrypted is not None and (not encrypted or len(encrypted) % BLOCK):
            faults["encryptedData"] = "must be whole blocks of 16 bytes"
        if faults:
            raise InvalidRequest([{"field": f, "message": text} for f, text in faults.items()])
        return cls(
            None
            if data.raw_data is None or data.signature is None
            else (data.raw_data, data.signature),
            None if encrypted is None else (encrypted, iv),
        )

    def fits(self, session_key: str) -> bool:
        """Return whether the signature, if there is one, was made under this key."""
        return self.signed is None or wechat_data.is_signed(*self.signed, session_key)

    def opened(self, session_key: str) -> Mapping[str, Any]:
        """Return the encrypted data, or the signed data if nothing is encrypted.

        Raises:
            Undecipherable: the data were not encrypted under this key.
            InvalidRequest: rawData is not a JSON object, or differs from the encrypted data.
        """
        decrypted = wechat_data.decrypt(*self.encrypted, session_key) if self.encrypted else None
        if self.signed is None:
            return decrypted or {}
        try:
            signed = wechat_data.parsed(self.signed[0])
        except Undecipherable:
            raise InvalidRequest.of("rawData", "must be a JSON object") from None
        if decrypted is None:
            return signed
        # Nothing but this comparison protects the first block, see `wechat.decryption`. Fields
        # that are signed only are ignored: WeChat has some, such as `is_demote` since late 2022.
        if any(decrypted[name] != value for name, value in signed.items() if name in decrypted):
            raise InvalidRequest.of("rawData", "differs from encryptedData")
        return decrypted


class OpenDataReader:
    """Reads open data with the stored session_keys of a WeChat user."""

    def __init__(self, session_keys: SessionKeyStore, clock: Clock) -> None:
        self._session_keys = session_keys
        self._clock = clock

    def read(
        self, database: Database | Transaction, identity: Identity, sent: ParsedOpenData
    ) -> Mapping[str, Any]:
        """Return the data without WeChat's ids.

        Data that are only signed have no watermark: they are of this user, but of any age.

        Raises:
            InvalidRequest: rawData is not a JSON object, or the halves differ.
            SessionKeyStale: no stored key fits all of the data.
            WatermarkMismatch: they are of another app or user, too old, or from the future.
        """
        found = self._opened(database, identity, sent)
        if sent.encrypted is not None:
            self._ensure_meant(found, identity)
        return {name: value for name, value in found.items() if name not in _IDS}

    def _opened(
        self, database: Database | Transaction, identity: Identity, sent: ParsedOpenData
    ) -> Mapping[str, Any]:
        for kept in self._session_keys.keys(database, identity.id):
            if sent.fits(kept.session_key):
                try:
                    return sent.opened(kept.session_key)
                except Undecipherable:
                    continue
        raise SessionKeyStale

    def _ensure_meant(self, found: Mapping[str, Any], identity: Identity) -> None:
        mark, now = found["watermark"], self._clock().timestamp()
        taken_at = mark.get("timestamp")
        if mark.get("appid") != identity.appid or type(taken_at) is not int:
            raise WatermarkMismatch
        if found.get("openId", identity.openid) != identity.openid:
            raise WatermarkMismatch
        oldest, newest = now - FRESH.total_seconds(), now + FURTHEST_AHEAD.total_seconds()
        if not oldest <= taken_at <= newest:
            raise WatermarkMismatch


def profile_of(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns of a user that open data change; WeChat's placeholders change nothing."""
    columns = {}
    nickname, avatar_url = data.get("nickName"), data.get("avatarUrl")
    if isinstance(nickname, str) and nickname != _ANONYMOUS_NICKNAME and is_nickname(nickname):
        columns["nickname"] = nickname
    if isinstance(avatar_url, str) and is_avatar_url(avatar_url):
        columns |= {"avatar_url": avatar_url} if _ANONYMOUS_AVATAR not in avatar_url else {}
    return columns


def user_info(user: User, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a user as wx.getUserInfo does, without ids: the stored profile, otherwise the data."""
    known = {"nickName": user.nickname, "avatarUrl": user.avatar_url}
    shown = {name: data[name] for name in _USER_INFO if data and name in data}
    return shown | {name: value for name, value in known.items() if value is not None}


def is_nickname(text: str) -> bool:
    """Return whether this may be a nickname: visible, not too long, on one line.

    Invisible characters are allowed beside visible ones: a composed emoji has joiners in it.
    """
    if len(text) > LONGEST_NICKNAME or _CONTROL.search(text) or turns(text):
        return False
    return not all(map(is_invisible, text))


def is_avatar_url(text: str) -> bool:
    """Return whether this may be the URL of an avatar: http or https, and not too long."""
    return len(text) <= LONGEST_AVATAR_URL and bool(_ADDRESS.fullmatch(text))


def _bytes(text: str | None, name: str, faults: dict[str, str]) -> bytes | None:
    if text is None:
        return None
    try:
        return wechat_data.decoded(text)
    except ValueError:
        faults[name] = "must be base64"
        return None
