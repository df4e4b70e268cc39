"""Endpoints: plain functions of the services and a request, bound to a blueprint and described.

The annotations of a function say what it takes and returns; its view and the OpenAPI page both read
them.
"""

import enum
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from flask import Blueprint, Request, Response, request, url_for
from pydantic import BaseModel
from werkzeug.exceptions import UnsupportedMediaType

from wxsession.errors import (
    InsufficientScope,
    InvalidApiKey,
    NoSuchUser,
    TooManyAttempts,
    UserMerged,
    WxSessionError,
)
from wxsession.services import Services
from wxsession.settings import Settings
from wxsession.web import bodies
from wxsession.web.api.schemas import MovedReply
from wxsession.web.request import back_end_of

M = TypeVar("M", bound=BaseModel)

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Pieces(Generic[M]):
    """A reply that may be too long to be held: the pieces of the JSON of a model `M`."""

    pieces: Iterator[str]


class Auth(enum.Enum):
    """What a request has to present."""

    NONE = "nothing"
    SESSION = "a session token"
    OPTIONAL_SESSION = "nothing, or a session token; one that is not valid is refused"
    API_KEY = "an API key"


API_KEY_ERRORS = (InvalidApiKey, InsufficientScope, TooManyAttempts)
"""What a request with an API key may be refused with because of that key."""

ETAG_HEADERS = {
    # Whoever asks may keep it and ask whether it has changed; nobody between may keep it.
    "Cache-Control": "private, no-cache",
    "Vary": "Authorization",
}


@dataclass(frozen=True)
class Endpoint:
    """One endpoint: where it is, what it calls, and what the OpenAPI page says about it.

    The function gets the services, the request, the path's parameters, and what it asks for of
    `body`, `query` and `back_end`, who holds the API key. It returns the reply, a model or its
    pieces, or None for an empty response, or a reply and headers. A reply that is a string is plain
    text.
    """

    path: str
    function: Callable[..., Any]
    methods: Sequence[str]
    auth: Auth = Auth.NONE
    scope: str = "introspect"
    """What an API key has to be good for."""
    raises: Sequence[type[WxSessionError]] = ()
    """What the services raise; a base class stands for every error below it."""
    status: HTTPStatus = HTTPStatus.OK
    body_required: bool = True
    form: bool = False
    """Whether the body is a form; otherwise it is JSON."""
    has_etag: bool = False
    """Whether the response has an ETag, by which it is not sent again unchanged."""
    accepts: Sequence[str] = ()
    """The media types of a body that the function reads by itself."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters in the query, and what they mean."""
    query_needed: Collection[str] = ()
    """Those of them without which nothing can be done."""
    request_headers: Mapping[str, str] = field(default_factory=dict)
    """Optional headers of the request, and what they mean."""
    response_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that the response may have, and what they mean."""
    omits_null: bool = False
    """Whether a member without a value is left out of the reply, and not null."""
    is_served: Callable[[Settings], bool] = lambda _settings: True
    """Whether a server with these settings has it."""

    @cached_property
    def takes(self) -> Mapping[str, Any]:
        """The types of what the function takes, by name."""
        return get_type_hints(self.function)

    @cached_property
    def body(self) -> type[BaseModel] | None:
        """The model of the request body."""
        return self.takes.get("body")

    @cached_property
    def query_model(self) -> type[BaseModel] | None:
        """The model of the URL's query."""
        return self.takes.get("query")

    @property
    def moves(self) -> bool:
        """Whether a user who was merged is found under another id."""
        return NoSuchUser in self.raises

    @cached_property
    def reply(self) -> type[BaseModel] | None:
        """The model of the response body."""
        returned = get_type_hints(self.function)["return"]
        if get_origin(returned) in {tuple, Pieces}:
            returned = get_args(returned)[0]
        return None if returned in {type(None), str} else returned

    @cached_property
    def is_text(self) -> bool:
        """Whether the response body is plain text."""
        return get_type_hints(self.function)["return"] is str

    def codes(self) -> list[str]:
        """Return the code of every error that a response may have."""
        refused = ["invalid_request"] if self.body or self.query or self.query_model else []
        keyed = API_KEY_ERRORS if self.auth is Auth.API_KEY else ()
        missing = ["not_found"] if "<" in self.path else []
        unread = ["content_too_large"] if self.body or self.accepts else []
        unread += ["unsupported_media_type"] if self.body else []
        raised = [code for error in (*keyed, *self.raises) for code in _codes_of(error)]
        return list(dict.fromkeys([*refused, *raised, *missing, *unread, "internal_error"]))


def respond(
    endpoint: Endpoint, services: Services, request: Request, **parameters: object
) -> Response:
    """Return what an endpoint responds; `parameters` are those of the path.

    Raises:
        WxSessionError, HTTPException: the refusal.
    """
    if endpoint.auth is Auth.API_KEY:
        back_end = back_end_of(request, services.api_keys)
        back_end.ensure(endpoint.scope)
        if "back_end" in endpoint.takes:
            parameters["back_end"] = back_end
    if endpoint.query_model is not None:
        parameters["query"] = bodies.read_query(endpoint.query_model, request)
    if endpoint.body is not None:
        parameters["body"] = _read(endpoint, endpoint.body, request)
    result = endpoint.function(services, request, **parameters)
    reply, headers = result if isinstance(result, tuple) else (result, {})
    if isinstance(reply, str):
        return Response(reply, endpoint.status, headers, mimetype="text/plain")
    body: str | Iterator[str] | None = None
    if reply is not None:
        body = (
            reply.pieces
            if isinstance(reply, Pieces)
            else reply.model_dump_json(exclude_none=endpoint.omits_null)
        )
    response = Response(body, endpoint.status, headers, mimetype="application/json")
    if isinstance(body, str) and endpoint.has_etag:
        response.headers.update(ETAG_HEADERS)
        tag = hashlib.sha256(body.encode()).hexdigest()[:32]
        response.set_etag(tag)
        # Not `make_conditional`, which obeys If-Match as well: a 412 that has the user in its body.
        if request.if_none_match.contains_weak(tag):
            response.status_code = HTTPStatus.NOT_MODIFIED
    return response


def bind(endpoint: Endpoint, blueprint: Blueprint, services: Services) -> None:
    """Serve an endpoint."""

    def view(**parameters: object) -> Response:
        try:
            return respond(endpoint, services, request, **parameters)
        except UserMerged as merged:
            return _moved(merged, parameters)

    name = endpoint.function.__name__
    blueprint.add_url_rule(endpoint.path, name, view, methods=list(endpoint.methods))


def _moved(merged: UserMerged, parameters: Mapping[str, Any]) -> Response:
    """Return the redirect to the same endpoint of the user that a user has become."""
    at = url_for(request.endpoint or "", **{**parameters, "user_id": merged.new_id})
    query = request.query_string.decode("latin-1")
    body = MovedReply(user_id=merged.new_id).model_dump_json()
    return Response(
        body,
        HTTPStatus.PERMANENT_REDIRECT,
        {"Location": f"{at}?{query}" if query else at},
        mimetype="application/json",
    )


def _codes_of(error: type[WxSessionError]) -> Iterator[str]:
    """Yield the codes of an error and of those below it; a class that only groups has none."""
    if "code" in vars(error):
        yield error.code
    for special in error.__subclasses__():
        yield from _codes_of(special)


def _read(endpoint: Endpoint, model: type[BaseModel], request: Request) -> BaseModel:
    """Return the parsed body.

    Raises:
        InvalidRequest: with every field that is wrong, and no value that was sent.
        UnsupportedMediaType: the body says that it is something else.
        ContentTooLarge: it is longer than `bodies.LONGEST_BODY` bytes.
    """
    raw = bodies.raw(request)
    if not raw and not endpoint.body_required:
        return model()
    if request.mimetype and not (request.mimetype == FORM if endpoint.form else request.is_json):
        raise UnsupportedMediaType
    read = bodies.read_form if endpoint.form else bodies.read_json
    return read(model, raw)
