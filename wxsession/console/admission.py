"""Admission: who gets to which screen, and which requests are those of our own pages.

A request that changes something has to come from a page of the console, with the token of its
session in the form; so no page of somebody else can act for an admin. (The token is our own: that
of Flask-WTF is kept in Flask's signed cookie, and this session is a row.) What cannot be undone
needs a second factor of the last ten minutes: a page asks for it, and goes on with what was asked.
"""

import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from flask import Response, request

from wxsession.console import pages
from wxsession.errors import BadCredentials, Forbidden, InvalidRequest, NotSignedIn
from wxsession.operations.admins.admin import Admin, Role
from wxsession.operations.admins.ceremonies import Site
from wxsession.operations.admins.signing_in import LIFETIME, AdminSession
from wxsession.services import Services
from wxsession.users.client import ClientInfo

COOKIE: Final = "__Host-wxsession_console"
"""A browser takes a cookie with this prefix only if it is Secure, and for the whole of one host."""
TOKEN: Final = "form_token"  # noqa: S105 - the name of a field
CODE: Final = "second_factor_code"
PASSKEY: Final = "second_factor_passkey"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_STATIC = "static"

View = TypeVar("View", bound=Callable[..., Response])


class StaleForm(Forbidden):
    """The form is of another session, or of a page that is not ours."""


@dataclass(frozen=True)
class Guest:
    """A request of somebody who may not be signed in."""

    services: Services
    menu: pages.Menu
    client: ClientInfo

    def show(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """Return the page of a template."""
        return pages.render(template, status=status, **self._known(), **values)

    def _known(self) -> dict[str, Any]:
        return {"visit": None, "menu": self.menu, "done": pages.done(self.menu)}


@dataclass(frozen=True)
class Visit(Guest):
    """A request of an admin who is signed in."""

    session: AdminSession

    @property
    def admin(self) -> Admin:
        """The admin."""
        return self.session.admin

    @property
    def actor(self) -> str:
        """The name that events have for what is done here."""
        return self.admin.name

    @property
    def form_token(self) -> str:
        """What proves that a form is of this session."""
        return _form_token(self.session.token)

    def may(self, role: str) -> bool:
        """Return whether the admin has this role, or one that is good for more."""
        return self.admin.role.covers(Role(role))

    def went(self, endpoint: str, *, count: int = 0, **values: Any) -> Response:
        """Go on to a screen after an act, and say there what was done."""
        values |= {pages.DONE: (request.endpoint or "").rpartition(".")[2]}
        values |= {pages.COUNT: count} if count else {}
        return pages.go(endpoint, **values)

    def _known(self) -> dict[str, Any]:
        return super()._known() | {"visit": self}


@dataclass(frozen=True)
class Route:
    """A path, what serves it, and for whom: `role` None is for everybody."""

    path: str
    view: Callable[..., Response]
    method: str
    role: Role | None
    needs_factor: bool = False

    @property
    def endpoint(self) -> str:
        """The name by which pages link it."""
        return self.view.__name__


@dataclass
class Screens:
    """The routes of one subject; with a `title`, the first of them stands in the menu."""

    title: str | None = None
    role: Role = Role.VIEWER
    """Who may look at them."""
    routes: list[Route] = field(default_factory=list)
    says: dict[str, str] = field(default_factory=dict)

    def page(self, path: str) -> Callable[[View], View]:
        """Let a function of a visit show a page."""
        return self._adding(path, "GET", self.role)

    def act(
        self, path: str, *, role: Role, says: str = "", factor: bool = False
    ) -> Callable[[View], View]:
        """Let a function of a visit do something; `factor`: after a second factor just now.

        `says` is what the next page says, after `Visit.went`.
        """
        return self._adding(path, "POST", role, says=says, factor=factor)

    def open(self, path: str, method: str = "GET") -> Callable[[View], View]:
        """Let a function of a guest serve everybody."""
        return self._adding(path, method, None)

    def _adding(
        self, path: str, method: str, role: Role | None, *, says: str = "", factor: bool = False
    ) -> Callable[[View], View]:
        def add(view: View) -> View:
            route = Route(path, view, method, role, factor)
            self.routes.append(route)
            if says:
                self.says[route.endpoint] = says
            return view

        return add


def admitting(route: Route, services: Services, menu: pages.Menu) -> Callable[..., Response]:
    """Return the view of a route for Flask: it lets in whom the route is for."""

    def view(**values: Any) -> Response:
        guest = Guest(services, menu, client_of_request())
        # Of a name that comes twice, every value: a form has its own, whatever the query has.
        _ensure_text(*(value for _, value in request.values.items(multi=True)), *values.values())
        if route.method == "POST":
            _ensure_own_page()
        if route.role is None:
            return route.view(guest, **values)
        visit = visit_of(guest)
        if route.method == "POST":
            _ensure_own_form(visit)
        if not visit.may(route.role):
            raise Forbidden
        if route.needs_factor and not visit.session.is_fresh:
            try:
                if not _shows_factor(visit):
                    return _ask_again(visit)
            except BadCredentials:
                return _ask_again(visit, refused=True)
        return route.view(visit, **values)

    return view


def visit_of(guest: Guest) -> Visit:
    """Return the visit of the admin whose session this request presents.

    Raises:
        NotSignedIn: it presents none, or one that is over.
    """
    token = request.cookies.get(COOKIE)
    if not token:
        raise NotSignedIn
    session = guest.services.admin_sessions.check(token)
    return Visit(guest.services, guest.menu, guest.client, session)


def client_of_request() -> ClientInfo:
    """Return who sent this request."""
    return ClientInfo.of(request.remote_addr, request.headers.get("User-Agent", ""))


def site() -> Site:
    """Return where the browser shows the console.

    Both origins, because a proxy may end HTTPS; a browser offers no passkey over plain HTTP but on
    the same machine.

    Raises:
        InvalidRequest: the request names no host.
    """
    try:
        host = urlsplit(f"//{request.host}").hostname
    except ValueError:
        host = None
    if not host:
        raise InvalidRequest.of("request", "names no host")
    return Site(host, (f"https://{request.host}", f"http://{request.host}"))


def keep_signed_in(response: Response, token: str) -> Response:
    """Give the browser a new session; one that it had before is not continued."""
    response.set_cookie(
        COOKIE, token, max_age=LIFETIME, secure=True, httponly=True, samesite="Strict"
    )
    return response


def forget(response: Response) -> Response:
    """Let the browser forget its session."""
    response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="Strict")
    return response


def protected(response: Response) -> Response:
    """Add to a response the headers that every one of ours has; pages are kept by no cache."""
    response.headers.update(HEADERS)
    is_file = (request.endpoint or "").endswith(f".{_STATIC}")
    kept = is_file and response.status_code == 200  # noqa: PLR2004 - OK
    response.headers["Cache-Control"] = "private, max-age=3600" if kept else "no-store"
    return response


def _ensure_text(*values: object) -> None:
    """Return if no value has a character that no database takes.

    Raises:
        InvalidRequest: one has.
    """
    if any("\0" in str(value) for value in values):
        raise InvalidRequest.of("request", "has a character that no text has")


def _ensure_own_page() -> None:
    """Return if this request comes from a page of our own.

    Raises:
        StaleForm: it does not, or no header says so.
        InvalidRequest: no header says so, and the request names no host.
    """
    site_ = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin", "")
    is_own = site_ == "same-origin" if site_ else origin in site().origins
    if not is_own:
        raise StaleForm


def _ensure_own_form(visit: Visit) -> None:
    given = request.form.get(TOKEN, "").encode()
    if not hmac.compare_digest(given, visit.form_token.encode()):
        raise StaleForm


def _shows_factor(visit: Visit) -> bool:
    """Return whether the form has a second factor, which is right then."""
    if passkey := request.form.get(PASSKEY):
        visit.services.passkeys.refresh_factor(visit.session, passkey, site(), visit.client)
        return True
    if code := request.form.get(CODE):
        visit.services.admin_sessions.refresh_factor(visit.session, code, visit.client)
        return True
    return False


def _ask_again(visit: Visit, *, refused: bool = False) -> Response:
    """Return the page that asks for a second factor, and repeats this request with it."""
    ours = {TOKEN, CODE, PASSKEY}
    repeated = [(name, value) for name, value in request.form.items(multi=True) if name not in ours]
    has_passkey = bool(visit.services.passkeys.of(visit.admin))
    options = visit.services.passkeys.authentication(site()) if has_passkey else None
    return visit.show(
        "again.html",
        repeated=repeated,
        action=request.script_root + request.path,
        options=options,
        refused=refused,
    )


def _form_token(session_token: str) -> str:
    digest = hmac.digest(session_token.encode(), b"wxsession console form", "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
