"""The console: users, sessions and what happens, in a browser, for named admins.

A process of its own (`create_console`), or in a host application (`Console`).
"""

from dataclasses import replace
from typing import Final

import requests
from argon2 import PasswordHasher
from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.middleware.proxy_fix import ProxyFix

from wxsession.accounts.passwords import OWASP_MINIMUM
from wxsession.common.clock import Clock, now
from wxsession.common.current_request import current_request, facts_of, forget_request
from wxsession.console import (
    account,
    admins,
    apps,
    events,
    failures,
    overview,
    sessions,
    signing_in,
    system,
    users,
    webhooks,
)
from wxsession.console.admission import Screens, admitting, protected
from wxsession.console.pages import BLUEPRINT, Menu, go
from wxsession.errors import WxSessionError
from wxsession.services import EXTENSION, Services
from wxsession.settings import Settings

SCREENS: Final[tuple[Screens, ...]] = (
    overview.screens,
    users.screens,
    sessions.screens,
    events.screens,
    apps.screens,
    webhooks.screens,
    system.screens,
    admins.screens,
)
"""In the order of the menu."""

_LARGEST_FORM = 256 * 1024


class Console:
    """The console in a developer's own Flask application, below a path of its own.

    `WxSession` has to be there first: the console uses its services. It has admins of its own
    (``flask wxsession admins add``), and knows nothing of the application's users.
    """

    def __init__(self, app: Flask | None = None, *, url_prefix: str = "/wxsession") -> None:
        self._url_prefix = url_prefix
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the console to `app`.

        Raises:
            RuntimeError: `WxSession` is not there yet.
        """
        if EXTENSION not in app.extensions:
            raise RuntimeError("Console(app) needs WxSession(app) first")
        app.register_blueprint(_blueprint(app.extensions[EXTENSION], self._url_prefix))


def create_console(
    settings: Settings,
    *,
    clock: Clock = now,
    http: requests.Session | None = None,
    hasher: PasswordHasher = OWASP_MINIMUM,
) -> Flask:
    """Return the console as an application of its own, over the same database as the service."""
    app = Flask("wxsession.console", static_folder=None)
    settings = replace(settings, metrics=None)  # the service's process exports them
    services = Services.build(settings, clock=clock, http=http, hasher=hasher, sender=app)
    app.extensions[EXTENSION] = services
    _identify(app, trusts_proxy=settings.trusted_proxies > 0)
    app.register_blueprint(_blueprint(services, None))
    _let_pages_fail(app)
    app.after_request(protected)  # what no route takes is not the blueprint's either
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies)  # type: ignore[method-assign]
    return app


def _blueprint(services: Services, url_prefix: str | None) -> Blueprint:
    edge = Blueprint(BLUEPRINT, __name__, url_prefix=url_prefix, static_folder="static")
    menu = Menu()
    for screens in (signing_in.screens, account.screens, *SCREENS):
        menu.says |= screens.says
        if screens.title:
            menu.entries.append((screens.routes[0].endpoint, screens.title, screens.role))
        for route in screens.routes:
            view = admitting(route, services, menu)
            edge.add_url_rule(route.path, route.endpoint, view, methods=[route.method])

    @edge.get("/")
    def home() -> Response:
        first, *_ = menu.entries[0]
        return go(first)

    @edge.route("/<path:_path>")
    def nowhere(_path: str) -> Response:
        raise NotFound

    edge.before_request(_limit_the_form)
    edge.after_request(protected)
    _let_pages_fail(edge)
    return edge


def _let_pages_fail(edge: Flask | Blueprint) -> None:
    edge.register_error_handler(WxSessionError, failures.refuse)
    edge.register_error_handler(HTTPException, failures.refuse_http)
    edge.register_error_handler(Exception, failures.refuse_unforeseen)


def _identify(app: Flask, *, trusts_proxy: bool) -> None:
    """Give each request its id, as the service does: one leads from nginx's line to the event."""

    def begin() -> None:
        current_request.set(facts_of(request.environ, trusts_proxy=trusts_proxy))

    app.before_request(begin)
    app.teardown_request(lambda _error: forget_request())


def _limit_the_form() -> None:
    request.max_content_length = _LARGEST_FORM
