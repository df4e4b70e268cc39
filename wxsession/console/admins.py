"""The screen of admins: who may use the console. Nobody changes their own standing here."""

from flask import Response, request

from wxsession.accounts.passwords import normalised_username
from wxsession.console.admission import Screens, Visit
from wxsession.console.signing_in import link_address
from wxsession.errors import InvalidRequest
from wxsession.operations.admins.admin import Role
from wxsession.operations.admins.register import Link

screens = Screens("Admins", Role.OWNER)


@screens.page("/admins")
def list_admins(visit: Visit) -> Response:
    """List the admins."""
    return _show(visit)


@screens.act("/admins", role=Role.OWNER, factor=True)
def add_admin(visit: Visit) -> Response:
    """Add an admin, and show the link to sign in this once."""
    name, role = request.form.get("name", ""), _role()
    try:
        link = visit.services.admins.add(name, role, actor=visit.actor, client=visit.client)
    except InvalidRequest as refusal:
        return _show(visit, faults=refusal.errors, name=name)
    return _show(visit, link)


@screens.act("/admins/<name>/reset", role=Role.OWNER, factor=True)
def reset_admin(visit: Visit, name: str) -> Response:
    """Forget how an admin signs in, and show a new link this once."""
    _ensure_another(visit, name)
    link = visit.services.admins.reset(name, actor=visit.actor, client=visit.client)
    return _show(visit, link)


@screens.act("/admins/<name>/disable", role=Role.OWNER, factor=True, says="The admin is disabled.")
def disable_admin(visit: Visit, name: str) -> Response:
    """Let an admin in no more."""
    _ensure_another(visit, name)
    admins = visit.services.admins
    admins.disable(name, owner=visit.admin, actor=visit.actor, client=visit.client)
    return visit.went("list_admins")


@screens.act("/admins/<name>/enable", role=Role.OWNER, factor=True, says="The admin may sign in.")
def enable_admin(visit: Visit, name: str) -> Response:
    """Let a disabled admin in again."""
    visit.services.admins.enable(name, actor=visit.actor, client=visit.client)
    return visit.went("list_admins")


@screens.act("/admins/<name>/role", role=Role.OWNER, factor=True, says="The role is changed.")
def change_role(visit: Visit, name: str) -> Response:
    """Give an admin another role."""
    _ensure_another(visit, name)
    admins = visit.services.admins
    admins.change_role(name, _role(), owner=visit.admin, actor=visit.actor, client=visit.client)
    return visit.went("list_admins")


def _show(
    visit: Visit, link: Link | None = None, *, faults: tuple[object, ...] = (), name: str = ""
) -> Response:
    return visit.show(
        "admins.html",
        admins=visit.services.admins.every(),
        roles=list(Role),
        link=link,
        address=link_address(link) if link else None,
        faults=faults,
        name=name,
    )


def _role() -> Role:
    try:
        return Role(request.form.get("role", ""))
    except ValueError:
        raise InvalidRequest.of("role", "is none of viewer, support and owner") from None


def _ensure_another(visit: Visit, name: str) -> None:
    """Return if this is about somebody else: so an owner is always left."""
    if normalised_username(name) == visit.admin.name:
        raise InvalidRequest.of("name", "is your own: ask another owner")
