"""What admins see and do in the console: each act does what it says, for whom it is, by name."""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import func, select

from tests.support.app import services_of
from tests.support.databases import ON_BOTH
from tests.support.desk import Desk, words_of
from tests.support.phone import Phone, problem
from tests.test_accounts import PASSWORD, by_password, keep, register
from tests.test_administration import NOBODY, NUMBER, give_number, session_of, user_of
from tests.test_console_door import told
from wxsession.accounts.throttle import FAILURES_PER_ACCOUNT
from wxsession.console import SCREENS, account
from wxsession.console.admission import COOKIE, Route
from wxsession.errors import UserBlocked
from wxsession.operations.admins.admin import Role
from wxsession.services import Services
from wxsession.simulator import SettableClock
from wxsession.storage.tables import audit_events

MakeDesk = Callable[..., Desk]


@pytest.fixture
def alice(make_phone: Callable[..., Phone], services: Services) -> Phone:
    """Return the phone of a user with an account, a phone number and two sessions."""
    computer = make_phone("alice at her desk")
    register(computer)
    phone = make_phone("alice")
    keep(phone, by_password(phone))
    give_number(services, user_of(phone))
    return phone


def routes() -> Iterator[Route]:
    for screens in (*SCREENS, account.screens):
        yield from screens.routes


# What the acts do.


@ON_BOTH
def test_a_user_who_is_disabled_there_is_dead_at_the_next_check(desk: Desk, alice: Phone) -> None:
    desk.enter(Role.SUPPORT)
    path = f"/users/{user_of(alice)}"
    done = desk.act(f"{path}/disable")
    assert "The user is disabled; 2 sessions ended." in words_of(desk.get(done.headers["Location"]))
    assert problem(alice.check()) == (401, "session_ended", "user_disabled")
    assert problem(by_password(alice))[:2] == (403, UserBlocked.code)
    page = words_of(desk.get(path))
    assert "Logged out:" in page
    assert "the user was disabled" in page
    done = desk.act(f"{path}/enable")
    assert "The user may log in." in words_of(desk.get(done.headers["Location"]))
    assert by_password(alice).status_code == 200
    assert told(desk.console, "user.disabled") == [(None, "ada")]
    assert told(desk.console, "user.enabled") == [(None, "ada")]


def test_a_user_is_out_since_the_last_session_ended_whichever_began_first(
    desk: Desk, make_phone: Callable[..., Phone], alice: Phone, clock: SettableClock
) -> None:
    desk.enter(Role.SUPPORT)
    clock.advance(minutes=5)
    tablet = make_phone("alice's tablet")
    keep(tablet, by_password(tablet))
    tablet.log_out()
    clock.advance(minutes=5)
    path = f"/users/{user_of(alice)}"
    desk.act(f"{path}/end-sessions")
    said = words_of(desk.get(path)).partition("Logged out:")[2]
    assert said.startswith(f" an operator ended it ( {clock():%Y-%m-%d %H:%M:%S} UTC")


@ON_BOTH
def test_sessions_are_ended_one_by_one_and_all_at_once(desk: Desk, alice: Phone) -> None:
    desk.enter(Role.SUPPORT)
    session_id = session_of(alice)
    assert session_id[:8] in desk.get("/sessions").text
    done = desk.act(f"/sessions/{session_id}/end")
    assert "The session is ended." in words_of(desk.get(done.headers["Location"]))
    assert problem(alice.check()) == (401, "session_ended", "revoked")
    keep(alice, by_password(alice))
    done = desk.act(f"/users/{user_of(alice)}/end-sessions")
    assert "2 sessions ended." in words_of(desk.get(done.headers["Location"]))
    assert problem(alice.check()) == (401, "session_ended", "revoked")
    assert {by for _, by in told(desk.console, "session.ended")} == {"ada"}


@ON_BOTH
def test_a_password_is_set_and_a_lock_lifted(desk: Desk, alice: Phone) -> None:
    desk.enter(Role.SUPPORT)
    path = f"/users/{user_of(alice)}"
    for _ in range(FAILURES_PER_ACCOUNT):
        by_password(alice, password="guess guess")
    assert problem(by_password(alice))[:2] == (429, "too_many_attempts")
    assert desk.act(f"{path}/unlock").status_code == 303
    assert by_password(alice).status_code == 200
    page = desk.act(f"{path}/set-password")
    (password,) = re.findall(r'class="secret">([\w-]+)<', page.text)
    assert password not in desk.get(path).text
    assert problem(by_password(alice, password=PASSWORD))[:2] == (401, "bad_credentials")
    assert by_password(alice, password=password).status_code == 200
    assert told(desk.console, "login.unlocked") == [(None, "ada")]
    assert told(desk.console, "password.changed") == [("reset", "ada")]


def test_what_is_shown_this_once_is_not_lost_by_another_language(
    desk: Desk, alice: Phone, clock: SettableClock
) -> None:
    desk.enter()
    path = f"/users/{user_of(alice)}"
    assert "中文" in words_of(desk.get(path))
    shown = [
        desk.act(f"{path}/set-password"),
        desk.act(f"{path}/phone-number"),
        desk.act("/admins", name="bob", role="viewer"),
        desk.act("/admins/bob/reset"),
    ]
    clock.advance(minutes=10)
    asked = desk.act(f"{path}/export")
    assert "Is it you?" in words_of(asked)
    for page in (*shown, asked):
        assert page.status_code == 200
        assert "中文" not in words_of(page)


def test_a_whole_phone_number_is_shown_once_and_that_is_an_event(desk: Desk, alice: Phone) -> None:
    desk.enter(Role.SUPPORT)
    path = f"/users/{user_of(alice)}"
    assert NUMBER not in desk.get(path).text
    assert "138******00" in words_of(desk.get(path))
    assert f"+86 {NUMBER}" in words_of(desk.act(f"{path}/phone-number"))
    assert NUMBER not in desk.get(path).text
    assert told(desk.console, "phone_number.shown") == [(None, "ada")]


@ON_BOTH
def test_the_events_say_from_where_an_admin_acted(desk: Desk, alice: Phone) -> None:
    desk.enter()
    path = f"/users/{user_of(alice)}"
    desk.act(f"/sessions/{session_of(alice)}/end")
    for act in ("set-password", "unlock", "export", "phone-number", "disable", "enable"):
        assert desk.act(f"{path}/{act}").status_code in {200, 303}
    c = audit_events.c
    with services_of(desk.console).database.statement() as connection:
        query = select(c.event, c.client_address).where(c.actor == "ada")
        found = {tuple(row) for row in connection.execute(query)}
    assert {address for _, address in found} == {desk.address}
    assert {event for event, _ in found} >= {
        *("session.ended", "password.changed", "login.unlocked", "user.exported"),
        *("phone_number.shown", "user.disabled", "user.enabled"),
    }


def test_an_export_is_a_file_with_all_that_is_known(desk: Desk, alice: Phone) -> None:
    desk.enter()
    user_id = user_of(alice)
    sent = desk.act(f"/users/{user_id}/export")
    assert sent.headers["Content-Disposition"] == f'attachment; filename="user-{user_id}.json"'
    exported = json.loads(sent.text)
    assert exported["user"]["phone_number"] == NUMBER
    assert len(exported["sessions"]) == 2
    assert told(desk.console, "user.exported") == [(None, "ada")]


@ON_BOTH
def test_a_deleted_user_is_gone(desk: Desk, alice: Phone) -> None:
    desk.enter()
    path = f"/users/{user_of(alice)}"
    done = desk.act(f"{path}/delete")
    assert "The user is deleted." in words_of(desk.get(done.headers["Location"]))
    assert problem(alice.check()) == (401, "session_ended", "user_deleted")
    gone = desk.get(path)
    assert gone.status_code == 404
    assert "perhaps by another admin just now" in words_of(gone)
    assert desk.act(f"{path}/disable").status_code == 404
    assert told(desk.console, "user.deleted") == [(None, "ada")]


def test_a_merged_user_leads_to_the_other_one(
    desk: Desk, make_phone: Callable[..., Phone], alice: Phone
) -> None:
    desk.enter()
    phone = make_phone("bob")
    phone.log_in()
    before = user_of(phone)
    credentials = {"username": "alice", "password": PASSWORD}
    phone.send("POST", "/bind", json=credentials, token=phone.token)
    assert desk.get(f"/users/{before}").headers["Location"] == f"/users/{user_of(alice)}"


@ON_BOTH
def test_admins_are_added_changed_reset_and_disabled(desk: Desk, make_desk: MakeDesk) -> None:
    desk.enter()
    added = desk.act("/admins", name="Bob", role="viewer")
    (link,) = re.findall(r"https://console\.test(/link/[\w-]+)", added.text)
    bob = make_desk("bob")
    assert bob.accept(link).status_code == 303
    assert bob.get("/admins").status_code == 403
    desk.act("/admins/bob/role", role="owner")
    assert bob.get("/admins").status_code == 200
    assert "The admin is disabled." in words_of(
        desk.get(desk.act("/admins/bob/disable").headers["Location"])
    )
    assert not bob.is_in
    desk.act("/admins/bob/enable")
    assert bob.sign_in().status_code == 303
    reset = desk.act("/admins/bob/reset")
    (link,) = re.findall(r"https://console\.test(/link/[\w-]+)", reset.text)
    assert not bob.is_in
    assert bob.accept(link).status_code == 303
    for event in ("added", "role_changed", "disabled", "enabled", "reset"):
        assert ("bob", "ada") in told(desk.console, f"admin.{event}")


@ON_BOTH
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ada", "is that of an admin already"),
        ("ADA", "is that of an admin already"),
        ("", "needs 1 to 32 characters"),
        ("x" * 33, "needs 1 to 32 characters"),
        ("b ob", "no blanks"),
        ("bo\u200bb", "no blanks"),
    ],
)
def test_a_name_that_cannot_be_an_admins_adds_nobody(desk: Desk, name: str, said: str) -> None:
    desk.enter()
    assert said in words_of(desk.act("/admins", name=name, role="owner"))
    assert desk.act("/admins", name="bob", role="king").status_code == 400
    assert len(services_of(desk.console).admins.every()) == 1


def test_nobody_changes_their_own_standing_so_an_owner_is_left(desk: Desk) -> None:
    desk.enter()
    for act, form in (("disable", {}), ("reset", {}), ("role", {"role": "viewer"})):
        for name in ("ada", "ADA"):
            refused = desk.act(f"/admins/{name}/{act}", **form)
            assert refused.status_code == 400
            assert "is your own" in words_of(refused)
    assert desk.is_in
    assert desk.act("/admins/nobody/disable").status_code == 404


# For whom they are.


def path_of(route: Route, user_id: str, session_id: str) -> str:
    path = route.path.replace("<uuid:user_id>", user_id).replace("<uuid:session_id>", session_id)
    return path.replace("<name>", "ada").replace("<passkey_id>", "00")


@pytest.mark.parametrize("role", Role)
def test_who_posts_an_act_of_a_higher_role_is_refused_and_nothing_happens(
    desk: Desk, make_desk: MakeDesk, alice: Phone, role: Role
) -> None:
    desk.enter()
    lower = make_desk("bob").enter(role)
    user_id, session_id = user_of(alice), session_of(alice)
    count = select(func.count()).select_from(audit_events)
    with services_of(desk.console).database.statement() as connection:
        before = connection.execute(count).scalar_one()
    refused = 0
    for route in routes():
        if route.role is None or role.covers(route.role):
            continue
        path = path_of(route, user_id, session_id)
        form = {"name": "mallory", "role": "owner"}
        answer = lower.act(path, **form) if route.method == "POST" else lower.get(path)
        assert answer.status_code == 403, path
        assert "Your role does not allow that." in words_of(answer)
        refused += 1
    with services_of(desk.console).database.statement() as connection:
        assert connection.execute(count).scalar_one() == before
    assert alice.check().status_code == 200
    assert refused > {Role.VIEWER: 15, Role.SUPPORT: 7, Role.OWNER: -1}[role]


def test_nobody_sees_a_button_that_would_be_refused(
    desk: Desk, make_desk: MakeDesk, alice: Phone
) -> None:
    desk.enter(Role.VIEWER)
    bob, carol = make_desk("bob").enter(Role.SUPPORT), make_desk("carol").enter(Role.OWNER)
    path = f"/users/{user_of(alice)}"
    for one, acts in ((desk, set()), (bob, {"disable"}), (carol, {"disable", "delete", "export"})):
        shown = set(re.findall(rf'action="{path}/(disable|delete|export)"', one.get(path).text))
        assert shown == acts
        assert ("/admins" in one.get("/users").text) == (one is carol)
        assert (f"/sessions/{session_of(alice)}/end" in one.get(path).text) == (one is not desk)


ASKED_AGAIN = {
    *("delete_user", "export_user", "set_password", "show_phone_number"),
    *("add_admin", "reset_admin", "disable_admin", "enable_admin", "change_role"),
    *("add_passkey", "remove_passkey"),
}


def test_what_cannot_be_undone_needs_the_second_factor_again_after_ten_minutes(
    desk: Desk, alice: Phone, clock: SettableClock
) -> None:
    assert {route.endpoint for route in routes() if route.needs_factor} >= ASKED_AGAIN
    desk.enter()
    user_id, session_id = user_of(alice), session_of(alice)
    clock.advance(minutes=10)
    for route in routes():
        if route.endpoint in ASKED_AGAIN:
            asked = desk.act(path_of(route, user_id, session_id), name="bob", role="viewer")
            assert "Is it you?" in words_of(asked)
            assert 'name="role" value="viewer"' in asked.text
    assert alice.check().status_code == 200
    assert len(services_of(desk.console).admins.every()) == 1
    path = f"/users/{user_id}/delete"
    assert "This is not accepted" in words_of(desk.act(path, second_factor_code="123456"))
    assert alice.check().status_code == 200
    assert desk.act(path, second_factor_code=desk.code()).status_code == 303
    assert alice.check().status_code == 401
    assert "Give this link" in words_of(desk.act("/admins", name="bob", role="viewer"))


# Bad input, and others at work.


@pytest.mark.parametrize("text", ["%", "_", "x" * 10_000, "\0", "' OR 1=1 --", "<script>"])
def test_a_search_for_anything_finds_nobody_who_is_not_meant(
    desk: Desk, alice: Phone, text: str
) -> None:
    desk.enter()
    page = desk.client.get("/users", query_string={"search": text}, base_url="https://console.test")
    assert page.status_code == (400 if text == "\0" else 200)
    assert user_of(alice) not in page.text
    said = ("No user.", "longer than anything", "has a character that no text has")
    assert any(words in words_of(page) for words in said)
    assert "<script>" not in page.text


@ON_BOTH
def test_a_user_is_found_by_whatever_is_known(
    desk: Desk, make_phone: Callable[..., Phone], alice: Phone, services: Services
) -> None:
    desk.enter()
    bob = make_phone("bob")
    bob.log_in()
    bob.send("PATCH", "/user", json={"nickname": "100% Bob"}, token=bob.token)
    openid = services.directory.user(UUID(user_of(bob))).identities[0].openid
    for phone, texts in (
        (alice, ["alice", "ALICE", NUMBER, "138-0013-8000", f"+86 {NUMBER}", user_of(alice)]),
        (bob, ["100%", "100% Bob", openid, session_of(bob)]),
    ):
        for text in texts:
            page = desk.client.get(
                "/users", query_string={"search": f" {text} "}, base_url="https://console.test"
            )
            assert re.findall(r'href="/users/([0-9a-f-]{36})"', page.text) == [user_of(phone)], text
    listed = re.findall(r'href="/users/([0-9a-f-]{36})"', desk.get("/users").text)
    assert listed[0] == user_of(bob)  # the newest first


@ON_BOTH
def test_two_admins_act_on_one_user_at_once(desk: Desk, make_desk: MakeDesk, alice: Phone) -> None:
    path = f"/users/{user_of(alice)}"
    desks = [desk.enter(), make_desk("bob").enter()]
    for act, event in (("disable", "user.disabled"), ("delete", "user.deleted")):
        tokens = [one.form_token() for one in desks]
        with ThreadPoolExecutor() as pool:
            answers = list(
                pool.map(
                    lambda each, act=act: each[0].post(f"{path}/{act}", form_token=each[1]),
                    zip(desks, tokens, strict=True),
                )
            )
        assert {answer.status_code for answer in answers} <= {303, 404}
        assert 303 in {answer.status_code for answer in answers}
        assert len(told(desk.console, event)) == 1
    assert alice.check().status_code == 401


EVIL = "<img src=x onerror=alert(1)>\"'<script>alert(2)</script>"


def test_html_of_users_is_text(
    desk: Desk, make_phone: Callable[..., Phone], make_desk: MakeDesk
) -> None:
    desk.enter()
    phone = make_phone("mallory", user_agent=EVIL)
    assert phone.send(
        "POST", "/register", json={"username": EVIL, "password": PASSWORD}, token=phone.token
    ).status_code in {200, 201}
    keep(phone, by_password(phone, EVIL, PASSWORD))
    phone.send("PATCH", "/user", json={"nickname": EVIL}, token=phone.token)
    guest = make_desk(EVIL)
    pages = [
        desk.get("/users"),
        desk.get(f"/users/{user_of(phone)}"),
        desk.get("/sessions"),
        desk.act(f"/users/{user_of(phone)}/set-password"),
        desk.client.get("/users", query_string={"search": EVIL}, base_url="https://console.test"),
        guest.sign_in(code="0"),
        desk.act("/admins", name=EVIL, role="viewer"),
        desk.get("/users?done=<script>alert(3)</script>&count=<script>"),
    ]
    for page in pages:
        assert page.status_code == 200
        assert "<img src=x" not in page.text
        assert "<script>" not in page.text
    assert "&lt;img src=x" in pages[0].text


@ON_BOTH
def test_no_bytes_bring_a_traceback(desk: Desk, make_desk: MakeDesk) -> None:
    desk.enter()
    guest = make_desk("\0", secret=desk.secret)
    assert guest.sign_in(code="\0").status_code == 400
    assert desk.act("/admins/a%00b/disable").status_code == 400
    assert desk.act("/admins", name="a\0", role="viewer").status_code == 400
    assert desk.get("/users?search=%00&appid=%00&after=%00").status_code == 400
    assert desk.post("/link/a%00b", password="x", code="y").status_code == 400
    assert desk.post("/sign-in?name=x", name="a\0b", password="x", code="y").status_code == 400
    guest.client.set_cookie(COOKIE, "\xff\xfe", domain="console.test")
    assert guest.get("/users").headers["Location"].startswith("/sign-in")


@pytest.mark.parametrize(
    "path",
    [
        "/users/nonsense",
        f"/users/{NOBODY}",
        "/nowhere",
        "/users/",
        "/users?after=nonsense",
        f"/users?after={NOBODY}",
        f"/users/{NOBODY}?after=nonsense",
        "/users?done=nonsense&count=" + "9" * 5000,
        "/users?done=end_sessions&count=-1",
        "/users?appid=%00",
        "/sessions?address=%00",
        "/sessions?since=1960-01-01T00:00",
        "/sessions?since=0001-01-01T00:00",
        "/events?reason=%00",
        "/%00",
        "/%ff%fe",
        "/users?search=%ff",
    ],
)
def test_no_address_brings_a_traceback(desk: Desk, path: str) -> None:
    desk.enter()
    page = desk.get(path)
    assert page.status_code in {200, 400, 404}
    assert page.mimetype == "text/html"
    assert "Traceback" not in page.text


def test_a_method_that_is_none_has_a_page_too(desk: Desk) -> None:
    desk.enter()
    answer = desk.client.delete("/users", base_url="https://console.test")
    assert answer.status_code == 405
    assert answer.mimetype == "text/html"
