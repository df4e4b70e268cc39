"""What the operator's other back ends ask with their API keys."""

from flask import Request

from wxsession.errors import NotReady, Overloaded
from wxsession.services import Services
from wxsession.web.api.endpoints import Auth, Endpoint
from wxsession.web.api.schemas import IntrospectBody, IntrospectReply


def introspect(services: Services, _request: Request, body: IntrospectBody) -> IntrospectReply:
    """Tell a back end whose session a token belongs to (RFC 7662), and count that as use.

    The response is the same for every token that is not valid, whatever the reason.
    """
    return IntrospectReply.of(services.introspection.introspect(body.token))


ENDPOINTS = (
    Endpoint(
        "/introspect",
        introspect,
        methods=["POST"],
        auth=Auth.API_KEY,
        raises=[Overloaded, NotReady],
        form=True,
        omits_null=True,
    ),
)
