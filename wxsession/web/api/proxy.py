"""What a proxy of the operator asks for with `check_session`: who its client is, in headers."""

from urllib.parse import quote

from flask import Request

from wxsession.accounts.api_keys import ApiKeys
from wxsession.sessions.session import SessionView
from wxsession.web.request import client_of

API_KEY_HEADER = "X-Wxsession-Api-Key"
IDENTITY_HEADERS = {
    "X-Wxsession-User": "the user's id",
    "X-Wxsession-Session": "the session's id",
    "X-Wxsession-Appid": "the app of the login, if it was by WeChat",
    "X-Wxsession-Openid": "WeChat's id of the user in that app, if it was by WeChat",
}


def is_for_proxy(request: Request, api_keys: ApiKeys) -> bool:
    """Return whether a proxy of the operator asks, which may see what the client may not.

    Raises:
        InvalidApiKey: it presents a key that is unknown.
        TooManyAttempts: the same, and many were so from this address.
        InsufficientScope: it presents a key that is not for introspection.
    """
    if API_KEY_HEADER not in request.headers:
        return False
    holder = api_keys.holder(None, request.headers[API_KEY_HEADER], client_of(request))
    holder.ensure("introspect")
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
