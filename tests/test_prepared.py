"""Prepared statements: nobody can tell them from what SQLAlchemy executes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    Date,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Uuid,
    bindparam,
    delete,
    select,
    update,
)
from sqlalchemy.engine import make_url

from wxsession.errors import NotReady
from wxsession.storage.database import Database, Limits, UtcDateTime, connect, new_id
from wxsession.storage.statements import Statement, inserting

THINGS = Table(
    "things",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("other", Uuid),
    Column("word", String),
    Column("data", LargeBinary),
    Column("at", UtcDateTime),
    Column("on", Date),
    Column("number", Integer),
)
BY_ID = select(*THINGS.c).where(THINGS.c.id == bindparam("which"))
PREPARED = Statement(BY_ID)
INSERT = inserting(THINGS)
UPDATE = Statement(
    update(THINGS)
    .where(THINGS.c.id == bindparam("which"), THINGS.c.number >= bindparam("least"))
    .values(word="fixed", data=None, number=bindparam("new_number"))
    .returning(THINGS.c.id, THINGS.c.at)
)
DELETE = Statement(delete(THINGS))

# Every type of column that there is, with all that fits both databases: PostgreSQL's text
# has no NUL, and its moments begin before Python's and end after them.
ROWS = st.fixed_dictionaries(
    {
        "id": st.uuids(),
        "other": st.none() | st.uuids(),
        "word": st.none()
        | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        "data": st.none() | st.binary(),
        "at": st.none() | st.datetimes(timezones=st.just(UTC)),
        "on": st.none() | st.dates(),
        "number": st.none() | st.integers(-(2**31), 2**31 - 1),
    }
)


@pytest.fixture(params=["SQLite", "PostgreSQL", "not prepared", "in Shanghai"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Return a database with the table, as each kind of connection sees it."""
    fixture = "sqlite_url" if request.param == "SQLite" else "postgresql_url"
    url = make_url(request.getfixturevalue(fixture))
    if request.param == "in Shanghai":
        url = url.update_query_dict({"options": "-c TimeZone=Asia/Shanghai"})
    limits = Limits(prepared_statements=request.param != "not prepared")
    opened = connect(url.render_as_string(hide_password=False), limits)
    with opened.statement() as connection:
        THINGS.create(connection)
    yield opened
    opened.close()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(row=ROWS)
def test_what_is_written_and_read_is_what_sqlalchemy_writes_and_reads(
    database: Database, row: dict[str, Any]
) -> None:
    database.run(DELETE, {})
    assert len(database.run(INSERT, row)) == 0
    with database.statement() as connection:
        expected = connection.execute(BY_ID, {"which": row["id"]}).one()
    [found] = database.read(PREPARED, {"which": row["id"]})
    assert tuple(found) == tuple(expected) == tuple(row[column.name] for column in THINGS.c)
    assert list(map(type, found)) == list(map(type, expected))
    assert list(map(_offset, found)) == list(map(_offset, expected))


def test_where_there_is_no_row_there_is_none(database: Database) -> None:
    assert list(database.read(PREPARED, {"which": new_id()})) == []


def test_an_update_returns_the_rows_that_it_changed(database: Database) -> None:
    id_, at = new_id(), datetime(2026, 1, 2, tzinfo=UTC)
    values = dict.fromkeys(THINGS.c.keys()) | {"id": id_, "at": at, "data": b"old", "number": 7}
    database.run(INSERT, values)
    assert not database.run(UPDATE, {"which": id_, "least": 8, "new_number": 1})
    [changed] = database.run(UPDATE, {"which": id_, "least": 7, "new_number": 70_000})
    assert tuple(changed) == (id_, at)
    [row] = database.read(PREPARED, {"which": id_})
    assert tuple(row) == (id_, None, "fixed", None, at, None, 70_000)


def test_many_at_once_give_what_each_would_give(database: Database) -> None:
    rows = [dict.fromkeys(THINGS.c.keys()) | {"id": new_id(), "number": n} for n in range(50)]
    with database.transaction() as transaction:
        for row in rows:
            transaction.send(INSERT, row)
        replies = [transaction.send(PREPARED, {"which": row["id"]}) for row in rows]
    assert [reply.rows[0][6] for reply in replies] == list(range(50))


def test_after_a_statement_that_fails_nothing_else_is_executed(database: Database) -> None:
    row = dict.fromkeys(THINGS.c.keys()) | {"id": new_id()}
    database.run(INSERT, row)
    other = dict.fromkeys(THINGS.c.keys()) | {"id": new_id()}
    with pytest.raises(database.engine.dialect.loaded_dbapi.IntegrityError):  # noqa: SIM117
        with database.transaction() as transaction:
            transaction.send(INSERT, row)
            transaction.send(INSERT, other)
    assert list(database.read(PREPARED, {"which": other["id"]})) == []
    assert len(database.read(PREPARED, {"which": row["id"]})) == 1


def test_a_value_that_is_missing_or_cannot_be_written_costs_nothing(database: Database) -> None:
    with pytest.raises(KeyError):
        database.run(INSERT, {"id": new_id()})
    naive = dict.fromkeys(THINGS.c.keys()) | {"id": new_id(), "at": datetime(2026, 1, 2)}  # noqa: DTZ001
    with pytest.raises(ValueError, match="time zone"):
        database.run(INSERT, naive)
    assert database.run(INSERT, naive | {"at": None}) is not None


def test_what_was_prepared_and_is_gone_is_prepared_again(database: Database) -> None:
    id_ = new_id()
    database.run(INSERT, dict.fromkeys(THINGS.c.keys()) | {"id": id_})
    if database.is_postgresql:
        with database.statement() as connection:
            connection.exec_driver_sql("DEALLOCATE ALL")
    assert len(database.read(PREPARED, {"which": id_})) == 1


def test_that_the_table_is_lost_is_said_as_for_any_statement(database: Database) -> None:
    database.read(PREPARED, {"which": new_id()})
    with database.statement() as connection:
        THINGS.drop(connection)
    for ask in (_with_sqlalchemy, _prepared):
        with pytest.raises(NotReady):
            ask(database)


def _with_sqlalchemy(database: Database) -> None:
    with database.statement() as connection:
        connection.execute(BY_ID, {"which": new_id()})


def _prepared(database: Database) -> None:
    database.read(PREPARED, {"which": new_id()})


def _offset(value: object) -> object:
    return value.utcoffset() if isinstance(value, datetime) else None
