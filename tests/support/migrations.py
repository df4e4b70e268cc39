"""Alembic over a connection of a test."""

from alembic.config import Config
from sqlalchemy import Connection

from wxsession.storage.migrate import migrations_path


def config_over(connection: Connection) -> Config:
    """Return the configuration that lets Alembic's commands use this connection."""
    config = Config()
    config.set_main_option("script_location", str(migrations_path()))
    config.attributes["connection"] = connection
    return config
