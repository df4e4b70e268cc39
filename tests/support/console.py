"""A console in a process of a test, with a service that has been in use for a month."""

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pyotp
from flask import Flask
from sqlalchemy import insert
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.support.app import CHEAP_HASHER, services_of
from tests.support.phone import Phone
from tests.support.settings import APPID, OTHER_APPID, settings_for
from wxsession import create_app
from wxsession.console import create_console
from wxsession.events.search import EventFilter
from wxsession.operations.admins.admin import Role
from wxsession.operations.live_sessions import LIVE
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat, wechat_transport
from wxsession.storage.database import new_id
from wxsession.storage.tables import (
    audit_events,
    event_counts,
    job_results,
    job_runs,
    webhook_cursors,
    webhook_failures,
    wechat_counts,
    wechat_states,
)

SECRETS: Final = {APPID: "deadbeef" * 4, OTHER_APPID: "cafebabe" * 4}
"""What looks like AppSecrets, for the doctor."""
PASSWORD: Final = "correct horse battery"
HOOK: Final = "shop:https://127.0.0.1:9/events:whsec_c2VjcmV0IHRoYXQgaXMgbWFkZSB1cCBmb3IgdGVzdHM="
HOSTILE: Final = "<b onmouseover=alert(1)>Bob</b>"
"""What somebody may call themselves."""

NAMES: Final = {
    "alice": "小明",
    "bob": HOSTILE,
    "carol": "卡罗尔",
    "dave": "戴夫",
    "erin": "Érin",
    "frank": "弗兰克",
}


@dataclass
class Backstage:
    """A service and its console over one database, both at the time of one clock."""

    app: Flask
    console: Flask
    wechat: WeChat
    clock: SettableClock

    @property
    def services(self) -> Services:
        """What the console consists of."""
        return services_of(self.console)

    def invite(self, name: str, role: Role) -> str:
        """Return the path of the link of a new admin."""
        return f"/link/{self.services.admins.add(name, role, actor='root').token}"

    def code(self, secret: str) -> str:
        """Return what an authenticator app shows now."""
        return pyotp.TOTP(secret).at(self.clock())

    def close(self) -> None:
        """Let go of the database."""
        self.services.database.close()
        services_of(self.app).database.close()


def backstage(database_url: str, clock: SettableClock, wechat: WeChat) -> Backstage:
    """Return a service and its console."""
    http = wechat_transport(wechat)
    apps = ",".join(f"{appid}:{secret}" for appid, secret in SECRETS.items())
    settings = settings_for(database_url, apps=apps, webhooks=HOOK)
    made = {"clock": clock, "http": http, "hasher": CHEAP_HASHER}
    return Backstage(create_app(settings, **made), create_console(settings, **made), wechat, clock)  # type: ignore[arg-type]


class Silent(WSGIRequestHandler):
    """Logs no request: there are links in their addresses."""

    def log_request(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def shown(console: Flask) -> Iterator[str]:
    """Serve a console until the block ends; yield where. A browser trusts this host like HTTPS."""
    server = make_server("127.0.0.1", 0, console, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def use(stage: Backstage) -> dict[str, Phone]:
    """Let users log in, out and be thrown out, after a month of which only counts are left."""
    _fill_a_month(stage.services, stage.clock())
    phones = {
        name: Phone(stage.app, stage.wechat, name, address=f"203.0.113.{10 + number}")
        for number, name in enumerate(NAMES)
    }
    for number, (name, phone) in enumerate(phones.items()):
        phone.appid = OTHER_APPID if name == "frank" else APPID
        _ok(phone.log_in())
        _ok(phone.send("PATCH", "/user", json={"nickname": NAMES[name]}, token=phone.token))
        if number % 2 == 0:
            body = {"username": f"{name}_shop", "password": PASSWORD}
            registered = _ok(phone.send("POST", "/register", json=body, token=phone.token))
            phone.token = registered["session_token"]
        stage.clock.advance(minutes=4)
    _live_and_die(stage, phones)
    return phones


def unlocked_by(services: Services, actor: str, clock: SettableClock, count: int) -> None:
    """Let this happen so often within a minute."""
    rows = [
        {
            "event": "login.unlocked",
            "id": new_id(),
            "at": clock() + timedelta(milliseconds=number),
            "actor": actor,
        }
        for number in range(count)
    ]
    clock.advance(minutes=1)
    with services.database.transaction() as transaction:
        transaction.execute(insert(audit_events), rows)


def _live_and_die(stage: Backstage, phones: Mapping[str, Phone]) -> None:
    alice, bob, carol, dave, _, frank = phones.values()
    stage.wechat.set_phone_number("alice", "13800138000")
    body = {"code": stage.wechat.phone_code("alice")}
    _ok(alice.send("POST", "/phone_number", json=body, token=alice.token))
    copied = str(frank.token)
    frank.refresh()
    frank.check()
    stage.clock.advance(minutes=9)
    frank.lose_refresh(copied)  # by somebody else
    stage.clock.advance(minutes=3)
    bob.log_out()
    stage.clock.advance(minutes=2)
    bob.log_in()
    for _ in range(3):
        carol.log_in("a-code-that-is-none")
        body = {"username": "carol_shop", "password": "guess guess guess"}
        carol.send("POST", "/login", json=body)
    stage.clock.advance(minutes=6)
    carol_id = _ok(carol.check())["user"]["id"]
    dave_id = _ok(dave.check())["user"]["id"]
    stage.services.administration.disable(UUID(dave_id), actor="ada")
    stage.services.administration.end_sessions(UUID(carol_id), actor="ada")
    stage.clock.advance(minutes=5)
    _fail_to_deliver(stage.services)


def _fail_to_deliver(services: Services) -> None:
    """Let a receiver not have taken some events: two for good, one until now."""
    newest = services.event_search.find(EventFilter(event="session.created"), limit=3)
    at = newest[0].at
    failed = [
        {
            "webhook": "shop",
            "event_id": event.id,
            "user_id": event.user_id,
            "recorded_at": event.at,
            "attempts": 9 if number else 1,
            "reason": "answered 500",
            "next_at": at + timedelta(minutes=9),
            "dead_at": at if number else None,
        }
        for number, event in enumerate(newest)
    ]
    cursor = {"webhook": "shop", "cursor": services.feed.end(), "failures": 1}
    with services.database.transaction() as transaction:
        transaction.execute(insert(webhook_failures), failed)
        transaction.execute(insert(webhook_cursors), cursor)


def _fill_a_month(services: Services, now: datetime) -> None:
    """Add counts as purges leave them: days, nights, and an afternoon on which WeChat was slow."""
    this = now.replace(minute=0, second=0, microsecond=0)
    events: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for back in range(1, 24 * 30):
        hour = this - timedelta(hours=back)
        local = (hour.hour + 8) % 24
        wave = 0.15 + max(0.0, math.sin((local - 6) / 18 * math.pi)) ** 2
        logins = round(900 * wave * (1 + 0.15 * math.sin(back / 37)))
        slow = 16 <= back <= 18
        happened = {
            ("session.created", ""): logins,
            ("session.ended", "logout"): logins // 6,
            ("session.ended", "replaced"): logins // 9,
            ("session.ended", "evicted"): logins // 40,
            ("session.ended", "revoked"): 1 if local == 10 else 0,
            ("session.ended", "token_reused"): 1 if back % 29 == 0 else 0,
            ("login.failed", "invalid_code"): logins // 30,
            ("login.failed", "bad_credentials"): logins // 60,
            ("login.failed", "code_used"): logins // 90,
            ("login.failed", "wechat_timeout"): logins // 8 if slow else 0,
        }
        events += [
            {"hour": hour, "event": event, "reason": reason, "appid": APPID, "count": count}
            for (event, reason), count in happened.items()
            if count
        ]
        spread = {75: 0.35, 100: 0.4, 150: 0.2, 300: 0.05} if not slow else {500: 0.5, 2500: 0.5}
        outcomes = {"ok": logins, "40029": logins // 30, "40163": logins // 90}
        outcomes["read timeout"] = logins // 8 if slow else 0
        calls += [
            {
                "hour": hour,
                "appid": APPID,
                "call": "/sns/jscode2session",
                "outcome": outcome,
                "within_milliseconds": within,
                "count": round(number * part),
                "milliseconds": round(number * part) * within,
            }
            for outcome, number in outcomes.items()
            for within, part in spread.items()
            if round(number * part)
        ]
    calls.append(
        {**calls[0], "call": "/wxa/business/getuserphonenumber", "outcome": "ok", "count": 1284}
    )
    runs = [
        {
            "id": new_id(),
            "job": "purge",
            "ended_at": now - timedelta(hours=back, minutes=14),
            "milliseconds": 840 + 37 * back,
            "rows": 1800 + 91 * (back % 7),
            "complete": True,
        }
        for back in range(12)
    ]
    with services.database.transaction() as transaction:
        for table, rows in {event_counts: events, wechat_counts: calls, job_runs: runs}.items():
            transaction.execute(insert(table), rows)
        results = [
            (LIVE, "sessions", 48_213, runs[0]["ended_at"]),
            ("purge", "sessions", 918_220, datetime.now(UTC)),  # by the database's clock
        ]
        transaction.execute(
            insert(job_results),
            [
                {"job": job, "item": item, "total": total, "succeeded_at": at}
                for job, item, total, at in results
            ],
        )
        state = {
            "appid": OTHER_APPID,
            "failed_at": now - timedelta(hours=3),
            "call": "/cgi-bin/stable_token",
            "outcome": "40164",
            "rid": "6aac005a-1f2e3d4c-5b6a7988",
        }
        transaction.execute(insert(wechat_states), state)


def _ok(answer: Any) -> dict[str, Any]:
    assert answer.status_code in {200, 201}, answer.text
    body: dict[str, Any] = answer.json
    return body
