"""Whoever is deleted is gone: at once, for every device, from every row, and for good."""

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import insert, select, text

from tests.support.app import CHEAP_HASHER, services_of
from tests.support.databases import ON_BOTH
from tests.support.phone import Phone, problem
from tests.support.postgres import PostgresServer
from tests.support.settings import APPID, OTHER_APPID, settings_for
from tests.support.statements import overhearing
from wxsession import create_app
from wxsession.accounts.deletion import BATCH
from wxsession.errors import NoSuchUser
from wxsession.events import signals
from wxsession.events.event import Event
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat, wechat_transport
from wxsession.storage.database import metadata, new_id
from wxsession.storage.tables import (
    audit_events,
    failed_attempts,
    identities,
    job_results,
    sessions,
    users,
)

pytestmark = ON_BOTH

ALICE = {"username": "alice.of.the.hills", "password": "correct horse battery"}
NUMBER = "13987654321"
NICKNAME = "爱丽丝 Liddell"
PICTURE = "https://thirdwx.qlogo.cn/mmopen/alice/132"
GONE = (401, "session_ended", "user_deleted")
WEEK = timedelta(days=7)


def delete(phone: Phone, password: str | None = None) -> Any:
    """Delete the phone's user, with a password if there is one."""
    body = None if password is None else {"password": password}
    return phone.send("DELETE", "/user", json=body, token=phone.token)


def rows(services: Services) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table."""
    found = {}
    with services.database.statement() as connection:
        for table in metadata.sorted_tables:
            found[table.name] = [dict(row) for row in connection.execute(select(table)).mappings()]
    return found


def without_openids(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Return rows without what the event of a deletion may know for a while."""
    events = [{**row, "openids": None} for row in found[audit_events.name]]
    return {**found, audit_events.name: events}


def make_known(phone: Phone, wechat: WeChat) -> dict[str, str]:
    """Let the phone's user tell the server everything, from two apps; return what it may know."""
    wechat.set_phone_number(phone.user, NUMBER)
    for appid in APPID, OTHER_APPID:
        wechat.bind_open_platform(appid)
    other = Phone(phone.app, wechat, phone.user, OTHER_APPID, "198.51.100.77", "AnotherPhone/7")
    for one in phone, other:
        assert one.log_in().status_code == 200
    assert phone.send("POST", "/register", json=ALICE, token=phone.token).status_code == 201
    phone.log_in()
    changes = {"nickname": NICKNAME, "avatar_url": PICTURE}
    phone.send("PATCH", "/user", json=changes, token=phone.token)
    code = {"code": wechat.phone_code(phone.user)}
    assert phone.send("POST", "/phone_number", json=code, token=phone.token).status_code == 200
    wrong = {**ALICE, "password": "not the password"}
    assert phone.send("POST", "/login", json=wrong).status_code == 401
    other.log_out()
    return {
        "openid": wechat.openid(phone.user, APPID),
        "other openid": wechat.openid(phone.user, OTHER_APPID),
        "unionid": wechat.unionid(phone.user),
        "username": ALICE["username"],
        "phone number": NUMBER,
        "nickname": NICKNAME,
        "picture": PICTURE,
        "address": phone.address,
        "other address": other.address,
        "user agent": phone.user_agent,
        "other user agent": other.user_agent,
    }


def test_whoever_deletes_the_account_is_gone_for_every_device(
    make_phone: Callable[..., Phone], services: Services
) -> None:
    phone, tablet = make_phone(), make_phone(address="198.51.100.9")
    first = phone.log_in().json["user"]["id"]
    tablet.log_in()
    answer = delete(phone)
    assert (answer.status_code, answer.data) == (204, b"")
    for one in phone, tablet:
        assert problem(one.check()) == GONE
        assert problem(one.refresh()) == GONE
        assert problem(delete(one)) == GONE
        assert problem(one.send("GET", "/user", token=one.token)) == GONE
    services.purge.run(WEEK)
    assert problem(phone.check()) == GONE
    anew = phone.log_in().json["user"]
    assert anew["new"]
    assert anew["id"] != first


def test_in_the_end_not_even_the_id_has_a_row(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    delete(phone)
    clock.advance(days=8)
    services.purge.run(WEEK)
    assert problem(phone.check()) == (401, "invalid_token", None)
    left = rows(services)
    kept = {name for name, found in left.items() if found}
    # What is nobody's: how many rows went when, and how often what happened.
    counts = {"event_counts", "job_runs", "wechat_counts", "wechat_states"}
    nobodys = {f"wxsession_{name}" for name in counts}
    assert kept == {audit_events.name, job_results.name, *nobodys}
    assert {row["event"] for row in left[audit_events.name]} == {
        "user.created",
        "session.created",
        "user.deleted",
        "session.ended",
    }


def test_an_old_login_deletes_nobody_but_the_password_does(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    phone.token = phone.send("POST", "/register", json=ALICE, token=phone.token).json[
        "session_token"
    ]
    clock.advance(minutes=11)
    before = rows(services)
    assert problem(delete(phone)) == (403, "reauthentication_required", None)
    after = rows(services)
    [refused] = [row for row in after.pop(audit_events.name) if row["event"] == "deletion.refused"]
    assert (refused["reason"], refused["count"]) == ("reauthentication_required", 1)
    assert after == {name: found for name, found in before.items() if name != audit_events.name}
    assert problem(delete(phone, "not the password")) == (401, "bad_credentials", None)
    assert phone.check().status_code == 200
    assert delete(phone, ALICE["password"]).status_code == 204
    assert problem(phone.check()) == GONE


def test_who_has_no_password_is_not_deleted_by_any(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    clock.advance(minutes=11)
    assert problem(delete(phone, "a password")) == (401, "bad_credentials", None)
    assert phone.check().status_code == 200


@pytest.mark.parametrize("body", [{"password": 7}, {"passwort": "x"}, {"password": ""}, ["x"]])
def test_a_body_that_is_not_understood_deletes_nobody(phone: Phone, body: object) -> None:
    phone.log_in()
    answer = phone.send("DELETE", "/user", json=body, token=phone.token)
    assert problem(answer)[:2] == (400, "invalid_request")
    assert phone.check().status_code == 200


def test_the_username_is_free_again_and_its_password_opens_nothing(phone: Phone) -> None:
    phone.log_in()
    phone.token = phone.send("POST", "/register", json=ALICE, token=phone.token).json[
        "session_token"
    ]
    delete(phone)
    assert problem(phone.send("POST", "/login", json=ALICE))[:2] == (401, "bad_credentials")
    assert phone.send("POST", "/register", json=ALICE).status_code == 201


def test_no_row_says_who_it_was(
    phone: Phone, wechat: WeChat, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    known = make_known(phone, wechat)
    before = str(rows(services))
    sealed = {"phone number"}
    assert {what for what, value in known.items() if value not in before} == sealed
    assert delete(phone).status_code == 204
    left = without_openids(rows(services))
    for what, value in known.items():
        assert value not in str(left), what
        assert value not in caplog.text, what
    (row,) = left[users.name]
    assert {name for name, value in row.items() if value is not None} == {
        "id",
        "created_at",
        "disabled_at",
        "deleted_at",
    }
    for table in "identities", "session_keys", "unbound_identities":
        assert left[f"wxsession_{table}"] == []
    assert len(left[failed_attempts.name]) == 1  # of the address, which is not hers alone


def test_other_programs_are_told_the_openids_for_as_long_as_sessions_are_kept(
    phone: Phone, wechat: WeChat, services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    user_id = user_id_of(phone)
    heard: list[Event] = []

    def hear(_sender: object, event: Event) -> None:
        heard.append(event)

    with signals.user_deleted.connected_to(hear):
        delete(phone)
    (event,) = heard
    openid = wechat.openid("alice", APPID)
    assert (event.user_id, event.openids) == (user_id, {APPID: openid})

    def told() -> list[object]:
        events = rows(services)[audit_events.name]
        return [row["openids"] for row in events if row["event"] == "user.deleted"]

    for days in 0, 6:
        clock.advance(days=days)
        services.purge.run(WEEK)
        assert told() == [{APPID: openid}]
    clock.advance(days=1)
    services.purge.run(WEEK)
    assert told() == [None]
    assert openid not in str(rows(services))


def test_a_code_sent_again_leads_to_nobody(phone: Phone, services: Services) -> None:
    code = phone.code()
    phone.log_in(code)
    delete(phone)
    assert problem(phone.log_in(code)) == (400, "code_used", None)
    assert rows(services)[identities.name] == []


def test_others_keep_everything(
    phone: Phone, make_phone: Callable[..., Phone], services: Services
) -> None:
    bob = make_phone("bob", address="198.51.100.20", user_agent="BobPhone/1")
    bob.log_in()
    before = rows(services)
    phone.log_in()
    delete(phone)
    after = rows(services)
    for name, found in before.items():
        assert [row for row in after[name] if row in found] == found
    assert bob.check().status_code == 200


def test_what_was_merged_into_the_user_goes_too(
    phone: Phone, make_phone: Callable[..., Phone], wechat: WeChat, services: Services
) -> None:
    account = make_phone(address="198.51.100.30")
    account.token = account.send("POST", "/register", json=ALICE).json["session_token"]
    phone.log_in()
    bound = phone.send("POST", "/bind", json=ALICE, token=phone.token)
    assert bound.status_code == 200
    phone.token = bound.json["session_token"]
    assert delete(phone).status_code == 204
    for value in phone.address, account.address, wechat.openid("alice", APPID):
        assert value not in str(without_openids(rows(services)))


def test_a_user_with_any_number_of_rows_is_dead_at_once_and_cleared_in_batches(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    fill(services, live=BATCH, dead=BATCH + 500, events=2 * BATCH + 500)
    assert delete(phone).status_code == 204
    assert problem(phone.check())[:2] == (401, "session_ended")
    assert phone.address in str(rows(services))
    services.purge.run(WEEK)
    left = rows(services)
    assert phone.address not in str(left)
    assert {row["end_reason"] for row in left[sessions.name]} == {"user_deleted"}
    assert len(left[sessions.name]) == BATCH + 1
    clock.advance(days=8)
    services.purge.run(WEEK)
    assert rows(services)[users.name] == []


def fill(services: Services, *, live: int, dead: int, events: int) -> None:
    """Give the only user there is more sessions and events, like those there are."""
    with services.database.transaction() as transaction:
        one = dict(transaction.execute(select(sessions).limit(1)).mappings().one())
        many = [{**one, "id": new_id()} for _ in range(live + dead)]
        for row in many[live:]:
            row |= {"ended_at": one["created_at"], "end_reason": "logout"}
        for some in range(0, len(many), 1000):
            transaction.execute(insert(sessions), many[some : some + 1000])
        one = dict(transaction.execute(select(audit_events).limit(1)).mappings().one())
        noted = [{**one, "id": new_id()} for _ in range(events)]
        for some in range(0, len(noted), 1000):
            transaction.execute(insert(audit_events), noted[some : some + 1000])


@pytest.mark.long
def test_a_hundred_thousand_sessions_and_events_go_in_bounded_batches(
    phone: Phone, services: Services
) -> None:
    user_id = UUID(phone.log_in().json["user"]["id"])
    for _ in range(10):
        fill(services, live=10, dead=9_990, events=10_000)
    statements: list[str] = []
    with overhearing(services.database, before=statements.append):
        assert delete(phone).status_code == 204
    assert len(statements) < 40
    assert problem(phone.check())[:2] == (401, "session_ended")
    cleared, batches = services.deletion.clear(user_id), 1
    while not cleared.is_last:
        assert max(cleared.sessions, cleared.events) == BATCH
        cleared, batches = services.deletion.clear(user_id), batches + 1
    assert batches == 100
    left = rows(services)
    assert phone.address not in str(left)
    assert len(left[sessions.name]) == 101  # those that were live


def user_id_of(phone: Phone) -> UUID:
    """Return the id of the user who is logged in."""
    return UUID(phone.check().json["user"]["id"])


def test_wechats_cancellation_deletes_the_user_that_nothing_else_leads_to(
    phone: Phone, wechat: WeChat, services: Services
) -> None:
    phone.log_in()
    openid = wechat.openid("alice", APPID)
    assert services.deletion.delete_wechat_user(APPID, openid, actor="wechat")
    assert problem(phone.check()) == GONE
    assert openid not in str(without_openids(rows(services)))
    assert not services.deletion.delete_wechat_user(APPID, openid, actor="wechat")


def test_wechats_cancellation_leaves_an_account_that_has_another_way(
    phone: Phone, wechat: WeChat, services: Services
) -> None:
    phone.log_in()
    phone.send("POST", "/register", json=ALICE, token=phone.token)
    phone.log_in()
    user_id = user_id_of(phone)
    openid = wechat.openid("alice", APPID)
    assert services.deletion.delete_wechat_user(APPID, openid, actor="wechat")
    assert problem(phone.check()) == (401, "session_ended", "unbound")
    assert openid not in str(rows(services))
    account = phone.send("POST", "/login", json=ALICE)
    assert account.json["user"]["id"] == str(user_id)


def test_a_password_that_is_over_is_no_way_to_an_account(
    phone: Phone, wechat: WeChat, services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    user_id = user_id_of(phone)
    phone.send("POST", "/register", json=ALICE, token=phone.token)
    services.passwords.set_temporary(user_id, valid_for=timedelta(hours=1), actor="root")
    clock.advance(hours=2)
    openid = wechat.openid("alice", APPID)
    assert services.deletion.delete_wechat_user(APPID, openid, actor="wechat")
    with pytest.raises(NoSuchUser):
        services.directory.user(user_id)


def test_a_deleted_user_is_unknown_to_an_operator(
    phone: Phone, services: Services, app: Flask
) -> None:
    phone.log_in()
    user_id = user_id_of(phone)
    delete(phone)
    asks: list[Callable[[UUID], object]] = [
        services.directory.user,
        services.administration.enable,
        services.administration.disable,
        services.administration.end_sessions,
    ]
    for ask in asks:
        with pytest.raises(NoSuchUser):
            ask(user_id)
    listed = app.test_cli_runner().invoke(args=["users", "list", "--json"])
    assert json.loads(listed.output)["users"] == []


def test_an_operator_deletes_a_user_and_may_be_stopped(
    phone: Phone, services: Services, app: Flask
) -> None:
    phone.log_in()
    user_id = user_id_of(phone)
    fill(services, live=0, dead=2 * BATCH, events=5)
    run = app.test_cli_runner().invoke
    asked = run(args=["users", "delete", str(user_id)], input="n\n")
    assert (asked.exit_code, phone.check().status_code) == (1, 200)

    def stop(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        services.deletion.delete(user_id, actor="lin", progress=stop)
    assert problem(phone.check()) == GONE
    left = rows(services)
    assert BATCH > len(left[sessions.name]) > 1
    done = run(args=["users", "delete", str(user_id), "--yes", "--as", "wang", "--json"])
    assert (done.exit_code, json.loads(done.output)) == (
        0,
        {"user_id": str(user_id), "deleted": True},
    )
    left = rows(services)
    assert len(left[sessions.name]) == 1
    deletions = [row for row in left[audit_events.name] if row["event"] == "user.deleted"]
    assert [row["actor"] for row in deletions] == ["lin"]


def test_an_operator_is_told_of_a_user_who_does_not_exist_or_was_merged(
    phone: Phone, make_phone: Callable[..., Phone], app: Flask
) -> None:
    account = make_phone()
    registered = account.send("POST", "/register", json=ALICE).json
    merged = phone.log_in().json["user"]["id"]
    phone.send("POST", "/bind", json=ALICE, token=phone.token)
    run = app.test_cli_runner().invoke
    told = run(args=["users", "delete", merged, "--yes"])
    assert (told.exit_code, registered["user"]["id"] in told.output) == (1, True)
    told = run(args=["users", "delete", str(UUID(int=1)), "--yes"])
    assert (told.exit_code, told.output) == (1, "Error: no user has this id\n")


def test_not_even_the_files_say_who_it_was(
    kind: str, request: pytest.FixtureRequest, clock: SettableClock, wechat: WeChat
) -> None:
    if kind == "sqlite":
        url = str(request.getfixturevalue("sqlite_url"))
        folder, tidying = Path(url.removeprefix("sqlite:///")).parent, _IN_SQLITE
    else:
        server: PostgresServer = request.getfixturevalue("own_postgres")
        url, folder, tidying = server.url("own"), server.directory / "data", _IN_POSTGRESQL
    app = create_app(
        settings_for(url), clock=clock, http=wechat_transport(wechat), hasher=CHEAP_HASHER
    )
    services = services_of(app)
    phone = Phone(app, wechat, "alice")
    known = make_known(phone, wechat)
    assert phone.send("GET", "/user/export", token=phone.token).status_code == 200
    tidy(services, tidying)
    shown = {what for what, value in known.items() if value.encode() in everything_in(folder)}
    assert shown == known.keys() - {"phone number"}
    assert delete(phone).status_code == 204
    clock.advance(days=8)
    services.purge.run(WEEK)
    # Somebody else: ANALYZE keeps its samples of a table in which there is nobody any more.
    Phone(app, wechat, "bob", OTHER_APPID, "192.0.2.1", "BobPhone/1").log_in()
    tidy(services, tidying)
    files = everything_in(folder)
    assert [what for what, value in known.items() if value.encode() in files] == []
    services.database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return a kind of database whose files the test has for itself."""
    return str(request.param)


_IN_SQLITE: Sequence[str] = ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")
# The statistics have samples of what was there, and so have WAL files that are kept to be reused.
_IN_POSTGRESQL: Sequence[str] = (
    "ALTER SYSTEM SET wal_recycle = off",
    "SELECT pg_reload_conf()",
    "VACUUM (FULL, ANALYZE)",
    "VACUUM (FULL) pg_statistic",  # ANALYZE of a table after it left samples of before
    "CHECKPOINT",
    "SELECT pg_switch_wal()",
    "CHECKPOINT",
)


def tidy(services: Services, statements: Sequence[str]) -> None:
    """Let a database free what nobody needs any more."""
    for statement in statements:
        with services.database.statement() as connection:
            connection.execute(text(statement))


def everything_in(folder: Path) -> bytes:
    """Return the bytes of all files below a folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
