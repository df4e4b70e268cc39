"""A deletion beside everything else that the same user can do: nothing is half, nothing revives."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.support.databases import ON_BOTH
from tests.support.phone import Phone
from tests.support.settings import APPID, APPS
from wxsession.errors import NoSuchUser
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.tables import identities, merged_users, session_keys, sessions, users

pytestmark = ON_BOTH

ROUNDS = 50
PASSWORD = "correct horse battery"
MANY = 1_000_000
"""Logins that WeChat allows a user in a minute."""


@pytest.fixture
def wechat(clock: SettableClock) -> WeChat:
    """Return a WeChat that never has enough."""
    return WeChat(APPS, clock=clock, calls_per_minute=MANY)


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return a server on which one address may register any number of users."""
    return make_app(registration_limit="0")


def at_once(pool: ThreadPoolExecutor, actions: list[Callable[[], Any]]) -> list[Any]:
    """Return what actions return that begin at the same moment, in any order."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        barrier.wait()
        return action()

    order = random.sample(range(len(actions)), len(actions))
    begun = {index: pool.submit(run, actions[index]) for index in order}
    return [begun[index].result() for index in range(len(actions))]


def ensure_whole(services: Services, gone: set[str]) -> None:
    """Fail if something is left of deleted users, or if a row is half of what it should be."""
    with services.database.statement() as connection:

        def everything(table: Any) -> list[Any]:
            return list(connection.execute(select(table)).mappings())

        dead = [row for row in everything(users) if row["deleted_at"] is not None]
        alive = {row["id"] for row in everything(users) if row["deleted_at"] is None}
        bound = everything(identities)
        kept = everything(session_keys)
        held = everything(sessions)
        merged = everything(merged_users)
    assert {str(row["id"]) for row in dead} >= gone
    for row in dead:
        assert {name for name, value in row.items() if value is not None} == {
            "id",
            "created_at",
            "disabled_at",
            "deleted_at",
        }
    lost = {row["id"] for row in dead}
    for row in held:
        if row["user_id"] in lost:
            assert row["end_reason"] == "user_deleted"
            assert (row["client_address"], row["user_agent"], row["identity_id"]) == (None,) * 3
    assert {row["user_id"] for row in bound} <= alive
    assert {row["identity_id"] for row in kept} <= {row["id"] for row in bound}
    assert not {row["old_id"] for row in merged} & alive


@pytest.mark.timeout(600)
def test_a_deletion_beside_login_refresh_check_export_and_logout(
    app: Flask, wechat: WeChat, services: Services
) -> None:
    gone: set[str] = set()
    with ThreadPoolExecutor(6) as pool:
        for number in range(ROUNDS):
            phone = Phone(app, wechat, f"user {number}")
            tablet = Phone(app, wechat, phone.user, address="198.51.100.9")
            user_id = phone.log_in().json["user"]["id"]
            tablet.log_in()
            login_body = {"code": tablet.code(), "appid": APPID}
            half = {"nickname": "half"}
            token = phone.token
            deleted, login, refreshed, checked, exported, named = at_once(
                pool,
                [
                    partial(phone.send, "DELETE", "/user", token=token),
                    partial(tablet.send, "POST", "/login", json=login_body),
                    tablet.lose_refresh,
                    phone.check,
                    partial(phone.send, "GET", "/user/export", token=token),
                    partial(phone.send, "PATCH", "/user", json=half, token=token),
                ],
            )
            gone.add(user_id)
            assert deleted.status_code == 204
            assert login.status_code == 200
            for answer in refreshed, checked, exported, named:
                assert answer.status_code in {200, 401, 503}, answer.text
                if answer.status_code == 401:
                    assert answer.json["reason"] == "user_deleted"
            if exported.status_code == 200:
                assert exported.json["identities"]
                assert exported.json["sessions"]
            new = login.json["user"]["id"] != user_id
            assert Phone(app, wechat, "x").check(login.json["session_token"]).status_code == (
                200 if new else 401
            )
            for token in phone.token, tablet.token:
                assert phone.check(token).json["reason"] == "user_deleted"
    ensure_whole(services, gone)


@pytest.mark.timeout(600)
def test_a_deletion_beside_bind_unbind_and_wechats_cancellation(
    app: Flask, wechat: WeChat, services: Services
) -> None:
    with ThreadPoolExecutor(4) as pool:
        for number in range(ROUNDS):
            account = {"username": f"account{number}", "password": PASSWORD}
            phone = Phone(app, wechat, f"user {number}")
            owner = Phone(app, wechat, f"owner {number}")
            registered = owner.send("POST", "/register", json=account)
            owner.token = registered.json["session_token"]
            phone.log_in()
            openid = wechat.openid(phone.user, APPID)
            bound, deleted, own, _ = at_once(
                pool,
                [
                    partial(phone.send, "POST", "/bind", json=account, token=phone.token),
                    partial(owner.send, "DELETE", "/user", token=owner.token),
                    partial(phone.send, "DELETE", "/user", token=phone.token),
                    partial(services.deletion.delete_wechat_user, APPID, openid, actor="wechat"),
                ],
            )
            assert bound.status_code in {200, 401}, bound.text
            for answer in deleted, own:  # both mean the account, if the two were bound first
                assert answer.status_code in {204, 401}, answer.text
            login = owner.send("POST", "/login", json=account)
            assert login.json["code"] == "bad_credentials"
            with services.database.statement() as connection:
                openids = set(connection.execute(select(identities.c.openid)).scalars())
            assert openid not in openids
    ensure_whole(services, set())


@pytest.mark.timeout(600)
def test_two_deletions_of_one_user_and_a_purge(
    app: Flask, wechat: WeChat, services: Services
) -> None:
    gone: set[str] = set()

    with ThreadPoolExecutor(4) as pool:
        for number in range(ROUNDS):
            phone = Phone(app, wechat, f"user {number}")
            user = phone.log_in().json["user"]["id"]
            view = services.sessions.check(str(phone.token))
            delete = partial(services.deletion.delete, view.user.id, actor="lin")
            clear = partial(services.deletion.clear, view.user.id)
            own = partial(phone.send, "DELETE", "/user", token=phone.token)
            at_once(pool, [delete, delete, own, clear])
            gone.add(user)
            with pytest.raises(NoSuchUser):
                services.directory.user(view.user.id)
    ensure_whole(services, gone)
