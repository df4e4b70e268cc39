"""Our own dialect over HTTP: JSON in, JSON out, the token in the Authorization header."""

from functools import cache
from typing import TYPE_CHECKING

from flask import Blueprint, Response

from wxsession.services import Services
from wxsession.web import problems
from wxsession.web.api import (
    accounts,
    devices,
    events,
    health,
    introspection,
    logins,
    profiles,
    push,
    sessions,
    signed_tokens,
    tickets,
    users,
)
from wxsession.web.api.door import FEWEST_THREADS, Door
from wxsession.web.api.endpoints import bind
from wxsession.web.api.front import Front
from wxsession.web.api.health import ALIVE
from wxsession.web.api.openapi import document
from wxsession.web.api.page import add_page
from wxsession.web.api.sessions import CHECK

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["ALIVE", "ENDPOINTS", "FEWEST_THREADS", "Door", "blueprint", "front"]

ENDPOINTS = (
    *logins.ENDPOINTS,
    *accounts.ENDPOINTS,
    *profiles.ENDPOINTS,
    *sessions.ENDPOINTS,
    *introspection.ENDPOINTS,
    *users.ENDPOINTS,
    *events.ENDPOINTS,
    *signed_tokens.ENDPOINTS,
    *tickets.ENDPOINTS,
    *devices.ENDPOINTS,
    *push.ENDPOINTS,
    *health.ENDPOINTS,
)


_HOT = {"/login", "/refresh", "/logout", "/introspect"}


def front(application: "WSGIApplication", services: Services) -> Front:
    """Return an application that answers the hot endpoints itself, for the service alone."""
    return Front(
        application,
        services,
        prefix=services.settings.url_prefix or "",
        check=CHECK,
        endpoints=[endpoint for endpoint in ENDPOINTS if endpoint.path in _HOT],
    )


def blueprint(services: Services, url_prefix: str | None) -> Blueprint:
    """Return the blueprint that serves these services below `url_prefix`."""
    api = Blueprint("wxsession", __name__, url_prefix=url_prefix)
    problems.register(api)
    served = [endpoint for endpoint in ENDPOINTS if endpoint.is_served(services.settings)]
    for endpoint in served:
        bind(endpoint, api, services)

    if url_prefix:
        # RFC 8414, 3.1: between the host and the path of an issuer that has one.
        api.record(
            lambda state: state.app.add_url_rule(
                signed_tokens.METADATA + url_prefix, f"{api.name}.metadata", methods=["GET"]
            )
        )

    @cache
    def page() -> str:  # made when somebody asks: it takes longer than all the rest of a start
        return document(served, mounted_at=url_prefix or "/")

    @api.get("/openapi.json")
    def openapi() -> Response:
        return Response(page(), mimetype="application/json")

    if services.settings.api_page:
        add_page(api)
    return api
