"""The rules of the endpoints that a server calls, one method for each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from .codes import LoginCodes, PhoneCodes
from .credentials import AccessTokens, Apps
from .errors import WeChatError, require
from .faults import Fault
from .generators import openid, unionid
from .open_data import hmac_signature, watermarked
from .session_keys import SessionKeys
from .users import Users

_OK: Final[Mapping[str, object]] = {"errcode": 0, "errmsg": "ok"}


def parse_object(body: bytes) -> Mapping[str, object] | None:
    """Return the JSON object in a body, or None if the body is something else."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):  # not only a JSONDecodeError: UTF-8, numbers too long
        return None
    return parsed if isinstance(parsed, dict) else None


@dataclass(frozen=True)
class Request:
    """What a server sends, without its HTTP. `body` is None unless it was a POST."""

    query: Mapping[str, str]
    client_ip: str
    body: bytes | None = None

    def json_object(self) -> Mapping[str, object]:
        """Return the JSON object in the body.

        Raises:
            WeChatError: 43002: it was no POST; 44002: the body is empty; 47001: the body is
                something else, such as a form.
        """
        if self.body is None:
            raise WeChatError.of(43002)
        require(bool(self.body), 44002)
        body = parse_object(self.body)
        if body is None:
            raise WeChatError.of(47001)
        return body

    def phone_code(self) -> str:
        """Return the code in the body; "" if there is none."""
        try:
            code = self.json_object().get("code")
        except WeChatError:
            return ""
        return code if isinstance(code, str) else ""


@dataclass(frozen=True)
class Reply:
    """What WeChat answers, and what happens to it on the way back: without HTTP, too.

    Attributes:
        answer: what a rule returned or raised.
        rid: the request id, which only an error shows.
        fault: what becomes of the answer.
        delay: for how many seconds it is held back.
        drip: the seconds between two bytes of it under `Fault.DRIP`.
    """

    answer: Mapping[str, object] | WeChatError
    rid: str
    fault: Fault | None = None
    delay: float = 0.0
    drip: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ServerApi:
    """The rules, and the state that they read and change.

    A rule returns the answer, or raises the `WeChatError` that is the answer. Those that take an
    access_token raise 41001, 40001 or 42001 for a bad one before anything else. Where nothing else
    is said, the order of the checks is a choice.
    """

    apps: Apps
    users: Users
    session_keys: SessionKeys
    login_codes: LoginCodes
    phone_codes: PhoneCodes
    access_tokens: AccessTokens

    def code2session(self, request: Request, now: datetime) -> dict[str, object]:
        """Return session_key, openid and, in a bound app, unionid; use up the code.

        Raises:
            WeChatError: 41002, 41004, 41008, 40013, 40002, 40164, 40125, 40029, 45011, 40226 or
                40163.
        """
        # That 41002 comes before all others, and that 40013, 40125 and 40029 follow in this order,
        # has been observed. The position of 45011 is a choice.
        query = request.query
        for name, errcode in (("appid", 41002), ("secret", 41004), ("js_code", 41008)):
            require(bool(query.get(name)), errcode)
        appid = self.apps.authenticate(query, "authorization_code", request.client_ip)
        code = self.login_codes.find(query["js_code"], appid, now)
        self.login_codes.count_exchange(code, now)
        require(not self.users.is_blocked(code.user), 40226)
        code.spend()
        # Which key a code returns that was issued before the last rotation is not established.
        answer: dict[str, object] = {
            "session_key": self.session_keys.current(code.user, appid, now),
            "openid": openid(appid, code.user),
        }
        if self.apps.is_bound(appid):
            answer["unionid"] = unionid(code.user)
        return answer

    def stable_token(self, request: Request, now: datetime) -> dict[str, object]:
        """Return access_token and expires_in.

        Raises:
            WeChatError: 43002, 44002, 47001, 41002, 41004, 40013, 40002, 40164, 40125 or 45009.
        """
        body = request.json_object()
        for name, errcode in (("appid", 41002), ("secret", 41004)):
            require(bool(body.get(name)), errcode)
        appid = self.apps.authenticate(body, "client_credential", request.client_ip)
        force_refresh = body.get("force_refresh") is True
        token, expires_in = self.access_tokens.fetch(appid, now, force_refresh=force_refresh)
        return {"access_token": token, "expires_in": expires_in}

    def user_phone_number(self, request: Request, now: datetime) -> dict[str, object]:
        """Return phone_info; use up the code.

        Raises:
            WeChatError: 43002, 44002, 47001, 40029, 40013, or 40003: the body has an openid, and
                it is not that of the code's user. WeChat documents that this is an error, but not
                which: 40003 is our choice, and so is that the code stays valid.
        """
        appid, body = self._caller(request, now), request.json_object()
        code = self.phone_codes.find(request.phone_code(), appid, now)
        expected = body.get("openid")
        require(not expected or expected == openid(appid, code.user), 40003)
        code.spend()
        number = self.users.phone_number(code.user)
        return {**_OK, "phone_info": watermarked(number, appid, now)}

    def check_session(self, request: Request, now: datetime) -> dict[str, object]:
        """Confirm that a server holds the current session_key.

        Raises:
            WeChatError: 87009, whatever is wrong: no other error is documented here.
        """
        appid, query = self._caller(request, now), request.query
        user = self.session_keys.user_of(query.get("openid", ""), appid)
        if user is None:
            raise WeChatError.of(87009)
        require(query.get("sig_method") == "hmac_sha256", 87009)
        require(query.get("signature") == self._signature(user, appid, now), 87009)
        return dict(_OK)

    def reset_session_key(self, request: Request, now: datetime) -> dict[str, object]:
        """Replace the session_key for a server that holds the current one; return the new one.

        Raises:
            WeChatError: 40097: a parameter is missing; 87008: unknown sig_method; 87007: the user
                has no key; 87009: the signature was not made with the current key.
        """
        appid, query = self._caller(request, now), request.query
        require(all(query.get(name) for name in ("openid", "signature", "sig_method")), 40097)
        require(query["sig_method"] == "hmac_sha256", 87008)
        user = self.session_keys.user_of(query["openid"], appid)
        if user is None:
            raise WeChatError.of(87007)
        require(query["signature"] == self._signature(user, appid, now), 87009)
        key = self.session_keys.reset(user, appid)
        return {**_OK, "openid": query["openid"], "session_key": key}

    def _caller(self, request: Request, now: datetime) -> str:
        # Only the query counts: a token in the body or in a header is "missing".
        return self.access_tokens.appid_of(request.query.get("access_token", ""), now)

    def _signature(self, user: str, appid: str, now: datetime) -> str:
        return hmac_signature(self.session_keys.current(user, appid, now))
