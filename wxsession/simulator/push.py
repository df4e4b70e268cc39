"""WeChat's messages to a developer's server: what is in them, and how they travel.

Their encryption is that of `wxsession.wechat.push`; the official vectors in its tests go both ways.
"""

import json
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from wxsession.settings import PushSecrets
from wxsession.wechat.push import sealed, signature

from .generators import Entropy

_OUR_ACCOUNT = "gh_0123456789ab"
_LENGTH_OF_KEY = 43


class Push(NamedTuple):
    """A request of WeChat's to a developer's server: `path` is below the server's own URL."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    content_type: str


class Pushes:
    """What the console has of the apps: a token and an EncodingAESKey, or None for plain mode."""

    def __init__(self, secrets: Mapping[str, tuple[str, str | None]], entropy: Entropy) -> None:
        """Let apps have messages.

        Raises:
            ValueError: an EncodingAESKey has not 43 characters.
        """
        self._apps = {
            appid: PushSecrets(token, _key(key)) for appid, (token, key) in secrets.items()
        }
        self._entropy = entropy

    def verification(self, appid: str, now: datetime) -> Push:
        """Return the request by which WeChat asks whether a URL is the developer's.

        Raises:
            ValueError: the app has no messages.
        """
        app = self._app(appid)
        query = {**self._signed(app, now), "echostr": str(int.from_bytes(self._entropy(7)))}
        return Push("GET", _path(appid), query, b"", "")

    def message(
        self, appid: str, openid: str, members: Mapping[str, object], now: datetime, *, xml: bool
    ) -> Push:
        """Return the request that brings a message, encrypted if the app has a key.

        Raises:
            ValueError: the app has no messages.
        """
        app = self._app(appid)
        whole = {
            "ToUserName": _OUR_ACCOUNT,
            "FromUserName": openid,
            "CreateTime": int(now.timestamp()),
            **members,
        }
        write = _xml if xml else _json
        text, query = write(whole), {**self._signed(app, now), "openid": openid}
        encrypted = sealed(text, appid=appid, app=app, random=self._entropy(16))
        if encrypted is not None:
            text = write({"ToUserName": _OUR_ACCOUNT, "Encrypt": encrypted})
            query["encrypt_type"] = "aes"
            query["msg_signature"] = signature(
                app.token, query["timestamp"], query["nonce"], encrypted
            )
        content_type = "text/xml" if xml else "application/json"
        return Push("POST", _path(appid), query, text.encode(), content_type)

    def _app(self, appid: str) -> PushSecrets:
        if appid not in self._apps:
            raise ValueError("this app has no messages: see WXSESSION_PUSH")
        return self._apps[appid]

    def _signed(self, app: PushSecrets, now: datetime) -> dict[str, str]:
        timestamp, nonce = str(int(now.timestamp())), str(int.from_bytes(self._entropy(4)))
        signed = signature(app.token, timestamp, nonce)
        return {"signature": signed, "timestamp": timestamp, "nonce": nonce}


def _key(encoded: str | None) -> bytes | None:
    if encoded is None:
        return None
    if len(encoded) != _LENGTH_OF_KEY:
        raise ValueError(f"an EncodingAESKey has {_LENGTH_OF_KEY} characters")
    return b64decode(encoded + "=")


def _path(appid: str) -> str:
    return f"/wechat/push/{appid}"


def _json(members: Mapping[str, object]) -> str:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


def _xml(members: Mapping[str, object]) -> str:
    inner = "".join(f"<{name}>{_value(value)}</{name}>" for name, value in members.items())
    return f"<xml>{inner}</xml>"


def _value(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    text = str(value).replace("]]>", "]]]]><![CDATA[>")
    return f"<![CDATA[{text}]]>"
