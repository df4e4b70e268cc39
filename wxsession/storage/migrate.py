"""Migrations: bring a database to the newest revision.

Imports Alembic, so only the command loads this module, never a server.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import func, select

from wxsession.storage.database import Database

_LOCK = 0x77787365_73636865  # "wxsesche": the key of an advisory lock is a number


def upgrade(database: Database) -> str:
    """Bring the schema to the newest revision in one transaction; return that revision.

    Several at once wait for each other.

    Raises:
        Overloaded: the database did not answer in time.
    """
    with database.long_transaction() as connection:
        if database.is_postgresql:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        config = Config()
        config.set_main_option("script_location", str(migrations_path()))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return str(MigrationContext.configure(connection).get_current_revision())


def migrations_path() -> Path:
    """Return the folder of the migrations: in an installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
