"""The first screen: how logins, sessions and WeChat have been."""

from flask import Response, request

from wxsession.console.admission import Screens, Visit
from wxsession.operations.figures import PERIODS

screens = Screens("Overview")

_DEFAULT = "24h"


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
    found = visit.services.doctor.examine(workers=1, every_value=False, wechat=False)
    findings = sorted(found, key=lambda one: _BY_WEIGHT.index(one.state))
    return visit.show("doctor.html", findings=findings)


_BY_WEIGHT = ("fault", "warning", "ok")
