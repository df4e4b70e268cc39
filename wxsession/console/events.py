"""The screen of events: what happened, to whom, from where, by whom; on the page and as CSV."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from flask import Response, request

from wxsession.console import wording
from wxsession.console.admission import Screens, Visit
from wxsession.console.forms import address_in, moment_in, text_in
from wxsession.errors import InvalidRequest
from wxsession.events.search import EventFilter
from wxsession.operations.admins.admin import Role

screens = Screens("Events")

_PAGE: Final = 50
_TEXTS: Final = ("event", "reason", "appid", "actor")


@screens.page("/events")
def find_events(visit: Visit) -> Response:
    """List the events that fit, newest first."""
    typed = {name: value.strip() for name, value in request.args.items()}
    page = visit.services.event_search.page(
        _wanted(typed), limit=_PAGE, after=request.args.get("after", type=UUID)
    )
    return visit.show(
        "events.html",
        page=page,
        typed=typed,
        kinds=tuple(wording.HAPPENED),
        apps=tuple(visit.services.settings.apps),
    )


@screens.act("/events.csv", role=Role.OWNER, factor=True)
def export_events(visit: Visit) -> Response:
    """Send all events that fit as a CSV file, read while it is sent."""
    typed = {name: value.strip() for name, value in request.form.items()}
    lines = visit.services.event_search.export(_wanted(typed), visit.client, actor=visit.actor)
    response = Response(lines, mimetype="text/csv")
    response.headers["Content-Disposition"] = "attachment; filename=events.csv"
    return response


def _wanted(typed: Mapping[str, str]) -> EventFilter:
    """Return the filter that a form describes.

    Raises:
        InvalidRequest: with what is wrong.
    """
    found: dict[str, Any] = {}
    for name in _TEXTS:
        if text := typed.get(name):
            found[name] = text_in(name, text)
    if user := typed.get("user"):
        try:
            found["user_id"] = UUID(user)
        except ValueError:
            raise InvalidRequest.of("user", "is not the id of a user") from None
    if address := typed.get("address"):
        found["address"] = address_in("address", address)
    for name in ("since", "until"):
        if text := typed.get(name):
            found[name] = moment_in(name, text, typed.get("zone", ""))
    return EventFilter(**found)
