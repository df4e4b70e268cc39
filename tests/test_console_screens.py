"""The screens of figures, events, apps, webhooks and the system, as HTTP shows them."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, insert
from werkzeug.test import TestResponse

from tests.support.console import HOSTILE, PASSWORD, SECRETS, Backstage, backstage, use
from tests.support.databases import ON_BOTH
from tests.support.desk import words_of
from tests.test_feed import let_settle
from wxsession.console.admission import COOKIE
from wxsession.events.search import EventFilter
from wxsession.operations.admins.admin import Role
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.tables import webhook_cursors, webhook_failures
from wxsession.users.client import ClientInfo

SCREENS = (
    "/overview",
    "/overview/doctor",
    "/events",
    "/apps",
    "/webhooks",
    "/webhooks/shop",
    "/system",
)


@dataclass
class Visitor:
    """An admin who is signed in."""

    client: FlaskClient
    name: str

    def get(self, path: str, **query: object) -> TestResponse:
        """Open a page."""
        return self.client.get(path, query_string={k: str(v) for k, v in query.items()})

    def post(self, path: str, **fields: object) -> TestResponse:
        """Send a form of a page."""
        page = self.client.get("/events").text
        tokens = re.findall(
            r'name="form_token" value="([^"]+)"', page + self.client.get("/account").text
        )
        form = {"form_token": tokens[0], **{k: str(v) for k, v in fields.items()}}
        return self.client.post(path, data=form, headers={"Sec-Fetch-Site": "same-origin"})


@pytest.fixture
def stage(database_url: str, clock: SettableClock) -> Iterator[Backstage]:
    """Return a service that has been in use, and its console."""
    made = backstage(database_url, clock, WeChat(SECRETS, clock=clock))
    use(made)
    yield made
    made.close()


@pytest.fixture
def sign_in(stage: Backstage) -> Callable[..., Visitor]:
    """Return a function that lets an admin of a role in."""

    def enter(role: Role, language: str = "en") -> Visitor:
        name = f"{role}-{language}"
        link = stage.services.admins.add(name, role, actor="root").token
        invitation = stage.services.admin_sessions.invitation(link)
        code = stage.code(invitation.totp_secret)
        client = ClientInfo("203.0.113.99", None)
        token = stage.services.admin_sessions.accept(link, PASSWORD, code, client)
        browser = stage.console.test_client()
        browser.environ_base["HTTP_ACCEPT_LANGUAGE"] = language
        browser.environ_base["wsgi.url_scheme"] = "https"
        browser.set_cookie(COOKIE, token, secure=True)
        return Visitor(browser, name)

    return enter


@pytest.fixture
def owner(sign_in: Callable[..., Visitor]) -> Visitor:
    return sign_in(Role.OWNER)


@ON_BOTH
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_screen_is_there_for_a_viewer_in_both_languages(
    sign_in: Callable[..., Visitor], language: str
) -> None:
    viewer = sign_in(Role.VIEWER, language)
    for path in SCREENS:
        page = viewer.get(path)
        assert page.status_code == 200, (path, page.text)
        assert ("中文" in page.text) == (language == "en")
        assert HOSTILE not in page.text
        for secret in (*SECRETS.values(), "a-secret-key-that-is-made-up-for-tests", "whsec_"):
            assert secret not in page.text


def test_what_the_doctor_finds_is_said_in_the_language_of_the_page(
    sign_in: Callable[..., Visitor],
) -> None:
    texts = {"en": "the sessions have the addresses of clients", "zh": "会话记录的是客户端的地址"}
    for language, found in texts.items():
        page = sign_in(Role.VIEWER, language).get("/overview/doctor").text
        assert found in page


def test_the_overview_has_the_numbers_of_its_plots_as_tables(owner: Visitor) -> None:
    page = owner.get("/overview", period="7d").text
    assert page.count('<figure class="plot"') == 5
    (logins,) = re.findall(
        r'<figure class="plot".*?<figcaption>Logins.*?</figure>', page, re.DOTALL
    )
    values = [float(value) for value in re.findall(r'data-value="([\d.]+)"', logins)]
    assert len(values) == 42
    total = f"{int(sum(values)):,}"
    assert f"<strong>{total}</strong>" in page
    assert "48,213" in page
    assert "event=login.failed&amp;reason=wechat_timeout" in page
    assert owner.get("/overview", period="nonsense").status_code == 200


def test_events_are_filtered_and_pages_keep_the_filter(owner: Visitor, stage: Backstage) -> None:
    found = owner.get("/events", event="session.ended", reason="user_disabled").text
    assert found.count("<td>") >= 1
    assert "the user was disabled" in found
    assert "<strong>ada</strong>" in found
    assert "the user logged out</span>" not in found
    assert "Nothing of that kind happened." in owner.get("/events", actor="nobody").text
    with stage.services.database.transaction() as transaction:
        for _ in range(60):
            stage.services.audit.write(
                transaction, "login.unlocked", ClientInfo("192.0.2.1", None), actor="ada"
            )
    first = owner.get("/events", event="login.unlocked", actor="ada").text
    (more,) = re.findall(r'href="(/events\?[^"]*after=[^"]*)"', first)
    assert "event=login.unlocked" in more
    assert "actor=ada" in more
    second = owner.client.get(more.replace("&amp;", "&")).text
    assert second.count("<code>") == 0
    assert second.count('class="code">login.unlocked') == 10


def test_moments_that_are_typed_are_in_the_zone_of_the_browser(
    owner: Visitor, clock: SettableClock
) -> None:
    now = f"{clock():%Y-%m-%dT%H:%M}"
    assert "Nothing of that kind" in owner.get("/events", event="user.created", since=now).text
    # 08:00 east of Greenwich it is later: that moment was eight hours ago.
    found = owner.get("/events", event="user.created", since=now, zone="-480").text
    assert "user.created" in found.partition("<tbody>")[2]


def test_what_is_typed_wrongly_is_told_and_is_no_failure(owner: Visitor) -> None:
    told: list[dict[str, str]] = [
        {"user": "%"},
        {"user": "x" * 10_000},
        {"reason": "x" * 10_000},
        {"actor": "\0"},
        {"address": "home"},
        {"address": "1" * 10_000},
        {"since": "yesterday"},
        {"until": "0001-01-01T00:00", "zone": "-840"},
        {"after": "019ac2f3-a4b8-7c5d-8e6f-0123456789ab"},
    ]
    for query in told:
        answer = owner.get("/events", **query)
        assert (answer.status_code, "That is not accepted." in answer.text) == (400, True), query
    nothing: list[dict[str, str]] = [
        {"reason": "%"},
        {"event": "%"},
        {"after": "nonsense"},
        {"zone": "x" * 10_000},
        {"until": "0001-01-01T00:00"},
    ]
    for query in nothing:
        assert owner.get("/events", **query).status_code == 200, query


def test_a_chinese_page_says_in_chinese_what_is_wrong(sign_in: Callable[..., Visitor]) -> None:
    viewer = sign_in(Role.VIEWER, "zh")
    for path, query, said in (
        ("/events", {"since": "yesterday"}, "起始时间 不是日期和时间"),
        ("/events", {"reason": "x" * 65}, "原因 最多 64 个字符"),
        ("/events", {"after": "019ac2f3-a4b8-7c5d-8e6f-0123456789ab"}, "分页位置 没有这个事件"),
        ("/sessions", {"address": "home"}, "IP 地址 不是 IPv4 或 IPv6 地址"),
        ("/webhooks/shop", {}, "返回了 500"),
        ("/overview", {}, "响应超时"),
    ):
        assert said in words_of(viewer.get(path, **query)), path


def test_events_leave_as_csv_for_an_owner_with_a_second_factor_alone(
    sign_in: Callable[..., Visitor], stage: Backstage, clock: SettableClock
) -> None:
    owner, support = sign_in(Role.OWNER), sign_in(Role.SUPPORT)
    assert support.post("/events.csv").status_code == 403
    answer = owner.post("/events.csv", event="session.ended")
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    assert "attachment" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["event"] for row in rows} == {"session.ended"}
    assert "user_disabled" in {row["reason"] for row in rows}
    exported = stage.services.event_search.find(EventFilter(event="events.exported"), limit=9)
    assert [event.actor for event in exported] == [owner.name]
    clock.advance(minutes=11)
    assert "second factor" in owner.post("/events.csv").text
    assert len(stage.services.event_search.find(EventFilter(event="events.exported"), limit=9)) == 1


def test_dead_events_are_delivered_again_by_whoever_may(
    sign_in: Callable[..., Visitor], stage: Backstage
) -> None:
    viewer, support = sign_in(Role.VIEWER), sign_in(Role.SUPPORT)
    assert "Deliver again" not in viewer.get("/webhooks/shop").text
    assert viewer.post("/webhooks/shop/replay").status_code == 403
    page = support.get("/webhooks/shop").text
    assert page.count("Deliver again") == 2
    one = re.findall(r'name="event_id" value="([^"]+)"', page)[0]
    for nothing in ("nonsense", ""):
        refused = support.post("/webhooks/shop/replay", event_id=nothing)
        assert (refused.status_code, "is not the id of an event" in refused.text) == (400, True)
    assert stage.services.delivery.states()[0].dead == 2
    assert support.post("/webhooks/shop/replay", event_id=one).status_code == 303
    assert stage.services.delivery.states()[0].dead == 1
    said = support.client.get(support.post("/webhooks/shop/replay").headers["Location"]).text
    assert "1 events are delivered again." in said
    assert stage.services.delivery.states()[0].dead == 0
    told = stage.services.event_search.find(EventFilter(event="events.replayed"), limit=9)
    assert {event.actor for event in told} == {support.name}
    assert support.get("/webhooks/nobody").status_code == 404
    assert support.post("/webhooks/nobody/replay").status_code == 404


def test_a_webhook_has_everything_as_soon_as_nothing_waits(
    owner: Visitor, stage: Backstage
) -> None:
    let_settle(stage.services)

    def said(cursor: str | None) -> str:
        with stage.services.database.transaction() as transaction:
            transaction.execute(delete(webhook_failures))
            transaction.execute(delete(webhook_cursors))
            if cursor:
                row = {"webhook": "shop", "cursor": cursor, "failures": 0}
                transaction.execute(insert(webhook_cursors).values(row))
        return words_of(owner.get("/webhooks/shop"))

    assert "not delivered to yet" in said(None)
    cursors = stage.services.feed.read().cursors
    assert "Everything was delivered." in said(cursors[-1])
    behind = said(cursors[-4])
    assert "3 events wait to be delivered." in behind
    assert "Everything was delivered." not in behind
    assert "events deliver" in behind


def test_an_app_shows_what_went_wrong_and_the_cure(sign_in: Callable[..., Visitor]) -> None:
    for language, cure in {"en": "add the address in", "zh": "把它加入白名单"}.items():
        page = sign_in(Role.VIEWER, language).get("/apps").text
        assert "40164" in page
        assert "6aac005a-1f2e3d4c-5b6a7988" in page
        assert cure in page
        assert re.search(r"1,28[45] × 0.03 = 38.5[25]", page)  # the last may be in memory yet
