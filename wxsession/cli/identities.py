"""WeChat users of accounts: ``flask identities …``."""

from uuid import UUID

import click

from wxsession.cli import options
from wxsession.cli.base import Group, pass_services
from wxsession.cli.output import json_option, show, words
from wxsession.services import Services


@click.group("identities", cls=Group)
def identities() -> None:
    """Take WeChat users from accounts that they do not belong to."""


@identities.command("unbind")
@options.user_id
@options.appid
@options.actor
@json_option
@pass_services
def unbind(services: Services, user_id: UUID, appid: str, actor: str) -> None:
    """Unbind the WeChat user of an app from a user: from now on it is a user of its own."""
    new = services.identities.unbind(user_id, appid, actor=actor)
    text = words("The WeChat user is the user {new_user_id} now.", new_user_id=new)
    show({"user_id": user_id, "new_user_id": new}, text)


@identities.command("move")
@options.user_id
@options.appid
@click.argument("new_user_id", type=click.UUID)
@options.actor
@json_option
@pass_services
def move(services: Services, user_id: UUID, appid: str, new_user_id: UUID, actor: str) -> None:
    """Move the WeChat user of an app from one user to another.

    If the first one would have no way left to log in, the two are merged.
    """
    merged = services.identities.move(user_id, appid, new_user_id, actor=actor)
    if merged:
        text = words(
            "The user {user_id} is merged into {new_user_id}: no other way to log in was left.",
            user_id=user_id,
            new_user_id=new_user_id,
        )
    else:
        text = words(
            "The WeChat user belongs to the user {new_user_id} now.", new_user_id=new_user_id
        )
    show({"user_id": user_id, "new_user_id": new_user_id, "merged": merged}, text)
