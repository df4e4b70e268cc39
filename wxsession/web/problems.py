"""Errors as our own dialect tells them: problem+json (RFC 9457) and bearer challenges (RFC 6750).

A client branches on `code`. Whatever goes wrong below the HTTP edge arrives here as an error of
`wxsession.errors`; whatever Werkzeug refuses by itself, and what nobody foresaw, gets the same
form.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, Flask, Response
from werkzeug.exceptions import HTTPException

from wxsession import errors
from wxsession.errors import (
    BadCredentials,
    InvalidApiKey,
    MissingToken,
    TokenError,
    TooManyAttempts,
    WxSessionError,
)

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProblemType:
    """How one code is told: its status, and sentences for people."""

    status: HTTPStatus
    title: str
    detail: str


PROBLEM_TYPES: Mapping[str, ProblemType] = {
    "invalid_request": ProblemType(
        HTTPStatus.BAD_REQUEST,
        "The request is not what this call takes.",
        "See `errors` for every field that is wrong.",
    ),
    "missing_token": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "A session token is needed.",
        "Send it as Authorization: Bearer <session_token>.",
    ),
    "invalid_token": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "The session token is not valid.",
        "It is malformed, or not of a session of this server. Log in again.",
    ),
    "session_expired": ProblemType(
        HTTPStatus.UNAUTHORIZED, "The session has expired.", "Log in again."
    ),
    "session_ended": ProblemType(
        HTTPStatus.UNAUTHORIZED, "The session was ended.", "Log in again."
    ),
    "session_superseded": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "The session goes on under a newer token.",
        "Use the token of the last refresh, or log in again.",
    ),
    "invalid_code": ProblemType(
        HTTPStatus.BAD_REQUEST, "WeChat does not accept this code.", "Call wx.login again."
    ),
    "code_used": ProblemType(
        HTTPStatus.BAD_REQUEST, "This code was used before.", "Call wx.login again."
    ),
    "user_blocked": ProblemType(
        HTTPStatus.FORBIDDEN, "This user may not log in.", "The user is blocked."
    ),
    "bad_credentials": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "Username and password do not fit.",
        "There is no such user, or the password is wrong.",
    ),
    "too_many_attempts": ProblemType(
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many attempts.",
        "Try again later. Wrong passwords leave the login by WeChat code open.",
    ),
    "username_taken": ProblemType(
        HTTPStatus.CONFLICT,
        "This username cannot be had.",
        "Somebody has it, or this user has one already.",
    ),
    "identity_bound": ProblemType(
        HTTPStatus.CONFLICT,
        "These two cannot be bound.",
        "The account has another WeChat user of this app, or this WeChat user another account.",
    ),
    "last_credential": ProblemType(
        HTTPStatus.CONFLICT,
        "This is the user's only way to log in.",
        "Register a username and a password first.",
    ),
    "reauthentication_required": ProblemType(
        HTTPStatus.FORBIDDEN,
        "This needs a recent login.",
        "Call wx.login, log in, and repeat this within ten minutes.",
    ),
    "session_key_stale": ProblemType(
        HTTPStatus.CONFLICT,
        "The data fits no session_key that this server has.",
        "Call wx.login, log in, get the data from WeChat again, and repeat this.",
    ),
    "watermark_mismatch": ProblemType(
        HTTPStatus.BAD_REQUEST,
        "The data was not made for this login.",
        "It is of another app or user, or too old. Get it from WeChat again.",
    ),
    "invalid_api_key": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "An API key is needed.",
        "Send a key of WXSESSION_API_KEYS as HTTP Basic (name and key) or as Bearer.",
    ),
    "wechat_rate_limited": ProblemType(
        HTTPStatus.TOO_MANY_REQUESTS, "WeChat limits the rate of its calls.", "Try again later."
    ),
    "wechat_busy": ProblemType(HTTPStatus.SERVICE_UNAVAILABLE, "WeChat is busy.", "Try again."),
    "wechat_unreachable": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "WeChat cannot be reached.",
        "Try again; if the code was used meanwhile, call wx.login again.",
    ),
    "wechat_timeout": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "WeChat did not answer in time.",
        "Try again; if the code was used meanwhile, call wx.login again.",
    ),
    "wechat_unintelligible": ProblemType(
        HTTPStatus.BAD_GATEWAY, "WeChat's answer makes no sense.", "Call wx.login and try again."
    ),
    "app_rejected": ProblemType(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "WeChat rejects this server's configuration.",
        "The operator finds the reason in the log.",
    ),
    "overloaded": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE, "The server is overloaded.", "Try again in a moment."
    ),
    "not_ready": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The server is not ready.",
        "The schema of its database is missing or too old. The operator has to run"
        " upgrade-database.",
    ),
    "database_unavailable": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database is not available.",
        "It cannot be reached, is read-only or full, or does not answer. Try again in a moment.",
    ),
    "not_found": ProblemType(HTTPStatus.NOT_FOUND, "There is nothing here.", "See /openapi.json."),
    "method_not_allowed": ProblemType(
        HTTPStatus.METHOD_NOT_ALLOWED, "This call takes another method.", "See /openapi.json."
    ),
    "content_too_large": ProblemType(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.", "It has to be smaller."
    ),
    "unsupported_media_type": ProblemType(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is of the wrong type.", "See /openapi.json."
    ),
    "internal_error": ProblemType(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something went wrong here.",
        "The operator finds the reason in the log.",
    ),
}

PROTECTION = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""What every answer says: nobody keeps it, and nobody takes it for another type than its own."""

_CHALLENGE = 'Bearer realm="wxsession"'

_OF_STATUS = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "content_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
}


def register(edge: Flask | Blueprint) -> None:
    """Answer with problems whatever goes wrong in this application or blueprint."""
    edge.register_error_handler(WxSessionError, from_error)
    edge.register_error_handler(HTTPException, from_http)
    edge.register_error_handler(Exception, from_anything)


def from_error(error: WxSessionError) -> Response:
    """Return the problem that one of our own errors is to the client."""
    response = _problem(error.code, error.facts(), retryable=error.retryable)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, TokenError):
        response.headers["WWW-Authenticate"] = _challenge(error)
    elif isinstance(error, BadCredentials):
        response.headers["WWW-Authenticate"] = _CHALLENGE
    elif isinstance(error, InvalidApiKey):
        response.headers["WWW-Authenticate"] = 'Basic realm="wxsession"'
    elif isinstance(error, TooManyAttempts):
        # draft-ietf-httpapi-ratelimit-headers: the policy, and what is left of it.
        response.headers["RateLimit-Policy"] = f'"{error.reason}";q={error.limit};w={error.window}'
        response.headers["RateLimit"] = f'"{error.reason}";r=0;t={error.retry_after}'
    return response


def protected(response: Response) -> Response:
    """Return the response with what every one of ours says; one without a body has no type."""
    for name, value in PROTECTION.items():
        response.headers.setdefault(name, value)
    if not response.get_data():  # Flask calls its answer to OPTIONS text/html
        response.headers.pop("Content-Type", None)
    return response


def title(error: WxSessionError) -> str:
    """Return what happened in a sentence for people."""
    return PROBLEM_TYPES[error.code].title


def with_body(error: WxSessionError, body: Mapping[str, object]) -> Response:
    """Return the answer to an error with a body of another wire; status and headers stay."""
    response = from_error(error)
    response.data = json.dumps(body)
    response.mimetype = "application/json"
    return response


def from_http(error: HTTPException) -> Response:
    """Return the problem that a refusal of Werkzeug's is, a redirect being one as well."""
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    if status in _OF_STATUS:
        response = _problem(_OF_STATUS[status], {}, retryable=False)
    elif HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        response = from_error(errors.InvalidRequest.of("request", status.phrase))
    else:
        response = from_anything(error)
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers[name] = value
    return response


def from_anything(error: Exception) -> Response:
    """Return the problem for what nobody foresaw, and leave the traceback in the log."""
    _log.error("unforeseen", exc_info=error)
    return _problem("internal_error", {}, retryable=False)


def _problem(code: str, facts: Mapping[str, object], *, retryable: bool) -> Response:
    kind = PROBLEM_TYPES[code]
    body = {
        "type": "about:blank",
        "title": kind.title,
        "status": int(kind.status),
        "detail": kind.detail,
        "code": code,
        "retryable": retryable,
        **facts,
    }
    return protected(Response(json.dumps(body), status=kind.status, mimetype=MEDIA_TYPE))


def _challenge(error: TokenError) -> str:
    if isinstance(error, MissingToken):
        return _CHALLENGE  # RFC 6750, 3.1: no error code without credentials
    detail = PROBLEM_TYPES[error.code].title
    return f'Bearer realm="wxsession", error="invalid_token", error_description="{detail}"'
