"""A server of ours in the process of a test: what it consists of, and what it is made with."""

from datetime import UTC, datetime
from typing import Final

from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST
from flask import Flask

from wxsession.services import EXTENSION, Services
from wxsession.storage.database import connect
from wxsession.storage.migrate import upgrade

TODAY: Final = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)

CHEAP_HASHER: Final = PasswordHasher.from_parameters(CHEAPEST)
"""For tests whose subject is not what a hash costs: one takes no time and no memory."""


def services_of(app: Flask) -> Services:
    """Return what a server consists of."""
    found = app.extensions[EXTENSION]
    assert isinstance(found, Services)
    return found


def migrate(url: str) -> None:
    """Give an empty database its tables."""
    database = connect(url)
    upgrade(database)
    database.close()
