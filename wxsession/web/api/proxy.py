"""What a proxy of the operator asks for with `check_session`: who its client is, in headers."""

from urllib.parse import quote

from flask import Request

from wxsession.sessions.introspection import Introspection
from wxsession.sessions.session import SessionView
from wxsession.web.request import client_of

API_KEY_HEADER = "X-Wxsession-Api-Key"
IDENTITY_HEADERS = {
    "X-Wxsession-User": "the user's id",
    "X-Wxsession-Session": "the session's id",
    "X-Wxsession-Appid": "the app of the login, if it was by WeChat",
    "X-Wxsession-Openid": "WeChat's id of the user in that app, if it was by WeChat",
}


def is_for_proxy(request: Request, introspection: Introspection) -> bool:
    """Return whether a proxy of the operator asks, which may see what the client may not.

    Raises:
        InvalidApiKey: it presents a key that is unknown.
    """
    if API_KEY_HEADER not in request.headers:
        return False
    with introspection.counting_refusals(client_of(request)):
        introspection.ensure_known(None, request.headers[API_KEY_HEADER])
    return True


def identity_headers(view: SessionView) -> dict[str, str]:
    """Return the headers that a proxy passes on to the application behind it."""
    headers = {"X-Wxsession-User": str(view.user.id), "X-Wxsession-Session": str(view.session_id)}
    if view.identity:
        # Percent-encoded, which changes no id that WeChat ever gave: whatever one may hold, it
        # cannot begin another header.
        headers["X-Wxsession-Appid"] = quote(view.identity.appid, safe="")
        headers["X-Wxsession-Openid"] = quote(view.identity.openid, safe="")
    return headers
