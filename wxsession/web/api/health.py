"""Whether the process is alive, and whether it is ready."""

from flask import Request

from wxsession.errors import NotReady, Overloaded
from wxsession.services import Services
from wxsession.web.api.endpoints import Endpoint
from wxsession.web.api.schemas import HealthReply

ALIVE = "/healthz"


def healthz(_services: Services, _request: Request) -> HealthReply:
    """Respond as long as the process is alive; touches nothing else."""
    return HealthReply()


def readyz(services: Services, _request: Request) -> HealthReply:
    """Return whether the database is reachable and migrated."""
    services.health.ensure_ready()
    return HealthReply()


ENDPOINTS = (
    Endpoint(ALIVE, healthz, methods=["GET"]),
    Endpoint("/readyz", readyz, methods=["GET"], raises=[Overloaded, NotReady]),
)
