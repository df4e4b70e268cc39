"""A transaction: its writes are collected, and are there when anybody reads."""

import pytest
from sqlalchemy import bindparam, insert, select, update

from tests.support.databases import ON_BOTH
from wxsession.services import Services
from wxsession.simulator import SettableClock
from wxsession.storage.database import Database, new_id
from wxsession.storage.tables import users

pytestmark = ON_BOTH

INSERT = insert(users)
RENAME = (
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
            transaction.add(INSERT, row(clock, name))
        found = transaction.execute(select(users.c.nickname)).scalars()
        assert sorted(found) == ["alice", "bob", "carol"]


def test_what_is_added_last_is_written_at_the_end(database: Database, clock: SettableClock) -> None:
    with database.transaction() as transaction:
        transaction.add(INSERT, row(clock, "alice"))
        transaction.add(INSERT, {"id": new_id(), "created_at": clock()})
    assert set(nicknames(database)) == {"alice", None}


def test_one_statement_added_twice_is_done_twice(database: Database, clock: SettableClock) -> None:
    ids = sorted([new_id(), new_id()])
    with database.transaction() as transaction:
        for id_ in ids:
            transaction.add(INSERT, {"id": id_, "created_at": clock()})
        transaction.flush()
        for id_, name in zip(ids, ("alice", "bob"), strict=True):
            transaction.add(RENAME, {"its_id": id_, "new_nickname": name})
    assert nicknames(database) == ["alice", "bob"]


def test_nothing_that_was_added_is_left_of_a_transaction_that_failed(
    database: Database, clock: SettableClock
) -> None:
    class Interrupted(Exception):
        pass

    with pytest.raises(Interrupted), database.transaction() as transaction:
        transaction.add(INSERT, row(clock, "alice"))
        transaction.flush()
        transaction.add(INSERT, row(clock, "bob"))
        raise Interrupted
    assert nicknames(database) == []
