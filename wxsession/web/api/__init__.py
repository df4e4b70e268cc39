"""Our own dialect over HTTP: JSON in, JSON out, the token in the Authorization header."""

from functools import cache

from flask import Blueprint, Response

from wxsession.operations.health import Health
from wxsession.services import Services
from wxsession.web import problems
from wxsession.web.api.accounts import add_accounts
from wxsession.web.api.door import FEWEST_THREADS, Door
from wxsession.web.api.endpoint import Endpoints
from wxsession.web.api.errors import DATABASE_ERRORS
from wxsession.web.api.fast_check import FastCheck
from wxsession.web.api.introspection import add_introspection
from wxsession.web.api.logins import add_logins
from wxsession.web.api.openapi import document
from wxsession.web.api.profiles import add_profiles
from wxsession.web.api.schemas import HealthReply
from wxsession.web.api.sessions import CHECK, add_sessions

__all__ = ["ALIVE", "CHECK", "FEWEST_THREADS", "Door", "FastCheck", "blueprint"]

ALIVE = "/healthz"


def blueprint(services: Services, url_prefix: str | None) -> Blueprint:
    """Return the blueprint that serves these services below `url_prefix`."""
    api = Blueprint("wxsession", __name__, url_prefix=url_prefix)
    problems.register(api)
    api.after_request(problems.protected)
    calls = Endpoints(api)
    add_logins(calls, services.logins, services.accounts)
    add_accounts(calls, services.accounts)
    add_profiles(calls, services.profiles)
    add_sessions(calls, services.sessions, services.introspection)
    add_introspection(calls, services.introspection)
    _add_health(calls, services.health)

    @cache
    def page() -> str:  # made when somebody asks: it takes longer than all the rest of a start
        return document(calls.all, mounted_at=url_prefix or "/")

    @api.get("/openapi.json")
    def openapi() -> Response:
        return Response(page(), mimetype="application/json")

    return api


def _add_health(calls: Endpoints, health: Health) -> None:
    @calls.add("GET", path=ALIVE, reply=HealthReply)
    def healthz() -> HealthReply:
        """Tell that the process is alive; touches nothing."""
        return HealthReply()

    @calls.add("GET", path="/readyz", reply=HealthReply, errors=DATABASE_ERRORS)
    def readyz() -> HealthReply:
        """Tell whether the database is reachable and migrated."""
        health.ensure_ready()
        return HealthReply()
