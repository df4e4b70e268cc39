"""Our tables in the database of a host application that has tables of its own."""

from typing import Any, Final

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, Uuid, inspect, text

from tests.support.documents import block_with
from tests.support.settings import settings_for
from wxsession import create_app
from wxsession.alembic import is_ours
from wxsession.storage.database import SCHEMA_REVISION, Database, metadata
from wxsession.storage.migrate import upgrade

HOSTS: Final = ("users", "sessions", "leases", "alembic_version")


def make_host(database: Database) -> None:
    """Create the tables of a host, two of them with the names of Flask-Session and Alembic."""
    with database.long_transaction() as connection:
        columns = "id INTEGER NOT NULL PRIMARY KEY, email VARCHAR"
        for table in HOSTS[:-1]:
            connection.execute(text(f"CREATE TABLE {table} ({columns})"))
            connection.execute(text(f"INSERT INTO {table} VALUES (1, 'alice@example.org')"))  # noqa: S608
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('408fe05d9f1a')"))


def test_a_hosts_tables_and_its_revision_stay_as_they_are(bare: Database) -> None:
    make_host(bare)
    assert upgrade(bare) == SCHEMA_REVISION
    with bare.statement() as connection:
        found = set(inspect(connection).get_table_names())
        assert found == {*metadata.tables, "wxsession_version", *HOSTS}
        for table in HOSTS[:-1]:
            rows = connection.execute(text(f"SELECT * FROM {table}")).all()  # noqa: S608
            assert rows == [(1, "alice@example.org")]
        revision = connection.execute(text("SELECT version_num FROM alembic_version"))
        assert revision.scalars().all() == ["408fe05d9f1a"]


def test_every_table_of_ours_says_whose_it_is() -> None:
    assert all(is_ours(name, "table", {}) for name in (*metadata.tables, "wxsession_version"))
    assert not any(is_ours(name, "table", {}) for name in HOSTS)
    assert not is_ours(None, "schema", {})
    assert not is_ours("wxsession_id", "column", {"table_name": "orders"})


def test_a_hosts_autogenerate_proposes_nothing_of_ours(bare: Database) -> None:
    make_host(bare)
    upgrade(bare)
    host = MetaData()
    for name in HOSTS[:-1]:
        Table(name, host, Column("id", Integer, primary_key=True), Column("email", String))

    def proposed(**options: Any) -> list[Any]:
        with bare.statement() as connection:
            context = MigrationContext.configure(connection, opts=options)
            changes: list[Any] = compare_metadata(context, host)
            return changes

    def include_name(*names: Any) -> bool:
        return not is_ours(*names)

    def include_object(_item: object, *names: Any) -> bool:
        return not is_ours(*names)

    dropped = [change[1].name for change in proposed() if change[0] == "remove_table"]
    assert set(dropped) == {*metadata.tables, "wxsession_version"}
    assert proposed(include_name=include_name) == []
    assert proposed(include_object=include_object) == []
    # A host that refers to our users has to name them in its metadata.
    Table("wxsession_users", host, Column("id", Uuid, primary_key=True))
    user_id = Column("user_id", Uuid, ForeignKey("wxsession_users.id"))
    Table("orders", host, Column("id", Integer, primary_key=True), user_id)
    (added,) = proposed(include_object=include_object)
    assert (added[0], added[1].name) == ("add_table", "orders")


def test_flask_migrate_is_told_as_the_documents_say() -> None:
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    exec(block_with("is_ours", "python"), {"app": app, "db": SQLAlchemy(app)})  # noqa: S102 - ours
    include_object = app.extensions["migrate"].configure_args["include_object"]
    assert not include_object(None, "wxsession_users", "table", True, None)  # noqa: FBT003 - Alembic's way
    assert include_object(None, "users", "table", True, None)  # noqa: FBT003


def said(url: str) -> str:
    """Return what `upgrade-database` says when it refuses."""
    app = create_app(settings_for(url))
    result = app.test_cli_runner().invoke(args=["upgrade-database"])
    assert result.exit_code == 1
    return result.output


@pytest.mark.parametrize("tables", [["wxsession_users"], ["wxsession_events", "wxsession_users"]])
def test_foreign_tables_in_the_way_are_named_and_nothing_is_changed(
    bare: Database, bare_url: str, tables: list[str]
) -> None:
    make_host(bare)
    with bare.long_transaction() as connection:
        for table in tables:
            connection.execute(text(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY)"))
    assert f"the database already has {', '.join(tables)}, which this" in said(bare_url)
    with bare.statement() as connection:
        assert set(inspect(connection).get_table_names()) == {*HOSTS, *tables}


@pytest.mark.parametrize(
    ("name", "definition"),
    [
        ("wxsession_users", "CREATE VIEW wxsession_users AS SELECT id FROM users"),
        ("wxsession_version", "CREATE TABLE wxsession_version (id INTEGER PRIMARY KEY)"),
        ("wxsession_version", "CREATE VIEW wxsession_version AS SELECT id FROM users"),
    ],
)
def test_a_view_and_a_foreign_table_of_revisions_are_in_the_way_as_well(
    bare: Database, bare_url: str, name: str, definition: str
) -> None:
    make_host(bare)
    with bare.long_transaction() as connection:
        connection.execute(text(definition))
    assert f"the database already has {name}, which this" in said(bare_url)
    with bare.statement() as connection:
        assert set(inspect(connection).get_table_names()) - {name} == set(HOSTS)


def test_a_schema_of_an_unknown_revision_is_left_alone(bare: Database, bare_url: str) -> None:
    upgrade(bare)
    unknown = text("UPDATE wxsession_version SET version_num = '20200101_01'")
    with bare.long_transaction() as connection:
        connection.execute(unknown)
    assert "wxsession_version is at revision 20200101_01, which this version" in said(bare_url)
    assert revisions(bare) == ["20200101_01"]


def test_a_schema_of_a_newer_version_is_left_as_it_is_and_is_no_fault(bare: Database) -> None:
    upgrade(bare)
    newer = text("UPDATE wxsession_version SET version_num = '20990101_01'")
    with bare.long_transaction() as connection:
        connection.execute(newer)
    assert upgrade(bare) == "20990101_01"
    assert revisions(bare) == ["20990101_01"]


def revisions(database: Database) -> list[str]:
    with database.statement() as connection:
        found = connection.execute(text("SELECT version_num FROM wxsession_version"))
        return [str(revision) for revision in found.scalars()]
