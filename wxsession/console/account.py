"""An admin's own account: the passkeys."""

from flask import Response, request

from wxsession.console.admission import Screens, Visit, site
from wxsession.operations.admins.admin import Role

screens = Screens()


@screens.page("/account")
def show_account(visit: Visit) -> Response:
    """Show who is signed in, and the passkeys."""
    passkeys = visit.services.passkeys
    return visit.show(
        "account.html",
        passkeys=passkeys.of(visit.admin),
        options=passkeys.registration(visit.admin, site()),
    )


@screens.act("/account/passkeys", role=Role.VIEWER, factor=True, says="The passkey is registered.")
def add_passkey(visit: Visit) -> Response:
    """Register the passkey that the browser has made."""
    name, response = (request.form.get(field, "") for field in ("name", "response"))
    visit.services.passkeys.register(visit.session, name, response, site(), visit.client)
    return visit.went("show_account")


@screens.act(
    "/account/passkeys/<passkey_id>/remove",
    role=Role.VIEWER,
    factor=True,
    says="The passkey is removed.",
)
def remove_passkey(visit: Visit, passkey_id: str) -> Response:
    """Remove a passkey."""
    visit.services.passkeys.remove(visit.admin, passkey_id, visit.client)
    return visit.went("show_account")
