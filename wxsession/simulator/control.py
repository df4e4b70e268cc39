"""`/simulator/`: the phone and the controls of a WeChat for callers outside its process."""

from collections.abc import Mapping
from typing import Final

import requests
from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from .clock import SettableClock
from .faults import Fault
from .push import Push
from .server_api import parse_object
from .users import CHINA
from .wechat import WeChat

_PATIENCE: Final = 5.0  # WeChat waits as long
_MAX_TIMES: Final = 10_000  # each is an entry in a queue


def control(wechat: WeChat) -> Blueprint:  # noqa: C901 - a list of small views
    """Return the views that control a WeChat, and play its phones.

    They take and return JSON objects. An invalid request gets a 400 with the reason in "error".
    """
    blueprint = Blueprint("control", __name__, url_prefix="/simulator")

    @blueprint.post("/login")
    def login() -> Response:
        body = _body()
        return jsonify(code=wechat.login(_user(body), _appid(body)))

    @blueprint.post("/user_info")
    def user_info() -> Response:
        body = _body()
        legacy = body.get("legacy") is True
        return jsonify(wechat.user_info(_user(body), _appid(body), legacy=legacy))

    @blueprint.post("/phone_code")
    def phone_code() -> Response:
        body = _body()
        return jsonify(code=wechat.phone_code(_user(body), _appid(body)))

    @blueprint.post("/phone_number")
    def phone_number() -> Response:
        body = _body()
        return jsonify(wechat.phone_number(_user(body), _appid(body)))

    @blueprint.post("/group")
    def group() -> Response:
        body = _body()
        return jsonify(wechat.group(_user(body), _appid(body)))

    @blueprint.post("/steps")
    def steps() -> Response:
        body = _body()
        return jsonify(wechat.steps(_user(body), _appid(body)))

    @blueprint.post("/set_phone_number")
    def set_phone_number() -> Response:
        body = _body()
        number, country_code = _string(body, "phone_number"), _string(body, "country_code", CHINA)
        wechat.set_phone_number(_user(body), number, country_code)
        return jsonify(ok=True)

    @blueprint.post("/bind_open_platform")
    def bind_open_platform() -> Response:
        wechat.bind_open_platform(_appid(_body()))
        return jsonify(ok=True)

    @blueprint.post("/expire_tokens")
    def expire_tokens() -> Response:
        wechat.expire_tokens(_appid(_body()))
        return jsonify(ok=True)

    @blueprint.post("/revoke_tokens")
    def revoke_tokens() -> Response:
        wechat.revoke_tokens(_appid(_body()))
        return jsonify(ok=True)

    @blueprint.post("/profile")
    def profile() -> Response:
        body = _body()
        fields = {name: value for name, value in body.items() if name != "user"}
        wechat.set_profile(_user(body), **fields)  # type: ignore[arg-type]  # checked there
        return jsonify(ok=True)

    @blueprint.post("/fail_next")
    def fail_next() -> Response:
        body = _body()
        wechat.fail_next(_fault(body.get("fault")), _times(body.get("times", 1)))
        return jsonify(ok=True)

    @blueprint.post("/answer_after")
    def answer_after() -> Response:
        wechat.answer_after(_number(_body(), "seconds"))
        return jsonify(ok=True)

    @blueprint.post("/push")
    def push() -> Response:
        body = _body()
        members = body.get("members", {})
        if not isinstance(members, dict):
            raise ValueError("members must be an object")  # noqa: TRY004 - the caller's mistake
        pushed = wechat.push(
            _string(body, "event"),
            _user(body),
            _appid(body),
            xml=body.get("xml") is True,
            members=members,
        )
        return _sent(_string(body, "url"), pushed)

    @blueprint.post("/clock")
    def clock() -> Response:
        seconds = _number(_body(), "advance_seconds")
        if not isinstance(wechat.clock, SettableClock):
            return _error("this clock cannot be moved")
        wechat.clock.advance(seconds=seconds)
        return jsonify(now=wechat.clock().isoformat())

    @blueprint.get("/exchanges")
    def exchanges() -> Response:
        codes = wechat.exchanges
        return jsonify(exchanges=len(codes), codes=codes)

    @blueprint.get("/token_fetches")
    def token_fetches() -> Response:
        return jsonify(fetches=wechat.token_fetches)

    @blueprint.errorhandler(ValueError)
    @blueprint.errorhandler(OverflowError)
    def refuse(reason: Exception) -> Response:
        return _error(str(reason))

    @blueprint.errorhandler(HTTPException)
    def fail(reason: HTTPException) -> Response:
        return _error(reason.description or reason.name, reason.code or 400)

    return blueprint


def _sent(url: str, push: Push) -> Response:
    """Send a message to a developer's server, and return what it answered."""
    with requests.Session() as http:
        http.trust_env = False
        try:
            answer = http.request(
                push.method,
                url.rstrip("/") + push.path,
                params=push.query,
                data=push.body,
                headers={"Content-Type": push.content_type},
                timeout=_PATIENCE,
            )
        except requests.RequestException as failure:
            return _error(f"the server at url does not answer: {type(failure).__name__}")
    return jsonify(status=answer.status_code, answer=answer.text)


def _error(reason: str, status: int = 400) -> Response:
    response = jsonify(error=reason)
    response.status_code = status
    return response


def _body() -> Mapping[str, object]:
    # Not `request.json`: it needs a content type, and fails with a 500 on deeply nested lists.
    body = parse_object(request.get_data() or b"{}")
    if body is None:
        raise ValueError("the body must be a JSON object")
    return body


def _user(body: Mapping[str, object]) -> str:
    user = body.get("user", "alice")
    if not (isinstance(user, str) and user):
        raise ValueError("user must be a non-empty string")
    return user


def _appid(body: Mapping[str, object]) -> str | None:
    appid = body.get("appid")
    if not (appid is None or isinstance(appid, str)):
        raise ValueError("appid must be a string")
    return appid


def _string(body: Mapping[str, object], name: str, default: str | None = None) -> str:
    string = body.get(name, default)
    if not isinstance(string, str):
        raise ValueError(f"{name} must be a string")  # noqa: TRY004 - the caller's mistake
    return string


def _fault(fault: object) -> Fault | int:
    if isinstance(fault, str) and fault in Fault.__members__:
        return Fault[fault]
    if type(fault) is int:
        return fault
    raise ValueError(f"fault must be an errcode or one of {', '.join(Fault.__members__)}")


def _times(times: object) -> int:
    if type(times) is int and 1 <= times <= _MAX_TIMES:
        return times
    raise ValueError(f"times must be a whole number from 1 to {_MAX_TIMES}")


def _number(body: Mapping[str, object], name: str) -> float:
    value = body.get(name)
    if type(value) in {int, float}:
        return float(value)  # type: ignore[arg-type]
    raise ValueError(f"{name} must be a number")
