"""Errors in our own dialect: problem+json (RFC 9457) and bearer challenges (RFC 6750).

A client branches on `code`. Whatever goes wrong below the HTTP edge arrives here as an error of
`wxsession.errors`; what Werkzeug refuses by itself, and unforeseen exceptions, get the same
form.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, Flask, Response, has_request_context, request
from werkzeug.datastructures import LanguageAccept
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_accept_header

from wxsession import errors
from wxsession.common.current_request import current_request, current_request_id
from wxsession.common.wording import CHINESE, ENGLISH, in_language
from wxsession.errors import (
    BadCredentials,
    InsufficientScope,
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
    """What a response with one code says: its status, and sentences for people."""

    status: HTTPStatus
    title: str
    detail: str


PROBLEM_TYPES: Mapping[str, ProblemType] = {
    "invalid_request": ProblemType(
        HTTPStatus.BAD_REQUEST,
        "The request is not valid.",
        "See `errors` for every field that is wrong.",
    ),
    "missing_token": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "A session token is required.",
        "Send it as Authorization: Bearer <session_token>.",
    ),
    "invalid_token": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "The session token is not valid.",
        "It is malformed, or belongs to no session of this server. Log in again.",
    ),
    "session_expired": ProblemType(
        HTTPStatus.UNAUTHORIZED, "The session has expired.", "Log in again."
    ),
    "session_ended": ProblemType(
        HTTPStatus.UNAUTHORIZED, "The session was ended.", "Log in again."
    ),
    "session_superseded": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "The session has a newer token.",
        "Use the token of the last refresh, or log in again.",
    ),
    "invalid_code": ProblemType(
        HTTPStatus.BAD_REQUEST, "WeChat does not accept this code.", "Call wx.login again."
    ),
    "code_used": ProblemType(
        HTTPStatus.BAD_REQUEST, "This code was already used.", "Call wx.login again."
    ),
    "user_blocked": ProblemType(
        HTTPStatus.FORBIDDEN, "This user may not log in.", "The user is blocked."
    ),
    "bad_credentials": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "Wrong username or password.",
        "There is no such user, or the password is wrong.",
    ),
    "too_many_attempts": ProblemType(
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many attempts.",
        "Try again later. A login by WeChat code is still possible after wrong passwords.",
    ),
    "username_taken": ProblemType(
        HTTPStatus.CONFLICT,
        "This username is not available.",
        "Another user has it, or this user already has a username.",
    ),
    "identity_bound": ProblemType(
        HTTPStatus.CONFLICT,
        "This WeChat user and this account cannot be bound.",
        "The account already has another WeChat user of this app, or the WeChat user already has"
        " another account.",
    ),
    "last_credential": ProblemType(
        HTTPStatus.CONFLICT,
        "This is the user's only way to log in.",
        "Register a username and a password first, or set a new password.",
    ),
    "reauthentication_required": ProblemType(
        HTTPStatus.FORBIDDEN,
        "A recent login is required.",
        "Call wx.login, log in, and send this request again within ten minutes.",
    ),
    "session_key_stale": ProblemType(
        HTTPStatus.CONFLICT,
        "The data does not match any session_key of this server.",
        "Call wx.login, log in, get the data from WeChat again, and send it.",
    ),
    "watermark_mismatch": ProblemType(
        HTTPStatus.BAD_REQUEST,
        "The data was not made for this login.",
        "It belongs to another app or user, or is too old. Get it from WeChat again.",
    ),
    "invalid_ticket": ProblemType(
        HTTPStatus.BAD_REQUEST,
        "The ticket is not valid.",
        "It is unknown, was used, has expired, or is for another audience. Get a new one.",
    ),
    "authorization_pending": ProblemType(
        HTTPStatus.BAD_REQUEST,
        "Nobody has decided yet.",
        "Ask again after the interval, until the code has expired.",
    ),
    "slow_down": ProblemType(
        HTTPStatus.BAD_REQUEST, "Too soon.", "Ask again, but not before the interval is over."
    ),
    "access_denied": ProblemType(
        HTTPStatus.BAD_REQUEST, "The user does not let this device in.", "Show that to the user."
    ),
    "expired_token": ProblemType(
        HTTPStatus.BAD_REQUEST,
        "The code is not valid.",
        "It is unknown, was used, or has expired. Let the device get a new one.",
    ),
    "invalid_api_key": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "A valid API key is required.",
        "Send a key of WXSESSION_API_KEYS as HTTP Basic (name and key) or as Bearer.",
    ),
    "insufficient_scope": ProblemType(
        HTTPStatus.FORBIDDEN,
        "This API key is not for that.",
        "Use a key that has the scope, or add the scope in WXSESSION_API_KEYS.",
    ),
    "push_refused": ProblemType(
        HTTPStatus.FORBIDDEN,
        "This message is not accepted as one of WeChat's.",
        "See `reason`. WXSESSION_PUSH has to be as the mini-program's console: the token, the"
        " EncodingAESKey, and safe mode if there is one.",
    ),
    "wechat_rate_limited": ProblemType(
        HTTPStatus.TOO_MANY_REQUESTS, "WeChat limits the rate of requests.", "Try again later."
    ),
    "wechat_busy": ProblemType(HTTPStatus.SERVICE_UNAVAILABLE, "WeChat is busy.", "Try again."),
    "wechat_unreachable": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "WeChat cannot be reached.",
        "Try again. If the code was already used, call wx.login again.",
    ),
    "wechat_timeout": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "WeChat did not respond in time.",
        "Try again. If the code was already used, call wx.login again.",
    ),
    "wechat_unintelligible": ProblemType(
        HTTPStatus.BAD_GATEWAY, "Unexpected response from WeChat.", "Call wx.login and try again."
    ),
    "app_rejected": ProblemType(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "WeChat rejects this server's configuration.",
        "The reason is in the log of the server.",
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
        "It cannot be reached, is read-only or full, or does not respond. Try again in a moment.",
    ),
    "not_found": ProblemType(HTTPStatus.NOT_FOUND, "Not found.", "See /openapi.json."),
    "method_not_allowed": ProblemType(
        HTTPStatus.METHOD_NOT_ALLOWED, "Method not allowed.", "See /openapi.json."
    ),
    "content_too_large": ProblemType(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.", "Send a smaller one."
    ),
    "unsupported_media_type": ProblemType(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body has the wrong media type.",
        "See /openapi.json.",
    ),
    "internal_error": ProblemType(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "An unexpected error occurred.",
        "The reason is in the log of the server.",
    ),
}

REQUEST_ID = "X-Request-ID"
NO_STORE = "no-store"
PROTECTION = {"Cache-Control": NO_STORE, "X-Content-Type-Options": "nosniff"}
"""Headers of every response: no cache keeps it, and no browser guesses another type for it."""

_LONGEST_LANGUAGES = 256
_CHALLENGE = 'Bearer realm="wxsession"'

_OF_STATUS = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "content_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
}


def from_error(error: WxSessionError, accept_language: str | None = None) -> Response:
    """Return the response for one of our own errors, in one of the languages that are accepted.

    They are those of Flask's request, unless they are given.
    """
    language = _language(accept_language)
    response = _problem(error.code, error.facts(), language, retryable=error.retryable)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, TokenError):
        response.headers["WWW-Authenticate"] = _challenge(error)
    elif isinstance(error, BadCredentials):
        response.headers["WWW-Authenticate"] = _CHALLENGE
    elif isinstance(error, InvalidApiKey):
        response.headers["WWW-Authenticate"] = 'Basic realm="wxsession"'
    elif isinstance(error, InsufficientScope):
        response.headers["WWW-Authenticate"] = (
            f'{_CHALLENGE}, error="insufficient_scope", scope="{error.scope}"'
        )
    elif isinstance(error, TooManyAttempts):
        # draft-ietf-httpapi-ratelimit-headers: the policy, and what is left of it.
        response.headers["RateLimit-Policy"] = f'"{error.reason}";q={error.limit};w={error.window}'
        response.headers["RateLimit"] = f'"{error.reason}";r=0;t={error.retry_after}'
    return response


def protected(response: Response) -> Response:
    """Add to a response the headers that every one of ours has; one without a body has no type.

    It is noted as the answer to the current request.
    """
    for name, value in PROTECTION.items():
        response.headers.setdefault(name, value)
    if (facts := current_request.get()) is not None:
        response.headers[REQUEST_ID] = facts.request_id
        facts.status, facts.length = response.status_code, response.content_length or 0
    # Flask says text/html of its response to OPTIONS.
    if not response.is_streamed and not response.get_data():
        response.headers.pop("Content-Type", None)
    return response


def title(error: WxSessionError) -> str:
    """Return a sentence for people that says what happened, in a language of Flask's request."""
    return in_language(PROBLEM_TYPES[error.code].title, _language(None))


def with_body(error: WxSessionError, body: Mapping[str, object]) -> Response:
    """Return the response for an error with the body of another dialect; the rest is the same."""
    response = from_error(error)
    response.data = json.dumps(body)
    response.mimetype = "application/json"
    return response


def from_http(error: HTTPException, accept_language: str | None = None) -> Response:
    """Return the response for what Werkzeug refuses by itself; a redirect counts as that."""
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    if status in _OF_STATUS:
        language = _language(accept_language)
        response = _problem(_OF_STATUS[status], {}, language, retryable=False)
    elif HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        invalid = errors.InvalidRequest.of("request", status.phrase)
        response = from_error(invalid, accept_language)
    else:
        response = from_error(unforeseen(error), accept_language)
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers[name] = value
    return response


def unforeseen(error: Exception) -> WxSessionError:
    """Return the error that stands for any other exception; the traceback goes to the log."""
    _log.error("unforeseen", exc_info=error)
    return WxSessionError()


def register(
    edge: Flask | Blueprint,
    refusal: Callable[[WxSessionError], Response] = from_error,
    http_refusal: Callable[[HTTPException], Response] = from_http,
) -> None:
    """Let `refusal` respond to every error of an application or blueprint, and protect it all."""
    edge.register_error_handler(WxSessionError, refusal)
    edge.register_error_handler(HTTPException, http_refusal)
    edge.register_error_handler(Exception, lambda error: refusal(unforeseen(error)))
    edge.after_request(protected)


def _language(accept_language: str | None) -> str:
    """Return the language that a client prefers among those that we have."""
    if accept_language is None:
        accept_language = (
            request.headers.get("Accept-Language", "") if has_request_context() else ""
        )
    if CHINESE not in accept_language.lower():
        return ENGLISH  # so most others cost nothing
    accepted = parse_accept_header(accept_language[:_LONGEST_LANGUAGES], LanguageAccept)
    return accepted.best_match([ENGLISH, CHINESE], default=ENGLISH)


def _problem(code: str, facts: Mapping[str, object], language: str, *, retryable: bool) -> Response:
    kind = PROBLEM_TYPES[code]
    body: dict[str, object] = {
        "type": "about:blank",
        "title": in_language(kind.title, language),
        "status": int(kind.status),
        "detail": in_language(kind.detail, language),
        "code": code,
        "retryable": retryable,
        **facts,
    }
    if (request_id := current_request_id()) is not None:
        body["request_id"] = request_id
    response = Response(json.dumps(body), status=kind.status, mimetype=MEDIA_TYPE)
    response.headers["Content-Language"] = language
    return protected(response)


def _challenge(error: TokenError) -> str:
    if isinstance(error, MissingToken):
        return _CHALLENGE  # RFC 6750, 3.1: no error code without credentials
    detail = PROBLEM_TYPES[error.code].title
    return f'Bearer realm="wxsession", error="invalid_token", error_description="{detail}"'
