"""The rules of the endpoints around the access token, one method for each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from .codes import PhoneCodes
from .credentials import AccessTokens, Apps
from .errors import WeChatError, require
from .faults import Fault
from .generators import openid
from .open_data import hmac_signature, watermarked
from .session_keys import SessionKeys
from .users import PhoneNumbers


class Endpoint(Enum):
    """An endpoint around the access token."""

    STABLE_TOKEN = auto()
    USER_PHONE_NUMBER = auto()
    CHECK_SESSION = auto()
    RESET_SESSION_KEY = auto()


@dataclass(frozen=True)
class Request:
    """One call of the server API. `body` is None where the call was no POST."""

    query: Mapping[str, str]
    client_ip: str
    body: bytes | None = None

    def json_object(self) -> Mapping[str, object]:
        """Return the JSON object in the body.

        Raises:
            WeChatError: 43002 it was no POST; 44002 the body is empty; 47001 it is something else,
                as a form is.
        """
        if self.body is None:
            raise WeChatError.of(43002)
        require(bool(self.body), 44002)
        try:
            body = json.loads(self.body)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise WeChatError.of(47001)
        return body

    def code(self) -> str:
        """Return the code in the body; "" where there is none."""
        try:
            code = self.json_object().get("code")
        except WeChatError:
            return ""
        return code if isinstance(code, str) else ""


@dataclass(frozen=True)
class Reply:
    """What WeChat answers to one request, and what happens to the answer on its way."""

    answer: Mapping[str, object] | WeChatError
    rid: str
    fault: Fault | None = None
    delay: float = 0.0


_OK = {"errcode": 0, "errmsg": "ok"}


class ServerApi:
    """What an app may ask of the state it is given. The order of checks is a choice throughout.

    A method returns the answer or raises the `WeChatError` that is the answer; all but
    `stable_token` raise 41001, 40001 or 42001 if the access token in the query is no good.
    """

    def __init__(
        self,
        apps: Apps,
        keys: SessionKeys,
        tokens: AccessTokens,
        codes: PhoneCodes,
        numbers: PhoneNumbers,
    ) -> None:
        """Answer from this state."""
        self._apps = apps
        self._keys = keys
        self._tokens = tokens
        self._codes = codes
        self._numbers = numbers

    def stable_token(self, request: Request, now: datetime) -> dict[str, object]:
        """Return access_token and expires_in.

        Raises:
            WeChatError: 43002, 44002, 47001, 41002, 41004, 40013, 40002, 40164, 40125 or 45009.
        """
        body = request.json_object()
        for name, errcode in (("appid", 41002), ("secret", 41004)):
            require(bool(body.get(name)), errcode)
        appid = self._apps.authenticate(body, "client_credential", request.client_ip)
        forced = body.get("force_refresh") is True
        text, expires_in = self._tokens.stable(appid, now, force_refresh=forced)
        return {"access_token": text, "expires_in": expires_in}

    def user_phone_number(self, request: Request, now: datetime) -> dict[str, object]:
        """Return phone_info, and spend the code by that.

        Raises:
            WeChatError: 43002, 44002, 47001, 40029, 40013, or 40003: the openid that was given is
                not the code's user. WeChat documents that this is an error, but not which: 40003
                is our choice, and so is that the code stays good.
        """
        appid, body = self._caller(request, now), request.json_object()
        code = self._codes.find(request.code(), appid, now)
        given = body.get("openid")
        require(not given or given == openid(appid, code.user), 40003)
        code.spend()
        return {**_OK, "phone_info": watermarked(self._numbers.of(code.user), appid, now)}

    def check_session(self, request: Request, now: datetime) -> dict[str, object]:
        """Confirm that a server holds the current session_key.

        Raises:
            WeChatError: 87009 for whatever is wrong: no other error is documented here.
        """
        appid, query = self._caller(request, now), request.query
        user = self._keys.user_of(query.get("openid", ""), appid)
        if user is None:
            raise WeChatError.of(87009)
        require(query.get("sig_method") == "hmac_sha256", 87009)
        require(query.get("signature") == self._signature(user, appid, now), 87009)
        return {**_OK}

    def reset_session_key(self, request: Request, now: datetime) -> dict[str, object]:
        """Rotate a session_key for the server that holds the current one; return the new one.

        Raises:
            WeChatError: 40097 something is missing; 87008 another sig_method; 87007 the user has
                no key; 87009 the signature is not that of the current key.
        """
        appid, query = self._caller(request, now), request.query
        require(all(query.get(name) for name in ("openid", "signature", "sig_method")), 40097)
        require(query["sig_method"] == "hmac_sha256", 87008)
        user = self._keys.user_of(query["openid"], appid)
        if user is None:
            raise WeChatError.of(87007)
        require(query["signature"] == self._signature(user, appid, now), 87009)
        return {**_OK, "openid": query["openid"], "session_key": self._keys.reset(user, appid)}

    def _caller(self, request: Request, now: datetime) -> str:
        # The query alone counts: a token in the body or in a header is "missing".
        return self._tokens.appid_of(request.query.get("access_token", ""), now)

    def _signature(self, user: str, appid: str, now: datetime) -> str:
        return hmac_signature(self._keys.current(user, appid, now))
