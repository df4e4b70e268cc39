"""Migrations: bring a database to the newest revision.

Imports Alembic, so only the command loads this module, never a server.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, func, inspect, select
from sqlalchemy.exc import OperationalError

from wxsession.errors import ForeignTables, InvalidRequest, UnknownRevision
from wxsession.storage import old_names, tables  # noqa: F401 - fills the metadata
from wxsession.storage.database import (
    REVISION_TABLE,
    SCHEMA_REVISION,
    Database,
    connect,
    metadata,
)
from wxsession.storage.postgresql import SERVER_LIMITS

_LOCK = 0x77787365_73636865  # "wxsesche": the key of an advisory lock is a number
_TRY_LOCK = f"SELECT pg_try_advisory_xact_lock({_LOCK})"

_LOCK_TIMEOUT = "1s"  # less than the two seconds for which a request waits for a connection
_LOCKED = frozenset({"55P03", "40P01"})  # lock_not_available, deadlock_detected
_ATTEMPTS = 60
_PAUSE_SECONDS = 0.5

_log = logging.getLogger(__name__)


def upgrade(database: Database) -> str:
    """Bring the schema to the newest revision; return the revision that it is at.

    Several at once wait for each other. A schema of a newer version is left as it is.

    Raises:
        ForeignTables: tables or views that are not ours have names of ours.
        OldNamesInUse: foreign keys of others refer to tables that would have to be renamed.
        UnknownRevision: the schema is at a revision that was never ours.
        Overloaded: the database did not answer in time, or others kept a table locked.
    """
    with migrating(database) as connection:
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
    """Take the schema back to an older revision; return where it is then.

    What the later revisions added is lost. A schema that is older is left as it is.

    Raises:
        InvalidRequest: this code has no such revision.
        UnknownRevision: the schema is at a revision that this code does not know.
        Overloaded: the database did not answer in time, or others kept a table locked.
    """
    if revision not in _known_revisions(_scripts()):
        raise InvalidRequest.of(
            "revision", "is none of this version's: look into migrations/versions"
        )
    with migrating(database) as connection:
        with transaction_of(connection):
            is_newer = any(revision < current for current in _revisions(connection))
        if is_newer:
            command.downgrade(_config_over(connection), revision)
        return max(_revisions(connection), default="")


@contextmanager
def migrating(database: Database) -> Iterator[Connection]:
    """Yield a connection for migrations; others that want one wait until the block ends.

    On PostgreSQL each migration is a transaction, which lets others wait for a second at most, and
    Alembic's `autocommit_block` works. On SQLite all of them are one transaction.

    Raises:
        Overloaded: the database did not answer in time.
    """
    if not database.is_postgresql:
        with database.long_transaction() as connection:
            yield connection
        return
    # One connection holds the lock, in a transaction: a lock of the connection itself would stay
    # behind in a pooler. Another one migrates. Both are closed, with what was set for them.
    own = connect(database.engine.url, replace(database.limits, pool_size=2))
    try:
        with own.long_transaction() as holder, own.connections.one(math.inf) as cached:
            # CREATE INDEX CONCURRENTLY waits for whoever has an older snapshot. So a statement that
            # waits for the lock will not do, nor one with parameters: it keeps its portal open.
            while not holder.exec_driver_sql(_TRY_LOCK).scalar_one():
                time.sleep(_PAUSE_SECONDS)
            connection = cached.core().execution_options(isolation_level="READ COMMITTED")
            event.listen(connection, "begin", _set_limits)
            yield connection
            connection.rollback()  # what was only read
    finally:
        own.close()


def run_patiently(migrate: Callable[[Connection], None], connection: Connection) -> None:
    """Run migrations, on PostgreSQL again and again while others keep a table of theirs locked.

    They give up waiting for it after a second, because everybody else waits behind them.
    """
    for left in reversed(range(_ATTEMPTS)):
        try:
            migrate(connection)
            break
        except OperationalError as error:
            if not left or getattr(error.orig, "sqlstate", None) not in _LOCKED:
                raise
            connection.rollback()
            _log.warning("a table is locked by others; trying again, at most %d times", left)
            time.sleep(_PAUSE_SECONDS)


def prepare(connection: Connection, scripts: ScriptDirectory) -> None:
    """Make sure that the database can be migrated by these; nothing is changed if it cannot.

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
    if unknown := found - _known_revisions(scripts):
        raise UnknownRevision(min(unknown))
    if not found:
        if taken := [name for name in metadata.tables if database.has_table(name)]:  # or a view
            raise ForeignTables(sorted(taken))
        if old := old_names.rename_tables(connection):
            _context(connection).stamp(scripts, old)


def migrations_path() -> Path:
    """Return the folder of the migrations: in an installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def transaction_of(connection: Connection) -> AbstractContextManager[object]:
    """Return a context of one transaction: of the one that has begun, or of a new one."""
    return nullcontext() if connection.in_transaction() else connection.begin()


def _set_limits(connection: Connection) -> None:
    driver: Any = connection.connection.dbapi_connection
    limits, is_local = dict.fromkeys(SERVER_LIMITS, "0"), not driver.autocommit
    # Outside of a transaction there is CREATE INDEX CONCURRENTLY, behind which nobody waits; and
    # one that gave up would leave an index that is not valid.
    if is_local:
        limits["lock_timeout"] = _LOCK_TIMEOUT
    connection.execute(select(*(func.set_config(*limit, is_local) for limit in limits.items())))


def _config_over(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_path()))
    config.attributes["connection"] = connection
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(migrations_path()))


def _known_revisions(scripts: ScriptDirectory) -> set[str]:
    """Return every revision that a schema can be brought to."""
    return {script.revision for script in scripts.walk_revisions()}


def _revisions(connection: Connection) -> set[str]:
    """Return the revision that the schema is at, if there is one."""
    return set(_context(connection).get_current_heads())


def _context(connection: Connection) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"version_table": REVISION_TABLE})
