"""Sessions are ended by their users, and listed to them."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from flask import Flask

from tests.support.databases import ON_BOTH, ON_SQLITE
from tests.support.phone import Phone, problem
from wxsession.simulator import SettableClock, WeChat

pytestmark = ON_BOTH


def test_after_a_logout_the_token_is_dead(phone: Phone) -> None:
    phone.log_in()
    answer = phone.log_out()
    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers
    assert problem(phone.check()) == (401, "session_ended", "logout")
    assert problem(phone.refresh()) == (401, "session_ended", "logout")


def test_a_logout_says_the_same_however_often_and_for_any_token(
    phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    dead = phone.token
    for token in (dead, dead, "nonsense", "wxs_" + "A" * 64 + "." + "A" * 43):
        answer = phone.log_out(token)
        assert (answer.status_code, answer.data) == (204, b"")
    clock.advance(days=40)
    assert phone.log_out(dead).status_code == 204
    assert problem(phone.check(dead)) == (401, "session_ended", "logout")


def test_a_logout_without_a_token_is_told_so(phone: Phone) -> None:
    assert problem(phone.send("POST", "/logout")) == (401, "missing_token", None)


def test_a_logout_does_not_end_what_expired_by_itself(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    clock.advance(days=7)
    assert phone.log_out().status_code == 204
    assert problem(phone.check()) == (401, "session_expired", "idle")


@pytest.mark.parametrize("refreshes", [1, 2])
def test_a_token_that_was_refreshed_away_still_logs_out(phone: Phone, refreshes: int) -> None:
    phone.log_in()
    old = phone.token
    for _ in range(refreshes):
        phone.refresh()
    assert phone.log_out(old).status_code == 204
    assert problem(phone.check()) == (401, "session_ended", "logout")


def test_a_logout_everywhere_ends_every_session_of_the_user_and_of_nobody_else(
    make_phone: Callable[..., Phone],
) -> None:
    here, there, bob = make_phone(), make_phone(), make_phone("bob")
    for phone in (here, there, bob):
        phone.log_in()
    assert here.log_out(everywhere=True).status_code == 204
    assert problem(here.check()) == (401, "session_ended", "logout")
    assert problem(there.check()) == (401, "session_ended", "logout")
    assert bob.check().status_code == 200


def test_a_dead_token_ends_nothing_anywhere(make_phone: Callable[..., Phone]) -> None:
    here, there = make_phone(), make_phone()
    here.log_in()
    there.log_in()
    here.log_out()
    assert here.log_out(everywhere=True).status_code == 204
    assert there.check().status_code == 200


def test_an_old_token_ends_its_own_session_and_no_other(
    make_phone: Callable[..., Phone],
) -> None:
    here, there = make_phone(), make_phone()
    here.log_in()
    there.log_in()
    oldest = here.token
    here.refresh()
    here.refresh()
    assert here.log_out(oldest, everywhere=True).status_code == 204
    assert problem(here.check()) == (401, "session_ended", "logout")
    assert there.check().status_code == 200


def test_a_user_sees_the_own_sessions_newest_first_without_tokens(
    make_phone: Callable[..., Phone], clock: SettableClock
) -> None:
    old, new, bob = make_phone(), make_phone(address="198.51.100.9"), make_phone("bob")
    first = old.log_in().json["session_id"]
    clock.advance(hours=1)
    second = new.log_in().json["session_id"]
    bob.log_in()
    listed = old.sessions()
    assert [session["id"] for session in listed] == [second, first]
    assert [session["current"] for session in listed] == [False, True]
    assert listed[0]["client_address"] == "198.51.100.9"
    assert listed[1] == {
        "id": first,
        "current": True,
        "appid": old.appid,
        "created_at": "2026-11-21T08:30:00.000Z",
        "auth_time": "2026-11-21T08:30:00.000Z",
        "expires_in": 7 * 86400,
        "absolute_expires_at": "2026-12-21T08:30:00.000Z",
        "client_address": "203.0.113.7",
        "user_agent": old.user_agent,
    }


@ON_SQLITE
def test_a_list_that_does_not_show_all_says_so(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock
) -> None:
    phone = Phone(make_app(max_sessions=300), wechat, "alice")
    for _ in range(200):
        clock.advance(seconds=1)  # WeChat allows a hundred logins a minute
        phone.log_in()
    for more in (False, True):
        answer = phone.send("GET", "/sessions", token=phone.token)
        assert (len(answer.json["sessions"]), answer.json["more"]) == (200, more)
        phone.log_in()


def test_ended_and_expired_sessions_are_not_listed(
    make_phone: Callable[..., Phone], clock: SettableClock
) -> None:
    expired, ended, live = make_phone(), make_phone(), make_phone()
    expired.log_in()
    clock.advance(days=7)
    ended.log_in()
    ended.log_out()
    live.log_in()
    assert len(live.sessions()) == 1


def test_a_user_ends_one_of_the_own_sessions_by_its_id(make_phone: Callable[..., Phone]) -> None:
    here, lost = make_phone(), make_phone()
    here.log_in()
    its_id = lost.log_in().json["session_id"]
    for _ in range(2):
        answer = here.send("DELETE", f"/sessions/{its_id}", token=here.token)
        assert (answer.status_code, answer.data) == (204, b"")
    assert problem(lost.check()) == (401, "session_ended", "revoked")
    assert here.check().status_code == 200


def test_the_id_of_somebody_elses_session_ends_nothing(make_phone: Callable[..., Phone]) -> None:
    alice, bob = make_phone("alice"), make_phone("bob")
    alice.log_in()
    its_id = bob.log_in().json["session_id"]
    for id_ in (its_id, uuid4()):
        assert alice.send("DELETE", f"/sessions/{id_}", token=alice.token).status_code == 204
    assert bob.check().status_code == 200


@pytest.mark.parametrize("id_", ["1", "x" * 36, "%00", "../login", "🙂"])
def test_what_is_no_id_is_not_found(phone: Phone, id_: str) -> None:
    phone.log_in()
    answer = phone.send("DELETE", f"/sessions/{id_}", token=phone.token)
    assert problem(answer) in {(404, "not_found", None), (405, "method_not_allowed", None)}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/check_session"),
        ("POST", "/refresh"),
        ("GET", "/sessions"),
        ("DELETE", "/sessions/0190a5a4-0000-7000-8000-000000000001"),
    ],
)
def test_nothing_is_done_for_a_dead_session(phone: Phone, method: str, path: str) -> None:
    phone.log_in()
    phone.log_out()
    assert problem(phone.send(method, path, token=phone.token)) == (401, "session_ended", "logout")
