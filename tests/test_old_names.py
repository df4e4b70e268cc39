"""Databases from before 0.1, whose tables were called users, sessions, and so on.

`old_names/` has their schema as it was, revision by revision.
"""

from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
from alembic import command
from sqlalchemy import Connection, inspect, select, text

from tests.support.migrations import config_over
from wxsession.errors import ForeignTables, OldNamesInUse
from wxsession.storage.database import SCHEMA_REVISION, Database, metadata
from wxsession.storage.migrate import upgrade
from wxsession.storage.tables import (
    audit_events,
    identities,
    login_codes,
    session_keys,
    sessions,
    users,
)

SCHEMAS: Final = Path(__file__).parent / "old_names"
REVISIONS: Final = ("20261121_01", "20261121_02", "20261124_01")
ONE: Final = UUID(int=1)


def make_old(database: Database, revision: str = REVISIONS[-1]) -> None:
    """Give an empty database the schema that it had at this revision, and rows."""
    kind = "postgresql" if database.is_postgresql else "sqlite"
    with database.long_transaction() as connection:
        for name in (kind, "rows"):
            for part in (SCHEMAS / f"{name}.sql").read_text().split("-- ")[1:]:
                at, _, statements = part.partition("\n")
                if at <= revision:
                    for statement in statements.split(";\n\n"):
                        connection.execute(text(statement))


def names_of(connection: Connection) -> set[tuple[str, str]]:
    """Return the names of all tables, and of their indexes and constraints."""
    found = inspect(connection)
    names: set[tuple[str, str]] = set()
    for table in found.get_table_names():
        names.add((table, str(found.get_pk_constraint(table)["name"])))
        for of_kind in (
            found.get_indexes,
            found.get_unique_constraints,
            found.get_foreign_keys,
            found.get_check_constraints,
        ):
            names |= {(table, str(one["name"])) for one in of_kind(table)}
    return names


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_old_database_becomes_the_same_as_a_new_one_and_keeps_its_rows(
    bare: Database, revision: str
) -> None:
    make_old(bare, revision)
    assert upgrade(bare) == SCHEMA_REVISION
    with bare.transaction() as transaction:
        assert tuple(transaction.execute(select(users)).one())[:2] == (ONE, "alice")
        for table in (identities, session_keys, sessions, login_codes):
            (row,) = transaction.execute(select(table)).all()
            assert ONE in row
        events = transaction.execute(select(audit_events.c.event)).scalars().all()
        assert events == ([] if revision == REVISIONS[0] else ["session.created"])
    with bare.long_transaction() as connection:
        command.check(config_over(connection))
        renamed = names_of(connection)
        assert "alembic_version" not in {table for table, _ in renamed}
        command.downgrade(config_over(connection), "base")
    upgrade(bare)
    with bare.statement() as connection:
        assert renamed == names_of(connection)


def test_a_renamed_database_still_looks_after_its_rows(bare: Database) -> None:
    make_old(bare)
    upgrade(bare)
    with bare.transaction() as transaction:
        transaction.execute(text("DELETE FROM wxsession_sessions"))
        transaction.execute(text("DELETE FROM wxsession_identities"))
        assert transaction.execute(select(session_keys)).all() == []  # by ON DELETE CASCADE


def test_a_renamed_database_goes_down_and_up_again(bare: Database) -> None:
    make_old(bare)
    upgrade(bare)
    with bare.long_transaction() as connection:
        command.downgrade(config_over(connection), REVISIONS[0])
    assert upgrade(bare) == SCHEMA_REVISION
    with bare.statement() as connection:
        assert connection.execute(select(users.c.username)).scalars().all() == ["alice"]


def test_what_is_in_the_way_of_the_new_names_is_refused_before_anything_changes(
    bare: Database,
) -> None:
    make_old(bare)
    with bare.long_transaction() as connection:
        connection.execute(text("CREATE TABLE wxsession_sessions (id INTEGER)"))
        before = names_of(connection)
    with pytest.raises(ForeignTables) as refused:
        upgrade(bare)
    assert refused.value.tables == ("wxsession_sessions",)
    with bare.statement() as connection:
        assert names_of(connection) == before


def test_a_revision_beside_ours_stays_where_it_is(bare: Database) -> None:
    make_old(bare)
    revisions = text("SELECT version_num FROM alembic_version")
    with bare.long_transaction() as connection:
        connection.execute(text("INSERT INTO alembic_version VALUES ('408fe05d9f1a')"))
    assert upgrade(bare) == SCHEMA_REVISION
    with bare.transaction() as transaction:
        assert transaction.execute(revisions).scalars().all() == ["408fe05d9f1a"]
        assert transaction.execute(select(users.c.username)).scalars().all() == ["alice"]


@pytest.mark.parametrize("action", ["NO ACTION", "CASCADE", "SET NULL"])
def test_a_hosts_rows_that_refer_to_an_old_table_are_kept(bare: Database, action: str) -> None:
    make_old(bare)
    kind = "UUID" if bare.is_postgresql else "CHAR(32)"
    with bare.long_transaction() as connection:
        for statement in (
            f"CREATE TABLE orders (user_id {kind} REFERENCES Users (id) ON DELETE {action})",
            "INSERT INTO orders SELECT id FROM users",
        ):
            connection.execute(text(statement))
        before = names_of(connection)
    if bare.is_postgresql:  # where a foreign key follows the table that it refers to
        upgrade(bare)
    else:
        with pytest.raises(OldNamesInUse) as refused:
            upgrade(bare)
        assert refused.value.tables == ("orders",)
        with bare.statement() as connection:
            assert names_of(connection) == before
    with bare.statement() as connection:
        kept = text("SELECT count(user_id) FROM orders")
        assert connection.execute(kept).scalar_one() == 1


def test_the_tables_of_a_host_that_have_the_old_names_stay_as_they_are(bare: Database) -> None:
    make_old(bare)  # now they are a host's: its revision is not ours
    with bare.long_transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '408fe05d9f1a'"))
        before = names_of(connection)
    assert upgrade(bare) == SCHEMA_REVISION
    with bare.statement() as connection:
        assert names_of(connection) >= before
        revisions = text("SELECT version_num FROM alembic_version")
        assert connection.execute(revisions).scalars().all() == ["408fe05d9f1a"]
        assert set(metadata.tables) <= set(inspect(connection).get_table_names())
