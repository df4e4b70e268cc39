"""Signing in and out: by a link for the first time, then by password and code, or by a passkey."""

from urllib.parse import urlsplit

import segno
from flask import Response, request

from wxsession.common.wording import CHINESE, ENGLISH
from wxsession.console.admission import (
    COOKIE,
    Guest,
    Screens,
    forget,
    keep_signed_in,
    site,
    visit_of,
)
from wxsession.console.pages import LANGUAGE, go, go_to, url
from wxsession.errors import BadCredentials, InvalidRequest, NotSignedIn
from wxsession.operations.admins.register import Link
from wxsession.operations.admins.signing_in import SignIn

screens = Screens()

_YEAR = 365 * 86400


@screens.open("/sign-in")
def sign_in(guest: Guest) -> Response:
    """Show the form; whoever is signed in goes on."""
    try:
        visit_of(guest)
    except NotSignedIn:
        return _form(guest)
    return _go_on()


@screens.open("/sign-in", "POST")
def sign_in_by_password(guest: Guest) -> Response:
    """Begin a session for a name, a password and a code."""
    typed = SignIn(*(request.form.get(name, "") for name in ("name", "password", "code")))
    try:
        token = guest.services.admin_sessions.sign_in(typed, guest.client)
    except BadCredentials:
        return _form(guest, typed.name, refused=True)
    return _begin(guest, token)


@screens.open("/sign-in/passkey", "POST")
def sign_in_by_passkey(guest: Guest) -> Response:
    """Begin a session for the response of a passkey."""
    response = request.form.get("response", "")
    try:
        token = guest.services.passkeys.sign_in(response, site(), guest.client)
    except BadCredentials:
        return _form(guest, refused_passkey=True)
    return _begin(guest, token)


@screens.open("/link/<link>")
def open_link(guest: Guest, link: str) -> Response:
    """Show what a link is for: to set a password, and to let an app read a secret."""
    return _invite(guest, link)


@screens.open("/link/<link>", "POST")
def accept_link(guest: Guest, link: str) -> Response:
    """Set the password and the second factor of a link's admin, and begin a session."""
    password, code = request.form.get("password", ""), request.form.get("code", "")
    try:
        token = guest.services.admin_sessions.accept(link, password, code, guest.client)
    except InvalidRequest as refusal:
        return _invite(guest, link, refusal)
    return _begin(guest, token)


@screens.open("/sign-out", "POST")
def sign_out(guest: Guest) -> Response:
    """End the session, and let the browser forget it."""
    _end_old(guest)
    return forget(go("sign_in"))


@screens.open("/language", "POST")
def choose_language(guest: Guest) -> Response:
    """Remember the language, and show the same page in it."""
    del guest
    chosen = CHINESE if request.form.get("language") == CHINESE else ENGLISH
    response = _go_on()
    response.set_cookie(
        LANGUAGE, chosen, max_age=_YEAR, secure=True, httponly=True, samesite="Strict"
    )
    return response


def link_address(link: Link) -> str:
    """Return where an admin opens a link: at the host by which this page was opened."""
    is_here = site().host in {"localhost", "127.0.0.1", "::1"}
    # Over plain HTTP the console can be used on this machine only.
    scheme = request.scheme if is_here else "https"
    return f"{scheme}://{request.host}{url('open_link', link=link.token)}"


def _form(
    guest: Guest, name: str = "", *, refused: bool = False, refused_passkey: bool = False
) -> Response:
    return guest.show(
        "sign_in.html",
        name=name,
        refused=refused,
        refused_passkey=refused_passkey,
        next=_next(),
        again=url("sign_in", next=_next() or None),
        options=guest.services.passkeys.authentication(site()),
    )


def _invite(guest: Guest, link: str, refusal: InvalidRequest | None = None) -> Response:
    invitation = guest.services.admin_sessions.invitation(link)
    return guest.show(
        "link.html",
        invitation=invitation,
        again=url("open_link", link=link),
        picture=segno.make(invitation.totp_uri).svg_data_uri(scale=4, border=2, light="#fff"),
        faults=refusal.errors if refusal else (),
    )


def _begin(guest: Guest, token: str) -> Response:
    """Go on in a new session; the one that this browser had is over."""
    _end_old(guest)
    return keep_signed_in(_go_on(), token)


def _end_old(guest: Guest) -> None:
    if old := request.cookies.get(COOKIE):
        guest.services.admin_sessions.end(old, guest.client)


def _go_on() -> Response:
    """Go to the page that was asked for, if it is one of ours, or to the first one."""
    wanted = _next()
    return go_to(wanted) if wanted else go("home")


def _next() -> str:
    """Return the path that was asked for, nothing for what is not a path below the console."""
    wanted, root = request.values.get("next", ""), url("home")
    try:
        parts = urlsplit(wanted)
    except ValueError:  # as of //[
        return ""
    is_ours = not parts.scheme and not parts.netloc and parts.path.startswith(root)
    is_ours = is_ours and wanted.isprintable()  # no end of a line, which no header takes
    return wanted if is_ours and "\\" not in wanted and not wanted.startswith("//") else ""
