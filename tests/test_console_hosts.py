"""The console in a host application, behind gunicorn, and when the database is away."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from tests.support.app import CHEAP_HASHER, services_of
from tests.support.databases import ON_BOTH
from tests.support.desk import ORIGIN, OWN_PAGE, Desk, words_of
from tests.support.phone import Phone
from tests.support.service import Service
from tests.support.settings import environment, settings_for
from tests.test_administration import Operator
from wxsession import WxSession
from wxsession.console import Console, create_console
from wxsession.console.admission import COOKIE
from wxsession.operations.admins.admin import Role
from wxsession.simulator import SettableClock, WeChat, wechat_transport
from wxsession.storage.tables import audit_events


@pytest.fixture
def host(
    database_url: str, clock: SettableClock, wechat: WeChat, tmp_path: Path
) -> Iterator[Flask]:
    """Return a shop with the extension, the console, and pages that are called like ours."""
    templates = tmp_path / "templates"
    templates.mkdir()
    for name in ("base.html", "users.html", "macros.html"):
        (templates / name).write_text("the shop's own", encoding="utf-8")
    app = Flask("shop", template_folder=str(templates))
    app.config.from_mapping(environment(database_url))
    http = wechat_transport(wechat)
    WxSession(app, clock=clock, http=http, hasher=CHEAP_HASHER)
    Console(app, url_prefix="/back-office")
    app.add_url_rule("/users", view_func=lambda: "the shop's own users")
    yield app
    services_of(app).database.close()


def test_a_host_application_has_the_console_below_a_path_of_its_own(
    host: Flask, clock: SettableClock, wechat: WeChat
) -> None:
    desk = Desk(host, clock, "ada", prefix="/back-office")
    assert desk.enter().is_in
    phone = Phone(host, wechat, "alice")
    code = phone.code()
    grant = phone.send("POST", "/auth/login", json={"code": code, "appid": phone.appid})
    page = desk.get("/users")
    assert f'href="/back-office/users/{grant.json["user"]["id"]}"' in page.text
    every = re.findall(r'(?:href|src|action)="([^"]+)"', page.text)
    assert every
    assert all(path.startswith(("/back-office/", "#")) for path in every)
    assert "the shop's own" not in page.text
    assert host.test_client().get("/users").text == "the shop's own users"
    assert "Content-Security-Policy" not in host.test_client().get("/users").headers
    assert desk.get("/").headers["Location"].startswith("/back-office/")
    assert desk.act("/users/nonsense").status_code in {404, 405}


def test_it_may_be_mounted_below_a_path_by_the_server(console: Flask, clock: SettableClock) -> None:
    desk = Desk(console, clock, "ada").enter()
    below = {"base_url": f"{ORIGIN}/tools"}
    users = desk.client.get("/users", **below)
    assert 'href="/tools/users" aria-current="page"' in users.text
    asked = Desk(console, clock, "bob").client.get("/users", **below)
    assert asked.headers["Location"] == "/tools/sign-in?next=/tools/users"
    clock.advance(minutes=11)
    form = {"form_token": desk.form_token(), "name": "bob", "role": "viewer"}
    again = desk.client.post("/admins", data=form, headers=OWN_PAGE, **below)
    assert 'action="/tools/admins"' in again.text


def test_a_host_application_has_no_console_unless_it_asks_for_one(
    database_url: str, wechat: WeChat
) -> None:
    app = Flask("shop")
    with pytest.raises(RuntimeError, match="WxSession"):
        Console(app)
    app.config.from_mapping(environment(database_url))
    WxSession(app, http=wechat_transport(wechat))
    assert not [rule for rule in app.url_map.iter_rules() if "console" in rule.endpoint]
    services_of(app).database.close()


class ConsoleService(Service):
    """The console behind gunicorn."""

    alive = "/sign-in"


def test_behind_gunicorn_the_console_is_a_process_of_its_own(database_url: str) -> None:
    with ConsoleService(database_url, module="wsgi:console") as console:
        page = console.http.get(f"{console.url}/users", timeout=30)
        assert page.url.endswith("/sign-in?next=/users")
        assert "wxsession" in page.text
        assert console.http.get(f"{console.url}/check_session", timeout=30).status_code == 404


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "sqlite:///{}/none.db"])
def test_while_the_database_is_away_a_page_says_what_to_do(
    url: str, tmp_path: Path, clock: SettableClock, wechat: WeChat
) -> None:
    settings = settings_for(url.format(tmp_path), database_timeout="3s")
    console = create_console(settings, clock=clock, http=wechat_transport(wechat))
    client = console.test_client()
    client.set_cookie(COOKIE, "x" * 43, domain="console.test")
    said = "upgrade-database" if url.startswith("sqlite") else "Open the page again in a moment"
    for path in ("/users", "/link/some", "/account"):
        answer = client.get(path, base_url=ORIGIN)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert said in words_of(answer)
        assert "Traceback" not in answer.text
    form = {"name": "ada", "password": "correct horse battery", "code": "000000"}
    assert client.post("/sign-in", data=form, headers=OWN_PAGE, base_url=ORIGIN).status_code == 503
    with client.get("/static/console.css", base_url=ORIGIN) as file:
        assert file.status_code == 200
    services_of(console).database.close()


# The commands.


def test_the_command_prints_a_link_and_lists_who_there_is(
    app: Flask, console: Flask, clock: SettableClock
) -> None:
    operator = Operator(app)
    added = operator.ask("admins", "add", "Ada", "--role", "owner", "--as", "ops")
    assert (added["name"], added["role"]) == ("ada", "owner")
    assert added["link"].startswith("http://127.0.0.1:8002/link/")
    desk = Desk(console, clock, "ada")
    assert desk.accept(added["link"].removeprefix("http://127.0.0.1:8002")).status_code == 303
    (one,) = operator.ask("admins", "list")["admins"]
    assert (one["name"], one["role"], one["disabled_at"]) == ("ada", "owner", None)
    assert operator.ask("admins", "disable", "ada") == {"name": "ada", "disabled": True}
    assert not desk.is_in
    assert operator.ask("admins", "enable", "ADA")["disabled"] is False
    shown = operator.read("admins", "reset", "ada")
    assert re.search(r"^http://127\.0\.0\.1:8002/link/[\w-]{43}$", shown, re.MULTILINE)
    assert "ada (owner) opens this link until" in shown


@ON_BOTH
def test_a_new_admin_is_a_viewer_unless_a_role_is_named(app: Flask) -> None:
    operator = Operator(app)
    operator.read("admins", "add", "bob")
    (one,) = services_of(app).admins.every()
    assert one.role is Role.VIEWER
    for arguments, status, said in (
        (("add", "bob"), 1, "is that of an admin already"),
        (("add", "b ob"), 1, "no blanks"),
        (("add", "carol", "--role", "king"), 2, "'king' is not one of"),
        (("reset", "nobody"), 1, "no admin has this name"),
        (("disable", "nobody"), 1, "no admin has this name"),
    ):
        refused = operator.run("admins", *arguments)
        assert refused.exit_code == status
        assert said in refused.output


def test_nothing_of_a_link_is_kept_that_would_open_it(app: Flask, database_url: str) -> None:
    link = Operator(app).ask("admins", "add", "ada")["link"]
    token = link.rpartition("/")[2]
    path = Path(database_url.removeprefix("sqlite:///"))
    kept = b"".join(one.read_bytes() for one in path.parent.glob(f"{path.name}*"))
    assert token.encode() not in kept
    secret = services_of(app).admin_sessions.invitation(token).totp_secret
    assert secret.encode() not in kept


def test_requests_of_the_console_have_ids_that_stand_in_events(desk: Desk) -> None:
    desk.enter()
    assert re.search(r"Request [0-9a-f-]{36}", words_of(desk.get("/users/nonsense")))
    c = audit_events.c
    with services_of(desk.console).database.statement() as connection:
        query = select(c.request_id).where(c.event == "admin.signed_in")
        assert connection.execute(query).scalar_one()


def test_behind_a_proxy_the_address_is_that_of_the_browser_and_the_id_that_of_the_proxy(
    database_url: str, clock: SettableClock, wechat: WeChat
) -> None:
    settings = settings_for(database_url, trusted_proxies=1)
    console = create_console(
        settings, clock=clock, http=wechat_transport(wechat), hasher=CHEAP_HASHER
    )
    client = console.test_client()
    form = {"name": "ada", "password": "x", "code": "0"}
    known = "of-the-proxy-1"
    headers = OWN_PAGE | {"X-Forwarded-For": "203.0.113.9, 198.51.100.7", "X-Request-ID": known}
    client.post("/sign-in", data=form, headers=headers, base_url=ORIGIN)
    with services_of(console).database.statement() as connection:
        c = audit_events.c
        found = connection.execute(select(c.client_address, c.request_id)).all()
    assert found == [("198.51.100.7", known)]
    services_of(console).database.close()
