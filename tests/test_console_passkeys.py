"""Passkeys in a real browser, whose authenticator is a virtual one."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
from flask import Flask
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import CDPSession, Page, sync_playwright
from sqlalchemy import update
from werkzeug.serving import make_server

from tests.support.app import services_of
from tests.support.desk import PASSWORD, Desk
from tests.support.service import free_port
from tests.test_browser import PATIENCE, Silent
from wxsession.console.admission import COOKIE
from wxsession.errors import BadCredentials, InvalidRequest
from wxsession.events.audit import SYSTEM
from wxsession.operations.admins.admin import Role
from wxsession.operations.admins.ceremonies import Site
from wxsession.operations.admins.passkeys import CHALLENGE_LIFETIME
from wxsession.operations.admins.signing_in import AdminSession
from wxsession.simulator import SettableClock
from wxsession.storage.tables import admin_passkeys

pytestmark = pytest.mark.long

AUTHENTICATOR: Final = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@dataclass
class Browser:
    """A browser with an authenticator, at the address of the console."""

    page: Page
    cdp: CDPSession
    authenticator: str
    url: str

    def open(self, path: str) -> None:
        """Show a page."""
        self.page.goto(self.url + path)

    def verify_nobody(self) -> None:
        """Let the authenticator see that somebody is there, and not who."""
        self._set("WebAuthn.setUserVerified", isUserVerified=False)

    def credentials(self) -> list[dict[str, Any]]:
        """Return what the authenticator has."""
        asked = {"authenticatorId": self.authenticator}
        found: list[dict[str, Any]] = self.cdp.send("WebAuthn.getCredentials", asked)["credentials"]
        return found

    def _set(self, method: str, **values: object) -> None:
        self.cdp.send(method, {"authenticatorId": self.authenticator, **values})


@contextmanager
def serving(console: Flask) -> Iterator[str]:
    """Serve the console until the block ends: on this machine a browser trusts plain HTTP."""
    port = free_port()
    server = make_server("127.0.0.1", port, console, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Return a Chromium."""
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    assert program, "Chromium is missing: apt install chromium-headless-shell"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])


@pytest.fixture
def browser(console: Flask, chromium: Chromium) -> Iterator[Browser]:
    """Return a browser that knows nobody yet."""
    with serving(console) as url, chromium.new_context() as context:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        cdp = context.new_cdp_session(page)
        cdp.send("WebAuthn.enable")
        options = {"options": AUTHENTICATOR}
        id_ = cdp.send("WebAuthn.addVirtualAuthenticator", options)["authenticatorId"]
        yield Browser(page, cdp, id_, url)


@pytest.fixture
def signed_in(browser: Browser, desk: Desk) -> Browser:
    """Return the browser in which ada is signed in, and has a passkey."""
    link = desk.added(Role.OWNER)
    browser.open(link)
    desk.secret = browser.page.inner_text(".secret")
    browser.page.fill("[name=password]", PASSWORD)
    browser.page.fill("[name=code]", desk.code())
    browser.page.click("main button")
    browser.page.wait_for_selector("nav")
    (cookie,) = [one for one in browser.page.context.cookies() if one["name"] == COOKIE]
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    assert browser.page.evaluate("document.cookie") == ""
    browser.open("/account")
    browser.page.fill("[name=name]", "my laptop")
    browser.page.click("form[data-passkey] button")
    browser.page.wait_for_selector("text=my laptop")
    return browser


def sign_out(browser: Browser) -> None:
    browser.page.click("form[action$='sign-out'] button")
    browser.page.wait_for_url("**/sign-in")


def test_a_passkey_replaces_password_and_code(
    signed_in: Browser, clock: SettableClock, console: Flask
) -> None:
    (credential,) = signed_in.credentials()
    assert credential["isResidentCredential"]
    sign_out(signed_in)
    clock.advance(seconds=1)
    signed_in.open("/sign-in")  # a challenge from after the passkey was made
    signed_in.page.click("form[data-passkey] button")
    signed_in.page.wait_for_selector("nav")
    assert signed_in.page.inner_text(".who a") == "ada"
    (admin,) = services_of(console).admins.every()
    assert admin.last_login_at == clock()


def test_a_passkey_is_a_second_factor_again(
    signed_in: Browser, clock: SettableClock, console: Flask
) -> None:
    clock.advance(minutes=11)
    signed_in.open("/admins")
    signed_in.page.fill("form.line [name=name]", "bob")
    signed_in.page.click("form.line button")
    signed_in.page.wait_for_selector("text=Is it you?")
    clock.advance(seconds=1)
    signed_in.page.click("form[data-passkey] button")
    signed_in.page.wait_for_selector("text=Give this link to bob")
    assert [one.name for one in services_of(console).admins.every()] == ["ada", "bob"]


def test_an_authenticator_that_does_not_know_who_is_there_lets_nobody_in(
    signed_in: Browser, clock: SettableClock
) -> None:
    sign_out(signed_in)
    signed_in.verify_nobody()
    clock.advance(seconds=1)
    signed_in.open("/sign-in")
    signed_in.page.click("form[data-passkey] button")
    signed_in.page.wait_for_selector("[data-failed]:visible")
    assert signed_in.page.url.endswith("/sign-in")


def test_who_removes_a_passkey_or_is_reset_or_disabled_gets_in_by_it_no_more(
    signed_in: Browser, clock: SettableClock, console: Flask
) -> None:
    admins = services_of(console).admins
    admins.disable("ada")
    clock.advance(seconds=1)
    signed_in.open("/sign-in")
    signed_in.page.click("form[data-passkey] button")
    signed_in.page.wait_for_selector("text=This passkey is not accepted")
    admins.enable("ada")
    admins.reset("ada")
    clock.advance(seconds=1)
    signed_in.open("/sign-in")
    signed_in.page.click("form[data-passkey] button")
    signed_in.page.wait_for_selector("text=This passkey is not accepted")


RESPOND: Final = """async () => {
  const form = document.querySelector('form[data-passkey]')
  await ask(form)
  return form.querySelector('[data-response]').value
}"""


def test_a_response_is_good_once_for_its_own_site_and_for_a_while(
    signed_in: Browser, clock: SettableClock, console: Flask
) -> None:
    passkeys = services_of(console).passkeys
    host = signed_in.url.removeprefix("http://")
    site = Site("localhost", (f"https://{host}", f"http://{host}"))

    def respond() -> str:
        clock.advance(seconds=1)
        signed_in.page.context.clear_cookies()
        signed_in.open("/sign-in")
        response: str = signed_in.page.evaluate(RESPOND)
        return response

    late = respond()
    clock.advance(seconds=CHALLENGE_LIFETIME.total_seconds() + 1)
    elsewhere, response = respond(), respond()
    tampered = json.loads(response)
    tampered["response"]["signature"] = "AAAA"
    (admin,) = services_of(console).admins.every()
    session = AdminSession(admin, "its-token", is_fresh=True)
    for refused, there in (
        (late, site),
        (elsewhere, Site("evil.test", ("https://evil.test",))),
        (elsewhere, Site("localhost", ("https://evil.test",))),
        (json.dumps(tampered), site),
        ("", site),
        ("{}", site),
        ("[" * 100_000, site),
        ('{"id": 1}', site),
    ):
        with pytest.raises(BadCredentials):
            passkeys.sign_in(refused, there, SYSTEM)
        with pytest.raises(InvalidRequest):
            passkeys.register(session, "x", refused, there, SYSTEM)
    assert passkeys.sign_in(response, site, SYSTEM)
    clock.advance(seconds=1)
    with services_of(console).database.statement() as connection:
        # As of a passkey that several devices share: those do not count.
        connection.execute(update(admin_passkeys).values(sign_count=0))
    with pytest.raises(BadCredentials):
        passkeys.sign_in(response, site, SYSTEM)
