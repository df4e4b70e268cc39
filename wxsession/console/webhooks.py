"""Webhooks: how each stands, what its receiver did not take, and that again."""

from uuid import UUID

from flask import Response, request
from werkzeug.exceptions import NotFound

from wxsession.console.admission import Screens, Visit
from wxsession.errors import InvalidRequest
from wxsession.operations.admins.admin import Role
from wxsession.operations.delivery import MOST_COUNTED

screens = Screens("Webhooks")

_PAGE = 50


@screens.page("/webhooks")
def show_webhooks(visit: Visit) -> Response:
    """Show how each webhook stands."""
    states = visit.services.delivery.states()
    return visit.show("webhooks.html", states=states, most=MOST_COUNTED)


@screens.page("/webhooks/<name>")
def show_webhook(visit: Visit, name: str) -> Response:
    """Show what a receiver did not take."""
    _ensure_known(visit, name)
    after = request.args.get("after", type=UUID)
    page = visit.services.delivery.undelivered(name, limit=_PAGE, after=after)
    (state,) = [one for one in visit.services.delivery.states() if one.name == name]
    return visit.show("webhook.html", state=state, page=page, most=MOST_COUNTED)


@screens.act(
    "/webhooks/<name>/replay", role=Role.SUPPORT, says="{count} events are delivered again."
)
def replay_webhook(visit: Visit, name: str) -> Response:
    """Let events that are dead be delivered again: one, or all of this webhook."""
    _ensure_known(visit, name)
    given = request.form.get("event_id")
    try:
        event_id = None if given is None else UUID(given)
    except ValueError:
        raise InvalidRequest.of("event", "is not the id of an event") from None
    count = visit.services.delivery.replay(name, event_id, actor=visit.actor, client=visit.client)
    return visit.went("show_webhook", count=count, name=name)


def _ensure_known(visit: Visit, name: str) -> None:
    if name not in visit.services.delivery.names:
        raise NotFound
