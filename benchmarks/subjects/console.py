"""The screens of the console among a million users: how long the server takes for each."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from typing import Final

import pyotp
from flask import Flask
from flask.testing import FlaskClient

from benchmarks.bench import Bench
from benchmarks.database import Postgres
from benchmarks.outcome import Figure, Outcome, Table
from benchmarks.population import KEYS, Known, populate
from tests.support.plans import plans
from tests.support.settings import APPID, settings_for
from wxsession.common.clock import now
from wxsession.console import create_console
from wxsession.console.admission import COOKIE
from wxsession.operations.admins.admin import Role
from wxsession.operations.event_counts import fold
from wxsession.operations.live_sessions import count_live
from wxsession.services import EXTENSION, Services
from wxsession.users.client import ClientInfo

_NAME: Final = "console"
_SCAN: Final = re.compile(r"Seq Scan on wxsession_(users|identities|sessions|events)\b")
_MOST_MILLISECONDS: Final = 200
_PASSWORD: Final = "correct horse battery"

_HOW = (
    "Milliseconds from the request to the whole page, in the console's process, without a network:"
    " the median and the longest of {rounds} requests after the first. A plan that scans is"
    " one that reads one of the large tables from end to end. Before, what a purge counts was"
    " counted: every hour of 191 days in {folded:.0f} s, and the live sessions in {counted:.1f} s."
)


@dataclass
class _Seen:
    milliseconds: list[float]
    scans: int


def measure(bench: Bench) -> Outcome:
    """Open every screen, as an owner may."""
    own = {"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "1GB"}
    population = bench.scale.population
    with Postgres(settings=own) as postgres:
        known = populate(postgres, _NAME, population)
        console = create_console(settings_for(postgres.url(_NAME), secret_keys=KEYS))
        services: Services = console.extensions[EXTENSION]
        with closing(services.database):
            begun = time.monotonic()
            fold(services.database, now())
            folded = time.monotonic() - begun
            begun = time.monotonic()
            count_live(services.database, now())
            counted = time.monotonic() - begun
            browser = _owner(console, services)
            found = {
                name: _look(services, browser, path, bench.scale.starts)
                for name, path in _screens(known)
            }
    return Outcome(
        [_table(found)],
        [
            Figure(
                "a screen of the console, the slowest",
                _MOST_MILLISECONDS,
                max(max(seen.milliseconds) for seen in found.values()),
                unit="ms",
                at_most=True,
            ),
            Figure(
                "screens of the console, plans that scan a large table",
                0,
                sum(seen.scans for seen in found.values()),
                unit="",
                at_most=True,
            ),
        ],
        [
            f"{population}.",
            _HOW.format(rounds=bench.scale.starts, folded=folded, counted=counted),
        ],
    )


def _screens(known: Known) -> Iterator[tuple[str, str]]:
    heavy = known.heavy_user
    yield from (
        ("overview, 24 hours", "/overview"),
        ("overview, 30 days", "/overview?period=30d"),
        ("doctor", "/overview/doctor"),
        ("users", "/users"),
        ("users, by username", "/users?q=user-500"),
        ("users, by openid", f"/users?q=o{7:027d}"),
        ("users, by nickname", "/users?q=name-77"),
        ("users, nobody", "/users?q=%25"),
        ("a user", f"/users/{known.user}"),
        ("a user with very many sessions", f"/users/{heavy}"),
        ("sessions", "/sessions"),
        ("sessions, ended ones too", "/sessions?every=1"),
        ("sessions of an app", f"/sessions?appid={APPID}"),
        ("sessions of no app", "/sessions?appid=wx0000000000000000"),
        ("sessions from an address", "/sessions?address=10.99.99.99"),
        ("events", "/events"),
        ("events, page after page", f"/events?after={known.event}"),
        ("events of a kind", "/events?event=user.disabled"),
        ("events of a user", f"/events?user={heavy}"),
        ("events from an address", "/events?address=10.99.99.99"),
        ("events for a reason", "/events?reason=invalid_code"),
        ("events by nobody", "/events?actor=nobody"),
        ("apps", "/apps"),
        ("webhooks", "/webhooks"),
        ("system", "/system"),
        ("admins", "/admins"),
    )


def _owner(console: Flask, services: Services) -> FlaskClient:
    """Return the browser of an owner who is signed in."""
    link = services.admins.add("ada", Role.OWNER, actor="benchmark").token
    secret = services.admin_sessions.invitation(link).totp_secret
    code = pyotp.TOTP(secret).at(now())
    client = ClientInfo("203.0.113.7", None)
    token = services.admin_sessions.accept(link, _PASSWORD, code, client)
    browser = console.test_client()
    browser.set_cookie(COOKIE, token, domain="localhost", secure=True)
    return browser


def _look(services: Services, browser: FlaskClient, path: str, rounds: int) -> _Seen:
    _open(browser, path)  # which compiles the template
    taken = [_open(browser, path) for _ in range(rounds)]
    with plans(services.database) as collected:
        _open(browser, path)
    return _Seen(taken, sum(bool(_SCAN.search(line)) for line in collected))


def _open(browser: FlaskClient, path: str) -> float:
    begun = time.monotonic()
    answer = browser.get(path, base_url="https://localhost")
    taken = (time.monotonic() - begun) * 1000
    assert answer.status_code == 200, (path, answer.status_code)  # noqa: S101 - it is no measurement
    return taken


def _table(found: Mapping[str, _Seen]) -> Table:
    rows = [
        (name, f"{median(seen.milliseconds):.0f}", f"{max(seen.milliseconds):.0f}", str(seen.scans))
        for name, seen in found.items()
    ]
    return Table(("screen", "median, ms", "longest, ms", "plans that scan"), rows)
