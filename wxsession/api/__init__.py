"""Our own dialect over HTTP: JSON in, JSON out, the token in the Authorization header."""

from dataclasses import dataclass
from functools import cache

from flask import Blueprint, Response

from wxsession import problems
from wxsession.accounts import AccountService
from wxsession.api.accounts import add_accounts
from wxsession.api.check_first import CheckFirst
from wxsession.api.door import FEWEST_THREADS, Door
from wxsession.api.endpoint import Endpoints
from wxsession.api.errors import DATABASE_ERRORS
from wxsession.api.introspection import add_introspection
from wxsession.api.logins import add_logins
from wxsession.api.openapi import document
from wxsession.api.profiles import add_profiles
from wxsession.api.schemas import HealthReply
from wxsession.api.sessions import CHECK, add_sessions
from wxsession.health import Health
from wxsession.introspection import Introspection
from wxsession.logins import LoginService
from wxsession.phone_numbers import PhoneNumbers
from wxsession.profiles import ProfileService
from wxsession.sessions import SessionService

__all__ = ["ALIVE", "CHECK", "FEWEST_THREADS", "CheckFirst", "Door", "Served", "blueprint"]

ALIVE = "/healthz"


@dataclass(frozen=True, kw_only=True)
class Served:
    """The services that the calls stand for."""

    sessions: SessionService
    logins: LoginService
    accounts: AccountService
    profiles: ProfileService
    phones: PhoneNumbers
    introspection: Introspection
    health: Health


def blueprint(served: Served, url_prefix: str | None) -> Blueprint:
    """Return the blueprint that serves these services below `url_prefix`."""
    api = Blueprint("wxsession", __name__, url_prefix=url_prefix)
    problems.register(api)
    api.after_request(problems.protected)
    calls = Endpoints(api)
    add_logins(calls, served.logins, served.phones)
    add_accounts(calls, served.accounts, served.phones)
    add_profiles(calls, served.profiles, served.phones)
    add_sessions(calls, served.sessions, served.phones, served.introspection)
    add_introspection(calls, served.introspection)
    _add_health(calls, served.health)

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
