"""The cookie of a web-view in a real browser: other people's pages do nothing with it."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest
from flask import Flask, request
from playwright.sync_api import Page, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.support.app import services_of
from tests.support.phone import Phone
from tests.support.service import free_port
from tests.support.settings import environment
from wxsession import WxSession, current_session, session_required
from wxsession.simulator import SettableClock, WeChat, wechat_transport

pytestmark = pytest.mark.long

PATIENCE: Final = 60_000
"""Milliseconds for what a page does; the machine may have other things to do."""


@dataclass
class Shop:
    """An application with a web-view: where it is, and whose requests its guard let in."""

    origin: str
    app: Flask
    admitted: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def shop(database_url: str, clock: SettableClock, wechat: WeChat) -> Iterator[Shop]:
    """Return a running shop at an origin of its own."""
    port = free_port()
    origin = f"https://shop.test:{port}"
    app = Flask("shop")
    here = Shop(origin, app)
    own = {"url_prefix": "/", "issuer": origin, "cookie": "on", "ticket_audiences": origin}
    app.config.from_mapping(environment(database_url, **own))
    WxSession(app, clock=clock, http=wechat_transport(wechat))

    @app.before_request
    def note() -> None:
        here.asked.append(f"{request.method} {request.path}")

    @app.route("/orders", methods=["GET", "POST"])
    @session_required
    def orders() -> str:
        here.admitted.append(request.method)
        return f"<h1>{current_session.user_id}</h1>"

    with serving(app, port):
        yield here
    services_of(app).database.close()


@pytest.fixture
def evil() -> Iterator[Callable[..., str]]:
    """Return a function that serves a page at the origin of somebody else, and returns where."""
    port = free_port()
    app = Flask("evil")
    pages: dict[str, str] = {}
    app.add_url_rule("/<name>", view_func=lambda name: pages[name])

    def put(name: str, page: str, host: str = "evil.test") -> str:
        pages[name] = page
        return f"https://{host}:{port}/{name}"

    with serving(app, port):
        yield put


class Silent(WSGIRequestHandler):
    """Logs no request: there are tickets in their addresses."""

    def log_request(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def serving(app: Flask, port: int) -> Iterator[None]:
    """Serve an application over HTTPS until the block ends."""
    server = make_server(
        "127.0.0.1", port, app, threaded=True, request_handler=Silent, ssl_context="adhoc"
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page() -> Iterator[Page]:
    """Return a page of a browser for which every name is this machine."""
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    assert program, "Chromium is missing: apt install chromium-headless-shell"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--host-resolver-rules=MAP * 127.0.0.1"],
        )
        context = browser.new_context(ignore_https_errors=True)
        context.set_default_timeout(PATIENCE)
        yield context.new_page()
        browser.close()


@pytest.fixture
def user(shop: Shop, wechat: WeChat, page: Page) -> str:
    """Return the id of a user whose web-view has the cookie; the shop remembers nothing of it."""
    phone = Phone(shop.app, wechat, "alice")
    id_: str = phone.log_in().json["user"]["id"]
    page.goto(f"{shop.origin}/web-view?ticket={ticket_of(phone, shop)}&to=/orders")
    assert page.url == f"{shop.origin}/orders"
    assert page.inner_text("h1") == id_
    shop.admitted.clear()
    shop.asked.clear()
    return id_


def ticket_of(phone: Phone, shop: Shop) -> str:
    asked = phone.send("POST", "/tickets", json={"audience": shop.origin}, token=phone.token)
    return str(asked.json["ticket"])


@pytest.mark.usefixtures("user")
def test_a_page_of_the_shop_acts_for_its_user_and_cannot_read_the_cookie(
    shop: Shop, page: Page
) -> None:
    assert page.evaluate("fetch('/orders', {method: 'POST'}).then(answer => answer.status)") == 200
    assert shop.admitted == ["POST"]
    assert page.evaluate("document.cookie") == ""
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["domain"]) == ("__Host-wxsession", "shop.test")
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Lax")


# What another page can send: of these, no request is let in.
FETCH: Final = (
    "<script>fetch('{to}', {{method: '{method}', mode: 'no-cors', credentials: 'include'}})"
)
DONE: Final = ".finally(() => document.title = 'done')</script>"
FORM: Final = (
    '<form method="{method}" action="{to}"></form><script>document.forms[0].submit()</script>'
)
FRAME: Final = "<iframe src='{to}' onload=\"document.title = 'done'\"></iframe>"
IMAGE: Final = "<img src='{to}' onerror=\"document.title = 'done'\">"


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize("host", ["evil.test", "evil.shop.test"])
@pytest.mark.parametrize(
    ("content", "method"),
    [(FORM, "POST"), (FETCH + DONE, "POST"), (FETCH + DONE, "GET"), (FRAME, "GET"), (IMAGE, "GET")],
    ids=["form", "fetch to write", "fetch to read", "frame", "image"],
)
def test_a_page_of_somebody_else_does_nothing(
    shop: Shop, evil: Callable[..., str], page: Page, content: str, method: str, host: str
) -> None:
    to = f"{shop.origin}/orders"
    page.goto(evil("page", content.format(to=to, method=method), host))
    if content is FORM:
        page.wait_for_url(to)
        assert "missing_token" in page.content()
    else:
        page.wait_for_function("document.title == 'done'")
    assert shop.asked == [f"{method} /orders"]
    # A page of the same site may load what is safe, and read nothing of it.
    assert shop.admitted == (["GET"] if (host, method) == ("evil.shop.test", "GET") else [])


def test_a_page_of_somebody_else_cannot_log_the_user_in_as_another(
    shop: Shop, evil: Callable[..., str], page: Page, wechat: WeChat, user: str
) -> None:
    mallory = Phone(shop.app, wechat, "mallory")
    mallory.log_in()
    to = f"{shop.origin}/web-view?ticket={ticket_of(mallory, shop)}&to=/orders"
    page.goto(evil("page", f"<script>location = '{to}'</script>"))
    page.wait_for_url(to)
    assert "invalid_request" in page.content()
    page.goto(f"{shop.origin}/orders")
    assert page.inner_text("h1") == user
