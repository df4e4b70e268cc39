"""A web-view on our own origin: a ticket becomes a cookie, and the cookie a session of its own."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.cookies import SimpleCookie
from uuid import UUID

import pytest
from flask import Flask

from tests.support.app import CHEAP_HASHER, services_of
from tests.support.databases import ON_BOTH
from tests.support.phone import Answer, Phone, problem
from tests.support.settings import environment
from wxsession import WxSession, current_session, session_required
from wxsession.operations.figures import PERIODS
from wxsession.simulator import SettableClock, WeChat, wechat_transport

OWN = "https://shop.example.com"
OTHER = "https://other.example.com"
COOKIE = "__Host-wxsession"
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def make_host(
    database_url: str, clock: SettableClock, wechat: WeChat
) -> Iterator[Callable[..., Flask]]:
    """Return a function that makes an application with sessions, and pages for a web-view."""
    made: list[Flask] = []

    def make(**settings: object) -> Flask:
        host = Flask("shop")
        own: dict[str, object] = {
            "url_prefix": "/",
            "issuer": OWN,
            "cookie": "on",
            "ticket_audiences": f"{OWN},{OTHER}",
            "max_sessions": 1,
        }
        host.config.from_mapping(environment(database_url, **{**own, **settings}))
        WxSession(host, clock=clock, http=wechat_transport(wechat), hasher=CHEAP_HASHER)

        @host.route("/orders", methods=["GET", *UNSAFE])
        @session_required
        def orders() -> dict[str, str]:
            return {
                "user": str(current_session.user_id),
                "session": str(current_session.session_id),
                "openid": str(current_session.openid),
            }

        @host.route("/news", methods=["GET", *UNSAFE])
        @session_required(optional=True)
        def news() -> dict[str, bool]:
            return {"known": bool(current_session)}

        made.append(host)
        return host

    yield make
    for host in made:
        services_of(host).database.close()


@pytest.fixture
def app(make_host: Callable[..., Flask]) -> Flask:
    """Return such an application, where a user may have one session."""
    return make_host()


def ticket_of(phone: Phone, audience: str = OWN) -> str:
    body = {"audience": audience}
    answer = phone.send("POST", "/tickets", json=body, token=phone.token)
    assert answer.status_code == 200, answer.text
    return str(answer.json["ticket"])


def open_view(phone: Phone, ticket: str, to: str = "/orders", **headers: str) -> Answer:
    """Open a page in a web-view."""
    return phone.send(
        "GET", "/web-view", query_string={"ticket": ticket, "to": to}, headers=headers
    )


def cookie_of(opened: Answer) -> dict[str, str]:
    """Return the header by which a browser shows the cookie that it was given."""
    (given,) = opened.headers.getlist("Set-Cookie")
    return {"Cookie": f"{COOKIE}={SimpleCookie(given)[COOKIE].value}"}


def get_in(phone: Phone) -> dict[str, str]:
    return cookie_of(open_view(phone, ticket_of(phone)))


@ON_BOTH
def test_a_ticket_becomes_a_cookie_that_the_guard_takes(phone: Phone) -> None:
    grant = phone.log_in().json
    opened = open_view(phone, ticket_of(phone), "/orders?page=2#top")
    assert (opened.status_code, opened.headers["Location"]) == (303, "/orders?page=2#top")
    assert opened.headers["Cache-Control"] == "no-store"
    (given,) = opened.headers.getlist("Set-Cookie")
    for attribute in ("HttpOnly", "Secure", "SameSite=Lax", "Path=/"):
        assert f"; {attribute}" in given
    assert "Domain" not in given
    page = phone.send("GET", "/orders", headers=cookie_of(opened))
    assert page.json["user"] == grant["user"]["id"]
    assert page.json["session"] != grant["session_id"]
    assert page.json["openid"].startswith("o")


def test_a_web_view_that_is_opened_is_no_login_in_the_figures(phone: Phone, app: Flask) -> None:
    phone.log_in()
    for _ in range(3):
        get_in(phone)
    assert services_of(app).figures.overview(PERIODS["24h"]).logins.total() == 1


@ON_BOTH
def test_of_fifty_at_once_one_gets_in(phone: Phone) -> None:
    phone.log_in()
    ticket = ticket_of(phone)
    with ThreadPoolExecutor(50) as pool:
        opened = list(pool.map(lambda _: open_view(phone, ticket), range(50)))
    assert sorted(answer.status_code for answer in opened) == [303] + [400] * 49
    assert len(phone.sessions()) == 2


def test_a_ticket_for_elsewhere_or_used_or_over_does_not_get_in(
    phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    used = ticket_of(phone)
    get_in(phone)
    open_view(phone, used)
    over = ticket_of(phone)
    clock.advance(minutes=1)
    for ticket in (ticket_of(phone, OTHER), used, over, "nonsense"):
        refused = open_view(phone, ticket)
        assert problem(refused) == (400, "invalid_ticket", None)
        assert "Set-Cookie" not in refused.headers


@pytest.mark.parametrize(
    "to",
    [
        *("//evil.example.com", "/\\evil.example.com", "\\\\evil.example.com", "\\/evil"),
        *("https://evil.example.com", "javascript:alert(1)", "evil.example.com", "orders", ""),
        *("/\t/evil.example.com", "/\n/evil", "/\r\nSet-Cookie: a=b", " /orders", "/ orders"),
        *("/orders\\..\\evil", "/\0"),
    ],
)
def test_it_goes_on_to_no_other_origin(phone: Phone, to: str) -> None:
    phone.log_in()
    ticket = ticket_of(phone)
    refused = open_view(phone, ticket, to)
    assert problem(refused) == (400, "invalid_request", None)
    assert refused.json["errors"][0]["field"] == "to"
    assert {"Location", "Set-Cookie"}.isdisjoint(refused.headers.keys())
    assert open_view(phone, ticket).status_code == 303  # nothing was spent


def test_a_path_in_chinese_is_encoded(phone: Phone) -> None:
    phone.log_in()
    opened = open_view(phone, ticket_of(phone), "/订单?页=2")
    assert opened.headers["Location"] == "/%E8%AE%A2%E5%8D%95?%E9%A1%B5=2"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_page_cannot_bring_a_ticket_of_its_own(phone: Phone, site: str) -> None:
    phone.log_in()
    ticket = ticket_of(phone)
    refused = open_view(phone, ticket, **{"Sec-Fetch-Site": site})
    assert problem(refused) == (400, "invalid_request", None)
    assert "Set-Cookie" not in refused.headers
    assert open_view(phone, ticket, **{"Sec-Fetch-Site": "none"}).status_code == 303


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize(
    ("headers", "is_taken"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": OWN}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": OTHER}, True),  # a browser says the former
        ({}, False),
        ({"Origin": "null"}, False),
        ({"Origin": OTHER}, False),
        ({"Origin": OWN.replace("https", "http")}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": OWN}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": OWN}, False),
    ],
)
def test_what_changes_something_has_to_come_from_an_own_page(
    phone: Phone, method: str, headers: dict[str, str], *, is_taken: bool
) -> None:
    phone.log_in()
    shown = {**get_in(phone), **headers}
    page = phone.send(method, "/orders", headers=shown)
    assert phone.send(method, "/news", headers=shown).json == {"known": is_taken}
    if is_taken:
        assert page.status_code == 200
    else:
        assert problem(page) == (401, "missing_token", None)


def test_a_token_in_the_header_comes_before_the_cookie(phone: Phone) -> None:
    grant = phone.log_in().json
    shown = get_in(phone)
    page = phone.send("POST", "/orders", headers=shown, token=phone.token)
    assert page.json["session"] == grant["session_id"]


def test_the_page_is_logged_out_with_the_mini_program(phone: Phone) -> None:
    phone.log_in()
    shown = get_in(phone)
    phone.log_out()
    assert problem(phone.send("GET", "/orders", headers=shown)) == (401, "session_ended", "logout")


def test_the_page_may_be_logged_out_alone(phone: Phone) -> None:
    phone.log_in()
    shown = get_in(phone)
    session = phone.send("GET", "/orders", headers=shown).json["session"]
    phone.send("DELETE", f"/sessions/{session}", token=phone.token)
    assert problem(phone.send("GET", "/orders", headers=shown)) == (401, "session_ended", "revoked")
    assert phone.check().status_code == 200


def test_it_does_not_count_for_the_cap_and_there_is_one_of_it(phone: Phone) -> None:
    phone.log_in()
    first = get_in(phone)
    second = get_in(phone)
    assert phone.check().status_code == 200
    replaced = phone.send("GET", "/orders", headers=first)
    assert problem(replaced) == (401, "session_ended", "replaced")
    assert phone.send("GET", "/orders", headers=second).status_code == 200
    assert len(phone.sessions()) == 2


def test_another_phone_takes_the_place_of_the_phone_and_of_its_page(
    phone: Phone, make_phone: Callable[..., Phone]
) -> None:
    phone.log_in()
    shown = get_in(phone)
    make_phone().log_in()
    ended = phone.send("GET", "/orders", headers=shown)
    assert problem(ended) == (401, "session_ended", "evicted")


def test_the_page_outlives_a_refresh_but_not_the_session(
    phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    clock.advance(days=6)
    phone.refresh()
    shown = get_in(phone)
    for _ in range(3):
        phone.refresh()
    for _ in range(3):
        clock.advance(days=6)
        phone.check()
        assert phone.send("GET", "/orders", headers=shown).status_code == 200
    clock.advance(days=6)
    ended = phone.send("GET", "/orders", headers=shown)
    assert problem(ended) == (401, "session_expired", "absolute")


def test_a_page_may_open_the_next_one(phone: Phone) -> None:
    phone.log_in()
    shown = get_in(phone)
    page = Phone(phone.app, phone.wechat, "alice", token=shown["Cookie"].partition("=")[2])
    shown = get_in(page)
    assert phone.send("GET", "/orders", headers=shown).status_code == 200
    phone.log_out()
    assert problem(phone.send("GET", "/orders", headers=shown)) == (401, "session_ended", "logout")


def page_of(phone: Phone) -> Phone:
    """Return the page of a new web-view, as a client that presents its session as a token."""
    token = get_in(phone)["Cookie"].partition("=")[2]
    return Phone(phone.app, phone.wechat, phone.user, token=token)


ACCOUNT = {"username": "alice_shop", "password": "correct horse battery"}


@ON_BOTH
def test_nothing_that_outlives_the_phones_session_comes_of_a_page(
    make_host: Callable[..., Flask], wechat: WeChat
) -> None:
    phone = Phone(make_host(device_login="on"), wechat, "alice")
    phone.log_in()
    page = page_of(phone)
    code = phone.send("POST", "/device_logins").json["user_code"]
    changed = {"password": ACCOUNT["password"], "new_password": "another long password"}
    for method, path, body in (
        ("POST", "/register", ACCOUNT),
        ("POST", "/bind", ACCOUNT),
        ("PUT", "/password", changed),
        ("POST", "/device_logins/decide", {"user_code": code, "approve": True}),
    ):
        refused = page.send(method, path, json=body, token=page.token)
        assert problem(refused) == (403, "reauthentication_required", None), path
    assert page.check().status_code == 200
    assert phone.send("POST", "/register", json=ACCOUNT, token=phone.token).status_code == 201


@ON_BOTH
def test_of_a_page_whose_phone_is_logged_out_nothing_is_left(
    make_host: Callable[..., Flask], wechat: WeChat
) -> None:
    phone = Phone(make_host(max_sessions=5), wechat, "alice")
    phone.log_in()
    page = page_of(phone)
    phone.log_out()
    user_id = UUID(phone.log_in().json["user"]["id"])
    assert problem(page.refresh()) == (401, "session_ended", "logout")
    page.log_out(everywhere=True)
    assert phone.check().status_code == 200
    assert [one["current"] for one in phone.sessions()] == [True]
    directory = services_of(phone.app).directory
    assert directory.user(user_id).live_sessions == 1
    assert len(directory.sessions(user_id).items) == 1
    every = directory.sessions(user_id, every=True).items
    assert [(one.state, one.reason, one.ended_at is None) for one in every] == [
        ("live", None, True),
        ("ended", "logout", False),
        ("ended", "logout", False),
    ]
    assert every[1].ended_at == every[2].ended_at  # the page's is that of its phone


def test_a_page_says_when_the_phones_session_expires(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    page = page_of(phone)
    clock.advance(days=6, hours=23)
    assert page.check().json["expires_in"] == 3600
    assert [one["expires_in"] for one in page.sessions()] == [3600, 3600]
    assert page.refresh().json["expires_in"] == 3600
    clock.advance(hours=1)
    assert problem(page.check()) == (401, "session_expired", "idle")


def test_a_purged_session_leaves_no_page_behind(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    shown = get_in(phone)
    phone.log_out()
    clock.advance(days=1)
    services_of(phone.app).purge.run(timedelta(0))
    page = phone.send("GET", "/orders", headers=shown)
    assert problem(page) == (401, "session_ended", "revoked")


def test_without_the_setting_there_is_no_cookie(make_host: Callable[..., Flask]) -> None:
    host = make_host(cookie="off")
    assert host.test_client().get("/web-view?ticket=a").status_code == 404
    shown = {"Cookie": f"{COOKIE}=nonsense"}
    assert host.test_client().get("/news", headers=shown).json == {"known": False}


def test_the_endpoints_do_not_take_the_cookie(phone: Phone) -> None:
    phone.log_in()
    shown = {**get_in(phone), "Sec-Fetch-Site": "same-origin"}
    for method, path in (("GET", "/check_session"), ("GET", "/sessions"), ("POST", "/refresh")):
        assert problem(phone.send(method, path, headers=shown)) == (401, "missing_token", None)
