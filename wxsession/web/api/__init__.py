"""Our own dialect over HTTP: JSON in, JSON out, the token in the Authorization header."""

from functools import cache

from flask import Blueprint, Response

from wxsession.services import Services
from wxsession.web import problems
from wxsession.web.api import accounts, health, introspection, logins, profiles, sessions
from wxsession.web.api.door import FEWEST_THREADS, Door
from wxsession.web.api.endpoints import bind
from wxsession.web.api.fast_check import FastCheck
from wxsession.web.api.health import ALIVE
from wxsession.web.api.openapi import document
from wxsession.web.api.sessions import CHECK

__all__ = ["ALIVE", "CHECK", "ENDPOINTS", "FEWEST_THREADS", "Door", "FastCheck", "blueprint"]

ENDPOINTS = (
    *logins.ENDPOINTS,
    *accounts.ENDPOINTS,
    *profiles.ENDPOINTS,
    *sessions.ENDPOINTS,
    *introspection.ENDPOINTS,
    *health.ENDPOINTS,
)


def blueprint(services: Services, url_prefix: str | None) -> Blueprint:
    """Return the blueprint that serves these services below `url_prefix`."""
    api = Blueprint("wxsession", __name__, url_prefix=url_prefix)
    problems.register(api)
    for endpoint in ENDPOINTS:
        bind(endpoint, api, services)

    @cache
    def page() -> str:  # made when somebody asks: it takes longer than all the rest of a start
        return document(ENDPOINTS, mounted_at=url_prefix or "/")

    @api.get("/openapi.json")
    def openapi() -> Response:
        return Response(page(), mimetype="application/json")

    return api
