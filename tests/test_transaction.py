"""A transaction: what is sent is executed in its order, and all of it or nothing."""

import pytest
from sqlalchemy import bindparam, select, update

from tests.support.databases import ON_BOTH
from tests.support.statements import overhearing
from wxsession.services import Services
from wxsession.simulator import SettableClock
from wxsession.storage.database import Database, new_id
from wxsession.storage.statements import Statement, inserting
from wxsession.storage.tables import users

pytestmark = ON_BOTH

INSERT = inserting(users, "id", "nickname", "created_at")
NICKNAMES = Statement(select(users.c.nickname).order_by(users.c.nickname))
RENAME = Statement(
    update(users)
    .where(users.c.id == bindparam("its_id"))
    .values(nickname=bindparam("new_nickname"))
)


@pytest.fixture
def database(services: Services) -> Database:
    return services.database


def nicknames(database: Database) -> list[str | None]:
    with database.statement() as connection:
        return list(connection.execute(select(users.c.nickname).order_by(users.c.id)).scalars())


def row(clock: SettableClock, nickname: str | None = None) -> dict[str, object]:
    return {"id": new_id(), "nickname": nickname, "created_at": clock()}


def test_what_is_added_is_there_for_the_next_statement(
    database: Database, clock: SettableClock
) -> None:
    with database.transaction() as transaction:
        for name in "alice", "bob", "carol":
            transaction.send(INSERT, row(clock, name))
        found = transaction.execute(select(users.c.nickname)).scalars()
        assert sorted(found) == ["alice", "bob", "carol"]


def test_what_is_added_last_is_written_at_the_end(database: Database, clock: SettableClock) -> None:
    with database.transaction() as transaction:
        transaction.send(INSERT, row(clock, "alice"))
        transaction.send(INSERT, row(clock))
    assert set(nicknames(database)) == {"alice", None}


def test_one_statement_added_twice_is_done_twice(database: Database, clock: SettableClock) -> None:
    ids = sorted([new_id(), new_id()])
    with database.transaction() as transaction:
        for id_ in ids:
            transaction.send(INSERT, row(clock) | {"id": id_})
        transaction.flush()
        for id_, name in zip(ids, ("alice", "bob"), strict=True):
            transaction.send(RENAME, {"its_id": id_, "new_nickname": name})
    assert nicknames(database) == ["alice", "bob"]


def test_a_reply_has_what_was_there_in_its_turn(database: Database, clock: SettableClock) -> None:
    with database.transaction() as transaction:
        before = transaction.send(NICKNAMES, {})
        transaction.send(INSERT, row(clock, "alice"))
        between = transaction.send(NICKNAMES, {})
        transaction.send(INSERT, row(clock, "bob"))
        assert [name for (name,) in transaction.run(NICKNAMES, {})] == ["alice", "bob"]
        assert before.first() is None
        assert between.first() is not None
    assert [name for (name,) in between.rows] == ["alice"]


def test_a_transaction_without_a_statement_costs_none(database: Database) -> None:
    heard: list[str] = []
    with overhearing(database, before=heard.append), database.transaction():
        pass
    assert heard == []


def test_begin_travels_with_the_first_statement_and_commit_with_the_last(
    database: Database, clock: SettableClock
) -> None:
    heard: list[str] = []
    with overhearing(database, before=heard.append), database.transaction() as transaction:
        transaction.send(INSERT, row(clock, "alice"))
        assert heard == []
    assert [text.split()[0] for text in heard] == ["BEGIN", "INSERT", "COMMIT"]


def test_nothing_that_was_added_is_left_of_a_transaction_that_failed(
    database: Database, clock: SettableClock
) -> None:
    class Interrupted(Exception):
        pass

    with pytest.raises(Interrupted), database.transaction() as transaction:
        transaction.send(INSERT, row(clock, "alice"))
        transaction.flush()
        transaction.send(INSERT, row(clock, "bob"))
        raise Interrupted
    assert nicknames(database) == []
