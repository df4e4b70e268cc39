"""The screen of events: what happened, to whom, from where, by whom; on the page and as CSV."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from flask import Response, request

from wxsession.console import wording
from wxsession.console.admission import Screens, Visit
from wxsession.errors import InvalidRequest
from wxsession.events.search import EventFilter
from wxsession.operations.admins.admin import Role
from wxsession.users.client import address_of

screens = Screens("Events")

_PAGE: Final = 50
_TEXTS: Final = ("event", "reason", "appid", "actor")
_LONGEST: Final = 64
_FURTHEST_ZONE: Final = 15 * 60


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
            if len(text) > _LONGEST or "\0" in text:
                raise InvalidRequest.of(name, f"must have at most {_LONGEST} characters")
            found[name] = text
    if user := typed.get("user"):
        try:
            found["user_id"] = UUID(user)
        except ValueError:
            raise InvalidRequest.of("user", "is not the id of a user") from None
    if address := typed.get("address"):
        if len(address) > _LONGEST or not re.fullmatch(r"[0-9A-Fa-f:.]+(%\w+)?", address, re.ASCII):
            raise InvalidRequest.of("address", "is not an IPv4 or IPv6 address")
        found["address"] = address_of(address)
    for name in ("since", "until"):
        if text := typed.get(name):
            found[name] = _moment(name, text, typed.get("zone", ""))
    return EventFilter(**found)


def _moment(name: str, text: str, zone: str) -> datetime:
    """Return the moment that was typed, by the clock of a browser so many minutes from UTC."""
    minutes = int(zone) if re.fullmatch(r"-?\d{1,3}", zone, re.ASCII) else 0
    if abs(minutes) > _FURTHEST_ZONE:
        minutes = 0
    try:
        typed = datetime.fromisoformat(text)
        return typed.replace(tzinfo=UTC) + timedelta(minutes=minutes)
    except (ValueError, OverflowError):
        raise InvalidRequest.of(name, "is not a date, or not one with a time") from None
