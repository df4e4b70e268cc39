"""The first screen: how logins, sessions and WeChat have been."""

from flask import Response, request

from wxsession.console.admission import Screens, Visit
from wxsession.operations.figures import PERIODS

screens = Screens("Overview")

_DEFAULT = "24h"
_OPENED = 50
"""Sealed values of a table: enough to see that a key is missing, in a moment."""


@screens.page("/overview")
def show_overview(visit: Visit) -> Response:
    """Show the figures and plots of a period."""
    asked = request.args.get("period", _DEFAULT)
    chosen = asked if asked in PERIODS else _DEFAULT
    figures = visit.services.figures.overview(PERIODS[chosen])
    return visit.show("overview.html", figures=figures, periods=tuple(PERIODS), chosen=chosen)


@screens.page("/overview/doctor")
def show_findings(visit: Visit) -> Response:
    """Show what the doctor finds, without asking WeChat."""
    found = visit.services.doctor.examine(workers=1, sample=_OPENED)
    findings = sorted(found, key=lambda one: _BY_WEIGHT.index(one.state))
    return visit.show("doctor.html", findings=findings)


_BY_WEIGHT = ("fault", "warning", "ok")
