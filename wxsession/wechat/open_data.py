"""Open data: what WeChat gave the mini-program about its user, for this server to believe.

It was signed or encrypted under the session_key that WeChat had at that moment. A wx.login in
between makes a new one, so the kept keys are tried, newest first, and one of them has to fit
everything that came along.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from wxsession.clock import Clock
from wxsession.errors import InvalidRequest, SessionKeyStale, WatermarkMismatch
from wxsession.storage.database import Executor
from wxsession.storage.tables import LONGEST_AVATAR_URL, LONGEST_NICKNAME
from wxsession.users.invisible import is_invisible, turns
from wxsession.users.user import Identity, User
from wxsession.wechat import decryption as wechat_data
from wxsession.wechat.decryption import BLOCK, Undecipherable
from wxsession.wechat.session_keys import FRESH, SessionKeyStore

FURTHEST_AHEAD = timedelta(minutes=5)
"""How far WeChat's clock may be ahead of ours."""

# What every user looks like since November 2022, where the mini-program asked in the old way.
# Source: "小程序用户头像昵称获取规则调整公告"; the values are observed.
_ANONYMOUS_NICKNAME = "微信用户"
_ANONYMOUS_AVATAR = (
    "POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg"
)
_IDS = frozenset({"openId", "unionId"})
_USER_INFO = ("nickName", "gender", "language", "city", "province", "country", "avatarUrl")
_SIGNATURE = re.compile(r"[0-9a-fA-F]{40}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# What RFC 3986 lets an address hold, but for a user and for a quote: a page that writes it into an
# attribute as it is does not end that attribute, and whoever fetches it hands over no password.
_HOST = r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"
_CHARACTER = r"(?:[A-Za-z0-9._~:/?@!$&()*+,;=-]|%[0-9A-Fa-f]{2})"
_ADDRESS = re.compile(rf"(?i:https?)://{_HOST}(?:[/?]{_CHARACTER}*)?(?:#{_CHARACTER}*)?")


@dataclass(frozen=True, slots=True)
class OpenData:
    """What a mini-program got from WeChat, as it came; None is what it did not get."""

    raw_data: str | None = field(default=None, repr=False)
    signature: str | None = field(default=None, repr=False)
    encrypted_data: str | None = field(default=None, repr=False)
    iv: str | None = field(default=None, repr=False)
    iv_is_session_key: bool = False
    """As in what base libraries of 2016 gave, under the name `encryptData` and without an iv."""

    @property
    def was_refused(self) -> bool:
        """Whether nothing was given: the user did not allow it."""
        return self == OpenData()

    def ensure_form(self) -> None:
        """Return if every field has the form of such a field.

        Raises:
            InvalidRequest: with every field that is wrong.
        """
        _Given.of(self)


@dataclass(frozen=True, slots=True)
class _Given:
    """Open data whose form is right; a half that did not come along is None."""

    signed: tuple[str, str] | None
    encrypted: tuple[bytes, bytes | None] | None

    @classmethod
    def of(cls, data: OpenData) -> "_Given":
        """Return the data in this form.

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
                faults[name] = "is needed along with its counterpart"
        if data.signature is not None and not _SIGNATURE.fullmatch(data.signature):
            faults["signature"] = "has to be 40 hexadecimal digits"
        iv, encrypted = (
            _bytes(data.iv, "iv", faults),
            _bytes(data.encrypted_data, "encryptedData", faults),
        )
        if iv is not None and len(iv) != BLOCK:
            faults["iv"] = "has to be 16 bytes"
        if encrypted is not None and (not encrypted or len(encrypted) % BLOCK):
            faults["encryptedData"] = "has to be whole blocks of 16 bytes"
        if faults:
            raise InvalidRequest([{"field": f, "message": text} for f, text in faults.items()])
        return cls(
            None
            if data.raw_data is None or data.signature is None
            else (data.raw_data, data.signature),
            None if encrypted is None else (encrypted, iv),
        )

    def fits(self, session_key: str) -> bool:
        """Tell whether the signature, if there is one, was made under this key."""
        return self.signed is None or wechat_data.is_signed(*self.signed, session_key)

    def opened(self, session_key: str) -> Mapping[str, Any]:
        """Return what was encrypted, or else what was signed.

        Raises:
            Undecipherable: it was not encrypted under this key.
            InvalidRequest: what was signed is no JSON object, or is not what was encrypted.
        """
        decrypted = wechat_data.decrypt(*self.encrypted, session_key) if self.encrypted else None
        if self.signed is None:
            return decrypted or {}
        try:
            signed = wechat_data.parsed(self.signed[0])
        except Undecipherable:
            raise InvalidRequest.of("rawData", "has to be a JSON object") from None
        if decrypted is None:
            return signed
        # The iv is not protected by anything but this, see `wechat.open_data`. WeChat signs members
        # that it does not encrypt, `is_demote` for one since the end of 2022.
        if any(decrypted[name] != value for name, value in signed.items() if name in decrypted):
            raise InvalidRequest.of("rawData", "is not what encryptedData holds")
        return decrypted


class OpenDataReader:
    """Reads open data with the kept session_keys of a WeChat user."""

    def __init__(self, ring: SessionKeyStore, clock: Clock) -> None:
        self._ring = ring
        self._clock = clock

    def read(
        self, connection: Executor, identity: Identity, data: OpenData
    ) -> Mapping[str, Any] | None:
        """Return what WeChat says, without its ids, or None if the user did not allow it.

        Signed data alone have no watermark: they are this user's, of whatever time.

        Raises:
            InvalidRequest: a field is missing, or is not what such a field holds.
            SessionKeyStale: no kept key fits everything that was given.
            WatermarkMismatch: it is of another app or user, too old, or of the future.
        """
        if data.was_refused:
            return None
        given = _Given.of(data)
        found = self._found(connection, identity, given)
        if given.encrypted is not None:
            self._ensure_meant(found, identity)
        return {name: value for name, value in found.items() if name not in _IDS}

    def _found(self, connection: Executor, identity: Identity, given: _Given) -> Mapping[str, Any]:
        for kept in self._ring.keys(connection, identity.id):
            if given.fits(kept.session_key):
                try:
                    return given.opened(kept.session_key)
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
    """Return the columns of a user that open data change; what WeChat hides changes nothing."""
    columns = {}
    nickname, avatar_url = data.get("nickName"), data.get("avatarUrl")
    if isinstance(nickname, str) and nickname != _ANONYMOUS_NICKNAME and is_nickname(nickname):
        columns["nickname"] = nickname
    if isinstance(avatar_url, str) and is_avatar_url(avatar_url):
        columns |= {"avatar_url": avatar_url} if _ANONYMOUS_AVATAR not in avatar_url else {}
    return columns


def user_info(user: User, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a user as wx.getUserInfo shows one, without ids: what is known, or else the data."""
    known = {"nickName": user.nickname, "avatarUrl": user.avatar_url}
    shown = {name: data[name] for name in _USER_INFO if data and name in data}
    return shown | {name: value for name, value in known.items() if value is not None}


def is_nickname(text: str) -> bool:
    """Return whether a user may be called this: something to be seen, not too long, on one line.

    What is invisible may stand between what is not: an emoji of several has joiners in it.
    """
    if len(text) > LONGEST_NICKNAME or _CONTROL.search(text) or turns(text):
        return False
    return not all(map(is_invisible, text))


def is_avatar_url(text: str) -> bool:
    """Return whether a browser may be sent there for a picture: http or https, and not too long."""
    return len(text) <= LONGEST_AVATAR_URL and bool(_ADDRESS.fullmatch(text))


def _bytes(text: str | None, name: str, faults: dict[str, str]) -> bytes | None:
    if text is None:
        return None
    try:
        return wechat_data.decoded(text)
    except ValueError:
        faults[name] = "has to be base64"
        return None
