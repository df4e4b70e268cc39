"""Tickets: from a mini-program into the pages of a web-view."""

from collections.abc import Mapping
from http import HTTPStatus

from flask import Request
from werkzeug.http import dump_cookie

from wxsession.errors import (
    InvalidRequest,
    InvalidTicket,
    NotReady,
    Overloaded,
    TokenError,
)
from wxsession.services import Services
from wxsession.web import bodies
from wxsession.web.api.endpoints import Auth, Endpoint
from wxsession.web.api.schemas import (
    LiveTokenReply,
    RedeemBody,
    TicketBody,
    TicketReply,
    WebViewQuery,
)
from wxsession.web.request import COOKIE, bearer_token, client_of


def issue_ticket(services: Services, request: Request, body: TicketBody) -> TicketReply:
    """Return a ticket of the session for one audience, and count that as use.

    It may stand in a URL: it is valid once, for 60 seconds, and at that audience alone.
    """
    ticket = services.tickets.issue(
        bearer_token(request), body.audience, lambda: client_of(request)
    )
    return TicketReply(ticket=ticket.ticket, expires_in=ticket.expires_in)


def redeem_ticket(services: Services, _request: Request, body: RedeemBody) -> LiveTokenReply:
    """Tell a back end whose session a ticket is of, once; the same as introspection tells."""
    return LiveTokenReply.of(services.tickets.redeem(body.ticket, body.audience))


def web_view(services: Services, request: Request) -> tuple[None, Mapping[str, str]]:
    """Set the cookie of a session of its own for a web-view, and go on to a page of this origin.

    That session ends with the one whose ticket it is. A ticket that another page brings is refused:
    it could be that of somebody else, who waits for what the user enters.
    """
    if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        raise InvalidRequest.of("ticket", "comes from another page; open this address directly")
    query = bodies.read(WebViewQuery, request.args.to_dict())
    origin = services.settings.origin
    grant = services.tickets.open_web_view(query.ticket, origin, client_of(request))
    cookie = dump_cookie(
        COOKIE,
        grant.session_token,
        max_age=services.settings.absolute_timeout,
        secure=True,
        httponly=True,
        samesite="Lax",
    )
    return None, {"Location": query.to, "Set-Cookie": cookie}


ENDPOINTS = (
    Endpoint(
        "/tickets",
        issue_ticket,
        methods=["POST"],
        auth=Auth.SESSION,
        raises=[TokenError, Overloaded, NotReady],
    ),
    Endpoint(
        "/tickets/redeem",
        redeem_ticket,
        methods=["POST"],
        auth=Auth.API_KEY,
        raises=[InvalidTicket, Overloaded, NotReady],
        omits_null=True,
    ),
    Endpoint(
        "/web-view",
        web_view,
        methods=["GET"],
        raises=[InvalidTicket, Overloaded, NotReady],
        status=HTTPStatus.SEE_OTHER,
        query={"ticket": "a ticket for this origin", "to": "a path of this origin; without it /"},
        query_needed=["ticket"],
        response_headers={
            "Location": "the path to go on to",
            "Set-Cookie": f"{COOKIE}, for this host alone and out of reach of scripts",
        },
        is_served=lambda settings: settings.cookie,
    ),
)
