"""One decorator that makes a view of a plain function: body in, reply out, both described."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from wxsession.errors import InvalidRequest

LONGEST_BODY = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """What the OpenAPI page says about one call."""

    path: str
    methods: tuple[str, ...]
    function: Callable[..., Any]
    body: type[BaseModel] | None = None
    body_required: bool = True
    reply: type[BaseModel] | None = None
    status: HTTPStatus = HTTPStatus.OK
    errors: tuple[str, ...] = ()
    needs_token: bool = False


class Endpoints:
    """The calls of a blueprint, registered and described in one place."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.all: list[Endpoint] = []
        self._blueprint = blueprint

    def add(self, *methods: str, path: str, **described: Any) -> Callable[..., Any]:
        """Return a decorator that serves a function at `path`.

        The function gets the parsed body, if there is one, and the path's parameters; it returns
        the reply model, or None for an empty answer.
        """

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            endpoint = Endpoint(path=path, methods=methods, function=function, **described)
            self.all.append(endpoint)

            def view(**parameters: object) -> Response:
                if endpoint.body is not None:
                    parameters["body"] = _body(endpoint)
                return _answer(endpoint, function(**parameters))

            name = function.__name__
            self._blueprint.add_url_rule(path, name, view, methods=list(methods))
            return function

        return register


def _body(endpoint: Endpoint) -> BaseModel:
    """Return the parsed body.

    Raises:
        InvalidRequest: with every field that is wrong, and none of what was sent.
        UnsupportedMediaType: the body says that it is no JSON.
        RequestEntityTooLarge: it is longer than `LONGEST_BODY` bytes.
    """
    assert endpoint.body is not None  # noqa: S101 - the caller looked
    request.max_content_length = LONGEST_BODY
    raw = request.get_data(cache=False)
    if not raw.strip() and not endpoint.body_required:
        return endpoint.body()
    if request.mimetype and not request.is_json:
        raise UnsupportedMediaType
    try:
        return endpoint.body.model_validate_json(raw or b"null")
    except ValidationError as error:
        found = error.errors(include_input=False, include_context=False, include_url=False)
        raise InvalidRequest([_fault(fault) for fault in found]) from None


def _fault(fault: Mapping[str, Any]) -> dict[str, str]:
    field = ".".join(str(part) for part in fault["loc"])
    return {"field": field or "body", "message": str(fault["msg"])}


def _answer(endpoint: Endpoint, reply: BaseModel | None) -> Response:
    body = reply.model_dump_json() if reply is not None else None
    response = Response(body, status=endpoint.status, mimetype="application/json")
    if reply is None:
        del response.headers["Content-Type"]
    response.headers["Cache-Control"] = "no-store"
    return response
