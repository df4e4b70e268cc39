"""Health: whether the server can do its work."""

from sqlalchemy import String, column, select, table

from wxsession.errors import NotReady
from wxsession.storage.database import REVISION_TABLE, SCHEMA_REVISION, Database

_REVISIONS = select(column("version_num", String)).select_from(table(REVISION_TABLE))


class Health:
    """Looks whether the database is available and migrated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ensure_ready(self) -> None:
        """Return if the database answers and its schema is new enough for this code.

        A schema that is newer is fine: during an upgrade the old code uses it for a while.

        Raises:
            NotReady: there is no schema, or an older one.
            Overloaded: the database did not answer in time.
        """
        with self._database.statement() as connection:
            found = connection.execute(_REVISIONS)
            if not any(revision >= SCHEMA_REVISION for revision in found.scalars()):
                raise NotReady
