"""The door of the console: links, passwords with codes, sessions, and who is turned away."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.cookies import SimpleCookie

import pytest
from flask import Flask
from sqlalchemy import select

from tests.support.app import services_of
from tests.support.databases import ON_BOTH
from tests.support.desk import ORIGIN, OWN_PAGE, PASSWORD, Desk, words_of
from wxsession.accounts.throttle import FAILURES_PER_ACCOUNT, WINDOW
from wxsession.console.admission import COOKIE, HEADERS
from wxsession.operations.admins.admin import Role
from wxsession.operations.admins.register import LINK_LIFETIME
from wxsession.operations.admins.signing_in import IDLE, LIFETIME
from wxsession.simulator import SettableClock
from wxsession.storage.tables import admin_sessions, audit_events

WRONG = "The name, the password or the code is wrong"

MakeDesk = Callable[..., Desk]


def told(console: Flask, event: str) -> list[tuple[str | None, str | None]]:
    """Return reason and actor of the events of this name."""
    c = audit_events.c
    with services_of(console).database.statement() as connection:
        query = select(c.reason, c.actor).where(c.event == event).order_by(c.id)
        return [tuple(row) for row in connection.execute(query)]


@ON_BOTH
def test_a_link_lets_its_admin_in_once_who_has_then_a_password_and_a_code(
    desk: Desk, make_desk: MakeDesk
) -> None:
    link = desk.added()
    assert "Welcome, ada" in words_of(desk.get(link))
    assert desk.accept(link).status_code == 303
    assert desk.is_in
    late = make_desk("mallory").get(link)
    assert late.status_code == 410
    assert "flask --app wsgi admins reset NAME" in words_of(late)
    desk.post("/sign-out")
    assert desk.sign_in().status_code == 303
    assert desk.is_in
    assert told(desk.console, "admin.added") == [("ada", "root")]
    assert told(desk.console, "admin.signed_in") == [(None, "ada")] * 2


@ON_BOTH
def test_of_two_who_have_the_same_link_one_gets_in(desk: Desk, make_desk: MakeDesk) -> None:
    link = desk.added()
    other = make_desk("mallory")
    for one in (desk, other):
        one.scan(link)
    with ThreadPoolExecutor() as pool:
        answers = list(
            pool.map(lambda one: one.post(link, password=PASSWORD, code=one.code()), (desk, other))
        )
    assert sorted(answer.status_code for answer in answers) == [303, 410]
    assert [desk.is_in, other.is_in] == [answer.status_code == 303 for answer in answers]


def test_a_link_is_over_after_an_hour(desk: Desk, clock: SettableClock) -> None:
    link = desk.added()
    clock.advance(seconds=LINK_LIFETIME.total_seconds() - 1)
    assert desk.get(link).status_code == 200
    clock.advance(seconds=1)
    refused = desk.get(link)
    assert refused.status_code == 410
    assert "older than an hour" in words_of(refused)
    assert desk.post(link, password=PASSWORD, code="000000").status_code == 410


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short", "needs 8 to 128 characters"),
        ("password1", "is one of the most common passwords"),
        ("administrator-ada", "is the username"),
    ],
)
def test_a_bad_password_leaves_the_link_as_it_was(
    make_desk: MakeDesk, password: str, said: str
) -> None:
    desk = make_desk("administrator-ada")
    link = desk.added()
    refused = desk.accept(link, password=password)
    assert refused.status_code == 200
    assert said in words_of(refused)
    assert not desk.is_in
    assert desk.accept(link).status_code == 303


def test_a_code_that_is_not_of_the_scanned_secret_leaves_the_link_as_it_was(desk: Desk) -> None:
    link = desk.added()
    refused = desk.post(link, password=PASSWORD, code="000000")
    assert "is not the one that the app shows now" in words_of(refused)
    assert desk.accept(link).status_code == 303


def test_there_is_no_admin_before_somebody_adds_one(console: Flask, desk: Desk) -> None:
    assert services_of(console).admins.every() == []
    for name in ("admin", "root", "demo", "wxsession", ""):
        for password in ("", "admin", "root", "password", "changeme"):
            answer = desk.post("/sign-in", name=name, password=password, code="")
            assert answer.status_code in {200, 429}
            assert not desk.is_in


@ON_BOTH
def test_whatever_is_wrong_the_answer_is_the_same(
    desk: Desk, make_desk: MakeDesk, clock: SettableClock
) -> None:
    desk.enter()
    desk.post("/sign-out")
    clock.advance(seconds=30)
    stranger = make_desk("nobody", secret=desk.secret)
    answers = [
        desk.sign_in(password="guess guess"),
        desk.sign_in(code="000000"),
        desk.sign_in(code="\uff11" * 6),
        stranger.sign_in(code="000000"),
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert WRONG in words_of(answer)
        assert "admins reset NAME" in words_of(answer)
    assert not desk.is_in
    assert set(told(desk.console, "admin.refused")) == {
        ("bad_credentials", "ada"),
        ("bad_credentials", None),
    }


@ON_BOTH
def test_a_code_is_good_once(desk: Desk, make_desk: MakeDesk, clock: SettableClock) -> None:
    desk.enter()
    clock.advance(seconds=30)
    thief = make_desk("ada", secret=desk.secret)
    seen = desk.code()
    assert desk.sign_in(code=seen).status_code == 303
    assert WRONG in words_of(thief.sign_in(code=seen))
    clock.advance(seconds=-30)
    assert WRONG in words_of(thief.sign_in(code=thief.code()))


@ON_BOTH
def test_of_two_who_send_one_code_at_once_one_gets_in(
    desk: Desk, make_desk: MakeDesk, clock: SettableClock
) -> None:
    desk.enter()
    clock.advance(seconds=30)
    twins = [make_desk("ada", secret=desk.secret) for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda twin: twin.sign_in(code=desk.code()), twins))
    assert sorted(twin.is_in for twin in twins) == [False, True]


@pytest.mark.parametrize(("seconds", "is_in"), [(-60, False), (-30, True), (30, True), (60, False)])
def test_the_clock_of_a_phone_may_be_half_a_minute_off(
    desk: Desk,
    clock: SettableClock,
    seconds: int,
    is_in: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    desk.enter()
    desk.post("/sign-out")
    clock.advance(minutes=10, seconds=seconds)
    shown = desk.code()
    clock.advance(seconds=-seconds)
    desk.sign_in(code=shown)
    assert desk.is_in == is_in


@ON_BOTH
def test_wrong_passwords_are_counted_also_for_a_name_that_is_nobodys(
    desk: Desk, make_desk: MakeDesk, clock: SettableClock
) -> None:
    desk.enter()
    desk.post("/sign-out")
    for name in ("ada", "nobody"):
        guesser = make_desk(name, secret=desk.secret, address=f"203.0.113.{len(name)}")
        for _ in range(FAILURES_PER_ACCOUNT):
            assert WRONG in words_of(guesser.sign_in(password="guess guess", code="000000"))
        refused = guesser.sign_in(password="guess guess", code="000000")
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 0
        assert "Wait 15 minutes" in words_of(refused)
        assert "flask --app wsgi admins reset NAME" in words_of(refused)
    assert desk.sign_in().status_code == 429  # the right password is not told from a wrong one
    assert ("too_many_attempts", None) in told(desk.console, "admin.refused")
    clock.advance(seconds=WINDOW.total_seconds())
    assert desk.sign_in().status_code == 303


def test_a_reset_lifts_what_guesses_have_closed(desk: Desk) -> None:
    desk.enter()
    for _ in range(FAILURES_PER_ACCOUNT):
        desk.sign_in(password="guess guess", code="000000")
    link = services_of(desk.console).admins.reset("ada")
    assert not desk.is_in
    assert desk.sign_in(code="000000").status_code == 200
    assert desk.accept(f"/link/{link.token}").status_code == 303


def test_guesses_of_strangers_do_not_keep_an_admin_from_what_needs_a_code(
    desk: Desk, make_desk: MakeDesk, clock: SettableClock
) -> None:
    desk.enter()
    guesser = make_desk("ada", secret=desk.secret, address="203.0.113.1")
    for _ in range(FAILURES_PER_ACCOUNT + 1):
        guesser.sign_in(password="guess guess", code="000000")
    clock.advance(minutes=11)
    asked = desk.act("/admins", name="bob", role="viewer", second_factor_code=desk.code())
    assert "Give this link to bob" in words_of(asked)


def test_a_thief_with_a_session_does_not_guess_the_code(desk: Desk, clock: SettableClock) -> None:
    desk.enter()
    clock.advance(minutes=11)
    form = {"name": "bob", "role": "viewer"}
    for _ in range(FAILURES_PER_ACCOUNT):
        asked = desk.act("/admins", **form, second_factor_code="000000")
        assert "This is not accepted" in words_of(asked)
    assert desk.act("/admins", **form, second_factor_code=desk.code()).status_code == 429
    assert [one.name for one in services_of(desk.console).admins.every()] == ["ada"]


@ON_BOTH
def test_a_session_ends_when_it_is_not_used_and_after_half_a_day(
    desk: Desk, clock: SettableClock
) -> None:
    desk.enter()
    begun = clock()
    while clock() + timedelta(minutes=29) < begun + LIFETIME:
        clock.advance(minutes=29)
        assert desk.is_in
    clock.set(begun + LIFETIME)
    assert not desk.is_in
    desk.sign_in()
    clock.advance(seconds=IDLE.total_seconds())
    assert not desk.is_in
    desk.sign_in()  # and what is over is cleared away
    with services_of(desk.console).database.statement() as connection:
        assert len(connection.execute(select(admin_sessions.c.token_hash)).all()) == 1


@ON_BOTH
def test_who_is_disabled_or_reset_is_out_and_a_role_holds_at_once(
    desk: Desk, make_desk: MakeDesk
) -> None:
    desk.enter()
    admins = services_of(desk.console).admins
    bob = make_desk("bob").enter()
    admins.change_role("bob", Role.VIEWER, actor="root")
    assert bob.get("/admins").status_code == 403
    admins.disable("bob", actor="root")
    assert not bob.is_in
    assert WRONG in words_of(bob.sign_in())
    admins.enable("bob", actor="root")
    assert not bob.is_in
    assert bob.sign_in().status_code == 303
    admins.reset("bob", actor="root")
    assert not bob.is_in
    assert WRONG in words_of(bob.sign_in())
    assert desk.is_in


def test_a_link_of_somebody_who_was_disabled_opens_nothing(desk: Desk) -> None:
    link = desk.added()
    services_of(desk.console).admins.disable("ada", actor="root")
    assert desk.get(link).status_code == 410


def test_after_signing_out_the_old_cookie_is_dead(desk: Desk, make_desk: MakeDesk) -> None:
    desk.enter()
    stolen = desk.cookie
    assert stolen
    desk.post("/sign-out")
    assert desk.cookie is None
    thief = make_desk("mallory")
    thief.client.set_cookie(COOKIE, stolen, domain="console.test")
    assert not thief.is_in
    assert told(desk.console, "admin.signed_out") == [(None, "ada")]


def test_nobody_is_signed_in_with_a_session_that_was_planted(
    desk: Desk, make_desk: MakeDesk
) -> None:
    desk.enter()
    desk.post("/sign-out")
    mallory = make_desk("mallory").enter(Role.VIEWER)
    planted = mallory.cookie
    assert planted
    for value in (planted, "x" * 43):
        desk.client.set_cookie(COOKIE, value, domain="console.test")
        desk.sign_in()
        assert desk.cookie not in {None, planted, value}
        assert "ada" in words_of(desk.get("/account"))
    assert not mallory.is_in  # the session that the browser had is over


def test_the_cookie_is_for_this_host_and_out_of_reach_of_scripts_and_other_sites(
    desk: Desk,
) -> None:
    given = desk.accept(desk.added()).headers["Set-Cookie"]
    cookie = SimpleCookie(given)[COOKIE]
    assert COOKIE.startswith("__Host-")
    assert (cookie["path"], cookie["domain"]) == ("/", "")
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Strict")
    assert len(cookie.value) == 43  # 256 bits
    with services_of(desk.console).database.statement() as connection:
        (stored,) = connection.execute(select(admin_sessions.c.token_hash)).scalars()
    assert cookie.value.encode() not in bytes(stored)


@pytest.mark.parametrize(
    "path", ["/sign-in", "/users", "/nowhere", "/link/none", "/static/console.css", "/static/no"]
)
def test_every_response_is_protected_and_no_page_is_kept(desk: Desk, path: str) -> None:
    with desk.get(path) as answer:
        assert HEADERS.items() <= dict(answer.headers).items()
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    is_file = answer.status_code == 200 and path.startswith("/static")
    assert answer.headers["Cache-Control"] == ("private, max-age=3600" if is_file else "no-store")


@pytest.mark.parametrize(("method", "path"), [("PUT", "/overview"), ("POST", "/nowhere")])
def test_what_no_route_takes_is_protected_as_well(desk: Desk, method: str, path: str) -> None:
    answer = desk.client.open(path, method=method, base_url=ORIGIN)
    assert answer.status_code in {404, 405}
    assert HEADERS.items() <= dict(answer.headers).items()
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "wanted",
    [
        *("https://evil.test/", "//evil.test/", "/\\evil.test/", "\\\\evil.test"),
        *("javascript:alert(1)", "//[", "/\r\nLocation: //evil.test/", "/\n"),
    ],
)
def test_signing_in_leads_to_no_other_site(desk: Desk, wanted: str) -> None:
    asked = desk.client.get("/sign-in", query_string={"next": wanted}, base_url=ORIGIN)
    assert 'name="next" value=""' in asked.text
    assert desk.post("/language", language="en", next=wanted).headers["Location"] == "/"
    desk.enter()
    desk.post("/sign-out")
    desk.clock.advance(seconds=30)
    form = {"name": "ada", "password": PASSWORD, "code": desk.code(), "next": wanted}
    assert desk.post("/sign-in", **form).headers["Location"] == "/"


def test_signing_in_leads_to_the_page_that_was_asked_for(desk: Desk) -> None:
    desk.enter()
    desk.post("/sign-out")
    asked = desk.get("/users?search=alice")
    assert asked.headers["Location"] == "/sign-in?next=/users?search%3Dalice"
    desk.clock.advance(seconds=30)
    form = {"name": "ada", "password": PASSWORD, "code": desk.code()}
    answer = desk.post("/sign-in", **form, next="/users?search=alice")
    assert answer.headers["Location"] == "/users?search=alice"
    assert desk.get("/sign-in").headers["Location"] == "/"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN},
        {},
    ],
)
def test_a_form_of_another_page_does_nothing(desk: Desk, headers: dict[str, str]) -> None:
    desk.enter()
    form = {"form_token": desk.form_token(), "name": "mallory", "role": "owner"}
    refused = desk.client.post("/admins", data=form, headers=headers, base_url=ORIGIN)
    assert refused.status_code == 403
    assert "Nothing was changed" in words_of(refused)
    out = desk.client.post("/sign-out", headers=headers, base_url=ORIGIN)
    assert out.status_code == 403
    assert desk.is_in
    assert [one.name for one in services_of(desk.console).admins.every()] == ["ada"]


def test_a_form_of_another_session_does_nothing(desk: Desk, make_desk: MakeDesk) -> None:
    desk.enter()
    bob = make_desk("bob").enter()
    form = {"name": "mallory", "role": "owner"}
    for token in ("", "x", bob.form_token(), desk.form_token()[:-1]):
        assert desk.post("/admins", form_token=token, **form).status_code == 403
    old = desk.form_token()
    desk.sign_in()
    assert desk.post("/admins", form_token=old, **form).status_code == 403
    assert len(services_of(desk.console).admins.every()) == 2


def test_an_old_browser_says_its_origin(desk: Desk) -> None:
    desk.enter()
    form = {"form_token": desk.form_token(), "name": "bob", "role": "viewer"}
    answer = desk.client.post("/admins", data=form, headers={"Origin": ORIGIN}, base_url=ORIGIN)
    assert "Give this link to bob" in words_of(answer)


@pytest.mark.parametrize("host", ["[", "x y", ""])
def test_a_host_that_is_none_is_refused(desk: Desk, host: str) -> None:
    for origin in ("null", "http://["):
        headers = {"Host": host, "Origin": origin}
        for answer in (
            desk.client.get("/sign-in", headers=headers),
            desk.client.post("/sign-out", headers=headers),
        ):
            assert answer.status_code == 400
            assert "names no host" in words_of(answer)


def test_the_language_is_that_of_the_browser_until_another_is_chosen(desk: Desk) -> None:
    assert "Sign in" in words_of(desk.get("/sign-in"))
    chinese = desk.get("/sign-in", **{"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"})
    assert "登录" in words_of(chinese)
    assert chinese.headers["Content-Language"] == "zh"
    chosen = desk.post("/language", language="zh", next="/sign-in")
    assert chosen.headers["Location"] == "/sign-in"
    assert "登录" in words_of(desk.get("/sign-in"))
    desk.post("/language", language="en", next="//evil.test")
    assert "Sign in" in words_of(desk.get("/sign-in"))


def test_a_form_at_the_door_that_was_refused_is_there_in_another_language(desk: Desk) -> None:
    link = desk.added()
    for answer, path in (
        (desk.post("/sign-in", name="ada", next="/users"), "/sign-in?next=/users"),
        (desk.post("/sign-in/passkey", response="{}"), "/sign-in"),
        (desk.post(link, password="short", code="000000"), link),
    ):
        assert re.findall(r'name="next" value="([^"]+)">\s*<button class="quiet"', answer.text) == [
            path
        ]
        assert desk.get(path).status_code == 200


def test_a_form_that_is_too_large_is_refused(desk: Desk) -> None:
    large = desk.post("/sign-in", name="x" * 300_000)
    assert large.status_code == 413
    assert "not accepted" in words_of(large)


def test_only_the_door_is_open(console: Flask, desk: Desk) -> None:
    """Whatever route is added: without a session it leads to the door, or does nothing."""
    open_ = {"sign_in", "open_link", "static", "nowhere", "home"}
    open_ |= {"sign_in_by_password", "sign_in_by_passkey", "accept_link", "sign_out"}
    open_ |= {"choose_language"}
    values = {"link": "x", "user_id": "01a1fbd2-0809-779e-9835-7cdddeb1adf8", "name": "x"}
    values |= {"session_id": values["user_id"], "passkey_id": "00"}
    closed = 0
    for rule in console.url_map.iter_rules():
        if rule.endpoint.rpartition(".")[2] in open_:
            continue
        path = rule.rule
        for name, value in values.items():
            for kind in ("", "uuid:", "path:"):
                path = path.replace(f"<{kind}{name}>", value)
        method = "POST" if "POST" in (rule.methods or ()) else "GET"
        answer = desk.client.open(path, method=method, headers=OWN_PAGE, base_url=ORIGIN)
        assert answer.headers["Location"].startswith("/sign-in"), path
        closed += 1
    assert closed > 10
