"""The fast lookup: nobody can tell it from the plain one."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    LargeBinary,
    MetaData,
    String,
    Table,
    Uuid,
    bindparam,
    insert,
    select,
)
from sqlalchemy.engine import make_url

from wxsession.errors import NotReady
from wxsession.storage.database import Database, Limits, UtcDateTime, connect
from wxsession.storage.fast_lookup import Lookup, PlainLookup

THINGS = Table(
    "things",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("other", Uuid),
    Column("word", String),
    Column("data", LargeBinary),
    Column("at", UtcDateTime),
)
BY_ID = select(*THINGS.c).where(THINGS.c.id == bindparam("which"))

# Every type of column that a lookup reads, with all that fits both databases: PostgreSQL's text
# has no NUL, and its moments begin before Python's and end after them.
ROWS = st.fixed_dictionaries(
    {
        "id": st.uuids(),
        "other": st.none() | st.uuids(),
        "word": st.none()
        | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        "data": st.none() | st.binary(),
        "at": st.none() | st.datetimes(timezones=st.just(UTC)),
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


@pytest.fixture
def plain(database: Database) -> PlainLookup:
    return PlainLookup(database, BY_ID)


@pytest.fixture
def fast(database: Database) -> Lookup:
    return Lookup(database, BY_ID)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(row=ROWS)
def test_a_lookup_gives_what_the_plain_one_gives(
    database: Database, plain: PlainLookup, fast: Lookup, row: dict[str, Any]
) -> None:
    with database.statement() as connection:
        connection.execute(THINGS.delete())
        connection.execute(insert(THINGS).values(row))
    expected, found = plain(row["id"].bytes), fast(row["id"].bytes)
    assert expected is not None
    assert found is not None
    assert tuple(found) == tuple(expected) == tuple(row[column.name] for column in THINGS.c)
    assert list(map(type, found)) == list(map(type, expected))
    assert list(map(_offset, found)) == list(map(_offset, expected))


def test_where_there_is_no_row_there_is_none(plain: PlainLookup, fast: Lookup) -> None:
    assert plain(bytes(16)) is None
    assert fast(bytes(16)) is None


def test_both_say_alike_that_the_table_is_lost(
    database: Database, plain: PlainLookup, fast: Lookup
) -> None:
    fast(bytes(16))
    with database.statement() as connection:
        THINGS.drop(connection)
    for lookup in (plain, fast):
        with pytest.raises(NotReady):
            lookup(bytes(16))


def _offset(value: object) -> object:
    return value.utcoffset() if isinstance(value, datetime) else None
