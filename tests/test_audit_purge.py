"""Audit events and failed attempts go when their own time is over, whatever that of sessions is."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import func, insert, select, update

from tests.support.app import services_of
from tests.support.databases import ON_BOTH
from tests.support.phone import Phone
from tests.support.timing import Sleepless
from wxsession.operations.purge import Purge
from wxsession.services import Services
from wxsession.sessions.queries import purge_date
from wxsession.simulator import SettableClock
from wxsession.storage.database import new_id
from wxsession.storage.tables import audit_events, failed_attempts, sessions

pytestmark = ON_BOTH

WEEK = timedelta(days=7)
HALF_A_YEAR = timedelta(days=190)


def happened(services: Services, at: datetime, *, times: int = 1) -> None:
    """Add events of one moment."""
    with services.database.statement() as connection:
        rows = [{"id": new_id(), "at": at, "event": "session.created"} for _ in range(times)]
        connection.execute(insert(audit_events), rows)


def failed(services: Services, until: datetime, *, times: int = 1) -> None:
    """Add failed attempts that count until then."""
    with services.database.statement() as connection:
        start = connection.execute(select(func.count()).select_from(failed_attempts)).scalar_one()
        rows = [
            {"key_hash": number.to_bytes(32, "big"), "failures": 1, "expires_at": until}
            for number in range(start, start + times)
        ]
        connection.execute(insert(failed_attempts), rows)


def test_an_event_goes_after_its_own_retention(services: Services, clock: SettableClock) -> None:
    happened(services, clock())
    clock.advance(days=190, microseconds=-1)
    assert services.purge.run(timedelta(0)).audit_events == 0
    assert services.purge.count_audit_events() == 0
    clock.advance(microseconds=1)
    assert services.purge.count_audit_events() == 1
    assert services.purge.run(timedelta(days=3650)).audit_events == 1


def test_the_retention_of_events_is_a_setting(
    make_app: Callable[..., Flask], clock: SettableClock
) -> None:
    services = services_of(make_app(audit_retention="1d"))
    happened(services, clock())
    clock.advance(days=1)
    assert services.purge.run(WEEK).audit_events == 1


def test_a_failed_attempt_goes_when_it_does_not_count_any_more(
    services: Services, clock: SettableClock
) -> None:
    failed(services, clock() + timedelta(minutes=15))
    clock.advance(minutes=15, microseconds=-1)
    assert services.purge.run(WEEK).failed_attempts == 0
    clock.advance(microseconds=1)
    assert services.purge.run(WEEK).failed_attempts == 1


def test_batches_add_up_even_where_many_events_are_of_one_moment(
    services: Services, clock: SettableClock
) -> None:
    old = clock() - HALF_A_YEAR
    happened(services, old, times=25)
    happened(services, old - timedelta(seconds=1), times=3)
    happened(services, clock(), times=2)
    failed(services, clock(), times=23)
    failed(services, clock() + WEEK, times=2)
    done = services.purge.run(WEEK, batch_size=10)
    assert (done.audit_events, done.failed_attempts, done.complete) == (28, 23, True)
    assert done.batches == 3 + 3
    with services.database.statement() as connection:
        for table in (audit_events, failed_attempts):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 2


def test_after_each_batch_of_events_it_pauses_too(services: Services, clock: SettableClock) -> None:
    happened(services, clock() - HALF_A_YEAR, times=20)
    timing = Sleepless()
    purge = Purge(
        services.database,
        clock,
        audit_retention=HALF_A_YEAR,
        deletion=services.deletion,
        timing=timing,
    )
    purge.run(WEEK, batch_size=5)
    assert len(timing.pauses) == 4
    assert all(pause > 0 for pause in timing.pauses)


def test_when_the_time_is_up_the_rest_is_left_to_the_next_run(
    services: Services, clock: SettableClock
) -> None:
    happened(services, clock() - HALF_A_YEAR, times=5)
    failed(services, clock(), times=5)
    first = services.purge.run(WEEK, max_seconds=1e-9)
    assert (first.audit_events, first.failed_attempts, first.complete) == (0, 0, False)
    second = services.purge.run(WEEK)
    assert (second.audit_events, second.failed_attempts, second.complete) == (5, 5, True)


def test_sessions_go_first(phone: Phone, services: Services, clock: SettableClock) -> None:
    phone.log_in()
    long_ago = clock() - timedelta(days=365)
    happened(services, long_ago)
    with services.database.statement() as connection:
        over = {"idle_expires_at": long_ago, "purge_on": purge_date(long_ago)}
        connection.execute(update(sessions).values(over))

    def stop(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        services.purge.run(WEEK, progress=stop)
    done = services.purge.run(WEEK)
    assert (done.sessions, done.audit_events) == (0, 1)


def test_the_command_tells_what_went(app: Flask, clock: SettableClock) -> None:
    services = services_of(app)
    run = app.test_cli_runner().invoke
    happened(services, clock() - HALF_A_YEAR, times=2)
    failed(services, clock(), times=3)
    dry = run(args=["purge-sessions", "--dry-run", "--older-than", "3650d"])
    assert dry.output == "0 sessions and 2 audit events to delete.\n"
    dry = run(args=["purge-sessions", "--dry-run", "--json"])
    assert json.loads(dry.output) == {"would_delete": 0, "would_delete_audit_events": 2}
    result = run(args=["purge-sessions"])
    others = "0 sessions, 0 login codes, 0 tickets, 0 device codes"
    told = f"{others}, 3 failed attempts and 2 audit events deleted in"
    assert result.output.startswith(f"{told} 2 batches, ")
    summary = json.loads(run(args=["purge-sessions", "--json"]).output)
    assert (summary["failed_attempts"], summary["audit_events"]) == (0, 0)
