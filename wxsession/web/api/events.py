"""What happened, as other back ends read it along a cursor."""

from dataclasses import asdict

from flask import Request

from wxsession.errors import NotReady, Overloaded
from wxsession.services import Services
from wxsession.web.api.endpoints import Auth, Endpoint
from wxsession.web.api.schemas import EventReply, EventsQuery, EventsReply


def list_events(services: Services, _request: Request, query: EventsQuery) -> EventsReply:
    """List what happened after a cursor, oldest first; `next` is the cursor to go on with.

    Whoever keeps `next` misses nothing and sees nothing twice, within WXSESSION_AUDIT_RETENTION.
    """
    page = services.feed.read(query.after, limit=query.limit)
    events = [EventReply(**asdict(event)) for event in page.events]
    return EventsReply(events=events, next=page.next)


ENDPOINTS = (
    Endpoint(
        "/events",
        list_events,
        methods=["GET"],
        auth=Auth.API_KEY,
        scope="events",
        raises=[Overloaded, NotReady],
    ),
)
