"""Whoever asks what is known of a user gets all of it, and nothing that opens anything."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import insert, select

from tests.support.databases import ON_BOTH
from tests.support.phone import Phone, problem
from tests.support.settings import APPID
from wxsession.errors import NoSuchUser
from wxsession.services import Services
from wxsession.simulator import WeChat
from wxsession.storage.database import new_id
from wxsession.storage.tables import audit_events, sessions, users

pytestmark = ON_BOTH

ALICE = {"username": "alice.of.the.hills", "password": "correct horse battery"}
NUMBER = "13987654321"


def export(phone: Phone) -> Any:
    """Return what the phone's user is told of itself."""
    answer = phone.send("GET", "/user/export", token=phone.token)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json


def test_the_user_is_told_everything(phone: Phone, wechat: WeChat) -> None:
    wechat.bind_open_platform(APPID)
    wechat.set_phone_number("alice", NUMBER)
    user = phone.log_in().json["user"]
    phone.send("POST", "/register", json=ALICE, token=phone.token)
    session_id = phone.log_in().json["session_id"]
    phone.send("PATCH", "/user", json={"nickname": "爱丽丝"}, token=phone.token)
    code = {"code": wechat.phone_code("alice")}
    phone.send("POST", "/phone_number", json=code, token=phone.token)
    told = export(phone)
    assert told["user"] | {"created_at": None} == {
        "id": user["id"],
        "username": ALICE["username"],
        "nickname": "爱丽丝",
        "avatar_url": None,
        "phone_number": NUMBER,
        "country_code": "86",
        "disabled_at": None,
        "created_at": None,
    }
    (identity,) = told["identities"]
    assert identity["appid"] == APPID
    assert identity["openid"] == wechat.openid("alice")
    assert identity["unionid"] == wechat.unionid("alice")
    assert [one["end_reason"] for one in told["sessions"]] == ["replaced", None, None]
    (own,) = [one for one in told["sessions"] if one["id"] == session_id]
    assert (own["client_address"], own["user_agent"]) == (phone.address, phone.user_agent)
    assert [one["event"] for one in told["events"]].count("session.created") == 3
    assert "user.exported" in {one["event"] for one in export(phone)["events"]}


def test_no_key_hash_or_token_is_in_it(phone: Phone, wechat: WeChat, services: Services) -> None:
    phone.log_in()
    phone.send("POST", "/register", json=ALICE, token=phone.token)
    phone.log_in()
    told = json.dumps(export(phone))
    with services.database.statement() as connection:
        hashes = [
            bytes(one).hex() for one in connection.execute(select(sessions.c.token_hash)).scalars()
        ]
        password_hash = connection.execute(select(users.c.password_hash)).scalar_one()
    for secret in *hashes, password_hash, phone.token, wechat.session_key("alice"):
        assert str(secret) not in told
    assert "hash" not in told
    assert "sealed" not in told
    assert ALICE["password"] not in told


def test_nobody_is_told_of_others(
    phone: Phone, make_phone: Callable[..., Phone], wechat: WeChat
) -> None:
    bob = make_phone("bob", address="198.51.100.20")
    phone.log_in()
    bob.log_in()
    told = json.dumps(export(bob))
    assert wechat.openid("bob") in told
    assert wechat.openid("alice") not in told
    assert phone.address not in told
    assert problem(bob.send("GET", "/user/export")) == (401, "missing_token", None)
    user_id = phone.check().json["user"]["id"]
    assert bob.send("GET", f"/user/export/{user_id}", token=bob.token).status_code == 404


def test_what_happened_before_a_merge_is_in_it(
    phone: Phone, make_phone: Callable[..., Phone]
) -> None:
    account = make_phone(address="198.51.100.30")
    account.send("POST", "/register", json=ALICE)
    phone.log_in()
    bound = phone.send("POST", "/bind", json=ALICE, token=phone.token)
    phone.token = bound.json["session_token"]
    told = export(phone)
    assert "user.merged" in {one["event"] for one in told["events"]}
    assert {one["client_address"] for one in told["events"]} == {phone.address, account.address}


def test_an_operator_exports_the_same_and_is_noted(
    phone: Phone, app: Flask, services: Services
) -> None:
    phone.log_in()
    run = app.test_cli_runner().invoke
    told = export(phone)
    user_id = told["user"]["id"]
    result = run(args=["users", "export", user_id, "--as", "lin"])
    assert result.exit_code == 0
    printed = json.loads(result.output)
    assert printed["user"] == told["user"]
    assert printed["identities"] == told["identities"]
    assert printed["sessions"] == told["sessions"]
    query = select(audit_events.c.actor).where(audit_events.c.event == "user.exported")
    with services.database.statement() as connection:
        assert sorted(map(str, connection.execute(query).scalars())) == ["None", "lin"]
    assert "lin" not in json.dumps(export(phone))


@pytest.mark.parametrize("rows", [999, 1000, 2500])
def test_any_number_of_sessions_and_events_comes_page_by_page(
    phone: Phone, services: Services, rows: int
) -> None:
    phone.log_in()
    with services.database.transaction() as transaction:
        for table in sessions, audit_events:
            one, *others = [dict(row) for row in transaction.execute(select(table)).mappings()]
            more = rows - 1 - len(others)
            transaction.execute(insert(table), [{**one, "id": new_id()} for _ in range(more)])
    told = export(phone)
    for name in "sessions", "events":
        ids = [one["id"] for one in told[name]]
        assert (len(ids), len(set(ids))) == (rows, rows)


def test_an_export_that_the_user_does_not_survive_is_not_completed(
    phone: Phone, services: Services
) -> None:
    user_id = UUID(phone.log_in().json["user"]["id"])
    with services.database.transaction() as transaction:
        one = dict(transaction.execute(select(audit_events).limit(1)).mappings().one())
        more = [{**one, "id": new_id()} for _ in range(1500)]
        transaction.execute(insert(audit_events), more)
    pieces = services.export.of_user(user_id).pieces()
    begun = next(pieces)
    services.deletion.delete(user_id)
    with pytest.raises(NoSuchUser):
        begun += "".join(pieces)
    with pytest.raises(json.JSONDecodeError):
        json.loads(begun)
