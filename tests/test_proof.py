"""A short sample of every invariant; `python -m tests.proof` is the long run."""

from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from tests.proof.deployment import add_sessions, add_user, issue_token, services
from tests.proof.invariants import INVARIANTS, Invariant
from tests.proof.outcome import Outcome
from tests.proof.page import Row, page
from tests.support.statements import overhearing
from wxsession.events.audit import SYSTEM
from wxsession.storage.tables import sessions

BRIEF = [  # what is not left to the long lane
    "logouts-sqlite",
    "refreshes-sqlite",
    "tokens-sqlite",
    "writers-sqlite",
    "refreshes-postgresql",
    "first-logins-postgresql",
    "cap-postgresql",
    "same-code-postgresql",
    "extensions-postgresql",
]


@pytest.mark.parametrize(
    ("invariant", "database_url"),
    [
        pytest.param(invariant, database, id=name, marks=[] if name in BRIEF else pytest.mark.long)
        for invariant in INVARIANTS
        for database in invariant.databases
        for name in [f"{invariant.name}-{database}"]
    ],
    indirect=["database_url"],
)
def test_a_sample_of_an_invariant_holds(invariant: Invariant, database_url: str) -> None:
    outcome = invariant.prove(database_url, invariant.sample)
    assert not outcome.violations
    assert outcome.runs >= invariant.sample


def test_a_logout_everywhere_that_died_half_way_is_finished_by_its_retry(sqlite_url: str) -> None:
    updates = iter((False, True))

    def die_at_the_second_update(sql: str) -> None:
        if sql.startswith("UPDATE wxsession_sessions") and next(updates, False):
            raise KeyboardInterrupt

    with services(sqlite_url) as local:
        user = add_user(local.database)
        token = issue_token(local, user)
        add_sessions(local.database, user, 2500, expired=timedelta(days=-1))
        with (
            suppress(KeyboardInterrupt),
            overhearing(local.database, before=die_at_the_second_update),
        ):
            local.sessions.end(token, SYSTEM, everywhere=True)
        local.sessions.end(token, SYSTEM, everywhere=True)
        live = select(func.count(sessions.c.id)).where(sessions.c.ended_at.is_(None))
        with local.database.statement() as connection:
            assert connection.execute(live).scalar_one() == 0


def test_the_page_has_a_row_for_each_proof_and_every_violation() -> None:
    rows = [
        Row("kills", "Nothing is lost", "sqlite", Outcome(1200, seen="12 boundaries"), 3.4),
        Row("cap", "Five stay", "postgresql", Outcome(7, ("six stayed",)), 12.0),
    ]
    written = page(rows, command="python -m tests.proof", postgresql="16.4")
    assert "| kills | sqlite | 1,200 | 0 | 3 | 12 boundaries |" in written
    assert "| cap | postgresql | 7 | 1 | 12 |  |" in written
    assert "* cap, postgresql: six stayed" in written
