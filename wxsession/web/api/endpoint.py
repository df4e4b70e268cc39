"""One decorator that makes a view of a plain function: body in, reply out, both described."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request
from pydantic import BaseModel
from werkzeug.exceptions import UnsupportedMediaType

from wxsession.web import bodies

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """What the OpenAPI page says about one call."""

    path: str
    methods: tuple[str, ...]
    function: Callable[..., Any]
    body: type[BaseModel] | None = None
    body_required: bool = True
    form: bool = False
    """Whether the body is a form; else it is JSON."""
    reply: type[BaseModel] | None = None
    status: HTTPStatus = HTTPStatus.OK
    errors: tuple[str, ...] = ()
    needs_token: bool = False
    takes_token: bool = False
    """Whether a token may come along; one that is no way in is refused all the same."""
    api_key: Callable[[], None] | None = None
    """Called before the body is read; raises InvalidApiKey."""
    takes_headers: Mapping[str, str] = field(default_factory=dict)
    """What headers of the request mean that may be there."""
    gives_headers: Mapping[str, str] = field(default_factory=dict)
    """What headers of the answer mean that may be there."""


class Endpoints:
    """The calls of a blueprint, registered and described in one place."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.all: list[Endpoint] = []
        self._blueprint = blueprint

    def add(self, *methods: str, path: str, **described: Any) -> Callable[..., Any]:
        """Return a decorator that serves a function at `path`.

        The function gets the parsed body, if there is one, and the path's parameters; it returns
        the reply model, or None for an empty answer, or a pair of reply and headers.
        """

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            endpoint = Endpoint(path=path, methods=methods, function=function, **described)
            self.all.append(endpoint)

            def view(**parameters: object) -> Response:
                if endpoint.api_key is not None:
                    endpoint.api_key()
                if endpoint.body is not None:
                    parameters["body"] = _body(endpoint)
                result = function(**parameters)
                reply, headers = result if isinstance(result, tuple) else (result, {})
                return _answer(endpoint, reply, headers)

            name = function.__name__
            self._blueprint.add_url_rule(path, name, view, methods=list(methods))
            return function

        return register


def _body(endpoint: Endpoint) -> BaseModel:
    """Return the parsed body.

    Raises:
        InvalidRequest: with every field that is wrong, and none of what was sent.
        UnsupportedMediaType: the body says that it is something else.
        ContentTooLarge: it is longer than `bodies.LONGEST_BODY` bytes.
    """
    assert endpoint.body is not None  # noqa: S101 - the caller looked
    raw = bodies.raw(request)
    if not raw and not endpoint.body_required:
        return endpoint.body()
    if request.mimetype and not (request.mimetype == FORM if endpoint.form else request.is_json):
        raise UnsupportedMediaType
    read = bodies.read_form if endpoint.form else bodies.read_json
    return read(endpoint.body, raw)


def _answer(endpoint: Endpoint, reply: BaseModel | None, headers: Mapping[str, str]) -> Response:
    body = reply.model_dump_json() if reply is not None else None
    return Response(body, endpoint.status, headers, mimetype="application/json")
