"""What a page says when something is refused or fails: what happened, and what to do."""

import logging
from collections.abc import Mapping
from typing import Final, NamedTuple

from flask import Response, request
from werkzeug.exceptions import HTTPException

from wxsession.common.current_request import current_request_id
from wxsession.console import pages
from wxsession.console.admission import StaleForm
from wxsession.errors import InvalidRequest, NotSignedIn, UserMerged, WxSessionError

_log = logging.getLogger(__name__)


class Failure(NamedTuple):
    """A status, what happened, and what to do."""

    status: int
    title: str
    cure: str


_AGAIN: Final = (
    "Open the page again in a moment, and look what is done already before you repeat it."
)
FAILURES: Final[Mapping[str, Failure]] = {
    "invalid_request": Failure(400, "That is not accepted.", "Go back, and change it."),
    "forbidden": Failure(403, "Your role does not allow that.", "Ask an owner to do it."),
    "stale_form": Failure(
        403,
        "This form is not valid any more.",
        "Nothing was changed. Open the page again, and send the form from there.",
    ),
    "not_found": Failure(
        404,
        "Not found.",
        "It never existed, or was deleted, merged or purged, perhaps by another admin just now.",
    ),
    "invalid_link": Failure(
        410,
        "This link is not valid.",
        "It was used, or is older than an hour. Ask for a new one; on the server:"
        " flask --app wsgi admins reset NAME",
    ),
    "too_many_attempts": Failure(
        429,
        "Too many wrong attempts.",
        "Wait {minutes} minutes, sign in with a passkey, or have the admin reset on the server:"
        " flask --app wsgi admins reset NAME",
    ),
    "overloaded": Failure(503, "The server is busy.", _AGAIN),
    "database_unavailable": Failure(
        503, "The database does not respond.", f"{_AGAIN} The log of the console says why."
    ),
    "not_ready": Failure(
        503,
        "The database has no schema of this version.",
        "Run on the server: flask --app wsgi upgrade-database",
    ),
    "internal_error": Failure(
        500, "An unexpected error occurred.", "The log of the console says why."
    ),
}
_OF_STATUS: Final = {403: "forbidden", 404: "not_found", 405: "not_found", 410: "not_found"}


def refuse(error: WxSessionError) -> Response:
    """Return the page for one of our own errors."""
    if isinstance(error, NotSignedIn):
        return _sign_in_first()
    if isinstance(error, UserMerged):
        return pages.go("show_user", user_id=error.new_id)
    code = "stale_form" if isinstance(error, StaleForm) else error.code
    failure = FAILURES.get(code, FAILURES["internal_error"])
    if code not in FAILURES:
        _log.error("unforeseen", exc_info=error)
    faults = error.errors if isinstance(error, InvalidRequest) else ()
    minutes = -(-(error.retry_after or 0) // 60)
    response = _page(failure, faults=faults, minutes=minutes)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def refuse_http(error: HTTPException) -> Response:
    """Return the page for what Werkzeug refuses by itself."""
    status = error.code or 500
    default = "internal_error" if status >= 500 else "invalid_request"  # noqa: PLR2004 - its own fault
    return _page(FAILURES[_OF_STATUS.get(status, default)], status=status)


def refuse_unforeseen(error: Exception) -> Response:
    """Return the page for any other exception; the traceback goes to the log."""
    _log.error("unforeseen", exc_info=error)
    return _page(FAILURES["internal_error"])


def _page(
    failure: Failure,
    *,
    status: int | None = None,
    faults: tuple[Mapping[str, str], ...] = (),
    minutes: int = 0,
) -> Response:
    return pages.render(
        "failed.html",
        status=status or failure.status,
        visit=None,
        menu=pages.Menu(),
        done=lambda: None,
        failure=failure,
        faults=faults,
        minutes=minutes,
        request_id=current_request_id(),
    )


def _sign_in_first() -> Response:
    """Go to the form, and from there to the page that was asked for; an act is not repeated."""
    wanted = pages.here() if request.method == "GET" else None
    if "HX-Request" in request.headers:
        # htmx would follow a redirect itself, and find nothing there for a part of the old page.
        return Response(status=204, headers={"HX-Redirect": pages.url("sign_in", next=wanted)})
    return pages.go("sign_in", next=wanted)
