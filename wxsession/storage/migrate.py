"""Migrations: bring a database to the newest revision.

Imports Alembic, so only the command loads this module, never a server.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, inspect, select

from wxsession.errors import ForeignTables, InvalidRequest, UnknownRevision
from wxsession.storage import old_names, tables  # noqa: F401 - fills the metadata
from wxsession.storage.database import REVISION_TABLE, SCHEMA_REVISION, Database, metadata

_LOCK = 0x77787365_73636865  # "wxsesche": the key of an advisory lock is a number


def upgrade(database: Database) -> str:
    """Bring the schema to the newest revision in one transaction; return that revision.

    Several at once wait for each other. A schema of a newer version is left as it is.

    Raises:
        ForeignTables: tables or views that are not ours have names of ours.
        OldNamesInUse: foreign keys of others refer to tables that would have to be renamed.
        UnknownRevision: the schema is at a revision that was never ours.
        Overloaded: the database did not answer in time.
    """
    with _alone(database) as connection:
        try:
            command.upgrade(_config_over(connection), "head")
        except UnknownRevision as error:
            # Of two machines that are upgraded, the second one may be restarted before its turn.
            if error.revision < SCHEMA_REVISION:
                raise
            return error.revision
        (revision,) = _revisions(connection)
        return revision


def downgrade(database: Database, revision: str) -> str:
    """Take the schema back to an older revision in one transaction; return where it is then.

    What the later revisions added is lost. A schema that is older is left as it is.

    Raises:
        InvalidRequest: this code has no such revision.
        UnknownRevision: the schema is at a revision that this code does not know.
        Overloaded: the database did not answer in time.
    """
    if revision not in _known_revisions():
        raise InvalidRequest.of(
            "revision", "is none of this version's: look into migrations/versions"
        )
    with _alone(database) as connection:
        if any(revision < current for current in _revisions(connection)):
            command.downgrade(_config_over(connection), revision)
        return max(_revisions(connection), default="")


def prepare(connection: Connection) -> None:
    """Make sure that the database can be migrated; nothing is changed if it cannot.

    Tables from before 0.1 are renamed. Tables of a host application stay as they are.

    Raises:
        ForeignTables: tables or views that are not ours have names of ours.
        OldNamesInUse: foreign keys of others refer to tables that would have to be renamed.
        UnknownRevision: the schema is newer than this code, or not ours.
    """
    database = inspect(connection)
    if database.has_table(REVISION_TABLE):
        names = [column["name"] for column in database.get_columns(REVISION_TABLE)]
        if names != ["version_num"]:
            raise ForeignTables([REVISION_TABLE])
    found = _revisions(connection)
    if unknown := found - _known_revisions():
        raise UnknownRevision(min(unknown))
    if not found:
        if taken := [name for name in metadata.tables if database.has_table(name)]:  # or a view
            raise ForeignTables(sorted(taken))
        if old := old_names.rename_tables(connection):
            _context(connection).stamp(_scripts(), old)


def migrations_path() -> Path:
    """Return the folder of the migrations: in an installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


@contextmanager
def _alone(database: Database) -> Iterator[Connection]:
    """Yield a transaction, when no other process changes the schema any more."""
    with database.long_transaction() as connection:
        if database.is_postgresql:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        yield connection


def _config_over(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_path()))
    config.attributes["connection"] = connection
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(migrations_path()))


def _known_revisions() -> set[str]:
    """Return every revision that this code can bring a schema to."""
    return {script.revision for script in _scripts().walk_revisions()}


def _revisions(connection: Connection) -> set[str]:
    """Return the revision that the schema is at, if there is one."""
    return set(_context(connection).get_current_heads())


def _context(connection: Connection) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"version_table": REVISION_TABLE})
