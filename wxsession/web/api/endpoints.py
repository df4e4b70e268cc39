"""Endpoints: plain functions of the services and a request, bound to a blueprint and described.

The annotations of a function say what it takes and returns; its view and the OpenAPI page both read
them.
"""

import enum
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from flask import Blueprint, Request, Response, request
from pydantic import BaseModel
from werkzeug.exceptions import UnsupportedMediaType

from wxsession.errors import WxSessionError
from wxsession.services import Services
from wxsession.settings import Settings
from wxsession.web import bodies
from wxsession.web.request import ensure_api_key

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


@dataclass(frozen=True)
class Endpoint:
    """One endpoint: where it is, what it calls, and what the OpenAPI page says about it.

    The function gets the services, the request, the path's parameters, and `body` if it asks for
    one. It returns the reply, a model or its pieces, or None for an empty response, or a reply
    and headers. A reply that is a string is plain text.
    """

    path: str
    function: Callable[..., Any]
    methods: Sequence[str]
    auth: Auth = Auth.NONE
    raises: Sequence[type[WxSessionError]] = ()
    """What the services raise; a base class stands for every error below it."""
    status: HTTPStatus = HTTPStatus.OK
    body_required: bool = True
    form: bool = False
    """Whether the body is a form; otherwise it is JSON."""
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
    def body(self) -> type[BaseModel] | None:
        """The model of the request body."""
        found: type[BaseModel] | None = get_type_hints(self.function).get("body")
        return found

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
        refused = ["invalid_request"] if self.body or self.query else []
        missing = ["not_found"] if "<" in self.path else []
        unread = ["content_too_large"] if self.body or self.accepts else []
        unread += ["unsupported_media_type"] if self.body else []
        raised = [code for error in self.raises for code in _codes_of(error)]
        return list(dict.fromkeys([*refused, *raised, *missing, *unread, "internal_error"]))


def respond(
    endpoint: Endpoint, services: Services, request: Request, **parameters: object
) -> Response:
    """Return what an endpoint responds; `parameters` are those of the path.

    Raises:
        WxSessionError, HTTPException: the refusal.
    """
    if endpoint.auth is Auth.API_KEY:
        ensure_api_key(request, services.introspection)
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
    return Response(body, endpoint.status, headers, mimetype="application/json")


def bind(endpoint: Endpoint, blueprint: Blueprint, services: Services) -> None:
    """Serve an endpoint."""

    def view(**parameters: object) -> Response:
        return respond(endpoint, services, request, **parameters)

    name = endpoint.function.__name__
    blueprint.add_url_rule(endpoint.path, name, view, methods=list(endpoint.methods))


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
