"""What the screens of an operator show: counted by the hour, and none of it by a scan."""

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

import pytest
import requests
import responses
from flask import Flask
from sqlalchemy import func, insert, select, text

from tests.support.app import TODAY, services_of
from tests.support.databases import ON_BOTH, ON_SQLITE
from tests.support.phone import Phone
from tests.support.plans import plans
from tests.support.settings import APPID, APPS, OTHER_APPID, SECRET_KEY, settings_for
from tests.support.timing import Stopwatch
from tests.test_administration import user_of
from tests.test_feed import let_settle
from tests.test_searches import MANY, fill, is_scan
from wxsession.errors import InvalidRequest
from wxsession.events.audit import SYSTEM
from wxsession.events.search import EXAMINED, EventFilter
from wxsession.operations import event_counts
from wxsession.operations.event_counts import Happened, fold
from wxsession.operations.figures import PERIODS, points_of, quantile
from wxsession.operations.live_sessions import count_live
from wxsession.operations.session_search import SessionFilter
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.database import Database, new_id, uuid7
from wxsession.storage.tables import (
    audit_events,
    sessions,
    users,
    webhook_failures,
    wechat_counts,
)
from wxsession.storage.tables import (
    event_counts as counts_of_hours,
)
from wxsession.users.client import ClientInfo
from wxsession.wechat.call_counts import CallCounts
from wxsession.wechat.client import OK, Attempt

pytestmark = ON_BOTH

DAY: Final = PERIODS["24h"]
HOUR: Final = timedelta(hours=1)
HOME, OFFICE = ClientInfo("203.0.113.7", "phone"), ClientInfo("198.51.100.9", "=desk")
CREATED, FAILED = Happened("session.created", ""), Happened("login.failed", "invalid_code")


def happen(services: Services, event: str, *, times: int = 1, **facts: Any) -> None:
    """Let something happen now."""
    with services.database.transaction() as transaction:
        for _ in range(times):
            services.audit.write(transaction, event, facts.pop("client", SYSTEM), **facts)


def counted(services: Services) -> dict[tuple[datetime, Happened], int]:
    """Return what a purge has counted."""
    c = counts_of_hours.c
    with services.database.statement() as connection:
        rows = connection.execute(select(c.hour, c.event, c.reason, c["count"])).all()
    return {(hour, Happened(event, reason)): count for hour, event, reason, count in rows}


def totals(services: Services, clock: SettableClock) -> dict[str, float]:
    """Return how often what happened in the last day, as the overview shows it."""
    found = services.figures.overview(DAY)
    assert found.logins.points == points_of(DAY, clock())
    return {
        line.name: line.total()
        for plot in (found.logins, found.failures)
        for line in plot.lines
        if line.total()
    }


# Events by the hour.


def test_every_hour_is_counted_once_also_after_days_without_a_purge(
    services: Services, clock: SettableClock
) -> None:
    began = clock().replace(minute=0)
    happen(services, "session.created", times=3)
    clock.advance(days=2)
    happen(services, "session.created")
    happen(services, "login.failed", reason="invalid_code", count=4)
    clock.advance(hours=2)
    for _ in range(2):
        services.purge.run(timedelta(days=7))
        assert counted(services) == {
            (began, CREATED): 3,
            (began + timedelta(days=2), CREATED): 1,
            (began + timedelta(days=2), FAILED): 4,
        }


def test_an_hour_is_counted_when_nothing_is_added_to_it_any_more(
    services: Services, clock: SettableClock
) -> None:
    clock.advance(minutes=29)  # 08:59
    for _ in range(2):
        services.audit.count("login.failed", HOME, reason="invalid_code")
        clock.advance(seconds=50)
        services.purge.run(timedelta(days=7))
        assert counted(services) == {}
        assert totals(services, clock)["invalid_code"] in {1, 2}
    clock.advance(minutes=20)
    services.purge.run(timedelta(days=7))
    assert sum(counted(services).values()) == 2
    assert totals(services, clock) == {"invalid_code": 2}


def test_what_no_purge_has_counted_is_counted_by_who_looks_and_nothing_twice(
    services: Services, clock: SettableClock
) -> None:
    for hours in range(6):
        happen(services, "session.created", times=hours + 1)
        if hours == 3:
            services.purge.run(timedelta(days=7))
        assert totals(services, clock) == {"session.created": sum(range(1, hours + 2))}
        clock.advance(hours=1)


def test_counts_outlive_the_events(services: Services, clock: SettableClock) -> None:
    happen(services, "session.created", times=3)
    clock.advance(days=200)
    assert services.purge.run(timedelta(days=7)).audit_events == 3
    assert sum(counted(services).values()) == 3


def test_hours_that_are_missing_are_counted_together_and_each_by_itself(
    services: Services, clock: SettableClock
) -> None:
    began = clock().replace(minute=0)
    for _ in range(40):
        happen(services, "session.created")
        clock.advance(hours=5)
    assert fold(services.database, clock(), timing=Stopwatch())  # as quick as can be
    assert counted(services) == {(began + 5 * HOUR * number, CREATED): 1 for number in range(40)}


def test_a_purge_whose_time_is_up_counts_the_rest_later(
    services: Services, clock: SettableClock
) -> None:
    for _ in range(3):
        happen(services, "session.created")
        clock.advance(hours=1)
    clock.advance(hours=1)
    left = iter([True, False])
    assert not fold(services.database, clock(), is_time=lambda: next(left))
    assert len(counted(services)) == 1
    assert fold(services.database, clock())
    assert len(counted(services)) == 3


def test_more_events_than_a_moment_can_read_are_said_to_be_missing(
    services: Services, clock: SettableClock
) -> None:
    happen(services, "session.created", times=5)
    assert services.figures.overview(DAY).complete_since is None
    rows = [
        {"id": new_id(), "at": clock(), "event": "session.created"}
        for _ in range(event_counts.MOST_LIVE)
    ]
    with services.database.transaction() as transaction:
        transaction.execute(insert(audit_events), rows)
    assert services.figures.overview(DAY).complete_since == clock()


@ON_SQLITE
@pytest.mark.parametrize("period", PERIODS.values(), ids=PERIODS)
@pytest.mark.parametrize("hour", range(0, 24, 5))
def test_the_points_of_a_plot_reach_from_its_length_ago_until_now(period: Any, hour: int) -> None:
    now = datetime(2026, 11, 21, hour, 30, tzinfo=UTC)
    points = points_of(period, now)
    assert points[-1] <= now < points[-1] + period.step
    assert len(points) == period.length / period.step
    assert {after - before for before, after in pairwise(points)} == {period.step}
    if period.step == timedelta(days=1):
        assert {point.astimezone(UTC).hour for point in points} == {16}  # midnight in China


# WeChat.


def test_what_wechat_answered_is_there_for_each_app_with_meaning_and_rid(
    services: Services, phone: Phone, wechat: WeChat, clock: SettableClock
) -> None:
    wechat.fail_next(40125)
    phone.log_in()
    (app, other) = services.figures.apps()
    assert (app.appid, app.is_default) == (APPID, True)
    assert (other.appid, other.is_default, other.calls) == (OTHER_APPID, False, 0)
    assert (app.calls, app.failed, app.outcome) == (1, 1, "40125")
    assert app.failed_at == clock()
    assert app.call == "/sns/jscode2session"
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}", str(app.rid))
    assert app.failure is not None
    assert app.failure.meaning == "the app secret is wrong"
    found = services.figures.overview(DAY)
    assert [(line.name, line.total()) for line in found.outcomes.lines] == [("40125", 1)]
    assert found.wechat_calls == 1
    half, most = found.latency.lines
    assert half.values[-1] is not None
    assert 0 < half.values[-1] <= (most.values[-1] or 0)
    assert half.values[0] is None


@ON_SQLITE
@pytest.mark.parametrize("reply", ["{}", '{"errcode":true}', '{"openid":"o"}', "<html>"])
def test_a_reply_that_is_no_answer_is_shown_as_a_failure(
    make_app: Callable[..., Flask], wechat: WeChat, reply: str
) -> None:
    app = make_app(http=requests.Session())
    with responses.RequestsMock() as mock:
        mock.get("https://api.weixin.qq.com/sns/jscode2session", body=reply)
        assert Phone(app, wechat, "alice").log_in().json["code"] == "wechat_unintelligible"
    found = services_of(app).figures.overview(DAY)
    assert [(line.name, line.total()) for line in found.outcomes.lines] == [("unintelligible", 1)]
    assert found.failing() == 1
    state = services_of(app).figures.apps()[0]
    assert (state.calls, state.failed, state.succeeded_at) == (1, 1, None)
    assert state.failure is not None


def attempt(outcome: str = OK, seconds: float = 0.02, call: str = "/call") -> Attempt:
    return Attempt(APPID, call, outcome, seconds, None)


def test_counts_of_wechat_are_written_seldom_and_together(
    services: Services, clock: SettableClock
) -> None:
    timing = Stopwatch()
    counts = CallCounts(services.database, clock, timing=timing)

    def seen() -> int:
        return services.figures.apps()[0].calls

    counts.add(attempt())
    assert seen() == 1
    for _ in range(99):
        counts.add(attempt())
    assert seen() == 1
    timing.sleep(10)
    counts.add(attempt("40029"))
    assert seen() == 101
    assert services.figures.apps()[0].failed == 1


def test_processes_add_to_the_same_rows_and_the_latest_failure_stays(
    services: Services, clock: SettableClock
) -> None:
    for outcome in ("40029", OK, "45011", OK):
        counts = CallCounts(services.database, clock)
        counts.add(attempt(outcome))
        clock.advance(minutes=1)
    app = services.figures.apps()[0]
    assert (app.calls, app.failed, app.outcome) == (4, 2, "45011")
    assert app.failed_at == clock() - timedelta(minutes=2)
    assert app.succeeded_at == clock() - timedelta(minutes=1)


@ON_SQLITE
def test_what_cannot_be_written_is_kept_and_fails_nobody(
    services: Services, clock: SettableClock
) -> None:
    timing = Stopwatch()
    counts = CallCounts(services.database, clock, timing=timing)
    rename = "ALTER TABLE wxsession_wechat_counts RENAME TO {}"
    with services.database.statement() as connection:
        connection.execute(text(rename.format("away")))
    counts.add(attempt())
    with services.database.statement() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO wxsession_wechat_counts"))
    timing.sleep(10)
    counts.add(attempt())
    assert services.figures.apps()[0].calls == 2


@ON_SQLITE
def test_quantiles_are_those_of_the_buckets() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({100: 10}, 0.5) == pytest.approx(87.5)  # half way from 75 to 100
    assert quantile({25: 90, 5000: 10}, 0.5) <= 25  # type: ignore[operator]
    assert 2500 < quantile({25: 90, 5000: 10}, 0.95) <= 5000  # type: ignore[operator]


def test_phone_numbers_are_counted_by_months_of_china_with_their_cost(
    services: Services, phone: Phone, wechat: WeChat, clock: SettableClock
) -> None:
    phone.log_in()
    wechat.set_phone_number("alice", "13800001234")

    def ask() -> None:
        code = wechat.phone_code("alice")
        body = {"code": code}
        assert phone.send("POST", "/phone_number", json=body, token=phone.token).status_code == 200

    counts = CallCounts(services.database, clock)
    services.figures.apps()
    ask()
    call = "/wxa/business/getuserphonenumber"
    for outcome in (OK, OK, "40029"):
        counts.add(attempt(outcome, call=call))
    counts.write()
    app = services.figures.apps()[0]
    assert app.phone_numbers in {2, 3}  # that of `ask` may still be in memory
    assert app.cost() == pytest.approx(app.phone_numbers * 0.03)
    clock.set(datetime(2026, 11, 30, 15, 59, tzinfo=UTC))
    assert services.figures.apps()[0].phone_numbers == app.phone_numbers
    clock.advance(minutes=1)  # December, in China
    assert services.figures.apps()[0].phone_numbers == 0


def test_an_app_tells_until_when_its_access_token_is_valid(
    services: Services, phone: Phone, wechat: WeChat, clock: SettableClock
) -> None:
    assert services.figures.apps()[0].token_expires_at is None
    phone.log_in()
    wechat.set_phone_number("alice", "13800001234")
    body = {"code": wechat.phone_code("alice")}
    phone.send("POST", "/phone_number", json=body, token=phone.token)
    assert services.figures.apps()[0].token_expires_at == clock() + timedelta(seconds=7200)


# Sessions.


def test_a_purge_counts_the_live_sessions_and_tells_when(
    services: Services, make_phone: Callable[..., Phone], clock: SettableClock
) -> None:
    assert services.figures.overview(DAY).live_sessions is None
    phones = [make_phone(f"user {number}") for number in range(7)]
    for phone in phones:
        phone.log_in()
    phones[0].log_out()
    services.purge.run(timedelta(days=7))
    found = services.figures.overview(DAY).live_sessions
    assert found is not None
    assert found.count == 6
    assert found.counted_at is not None
    clock.advance(days=8)
    services.purge.run(timedelta(days=7))
    assert services.figures.overview(DAY).live_sessions.count == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("page", [1, 2, 3, 7, 8])
def test_pages_of_any_size_count_each_session_once(
    services: Services, make_phone: Callable[..., Phone], clock: SettableClock, page: int
) -> None:
    for number in range(7):
        make_phone(f"user {number}").log_in()
    assert count_live(services.database, clock(), page=page) == 7


def test_sessions_are_found_by_state_app_and_address_newest_first(
    services: Services, make_phone: Callable[..., Phone]
) -> None:
    alice = make_phone("alice", address="203.0.113.7")
    bob = make_phone("bob", appid=OTHER_APPID, address="198.51.100.9")
    carol = make_phone("carol", address="198.51.100.9")
    for phone in (alice, bob, carol):
        phone.log_in()
    carol.log_out()
    ids = {user_of(alice): "alice", user_of(bob): "bob"}

    def found(**wanted: Any) -> list[tuple[str, str, str | None]]:
        page = services.directory.find_sessions(SessionFilter(**wanted))
        assert page.next is None
        return [
            (ids.get(str(line.user_id), "carol"), line.state, line.reason) for line in page.items
        ]

    a, b, c = ("alice", "live", None), ("bob", "live", None), ("carol", "ended", "logout")
    assert found() == [b, a]
    assert found(live=False) == [c, b, a]
    assert found(appid=APPID) == [a]
    assert found(address="198.51.100.9") == [b]
    assert found(address="198.51.100.9", live=False) == [c, b]
    assert found(address="198.51.100.9", live=False, appid=APPID) == [c]
    assert found(address="192.0.2.1", live=False) == []
    services.administration.disable(user_of_id(ids, "alice"), actor="ops")
    assert found() == [b]


def user_of_id(ids: dict[str, str], name: str) -> Any:
    return next(UUID(id_) for id_, known in ids.items() if known == name)


@pytest.mark.parametrize("by", [{}, {"address": "203.0.113.7"}])
def test_pages_of_sessions_follow_one_another(
    services: Services, phone: Phone, by: dict[str, str]
) -> None:
    for _ in range(7):
        phone.log_in()
    wanted = SessionFilter(live=False, **by)  # type: ignore[arg-type]
    every = services.directory.find_sessions(wanted).items
    assert len(every) == 7
    seen: list[Any] = []
    after = None
    while True:
        page = services.directory.find_sessions(wanted, limit=3, after=after)
        seen += page.items
        if page.next is None:
            break
        after = page.next
    assert tuple(seen) == every


def test_sessions_are_found_by_their_age(services: Services, phone: Phone) -> None:
    began = [TODAY - timedelta(days=days) for days in (30, 20, 10)]
    phone.log_in()
    with services.database.transaction() as transaction:
        row = transaction.execute(select(sessions)).mappings().one()
        for at in began:
            its = {"id": uuid7(int(at.timestamp() * 1000), 7), "created_at": at}
            transaction.execute(insert(sessions).values({**row, **its}))

    def found(**wanted: Any) -> list[datetime]:
        page = services.directory.find_sessions(SessionFilter(**wanted))
        return [line.created_at for line in page.items]

    assert found(until=began[2]) == [began[1], began[0]]
    assert found(since=began[1], until=began[2]) == [began[1]]


# Events.


def test_events_are_narrowed_by_reason_app_and_actor(
    services: Services, clock: SettableClock
) -> None:
    for number in range(6):
        reason = "invalid_code" if number % 2 else "code_used"
        happen(services, "login.failed", reason=reason, appid=APPID)
        clock.advance(minutes=1)
    happen(services, "user.disabled", actor="ops")

    def found(**wanted: Any) -> list[str]:
        page = services.event_search.page(EventFilter(**wanted), limit=50)
        assert page.next is None
        return [event.event for event in page.events]

    assert found(reason="invalid_code") == ["login.failed"] * 3
    assert found(reason="invalid_code", event="login.failed", appid=APPID) == ["login.failed"] * 3
    assert found(appid=OTHER_APPID) == []
    assert found(actor="ops") == ["user.disabled"]
    pages, after = [], None
    while True:
        page = services.event_search.page(EventFilter(appid=APPID), limit=4, after=after)
        pages.append(len(page.events))
        if page.next is None:
            break
        after = page.next
    assert pages == [4, 2]


def test_a_page_looks_through_a_part_and_says_where_the_next_goes_on(
    services: Services, clock: SettableClock
) -> None:
    rows = [
        {"id": new_id(), "at": clock() - timedelta(seconds=number), "event": "session.created"}
        for number in range(EXAMINED + 10)
    ]
    rows[-1] |= {"event": "session.created", "reason": "web_view"}
    with services.database.transaction() as transaction:
        transaction.execute(insert(audit_events), [{"reason": None, **row} for row in rows])
    wanted = EventFilter(reason="web_view")
    first = services.event_search.page(wanted, limit=50)
    assert (first.events, first.next) == ([], rows[EXAMINED - 1]["id"])
    assert first.examined_until == rows[EXAMINED - 1]["at"]
    second = services.event_search.page(wanted, limit=50, after=first.next)
    assert [event.id for event in second.events] == [rows[-1]["id"]]
    assert second.next is None


def test_events_come_out_as_csv_and_that_is_an_event(
    services: Services, clock: SettableClock
) -> None:
    for _ in range(1100):
        happen(services, "session.created", client=OFFICE)
    happen(services, "user.disabled", actor="=HYPERLINK(1)")
    clock.advance(minutes=1)
    wanted = EventFilter(until=clock())
    lines = services.event_search.export(wanted, HOME, actor="carol")
    rows = list(csv.DictReader(io.StringIO("".join(lines))))
    assert len(rows) == 1101
    assert len({row["id"] for row in rows}) == 1101
    assert {row["event"] for row in rows} == {"session.created", "user.disabled"}
    assert {row["user_agent"] for row in rows} == {"'=desk", ""}
    assert {row["actor"] for row in rows} == {"'=HYPERLINK(1)", ""}
    assert rows[0]["at"].endswith("Z")
    (told,) = services.event_search.find(EventFilter(event="events.exported"), limit=10)
    assert (told.actor, told.client_address) == ("carol", HOME.address)


# Webhooks.


@pytest.fixture
def shop(make_app: Callable[..., Any]) -> Services:
    secret = "whsec_c2VjcmV0IHRoYXQgaXMgbWFkZSB1cCBmb3IgdGVzdHM="
    return services_of(make_app(webhooks=f"shop:https://127.0.0.1:9/x:{secret}"))


def test_a_webhook_tells_what_waits_and_what_is_dead_and_a_replay_is_an_event(
    shop: Services, clock: SettableClock
) -> None:
    (state,) = shop.delivery.states()
    assert (state.name, state.read_until, state.waiting, state.dead) == ("shop", None, 0, 0)
    shop.delivery.run("shop")
    ids = []
    for number in range(5):
        happen(shop, "user.created", user_id=new_id())
        row = {
            "webhook": "shop",
            "recorded_at": clock() + timedelta(minutes=number),
            "attempts": number,
            "reason": "answered 500",
            "next_at": clock(),
            "dead_at": clock() if number < 2 else None,
        }
        with shop.database.transaction() as transaction:
            newest = select(audit_events.c.id).order_by(audit_events.c.id.desc()).limit(1)
            ids.append(transaction.execute(newest).scalar())
            transaction.execute(insert(webhook_failures).values(event_id=ids[-1], **row))
    let_settle(shop)  # they are before the cursor
    (state,) = shop.delivery.states()
    assert (state.waiting, state.dead) == (3, 2)
    assert state.read_until is not None
    seen, after = [], None
    while True:
        page = shop.delivery.undelivered("shop", limit=2, after=after)
        seen += [one.event_id for one in page.events]
        if page.next is None:
            break
        after = page.next
    assert seen == ids
    with pytest.raises(InvalidRequest):
        shop.delivery.undelivered("shop", limit=2, after=new_id())
    assert shop.delivery.replay("shop", ids[0], actor="carol", client=HOME) == 1
    assert shop.delivery.replay("shop", ids[0], actor="carol") == 0
    assert shop.delivery.replay("shop", actor="carol") == 1
    told = shop.event_search.find(EventFilter(event="events.replayed"), limit=10)
    assert [(one.actor, one.reason, one.count) for one in told] == [("carol", "shop", 1)] * 2


# The system.


def test_runs_of_the_purge_are_listed_newest_first(
    services: Services, clock: SettableClock
) -> None:
    assert services.figures.system().purges == []
    happen(services, "session.created", times=3)
    clock.advance(days=200)
    services.purge.run(timedelta(days=7))
    clock.advance(days=1)
    services.purge.run(timedelta(days=7))
    system = services.figures.system()
    assert [(run.ended_at, run.rows, run.complete) for run in system.purges] == [
        (clock(), 0, True),
        (clock() - timedelta(days=1), 3, True),
    ]
    assert system.purged["events"] == 3
    assert services.figures.overview(DAY).last_purge == system.purges[0]
    clock.advance(days=91)
    services.purge.run(timedelta(days=7))
    assert len(services.figures.system().purges) == 1


@ON_SQLITE
def test_settings_are_shown_as_they_are_written_and_without_what_is_secret() -> None:
    secret = "whsec_c2VjcmV0IHRoYXQgaXMgbWFkZSB1cCBmb3IgdGVzdHM="
    aes, token, key = "a" * 21 + "b" * 22, "pushtoken1", "an-api-key-nobody-may-see"
    settings = settings_for(
        "postgresql://wx:s3cret-of-db@db.example.com/wx?password=other-s3cret",
        api_keys=f"shop:{key}:introspect+users",
        push=f"{APPID}:{token}:{aes}",
        push_forward=f"https://back.example.com/token-in-path:{secret}",
        webhooks=f"shop:https://shop.example.com/key-in-path:{secret}",
        wechat_url="https://user:proxy-s3cret@proxy.example.com",
        ticket_audiences="https://shop.example.com",
        registration_limit="0",
        idle_timeout="36h",
    )
    shown = {one.name: one.value for one in settings.shown()}
    assert shown["WXSESSION_DATABASE_URL"] == "postgresql+psycopg: db.example.com/wx"
    assert shown["WXSESSION_APPS"] == f"{APPID}, {OTHER_APPID}"
    assert shown["WXSESSION_SECRET_KEYS"] == "1 ×"
    assert shown["WXSESSION_API_KEYS"] == "shop: introspect+users"
    assert shown["WXSESSION_WEBHOOKS"] == "shop"
    assert shown["WXSESSION_PUSH_FORWARD"] == "back.example.com"
    assert shown["WXSESSION_WECHAT_URL"] == "https://proxy.example.com"
    assert shown["WXSESSION_IDLE_TIMEOUT"] == "36h"
    assert shown["WXSESSION_REGISTRATION_LIMIT"] == ""
    assert shown["WXSESSION_CODE_LIMIT"] == "30/10m"
    told = repr(shown)
    secrets = ("s3cret", key, token, aes, "in-path", secret, SECRET_KEY, *APPS.values())
    assert [one for one in secrets if one in told] == []
    changed = {one.name for one in settings.shown() if not one.is_default}
    assert {"WXSESSION_IDLE_TIMEOUT", "WXSESSION_APPS"} <= changed
    assert not changed & {"WXSESSION_MAX_SESSIONS", "WXSESSION_METRICS", "WXSESSION_COOKIE"}
    assert len(shown) >= 40


# However many there are.


def looks(services: Services, user: Any, event_id: Any) -> dict[str, Callable[[], object]]:
    """Return what each screen asks for."""
    search, directory = services.event_search, services.directory
    return {
        "overview, a day": lambda: services.figures.overview(PERIODS["24h"]),
        "overview, a month": lambda: services.figures.overview(PERIODS["30d"]),
        "apps": services.figures.apps,
        "system": services.figures.system,
        "webhooks": services.delivery.states,
        "undelivered": lambda: services.delivery.undelivered("shop", limit=50),
        "events": lambda: search.page(EventFilter(), limit=50),
        "events after": lambda: search.page(EventFilter(), limit=50, after=event_id),
        "events of a user": lambda: search.page(EventFilter(user_id=user), limit=50),
        "events, a reason": lambda: search.page(EventFilter(reason="logout"), limit=50),
        "events, an actor and a kind": lambda: search.page(
            EventFilter(actor="ops", event="user.disabled"), limit=50
        ),
        "sessions": lambda: directory.find_sessions(SessionFilter()),
        "sessions of an app": lambda: directory.find_sessions(SessionFilter(appid=APPID)),
        "sessions, ended": lambda: directory.find_sessions(SessionFilter(live=False)),
        "sessions by address": lambda: directory.find_sessions(SessionFilter(address="10.0.1.7")),
        "sessions by age": lambda: directory.find_sessions(
            SessionFilter(until=TODAY - timedelta(days=1))
        ),
    }


def fill_hours(database: Database) -> None:
    """Add what was counted in more than a year, and a webhook that took nothing."""
    hours = [TODAY - HOUR * number - timedelta(minutes=30) for number in range(3, MANY // 2)]
    events = [
        {"hour": hour, "event": event, "reason": "", "appid": "", "count": 1}
        for hour in hours
        for event in ("session.created", "login.failed")
    ]
    calls = [
        {
            "hour": hour,
            "appid": APPID,
            "call": "/call",
            "outcome": OK,
            "within_milliseconds": within,
            "count": 1,
            "milliseconds": within,
        }
        for hour in hours
        for within in (100, 200)
    ]
    with database.transaction() as transaction:
        transaction.execute(insert(counts_of_hours), events)
        transaction.execute(insert(wechat_counts), calls)
        ids = transaction.execute(select(audit_events.c.id)).scalars().all()
        failed = [
            {
                "webhook": "shop",
                "event_id": id_,
                "recorded_at": TODAY + timedelta(seconds=number),
                "attempts": 1,
                "next_at": TODAY,
                "dead_at": TODAY if number > 19_000 else None,
            }
            for number, id_ in enumerate(ids)
        ]
        transaction.execute(insert(webhook_failures), failed)


def test_no_screen_reads_a_whole_table(shop: Services) -> None:
    user, event_id = (UUID(one) for one in fill(shop.database))
    services = shop
    fill_hours(services.database)
    with services.database.statement() as connection:
        connection.execute(text("ANALYZE"))
        assert connection.execute(select(func.count()).select_from(sessions)).scalar() == MANY
    for name, look in looks(services, user, event_id).items():
        with plans(services.database) as plan:
            look()
        assert plan, name
        told = "\n".join([name, *plan])
        for line in plan:
            assert not is_scan_of_a_large_table(line), told


SMALL = re.compile("wxsession_(merged_users|job_r|webhook_cursors|access_tokens|wechat_states)")


def is_scan_of_a_large_table(line: str) -> bool:
    return is_scan(line) and not SMALL.search(line)


def test_a_sample_of_what_is_sealed_does_not_read_on_for_ever(
    services: Services, phone: Phone, wechat: WeChat, clock: SettableClock
) -> None:
    phone.log_in()
    wechat.set_phone_number("alice", "13800001234")
    body = {"code": wechat.phone_code("alice")}
    phone.send("POST", "/phone_number", json=body, token=phone.token)
    assert services.resealing.sample(1).read == 2  # a session_key and the number
    newer = [{"id": new_id(), "created_at": clock()} for _ in range(150)]
    with services.database.transaction() as transaction:
        transaction.execute(insert(users), newer)
    assert services.resealing.sample(1).read == 1
    assert services.resealing.sample(2).read == 2
    assert services.resealing.sample(None).read == 2
