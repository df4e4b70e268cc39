"""What a real browser shows of the console: every screen, for everybody who may see it.

With ``WXSESSION_IMAGES=docs/images`` the pictures of the documents are made on the way.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.support.console import (
    HOSTILE,
    NAMES,
    PASSWORD,
    SECRETS,
    Backstage,
    backstage,
    shown,
    unlocked_by,
    use,
)
from tests.support.phone import Phone
from tests.support.service import ROOT
from wxsession.console.admission import COOKIE
from wxsession.events.search import EXAMINED
from wxsession.operations.admins.admin import Role
from wxsession.operations.directory import UserFilter
from wxsession.simulator import SettableClock, WeChat
from wxsession.users.client import ClientInfo

pytestmark = pytest.mark.long

PATIENCE: Final = 60_000
"""Milliseconds for what a page does; the machine may have other things to do."""
WIDE, NARROW = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=844)
AXE: Final = ROOT / "tests/clients/node_modules/axe-core/axe.min.js"
LARGEST_PICTURE: Final = 150_000

PAGES: Final = {
    "overview": "/overview",
    "overview, a month": "/overview?period=30d",
    "doctor": "/overview/doctor",
    "users": "/users",
    "user": "/users/{user}",
    "sessions": "/sessions",
    "every event": "/events",
    # In Shanghai, before the admins of the test came.
    "events": "/events?until=2026-11-27T15:05&zone=-480",
    "apps": "/apps",
    "webhooks": "/webhooks",
    "webhook": "/webhooks/shop",
    "system": "/system",
    "account": "/account",
}
OF_OWNERS: Final = {"admins": "/admins"}
ADMINS: Final = {Role.OWNER: "ada", Role.SUPPORT: "ben", Role.VIEWER: "cleo"}
PICTURES: Final = ("overview", "users", "user", "sessions", "events")


@pytest.fixture
def stage(sqlite_url: str) -> Iterator[Backstage]:
    """Return a service that has been in use on an afternoon, and its console."""
    clock = SettableClock(datetime(2026, 11, 27, 6, 20, tzinfo=UTC))
    made = backstage(sqlite_url, clock, WeChat(SECRETS, clock=clock))
    yield made
    made.close()


@pytest.fixture
def phones(stage: Backstage) -> dict[str, Phone]:
    return use(stage)


@pytest.fixture
def origin(stage: Backstage) -> Iterator[str]:
    with shown(stage.console) as where:
        yield where


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    assert program, "Chromium is missing: apt install chromium-headless-shell"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def visiting(stage: Backstage, origin: str, browser: Browser) -> Callable[..., Any]:
    """Return a function that opens a page of a browser in which an admin is signed in."""

    @contextmanager
    def visit(role: Role, language: str = "en-US", *, javascript: bool = True) -> Iterator[Page]:
        name = ADMINS[role]
        link = stage.services.admins.add(name, role, actor="root").token
        invitation = stage.services.admin_sessions.invitation(link)
        code = stage.code(invitation.totp_secret)
        client = ClientInfo("203.0.113.99", None)
        token = stage.services.admin_sessions.accept(link, PASSWORD, code, client)
        context = browser.new_context(
            locale=language,
            timezone_id="Asia/Shanghai",
            viewport=WIDE,
            java_script_enabled=javascript,
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE)
        context.add_cookies(
            [
                {
                    "name": COOKIE,
                    "value": token,
                    "url": origin.replace(
                        "http:", "https:"
                    ),  # nobody may set a Secure one otherwise
                    "secure": True,
                    "httpOnly": True,
                    "sameSite": "Strict",
                }
            ]
        )
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on(
            "request",
            lambda sent: (
                None
                if sent.url.startswith((f"{origin}/", "data:", "blob:"))
                else complaints.append(sent.url)
            ),
        )
        yield page
        context.close()
        assert complaints == []

    return visit


def look(page: Page, language: str) -> None:
    """Look at a page at both widths: nothing hangs over, and it is in its language."""
    assert page.get_attribute("html", "lang") == ("zh-CN" if language == "zh-CN" else "en")
    assert page.inner_text("h1").strip()
    for size in (NARROW, WIDE):
        page.set_viewport_size(size)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size["width"], f"{page.url} is {width} wide"


def ensure_accessible(page: Page) -> None:
    """Let axe look at a page, at both widths: nothing is serious."""
    page.evaluate(AXE.read_text())
    for size in (NARROW, WIDE):
        page.set_viewport_size(size)
        found = page.evaluate("axe.run({resultTypes: ['violations']}).then(r => r.violations)")
        serious = [
            f"{page.url} at {size['width']}: {one['id']}: {node['html'][:200]}"
            for one in found
            if one["impact"] in {"serious", "critical"}
            for node in one["nodes"][:3]
        ]
        assert serious == []


def test_a_page_that_is_not_accessible_is_found(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content("<html lang=en><title>x</title><main><h1>x</h1><input></main></html>")
    with pytest.raises(AssertionError, match="label"):
        ensure_accessible(page)
    page.close()


def pages_of(role: Role) -> dict[str, str]:
    return PAGES | (OF_OWNERS if role is Role.OWNER else {})


@pytest.mark.parametrize("language", ["zh-CN", "en-US"])
@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "plain"])
@pytest.mark.usefixtures("phones")
def test_every_screen_is_whole_for_every_role(
    stage: Backstage,
    origin: str,
    visiting: Callable[..., Any],
    language: str,
    *,
    javascript: bool,
) -> None:
    user = str(stage.services.directory.users(UserFilter(nickname=NAMES["frank"])).items[0].user_id)
    for role in Role:
        with visiting(role, language, javascript=javascript) as page:
            for name, path in pages_of(role).items():
                answer = page.goto(origin + path.format(user=user))
                assert answer is not None
                assert answer.status == 200, path
                look(page, language)
                if "overview" in name:
                    assert page.locator("figure.plot details table").count() == 5
                    assert (page.locator("figure canvas").count() == 5) == javascript
                if role is Role.OWNER and javascript:
                    if language == "zh-CN":  # the words do not matter to it, and it takes a while
                        ensure_accessible(page)
                    if name in PICTURES:
                        keep(page, f"{name}.{language[:2]}.png")


def keep(page: Page, name: str) -> None:
    """Take a picture of what fits on a screen; it is kept where the documents are being made."""
    page.mouse.move(0, 0)
    page.evaluate("document.fonts.ready")
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB").quantize(64)
    content = BytesIO()
    picture.save(content, "PNG", optimize=True)
    assert len(content.getvalue()) < LARGEST_PICTURE
    if folder := os.environ.get("WXSESSION_IMAGES"):
        Path(folder, name).write_bytes(content.getvalue())


def test_the_pages_at_the_door_are_accessible_and_let_an_admin_in(
    stage: Backstage, origin: str, browser: Browser
) -> None:
    context = browser.new_context(viewport=WIDE, locale="zh-CN")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(f"{origin}/sign-in")
    ensure_accessible(page)
    page.goto(origin + stage.invite("ada", Role.OWNER))
    ensure_accessible(page)
    page.fill("input[name=password]", PASSWORD)
    page.fill("input[name=code]", stage.code(page.inner_text(".secret")))
    page.click("main button")
    page.wait_for_url(f"{origin}/overview")
    (cookie,) = [one for one in context.cookies() if one["name"] == COOKIE]
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    context.close()


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "plain"])
def test_what_is_done_in_the_browser_is_done(
    stage: Backstage,
    phones: dict[str, Phone],
    origin: str,
    visiting: Callable[..., Any],
    *,
    javascript: bool,
) -> None:
    alice, erin = phones["alice"], phones["erin"]
    ids = {
        who: phone.check().json["user"]["id"]
        for who, phone in phones.items()
        if who in {"alice", "erin"}
    }
    with visiting(Role.OWNER, javascript=javascript) as page:
        page.goto(f"{origin}/users/{ids['erin']}")
        page.click(f"details:has(form[action$='{ids['erin']}/disable']) summary")
        page.click("form[action$='/disable'] button")
        page.wait_for_selector("form[action$='/enable']")
        assert erin.check().json["reason"] == "user_disabled"
        page.click("form[action$='/enable'] button")
        page.wait_for_selector("form[action$='/disable']", state="attached")
        assert erin.log_in().status_code == 200

        page.goto(f"{origin}/users/{ids['alice']}")
        while page.locator("form[action$='/end']").count():
            page.locator("form[action$='/end'] button").first.click()
            page.wait_for_selector(".note.good")
        assert alice.check().json["reason"] == "revoked"

        page.goto(f"{origin}/webhooks/shop")
        page.click("tbody form button >> nth=0")
        page.wait_for_selector(".note.good")
        assert stage.services.delivery.states()[0].dead == 1

        page.goto(f"{origin}/events?event=session.ended")
        with page.expect_download() as download:
            page.click("form[action$='/events.csv'] button")
        text = Path(download.value.path()).read_text()
        assert text.startswith("id,at,event,")
        assert "user_disabled" in text


def test_a_stranger_sees_why_a_user_was_logged_out(
    phones: dict[str, Phone], origin: str, visiting: Callable[..., Any]
) -> None:
    with visiting(Role.VIEWER) as page:
        page.goto(f"{origin}/users")
        page.fill("main input[type=search], main input[name=q]", NAMES["dave"])
        page.keyboard.press("Enter")
        page.click(f"main a:has-text('{NAMES['dave']}'), main td a >> nth=0")
        page.wait_for_selector("h1")
        shown_text = page.inner_text("main")
        assert "the user was disabled" in shown_text
        assert "ada" in shown_text  # who did it
    assert phones["dave"].check().json["reason"] == "user_disabled"


def test_what_somebody_calls_themselves_is_text(
    phones: dict[str, Phone], origin: str, visiting: Callable[..., Any]
) -> None:
    user = phones["bob"].check().json["user"]["id"]
    with visiting(Role.VIEWER) as page:
        for path in ("/users", f"/users/{user}"):
            page.goto(origin + path)
            assert HOSTILE in page.inner_text("main")
            page.hover(f"text={json.dumps(HOSTILE)}")


def test_more_brings_the_rows_that_follow(
    stage: Backstage, phones: dict[str, Phone], origin: str, visiting: Callable[..., Any]
) -> None:
    alice = phones["alice"]
    user = alice.check().json["user"]["id"]
    for _ in range(25):
        alice.log_in()
    unlocked_by(stage.services, "zed", stage.clock, 3)
    unlocked_by(stage.services, "yves", stage.clock, 2 * EXAMINED)
    unlocked_by(stage.services, "zed", stage.clock, 1)
    with visiting(Role.OWNER) as page:
        page.goto(f"{origin}/users/{user}")
        rows = page.locator("#found tbody tr")
        more = page.locator("#found tr.more a")
        expect(rows).to_have_count(20 + 1, timeout=PATIENCE)
        more.click()
        expect(more).to_have_count(0, timeout=PATIENCE)
        assert rows.count() > 25
        page.goto(f"{origin}/events?actor=zed")
        expect(rows).to_have_count(1 + 1)
        more.click()
        expect(more).to_have_text("Search on", timeout=PATIENCE)
        expect(rows).to_have_count(1 + 1)
        more.click()
        expect(rows).to_have_count(1 + 3, timeout=PATIENCE)
        expect(more).to_have_count(0)


@pytest.mark.usefixtures("phones")
def test_a_search_after_the_session_is_over_leads_to_the_door(
    stage: Backstage, origin: str, visiting: Callable[..., Any]
) -> None:
    with visiting(Role.VIEWER) as page:
        page.goto(f"{origin}/users")
        stage.clock.advance(minutes=31)
        page.fill("#search", "alice")
        page.wait_for_url(f"{origin}/sign-in?next=**")
        assert page.inner_text("h1") == "Sign in"
