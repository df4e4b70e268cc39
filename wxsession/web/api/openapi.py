"""The OpenAPI 3.1 page of our own dialect, made from the endpoints themselves."""

import inspect
import json
import re
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from wxsession.web import problems
from wxsession.web.api.endpoints import FORM, Auth, Endpoint
from wxsession.web.api.schemas import MovedReply, Problem

_REFERENCES = "#/components/schemas/{model}"
_SESSION: list[dict[str, list[str]]] = [{"session": []}]
_SECURITY: Mapping[Auth, list[dict[str, list[str]]]] = {
    Auth.NONE: [],
    Auth.SESSION: _SESSION,
    Auth.OPTIONAL_SESSION: [{}, *_SESSION],
}
_SCHEMES = {
    "session": {"type": "http", "scheme": "bearer"},
    "apiKeyBasic": {"type": "http", "scheme": "basic", "description": "the key's name and the key"},
    "apiKeyBearer": {"type": "http", "scheme": "bearer", "description": "the key alone"},
}
_IF_CHANGED = "ETags of responses that the client has: 304 if one of them still holds"
_STRING = {"schema": {"type": "string"}}
_BEARER = "Bearer {$response.body#/session_token}"
_NOTABLE_HEADERS = {
    HTTPStatus.UNAUTHORIZED: "WWW-Authenticate",
    HTTPStatus.TOO_MANY_REQUESTS: "Retry-After",
    HTTPStatus.SERVICE_UNAVAILABLE: "Retry-After",
}

_PARAMETER = re.compile(r"<(uuid:)?(\w+)>")

_DESCRIPTION = (
    "The endpoints of the other dialects are not here: each is as the clients that speak it have"
    " always had it, and nobody should write a new one. They are listed in the documentation, under"
    " Migrate."
)

Json = dict[str, Any]


def document(endpoints: Iterable[Endpoint], *, mounted_at: str) -> str:
    """Return the whole page as JSON; `mounted_at` is the path below which the endpoints are."""
    endpoints = tuple(endpoints)
    models: list[type[BaseModel]] = [Problem]
    for endpoint in endpoints:
        models += [model for model in (endpoint.body, endpoint.reply) if model]
        models += [MovedReply] if endpoint.moves else []
    schemas = _schemas(models)
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        path = _PARAMETER.sub(r"{\2}", endpoint.path)
        for method in endpoint.methods:
            paths.setdefault(path, {})[method.lower()] = _operation(endpoint, method)
    _link_sessions(paths)
    page = {
        "openapi": "3.1.0",
        "info": {
            "title": "wxsession",
            "version": version("wxsession"),
            "summary": "Logins and sessions of WeChat mini-programs.",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": mounted_at}],
        "tags": list({_tag(endpoint)["name"]: _tag(endpoint) for endpoint in endpoints}.values()),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": _SCHEMES,
        },
    }
    return json.dumps(page, ensure_ascii=False)


def _schemas(models: Iterable[type[BaseModel]]) -> Json:
    wanted = [(model, "serialization") for model in dict.fromkeys(models)]
    _, definitions = models_json_schema(wanted, ref_template=_REFERENCES)  # type: ignore[arg-type]
    for model in definitions["$defs"].values():
        for field in model.get("properties", {}).values():
            field.pop("default", None)  # generators treat a field with a default as required
    return dict(definitions["$defs"])


def _operation(endpoint: Endpoint, method: str) -> Json:
    summary, _, description = inspect.cleandoc(endpoint.function.__doc__ or "").partition("\n\n")
    several = len(endpoint.methods) > 1 and method != endpoint.methods[0]
    operation: Json = {
        "operationId": endpoint.function.__name__ + (f"_{method.lower()}" if several else ""),
        "tags": [_tag(endpoint)["name"]],
        "summary": summary,
        "responses": _responses(endpoint),
        "security": _security(endpoint),
    }
    if description:
        operation["description"] = description.replace("\n", " ")
    if parameters := _parameters(endpoint):
        operation["parameters"] = parameters
    if endpoint.body:
        operation["requestBody"] = {
            "required": endpoint.body_required,
            "content": {
                FORM if endpoint.form else "application/json": {"schema": _reference(endpoint.body)}
            },
        }
    elif endpoint.accepts:
        operation["requestBody"] = {
            "required": True,
            "content": {media_type: {"schema": {}} for media_type in endpoint.accepts},
        }
    return operation


def _tag(endpoint: Endpoint) -> dict[str, str]:
    """Return the tag of an endpoint: its module, described by the module's first line."""
    module = sys.modules[endpoint.function.__module__]
    described = inspect.cleandoc(module.__doc__ or "").partition("\n")[0]
    return {"name": module.__name__.rpartition(".")[2], "description": described}


def _security(endpoint: Endpoint) -> list[dict[str, list[str]]]:
    if endpoint.auth is Auth.API_KEY:  # what is in the list is the scope that the key has to have
        return [{"apiKeyBasic": [endpoint.scope]}, {"apiKeyBearer": [endpoint.scope]}]
    return _SECURITY[endpoint.auth]


def _parameters(endpoint: Endpoint) -> list[Json]:
    in_path = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"} if is_uuid else {"type": "string"},
        }
        for is_uuid, name in _PARAMETER.findall(endpoint.path)
    ]
    in_query = [
        {
            "name": name,
            "in": "query",
            "required": name in endpoint.query_needed,
            "description": meaning,
            "schema": {"type": "string"},
        }
        for name, meaning in endpoint.query.items()
    ]
    if_changed = {"If-None-Match": _IF_CHANGED} if endpoint.has_etag else {}
    in_header = [
        _header_parameter(name, meaning)
        for name, meaning in {**endpoint.request_headers, **if_changed}.items()
    ]
    return in_path + in_query + _query_parameters(endpoint.query_model) + in_header


def _query_parameters(model: type[BaseModel] | None) -> list[Json]:
    if model is None:
        return []
    found = []
    for name, schema in model.model_json_schema()["properties"].items():
        schema.pop("title", None)
        if "anyOf" in schema:  # what is left out is None; nobody can send that in a URL
            [sent] = [one for one in schema.pop("anyOf") if one != {"type": "null"}]
            schema.pop("default")
            schema.update(sent)
        description = {"description": told} if (told := schema.pop("description", None)) else {}
        found.append({"name": name, "in": "query", **description, "schema": schema})
    return found


def _header_parameter(name: str, meaning: str) -> Json:
    return {"name": name, "in": "header", "description": meaning, "schema": {"type": "string"}}


def _responses(endpoint: Endpoint) -> Json:
    success: Json = {"description": endpoint.status.phrase}
    if endpoint.is_text:
        success["content"] = {"text/plain": {"schema": {"type": "string"}}}
    elif endpoint.reply:
        success["content"] = {"application/json": {"schema": _reference(endpoint.reply)}}
    if endpoint.response_headers:
        success["headers"] = {
            name: {"description": meaning, "schema": {"type": "string"}}
            for name, meaning in endpoint.response_headers.items()
        }
    others: Json = {}
    if endpoint.has_etag:
        success.setdefault("headers", {})["ETag"] = _STRING
        others["304"] = {"description": "the client has it already", "headers": {"ETag": _STRING}}
    if endpoint.moves:
        others["308"] = {
            "description": "the user was merged into another one",
            "headers": {"Location": _STRING},
            "content": {"application/json": {"schema": _reference(MovedReply)}},
        }
    codes: dict[HTTPStatus, list[str]] = {}
    for code in endpoint.codes():
        codes.setdefault(problems.PROBLEM_TYPES[code].status, []).append(code)
    failures = {str(int(status)): _problem(status, names) for status, names in codes.items()}
    return {str(int(endpoint.status)): success, **others, **failures}


def _problem(status: HTTPStatus, codes: Iterable[str]) -> Json:
    response: Json = {
        "description": " or ".join(f"`{code}`" for code in codes),
        "content": {problems.MEDIA_TYPE: {"schema": _reference(Problem)}},
    }
    if name := _NOTABLE_HEADERS.get(status):
        response["headers"] = {name: _STRING}
    return response


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": _REFERENCES.format(model=model.__name__)}


def _link_sessions(paths: Mapping[str, Json]) -> None:
    """Say what the token of a grant is for: what may follow a login, and what a refresh."""
    for path in ("/login", "/refresh"):
        links = {
            operation["operationId"]: {
                "operationId": operation["operationId"],
                "parameters": {"header.Authorization": _BEARER},
            }
            for methods in paths.values()
            for operation in methods.values()
            if operation.get("security") == _SESSION
            and not any(given["in"] == "path" for given in operation.get("parameters", ()))
        }
        paths[path]["post"]["responses"]["200"]["links"] = links
