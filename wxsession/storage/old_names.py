"""Databases from before 0.1, whose tables had common names: users, sessions, and so on.

They get today's names before the first migration runs, whichever revision they are at. A revision
at the end of the history could not do that: those before it would still create a table `users`,
which is the host's in a database that a host application shares. So the history is written with
today's names, and this comes before it.
"""

import re
from collections.abc import Sequence

from sqlalchemy import (
    Connection,
    String,
    bindparam,
    column,
    delete,
    inspect,
    select,
    table,
    text,
)

from wxsession.errors import OldNamesInUse
from wxsession.storage.database import TABLE_PREFIX

_REVISIONS = frozenset({"20261121_01", "20261121_02", "20261124_01"})
"""The revisions that a database with the old names can be at."""
_REVISION_TABLE = table("alembic_version", column("version_num", String))

# A table comes after those that it refers to.
_TABLES = {
    name: TABLE_PREFIX + name
    for name in (
        *("users", "identities", "session_keys", "sessions", "login_codes", "unbound_identities"),
        *("access_tokens", "failed_attempts", "merged_users", "leases"),
    )
} | {"audit_events": f"{TABLE_PREFIX}events"}
_OF_EVERY_REVISION = {
    *("users", "identities", "session_keys", "sessions", "login_codes"),
    _REVISION_TABLE.name,
}

# A table's name, also at the beginning of an index's or a constraint's: users, pk_users,
# uq_users_username.
_NAME = re.compile(rf"(?<!\w)((?:pk|fk|uq|ix)_)?({'|'.join(_TABLES)})(?![A-Za-z0-9])")


def rename_tables(connection: Connection) -> str | None:
    """Give tables, indexes and constraints today's names, if this is a database of ours from then.

    Nothing may have today's names. Returns the revision that the tables are at, which is not in
    `alembic_version` any more; that stays if it has another one as well.

    Raises:
        OldNamesInUse: foreign keys of other tables would be lost, and rows with them.
    """
    present = set(inspect(connection).get_table_names())
    found = _revisions(connection) if present >= _OF_EVERY_REVISION else set()
    if not found & _REVISIONS:
        return None  # tables of a host, if there are any
    rename = _in_postgresql if connection.dialect.name == "postgresql" else _in_sqlite
    rename(connection, [name for name in _TABLES if name in present])
    (ours,) = found & _REVISIONS
    if found == {ours}:
        connection.execute(text(f"DROP TABLE {_REVISION_TABLE}"))
    else:
        connection.execute(delete(_REVISION_TABLE).where(_REVISION_TABLE.c.version_num == ours))
    return ours


def _revisions(connection: Connection) -> set[str]:
    return set(connection.execute(select(_REVISION_TABLE.c.version_num)).scalars())


def _renamed(text_: str) -> str:
    """Return a name, or a statement with names in it, as it is today."""
    return _NAME.sub(lambda match: (match[1] or "") + _TABLES[match[2]], text_)


def _in_postgresql(connection: Connection, tables: Sequence[str]) -> None:
    run = connection.exec_driver_sql
    # The index of a constraint is renamed with it.
    constraints = text("SELECT conname FROM pg_constraint WHERE conrelid = CAST(:name AS regclass)")
    indexes = text(
        "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE indrelid = CAST(:name AS regclass)"
    )
    for name in tables:
        for constraint in connection.execute(constraints, {"name": name}).scalars().all():
            if (new := _renamed(constraint)) != constraint:
                run(f"ALTER TABLE {name} RENAME CONSTRAINT {constraint} TO {new}")
        for index in connection.execute(indexes, {"name": name}).scalars().all():
            if (new := _renamed(index)) != index:
                run(f"ALTER INDEX {index} RENAME TO {new}")
        run(f"ALTER TABLE {name} RENAME TO {_TABLES[name]}")


def _in_sqlite(connection: Connection, tables: Sequence[str]) -> None:
    """Copy every table: SQLite renames neither indexes nor constraints.

    A foreign key of another table would not follow, and do with its rows what it does ON DELETE.
    """
    keys = inspect(connection).get_multi_foreign_keys()
    if referring := [
        name
        for (_, name), of_table in keys.items()
        if name not in tables and any(key["referred_table"].lower() in tables for key in of_table)
    ]:
        raise OldNamesInUse(sorted(referring))
    of_type = text(
        "SELECT sql FROM sqlite_master"
        " WHERE type = :type AND tbl_name IN :names AND sql IS NOT NULL"
    ).bindparams(bindparam("names", expanding=True))
    run = connection.exec_driver_sql
    definitions, indexes = (
        connection.execute(of_type, {"type": kind, "names": tables}).scalars().all()
        for kind in ("table", "index")
    )
    for definition in definitions:
        run(_renamed(definition))
    for name in tables:
        run(f"INSERT INTO {_TABLES[name]} SELECT * FROM {name}")  # noqa: S608 - ours
    for name in reversed(tables):  # nothing refers to a table any more when it is dropped
        run(f"DROP TABLE {name}")
    for index in indexes:
        run(_renamed(index))
