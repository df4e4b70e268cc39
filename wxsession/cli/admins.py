"""Admins of the console: ``flask admins …``."""

import click

from wxsession.cli import options
from wxsession.cli.base import Group, pass_services
from wxsession.cli.output import as_text, json_option, show, table, words
from wxsession.operations.admins.admin import Admin, Role
from wxsession.operations.admins.register import Link
from wxsession.services import Services

_name = click.argument("name", type=options.TEXT)


@click.group("admins", cls=Group)
def admins() -> None:
    """Say who may use the console."""


@admins.command("list")
@json_option
@pass_services
def list_admins(services: Services) -> None:
    """List admins, by name."""
    found = services.admins.every()
    rows = [(one.name, one.role, _state(one), one.created_at, one.last_login_at) for one in found]
    show({"admins": found}, table(("NAME", "ROLE", "STATE", "CREATED", "LAST LOGIN"), rows))


@admins.command("add")
@_name
@click.option(
    "--role",
    type=click.Choice([str(role) for role in Role]),
    default=str(Role.VIEWER),
    show_default=True,
    help="A later one may do all that an earlier one may.",
)
@options.actor
@json_option
@pass_services
def add(services: Services, name: str, role: str, actor: str) -> None:
    """Add an admin, and print the link to sign in: it is good once, and for an hour."""
    _show_link(services, services.admins.add(name, Role(role), actor=actor))


@admins.command("reset")
@_name
@options.actor
@json_option
@pass_services
def reset(services: Services, name: str, actor: str) -> None:
    """Forget an admin's password, second factors and sessions, and print a new link."""
    _show_link(services, services.admins.reset(name, actor=actor))


@admins.command("disable")
@_name
@options.actor
@json_option
@pass_services
def disable(services: Services, name: str, actor: str) -> None:
    """Let an admin in no more, and end the sessions."""
    services.admins.disable(name, actor=actor)
    show({"name": name, "disabled": True}, words("The admin is disabled."))


@admins.command("enable")
@_name
@options.actor
@json_option
@pass_services
def enable(services: Services, name: str, actor: str) -> None:
    """Let a disabled admin in again."""
    services.admins.enable(name, actor=actor)
    show({"name": name, "disabled": False}, words("The admin may sign in."))


def _show_link(services: Services, link: Link) -> None:
    address = f"{services.settings.console_url}/link/{link.token}"
    value = {
        "name": link.name,
        "role": link.role,
        "link": address,
        "valid_until": link.valid_until,
    }
    told = words(
        "{name} ({role}) opens this link until {moment}, once:",
        name=as_text(link.name),
        role=link.role,
        moment=as_text(link.valid_until),
    )
    show(value, f"{told}\n{address}")


def _state(admin: Admin) -> str:
    return "disabled" if admin.disabled_at else "enabled"
