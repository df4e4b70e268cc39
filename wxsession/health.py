"""Whether the server could do its work."""

from sqlalchemy import exc as sa
from sqlalchemy import text

from wxsession.db import SCHEMA_REVISION, Database
from wxsession.errors import Overloaded


class Health:
    """Asks the database whether it is there and migrated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_ready(self) -> bool:
        """Tell whether the database answers and its schema is at least the one needed here.

        A newer schema is as good: during an upgrade, the old code runs on it for a while.
        """
        try:
            with self._database.statement() as connection:
                found = connection.execute(text("SELECT version_num FROM alembic_version"))
                return any(revision >= SCHEMA_REVISION for revision in found.scalars())
        except (Overloaded, sa.DBAPIError):
            return False
