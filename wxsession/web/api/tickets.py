"""Tickets: from a mini-program into the pages of a web-view."""

from flask import Request

from wxsession.errors import InvalidApiKey, InvalidTicket, NotReady, Overloaded, TokenError
from wxsession.services import Services
from wxsession.web.api.endpoints import Auth, Endpoint
from wxsession.web.api.schemas import LiveTokenReply, RedeemBody, TicketBody, TicketReply
from wxsession.web.request import bearer_token, client_of


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
        raises=[InvalidApiKey, InvalidTicket, Overloaded, NotReady],
        omits_null=True,
    ),
)
