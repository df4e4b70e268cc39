"""What the operator's other back ends ask with their API keys: about a token, and who it is."""

from urllib.parse import quote

from flask import Request, request

from wxsession.sessions.introspection import Introspection
from wxsession.sessions.session import SessionView
from wxsession.web.api.endpoint import Endpoints
from wxsession.web.api.errors import DATABASE_ERRORS
from wxsession.web.api.schemas import IntrospectBody, IntrospectReply
from wxsession.web.request import api_key_of, client_of

API_KEY_HEADER = "X-Wxsession-Api-Key"
IDENTITY_HEADERS = {
    "X-Wxsession-User": "the user's id",
    "X-Wxsession-Session": "the session's id",
    "X-Wxsession-Appid": "the app that was logged in to, if by WeChat",
    "X-Wxsession-Openid": "WeChat's id of the user in that app, if by WeChat",
}


def add_introspection(calls: Endpoints, introspection: Introspection) -> None:
    """Add the introspection."""

    def authenticate() -> None:
        with introspection.counting_refusals(client_of(request)):
            introspection.ensure_known(*api_key_of(request))

    @calls.add(
        "POST",
        path="/introspect",
        body=IntrospectBody,
        form=True,
        reply=IntrospectReply,
        errors=("invalid_request", "invalid_api_key", *DATABASE_ERRORS),
        api_key=authenticate,
    )
    def introspect(body: IntrospectBody) -> IntrospectReply:
        """Tell a back end whose session a token is of (RFC 7662), and count that as use.

        Whatever the reason for which a token is not good: the answer is the same.
        """
        return IntrospectReply.of(introspection.introspect(body.token))


def is_for_proxy(request: Request, introspection: Introspection) -> bool:
    """Tell whether a proxy of the operator asks, who may see what the client may not.

    Raises:
        InvalidApiKey: it says so with a key that is none.
    """
    if API_KEY_HEADER not in request.headers:
        return False
    with introspection.counting_refusals(client_of(request)):
        introspection.ensure_known(None, request.headers[API_KEY_HEADER])
    return True


def identity_headers(view: SessionView) -> dict[str, str]:
    """Return what a proxy hands on to the application behind it.

    Percent-encoded, which changes no id that WeChat ever gave: whatever one may hold, it cannot
    begin another header.
    """
    headers = {"X-Wxsession-User": str(view.user.id), "X-Wxsession-Session": str(view.session_id)}
    if view.identity:
        headers["X-Wxsession-Appid"] = quote(view.identity.appid, safe="")
        headers["X-Wxsession-Openid"] = quote(view.identity.openid, safe="")
    return headers
