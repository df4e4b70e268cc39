"""A code becomes a session."""

import time
from collections.abc import Callable, Iterator

import pytest
import requests
import responses
from flask import Flask
from sqlalchemy import Table, func, select

from tests.support.app import services_of
from tests.support.databases import ON_BOTH, ON_SQLITE
from tests.support.phone import Phone, problem
from tests.support.settings import APPID, OTHER_APPID, settings_for
from wxsession import create_app
from wxsession.services import Services
from wxsession.simulator import Fault, SettableClock, WeChat
from wxsession.storage.tables import identities, session_keys, sessions, users

pytestmark = ON_BOTH

CODE2SESSION = "https://api.weixin.qq.com/sns/jscode2session"


def count(services: Services, table: Table) -> int:
    with services.database.statement() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_code_becomes_a_grant(phone: Phone) -> None:
    answer = phone.log_in()
    assert answer.status_code == 200
    grant = answer.json
    assert grant.keys() == {
        "session_token",
        "token_type",
        "expires_in",
        "absolute_expires_at",
        "session_id",
        "user",
    }
    assert grant["session_token"].startswith("wxs_")
    assert grant["token_type"] == "Bearer"
    assert grant["expires_in"] == 7 * 86400
    assert grant["absolute_expires_at"] == "2026-12-21T08:30:00.000Z"
    assert grant["user"] == {
        "id": grant["user"]["id"],
        "username": None,
        "nickname": None,
        "avatar_url": None,
        "phone_number": None,
        "new": True,
    }


def test_the_second_login_is_of_the_same_user_who_is_no_longer_new(phone: Phone) -> None:
    first = phone.log_in().json
    second = phone.log_in().json
    assert second["user"]["id"] == first["user"]["id"]
    assert second["user"]["new"] is False
    assert second["session_id"] != first["session_id"]


def test_neither_openid_nor_session_key_is_told(phone: Phone, wechat: WeChat) -> None:
    wechat.bind_open_platform(APPID)
    answers = [
        phone.log_in(),
        phone.check(),
        phone.refresh(),
        phone.send("GET", "/sessions", token=phone.token),
    ]
    secrets = [wechat.openid("alice"), wechat.session_key("alice"), wechat.unionid("alice")]
    for answer in answers:
        assert not [secret for secret in secrets if secret in answer.text]


def test_a_phone_that_presents_its_live_session_gets_it_replaced(phone: Phone) -> None:
    phone.log_in()
    before = phone.token
    phone.log_in(token=before)
    assert problem(phone.check(before)) == (401, "session_ended", "replaced")
    assert phone.check().status_code == 200


def test_a_phone_that_presents_an_older_token_gets_its_session_replaced(phone: Phone) -> None:
    phone.log_in()
    old = phone.token
    phone.refresh()
    phone.check()
    phone.refresh()
    newest = phone.token
    phone.log_in(token=old)
    assert problem(phone.check(newest)) == (401, "session_ended", "replaced")
    assert phone.check().status_code == 200


def test_a_token_that_was_refreshed_away_is_replaced_too(phone: Phone) -> None:
    phone.log_in()
    before = phone.token
    phone.refresh()
    after = phone.token
    phone.log_in(token=before)
    assert problem(phone.check(after)) == (401, "session_ended", "replaced")


@ON_SQLITE
@pytest.mark.parametrize("token", ["", "nonsense", "wxs_" + "A" * 64 + "." + "A" * 43])
def test_a_token_that_is_none_does_not_stand_in_the_way_of_a_login(
    phone: Phone, token: str
) -> None:
    phone.log_in()
    assert phone.log_in(token=token).status_code == 200


def test_another_user_on_the_same_phone_does_not_end_the_first_ones_session(
    make_phone: Callable[..., Phone],
) -> None:
    alice, bob = make_phone("alice"), make_phone("bob")
    bob.log_in()
    alice.log_in()
    bob.log_in(token=alice.token)
    assert alice.check().status_code == 200


def test_a_second_phone_does_not_log_out_the_first(make_phone: Callable[..., Phone]) -> None:
    one, other = make_phone(), make_phone()
    one.log_in()
    other.log_in()
    assert one.check().status_code == 200
    assert other.check().status_code == 200


def test_one_more_session_than_the_cap_ends_the_least_recently_used(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock
) -> None:
    app = make_app(max_sessions=3, touch_interval="0")
    phones = [Phone(app, wechat, "alice") for _ in range(4)]
    for phone in phones[:3]:
        phone.log_in()
        clock.advance(minutes=1)
    phones[0].check()  # the first to log in, and now the last to be used
    clock.advance(minutes=1)
    phones[3].log_in()
    assert problem(phones[1].check()) == (401, "session_ended", "evicted")
    assert [phones[i].check().status_code for i in (0, 2, 3)] == [200, 200, 200]


def test_sessions_that_are_over_do_not_count_against_the_cap(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock
) -> None:
    app = make_app(max_sessions=2, idle_timeout="2h")
    gone, expired, kept, new = (Phone(app, wechat, "alice") for _ in range(4))
    expired.log_in()
    clock.advance(hours=2)
    gone.log_in()
    gone.log_out()
    kept.log_in()
    new.log_in()
    assert kept.check().status_code == 200
    assert problem(expired.check()) == (401, "session_expired", "idle")


@ON_SQLITE
def test_without_an_appid_the_first_app_is_meant(phone: Phone) -> None:
    answer = phone.send("POST", "/login", json={"code": phone.code()})
    assert answer.status_code == 200


@ON_SQLITE
def test_without_an_appid_the_referer_of_wechat_names_the_app(
    make_phone: Callable[..., Phone],
) -> None:
    phone = make_phone(appid=OTHER_APPID)
    referer = f"https://servicewechat.com/{OTHER_APPID}/12/page-frame.html"
    answer = phone.send("POST", "/login", json={"code": phone.code()}, headers={"Referer": referer})
    assert answer.status_code == 200


@ON_SQLITE
@pytest.mark.parametrize(
    "referer",
    [
        "https://servicewechat.com/wx00000000000000ff/12/page-frame.html",
        f"https://servicewechat.com.evil.example/{OTHER_APPID}/12/page-frame.html",
        f"http://servicewechat.com/{OTHER_APPID}/12/page-frame.html",
        "\xff\xfe",
        "",
    ],
)
def test_any_other_referer_is_as_good_as_none(phone: Phone, referer: str) -> None:
    answer = phone.send("POST", "/login", json={"code": phone.code()}, headers={"Referer": referer})
    assert answer.status_code == 200


@ON_SQLITE
def test_an_app_that_is_not_ours_is_told_by_name(phone: Phone, wechat: WeChat) -> None:
    body = {"code": phone.code(), "appid": "wx00000000000000ff"}
    answer = phone.send("POST", "/login", json=body)
    assert problem(answer) == (400, "invalid_request", None)
    assert [error["field"] for error in answer.json["errors"]] == ["appid"]
    assert wechat.exchanges == []


def test_two_apps_in_one_database_do_not_mix_their_users(make_phone: Callable[..., Phone]) -> None:
    here, there = make_phone(), make_phone(appid=OTHER_APPID)
    assert here.log_in().json["user"]["id"] != there.log_in().json["user"]["id"]


def test_two_apps_of_one_open_platform_account_share_their_users(
    make_phone: Callable[..., Phone], wechat: WeChat
) -> None:
    wechat.bind_open_platform(APPID)
    wechat.bind_open_platform(OTHER_APPID)
    here, there = make_phone(), make_phone(appid=OTHER_APPID)
    first, second = here.log_in().json["user"], there.log_in().json["user"]
    assert first["id"] == second["id"]
    assert (first["new"], second["new"]) == (True, False)


def test_a_unionid_that_arrives_later_is_kept(
    make_phone: Callable[..., Phone], wechat: WeChat
) -> None:
    here, there = make_phone(), make_phone(appid=OTHER_APPID)
    first = here.log_in().json["user"]
    wechat.bind_open_platform(APPID)
    wechat.bind_open_platform(OTHER_APPID)
    here.log_in()
    assert there.log_in().json["user"]["id"] == first["id"]


def test_the_same_code_again_is_answered_without_asking_wechat(
    phone: Phone, wechat: WeChat, services: Services
) -> None:
    code = phone.code()
    first, second = phone.log_in(code).json, phone.log_in(code).json
    assert len(wechat.exchanges) == 1
    assert first["user"]["id"] == second["user"]["id"]
    assert first["session_token"] != second["session_token"]
    assert phone.check(first["session_token"]).status_code == 200
    assert phone.check(second["session_token"]).status_code == 200
    assert count(services, users) == count(services, identities) == 1


def test_a_code_that_is_sent_over_and_over_makes_no_more_sessions_than_the_cap(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock
) -> None:
    phone = Phone(make_app(max_sessions=3), wechat, "alice")
    for _ in range(2):  # the next code is as good as the first
        code = phone.code()
        answers = [phone.log_in(code) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 400, 400]
        assert problem(answers[-1]) == (400, "code_used", None)
        assert phone.check().status_code == 200
        clock.advance(minutes=1)
    assert count(services_of(phone.app), sessions) == 6


def test_a_lost_answer_is_asked_for_again_where_one_session_is_all_that_may_be(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    phone = Phone(make_app(max_sessions=1), wechat, "alice")
    code = phone.code()
    answers = [phone.log_in(code) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 400]
    assert len(phone.sessions()) == 1


def test_the_replay_window_ends_to_the_second(
    phone: Phone, wechat: WeChat, clock: SettableClock
) -> None:
    code = phone.code()
    phone.log_in(code)
    clock.advance(seconds=10, microseconds=-1)
    assert phone.log_in(code).status_code == 200
    clock.advance(microseconds=1)
    assert problem(phone.log_in(code)) == (400, "code_used", None)
    assert len(wechat.exchanges) == 2


def test_a_replay_of_nothing_asks_wechat_each_time(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    phone = Phone(make_app(login_replay="0"), wechat, "alice")
    code = phone.code()
    assert phone.log_in(code).status_code == 200
    assert problem(phone.log_in(code)) == (400, "code_used", None)
    assert len(wechat.exchanges) == 2


@pytest.mark.parametrize("other", [{"address": "198.51.100.9"}, {"user_agent": "curl/8"}])
def test_the_replay_is_for_the_client_that_lost_its_answer(
    make_phone: Callable[..., Phone], wechat: WeChat, other: dict[str, str]
) -> None:
    phone, thief = make_phone(), make_phone(**other)
    code = phone.code()
    phone.log_in(code)
    assert problem(thief.log_in(code)) == (400, "code_used", None)
    assert len(wechat.exchanges) == 1


def test_a_refused_code_is_refused_again_without_asking(phone: Phone, wechat: WeChat) -> None:
    for _ in range(2):
        assert problem(phone.log_in("0" * 32)) == (400, "invalid_code", None)
    assert len(wechat.exchanges) == 1


@pytest.mark.parametrize(
    ("fault", "times"), [(Fault.CONNECTION_REFUSED, 1), (-1, 3), (45011, 1)], ids=str
)
def test_a_code_that_was_not_spent_may_be_sent_again(
    phone: Phone, wechat: WeChat, fault: Fault | int, times: int
) -> None:
    code = phone.code()
    wechat.fail_next(fault, times=times)
    assert phone.log_in(code).status_code in {429, 503}
    assert phone.log_in(code).status_code == 200


def test_an_answer_that_never_came_may_have_spent_the_code(phone: Phone, wechat: WeChat) -> None:
    code = phone.code()
    wechat.fail_next(Fault.TIMEOUT_AFTER_EXCHANGE)
    answer = phone.log_in(code)
    assert problem(answer) == (503, "wechat_timeout", None)
    assert answer.headers["Retry-After"]
    assert problem(phone.log_in(code)) == (400, "code_used", None)
    assert phone.log_in().status_code == 200


def kept_keys(services: Services) -> list[str]:
    """Return the session_keys of the only WeChat user, newest first, which are sealed."""
    with services.database.statement() as connection:
        rows = connection.execute(select(session_keys)).all()
    kept = services.session_keys.keys(services.database, rows[0].identity_id)
    keys = [key.session_key for key in kept]
    assert len(keys) == len(rows)
    assert not [row for row in rows for key in keys if key.encode() in bytes(row.sealed)]
    return keys


def keys_of_logins(
    phone: Phone, clock: SettableClock, logins: int, *, minutes_between: int
) -> list[str]:
    """Log in this often; return the session_keys that WeChat gave, newest first."""
    given = []
    for _ in range(logins):
        phone.log_in()
        given.append(phone.wechat.session_key("alice"))
        clock.advance(minutes=minutes_between)
    return given[::-1]


def test_the_last_three_session_keys_are_kept_however_old_they_are(
    phone: Phone, clock: SettableClock, services: Services
) -> None:
    given = keys_of_logins(phone, clock, 5, minutes_between=24 * 60)
    assert kept_keys(services) == given[:3]


def test_every_session_key_is_kept_under_which_there_may_be_fresh_data(
    phone: Phone, clock: SettableClock, services: Services
) -> None:
    before = keys_of_logins(phone, clock, 3, minutes_between=24 * 60)
    given = keys_of_logins(phone, clock, 6, minutes_between=10)
    # The last one of the days before was WeChat's until fifty minutes before the newest.
    assert kept_keys(services)[:7] == [*given, before[0]]


def test_no_more_than_ten_session_keys_are_kept(
    phone: Phone, clock: SettableClock, services: Services
) -> None:
    given = keys_of_logins(phone, clock, 12, minutes_between=5)
    assert kept_keys(services) == given[:10]
    assert kept_keys(services)[0] == given[0]


def test_a_session_key_that_did_not_change_takes_no_second_place(
    phone: Phone, services: Services
) -> None:
    phone.log_in()
    phone.log_in()
    assert count(services, session_keys) == 1


def test_a_session_key_that_is_given_again_counts_as_the_newest(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    second, first = keys_of_logins(phone, clock, 2, minutes_between=10)
    with services.database.transaction() as connection:
        identity_id = connection.execute(select(identities.c.id)).scalar_one()
        services.session_keys.remember(connection, identity_id, first, clock())
    assert kept_keys(services) == [first, second]


def test_a_user_who_was_disabled_meanwhile_is_told_so_in_a_replay(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    code = phone.code()
    phone.log_in(code)
    with services.database.statement() as connection:
        connection.execute(users.update().values(disabled_at=clock()))
    assert problem(phone.log_in(code)) == (403, "user_blocked", None)
    assert count(services, sessions) == 1


def test_a_disabled_user_may_not_log_in_and_nothing_is_written(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    with services.database.statement() as connection:
        connection.execute(users.update().values(disabled_at=clock()))
    code = phone.code()
    assert problem(phone.log_in(code)) == (403, "user_blocked", None)
    assert problem(phone.log_in(code)) == (403, "user_blocked", None)
    assert problem(phone.check()) == (401, "session_ended", "user_disabled")
    assert count(services, sessions) == 1


@pytest.fixture
def raw(database_url: str, clock: SettableClock) -> Iterator[tuple[Flask, responses.RequestsMock]]:
    """Return a server, and what puts answers into the mouth of its WeChat."""
    app = create_app(settings_for(database_url), clock=clock, http=requests.Session())
    with responses.RequestsMock() as mock:
        yield app, mock
    services_of(app).database.close()


@pytest.mark.parametrize("openid", ["x" * 129, "a\0b", "\ud800", 7], ids=ascii)
def test_an_openid_that_is_none_writes_nothing_and_makes_nobody_wait(
    raw: tuple[Flask, responses.RequestsMock], wechat: WeChat, openid: object
) -> None:
    app, mock = raw
    mock.get(CODE2SESSION, json={"openid": openid, "session_key": "k"})
    phone = Phone(app, wechat, "alice")
    started = time.monotonic()
    for _ in range(2):  # the same code again is WeChat's to answer, at once
        assert problem(phone.log_in("0" * 32)) == (502, "wechat_unintelligible", None)
    assert time.monotonic() - started < 10  # and not after the lease of the code
    assert count(services_of(app), users) == count(services_of(app), identities) == 0


def test_an_empty_unionid_makes_no_friends_of_strangers(
    raw: tuple[Flask, responses.RequestsMock], wechat: WeChat
) -> None:
    app, mock = raw
    for name, appid in (("alice", APPID), ("bob", OTHER_APPID)):
        reply = {"openid": name, "session_key": "k", "unionid": ""}
        mock.get(CODE2SESSION, json=reply)
        answer = Phone(app, wechat, name, appid=appid).log_in()
        assert answer.json["user"]["new"] is True
    assert count(services_of(app), users) == 2


def test_an_openid_that_a_client_sends_is_never_believed(phone: Phone, wechat: WeChat) -> None:
    stolen = wechat.openid("bob")
    for body in ({"openid": stolen}, {"code": phone.code(), "openid": stolen}):
        assert problem(phone.send("POST", "/login", json=body))[:2] == (400, "invalid_request")
