"""What is done later, by another process: it knows the id of a session, and never a token."""

from uuid import UUID

import click
from flask import Blueprint
from sqlalchemy import func, select

from .extensions import db, wxsession
from .models import Order

jobs = Blueprint("jobs", __name__)


@jobs.cli.command("remind")
@click.argument("session_id", type=UUID)
def remind(session_id: UUID) -> None:
    """Remind somebody of the orders, unless the session is over: then nobody would see it."""
    session = wxsession.session(session_id)
    if session is None:
        click.echo("nobody to remind")
        return
    ordered = select(func.count()).where(Order.user_id == session.user.id)
    click.echo(f"{session.nickname or 'somebody'} has {db.session.scalar(ordered)} orders")
