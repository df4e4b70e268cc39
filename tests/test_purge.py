"""What is over is removed, after its retention, and nothing else."""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, insert, select, text, update

from tests.support.app import services_of
from tests.support.databases import ON_BOTH, ON_POSTGRESQL, ON_SQLITE
from tests.support.phone import Phone, problem
from tests.support.timing import Stopwatch
from wxsession.cli import Progress
from wxsession.errors import ClocksDisagree, PurgeRunning
from wxsession.operations.purge import Purge
from wxsession.services import Services
from wxsession.sessions.queries import purge_date
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.database import Limits, new_id
from wxsession.storage.sqlite_busy import MAX_BUSY_PAUSE
from wxsession.storage.tables import leases, login_codes, sessions

pytestmark = ON_BOTH

WEEK = timedelta(days=7)


def stored(services: Services) -> int:
    with services.database.statement() as connection:
        return len(connection.execute(select(sessions.c.id)).all())


def fill(services: Services, clock: SettableClock, phone: Phone, *, expired: int) -> None:
    """Add sessions of the phone's user that expired a year ago, spread over some days."""
    phone.log_in()
    with services.database.transaction() as connection:
        like = dict(connection.execute(select(sessions)).mappings().one())
        rows = []
        for number in range(expired):
            over = clock() - timedelta(days=365, hours=number)
            change = {"id": new_id(), "idle_expires_at": over, "purge_on": purge_date(over)}
            rows.append({**like, **change})
        connection.execute(insert(sessions), rows)


def test_an_expired_session_goes_when_its_retention_is_over(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    clock.advance(days=14, microseconds=-1)
    assert services.purge.run(WEEK).sessions == 0
    clock.advance(microseconds=1)
    assert services.purge.run(WEEK).sessions == 1
    assert stored(services) == 0


def test_an_ended_session_goes_a_retention_after_its_end(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    clock.advance(days=1)
    phone.log_out()
    clock.advance(days=7, microseconds=-1)
    assert services.purge.run(WEEK).sessions == 0
    clock.advance(microseconds=1)
    assert services.purge.run(WEEK).sessions == 1


def test_a_live_session_stays(phone: Phone, services: Services, clock: SettableClock) -> None:
    phone.log_in()
    for _ in range(4):
        clock.advance(days=6)
        phone.check()
        assert services.purge.run(timedelta(0)).sessions == 0
    assert phone.check().status_code == 200


def test_no_retention_at_all_removes_what_is_over_at_once(
    make_phone: Callable[..., Phone], services: Services
) -> None:
    kept, gone = make_phone(), make_phone()
    kept.log_in()
    gone.log_in()
    gone.log_out()
    assert services.purge.run(timedelta(0)).sessions == 1
    assert kept.check().status_code == 200
    assert problem(gone.check()) == (401, "invalid_token", None)


def test_batches_add_up(phone: Phone, services: Services, clock: SettableClock) -> None:
    fill(services, clock, phone, expired=25)
    seen: list[int] = []
    done = services.purge.run(WEEK, batch_size=10, progress=seen.append)
    assert (done.sessions, done.complete) == (25, True)
    assert seen[:3] == [10, 20, 25]
    assert phone.check().status_code == 200


def test_login_codes_go_when_nobody_may_replay_them(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    phone.log_in("0" * 32)
    clock.advance(seconds=10, microseconds=-1)
    assert services.purge.run(WEEK).login_codes == 0
    clock.advance(microseconds=1)
    assert services.purge.run(WEEK, batch_size=1).login_codes == 2
    with services.database.statement() as connection:
        assert connection.execute(select(login_codes)).first() is None


def test_a_session_that_is_extended_while_the_purge_runs_is_kept(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    fill(services, clock, phone, expired=20)
    later = clock() + WEEK

    def extend_the_rest(_done: int) -> None:
        with services.database.statement() as connection:
            extended = {"idle_expires_at": later, "purge_on": purge_date(later)}
            connection.execute(update(sessions).values(extended))

    done = services.purge.run(WEEK, batch_size=5, progress=extend_the_rest)
    assert done.sessions == 5
    assert stored(services) == 16


def test_a_purge_that_runs_out_of_time_says_so_and_the_next_one_goes_on(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    fill(services, clock, phone, expired=20)
    first = services.purge.run(WEEK, batch_size=5, max_seconds=1e-9)
    assert not first.complete
    second = services.purge.run(WEEK)
    assert first.sessions + second.sessions == 20
    assert second.complete


class WorkingHours(Stopwatch):
    """A time in which a deleted session takes so long, and nothing else takes any."""

    def __init__(self, services: Services, session_seconds: float) -> None:
        super().__init__()
        self._services = services
        self._session_seconds = session_seconds
        self._before = stored(services)

    def monotonic(self) -> float:
        """Return what time it is."""
        deleted = self._before - stored(self._services)
        return deleted * self._session_seconds + self.seconds

    def purge(self, clock: SettableClock) -> Purge:
        """Return a purge that goes by this timer."""
        return Purge(
            self._services.database,
            clock,
            audit_retention=WEEK,
            deletion=self._services.deletion,
            timing=self,
        )


def test_after_each_batch_it_pauses_half_as_long_as_the_batch_took(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    fill(services, clock, phone, expired=20)
    hours = WorkingHours(services, session_seconds=0.01)
    done = hours.purge(clock).run(WEEK, batch_size=5)
    assert hours.pauses == pytest.approx([0.025] * 4)
    assert done.seconds == pytest.approx(0.3)


@ON_SQLITE
def test_on_sqlite_it_pauses_at_least_until_every_waiting_writer_has_asked_again(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    fill(services, clock, phone, expired=20)
    hours = WorkingHours(services, session_seconds=0.0001)
    hours.purge(clock).run(WEEK, batch_size=10)
    assert hours.pauses == pytest.approx([MAX_BUSY_PAUSE] * 2)


def sizes(services: Services, clock: SettableClock, **options: int) -> list[int]:
    """Return how many sessions went in each batch, where a batch of 1000 takes a second."""
    seen: list[int] = []
    hours = WorkingHours(services, session_seconds=0.001)
    hours.purge(clock).run(WEEK, progress=seen.append, **options)
    return [after - before for before, after in pairwise([0, *seen]) if after > before]


def test_on_a_slow_database_the_batches_become_smaller(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    fill(services, clock, phone, expired=2000)
    assert sizes(services, clock)[:5] == [1000, 500, 250, 125, 100]


def test_a_batch_size_that_is_given_stays(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    fill(services, clock, phone, expired=700)
    assert sizes(services, clock, batch_size=300) == [300, 300, 100]


@ON_POSTGRESQL
def test_a_session_that_somebody_is_changing_is_left_to_the_next_purge(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    fill(services, clock, phone, expired=20)
    with services.database.transaction() as connection:
        held = select(sessions.c.id).order_by(sessions.c.purge_on, sessions.c.id).limit(3)
        connection.execute(held.with_for_update()).all()
        assert services.purge.run(WEEK, batch_size=5).sessions == 17
    assert services.purge.run(WEEK).sessions == 3


def test_two_purges_at_once_are_refused(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    fill(services, clock, phone, expired=5)
    refused: list[bool] = []

    def purge_again(_done: int) -> None:
        with pytest.raises(PurgeRunning):
            services.purge.run(WEEK)
        refused.append(True)

    assert services.purge.run(WEEK, progress=purge_again).sessions == 5
    assert refused
    assert services.purge.run(WEEK).sessions == 0  # the lock is free again


def test_a_purge_that_failed_leaves_no_lock(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    fill(services, clock, phone, expired=5)

    def fail(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        services.purge.run(WEEK, batch_size=2, progress=fail)
    assert services.purge.run(WEEK).sessions == 3


def test_the_lease_of_a_purge_that_died_is_taken_over_when_it_is_over(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    fill(services, clock, phone, expired=5)
    with services.database.statement() as connection:
        until = services.database.now() + timedelta(seconds=1.5)
        dead = {"name": "purge", "holder": new_id(), "held_until": until}
        connection.execute(insert(leases), dead)
    assert services.purge.run(WEEK).sessions == 5


@ON_POSTGRESQL
@pytest.mark.parametrize("off", [timedelta(days=365), timedelta(days=-365), timedelta(minutes=2)])
def test_a_host_whose_clock_is_wrong_purges_nothing(
    phone: Phone, services: Services, clock: SettableClock, off: timedelta
) -> None:
    fill(services, clock, phone, expired=5)
    purge = Purge(
        services.database,
        clock,
        audit_retention=WEEK,
        deletion=services.deletion,
        host_time=lambda: datetime.now(UTC) + off,
    )
    with pytest.raises(ClocksDisagree):
        purge.run(WEEK)
    with pytest.raises(ClocksDisagree):
        purge.count(WEEK)
    assert stored(services) == 6


def test_the_command_prints_one_line(app: Flask, phone: Phone, clock: SettableClock) -> None:
    fill(services_of(app), clock, phone, expired=3)
    run = app.test_cli_runner().invoke
    dry = run(args=["purge-sessions", "--dry-run"])
    assert dry.output == "3 sessions and 0 audit events to delete.\n"
    result = run(args=["purge-sessions"])
    assert result.exit_code == 0
    others = "0 login codes, 0 tickets, 0 device codes, 0 failed attempts and 0 audit events"
    gone = f"3 sessions, {others} deleted in 1 batches, "
    assert result.output.startswith(gone)
    assert result.output.count("\n") == 1


def test_the_command_prints_json(app: Flask, phone: Phone, clock: SettableClock) -> None:
    fill(services_of(app), clock, phone, expired=3)
    run = app.test_cli_runner().invoke
    dry = run(args=["purge-sessions", "--dry-run", "--json"])
    assert json.loads(dry.output) == {"would_delete": 3, "would_delete_audit_events": 0}
    summary = json.loads(run(args=["purge-sessions", "--json", "--batch-size", "2"]).output)
    counts = {
        "sessions",
        "login_codes",
        "tickets",
        "device_codes",
        "failed_attempts",
        "audit_events",
    }
    assert summary.keys() == counts | {"batches", "seconds", "complete"}
    assert (summary["sessions"], summary["complete"]) == (3, True)


def test_the_command_takes_an_age(app: Flask, phone: Phone, clock: SettableClock) -> None:
    fill(services_of(app), clock, phone, expired=3)
    run = app.test_cli_runner().invoke
    old = run(args=["purge-sessions", "--older-than", "3650d", "--json"])
    assert json.loads(old.output)["sessions"] == 0
    bad = run(args=["purge-sessions", "--older-than", "soon"])
    assert bad.exit_code == 2
    assert "not a duration" in bad.output


def test_the_command_tells_by_its_exit_status_that_more_is_left(
    app: Flask, phone: Phone, clock: SettableClock
) -> None:
    fill(services_of(app), clock, phone, expired=30)
    hurried = ["purge-sessions", "--batch-size", "1", "--max-seconds", "0.000001"]
    result = app.test_cli_runner().invoke(args=hurried)
    assert result.exit_code == 3
    assert result.output.endswith("Time is up, more is left.\n")


def test_the_command_tells_by_its_exit_status_that_another_is_running(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock
) -> None:
    app = make_app()
    services = services_of(app)
    fill(services, clock, Phone(app, wechat, "alice"), expired=1)
    codes: list[int] = []

    def purge_elsewhere(_done: int) -> None:
        result = make_app().test_cli_runner().invoke(args=["purge-sessions"])
        codes.append(result.exit_code)

    services.purge.run(WEEK, progress=purge_elsewhere)
    assert set(codes) == {4}


@ON_POSTGRESQL
@pytest.mark.parametrize("old_snapshot", [False, True])
def test_a_batch_costs_the_same_however_many_went_before_it(
    phone: Phone, services: Services, clock: SettableClock, *, old_snapshot: bool
) -> None:
    fill(services, clock, phone, expired=8000)
    with services.database.statement() as connection:
        connection.execute(text("ANALYZE wxsession_sessions"))
    blocks: list[int] = []

    def measure(
        _connection: Any, cursor: Any, statement: str, parameters: Any, *_rest: object
    ) -> None:
        if "DELETE FROM wxsession_sessions" in statement:
            driver = cursor.connection
            driver.execute("SAVEPOINT measured")
            explained = driver.execute(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters
            )
            plan = explained.fetchone()[0][0]["Plan"]
            blocks.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
            driver.execute("ROLLBACK TO measured")

    engine = services.database.engine
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as reader:
        if old_snapshot:  # nothing that goes from now on can be cleaned up
            reader.execute(select(sessions.c.id).limit(1))
        event.listen(engine, "before_cursor_execute", measure)
        try:
            assert services.purge.run(WEEK, batch_size=500).sessions == 8000
        finally:
            event.remove(engine, "before_cursor_execute", measure)
    full = blocks[1:16]
    assert len(full) == 15
    assert max(full) <= 1.5 * min(full)


def test_on_a_terminal_the_progress_is_shown(
    app: Flask, phone: Phone, clock: SettableClock
) -> None:
    fill(services_of(app), clock, phone, expired=30)
    shown = io.StringIO()
    shown.isatty = lambda: True  # type: ignore[method-assign]
    with redirect_stderr(shown), Progress("sessions deleted") as progress:
        services_of(app).purge.run(WEEK, batch_size=10, progress=progress)
    first, *more = shown.getvalue().removesuffix("\n").split("\r")[1:]  # more, if it takes longer
    assert first == "10 sessions deleted"
    assert set(more) <= {"20 sessions deleted", "30 sessions deleted"}


def test_the_command_says_when_the_database_cannot_be_used(
    app: Flask, phone: Phone, clock: SettableClock
) -> None:
    fill(services_of(app), clock, phone, expired=1)
    database = services_of(app).database
    database.connections.release()
    busy = [database.engine.connect() for _ in range(Limits().pool_size)]
    result = app.test_cli_runner().invoke(args=["purge-sessions"])
    for connection in busy:
        connection.close()
    assert result.exit_code == 1
    assert result.output.startswith("Error: the database did not respond in time;")
