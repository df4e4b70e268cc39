"""Signals: a host's functions hear of what happened to a user, once it is committed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from blinker import NamedSignal
from flask import Flask

from tests.support.app import services_of
from tests.support.databases import ON_BOTH
from tests.support.phone import Phone
from tests.support.settings import APPID, OTHER_APPID
from tests.test_accounts import bind, register, user_of
from tests.test_administration import Operator
from tests.test_identities import tell_unionids, unbind
from wxsession import Event, signals
from wxsession.events.audit import SYSTEM
from wxsession.services import Services
from wxsession.simulator import WeChat

pytestmark = ON_BOTH


@contextmanager
def hearing(app: Flask) -> Iterator[list[Event]]:
    """Yield the events of an application, as they are signalled."""
    heard: list[Event] = []

    def hear(sender: Flask, event: Event) -> None:
        assert sender is app
        heard.append(event)

    every = [value for value in vars(signals).values() if isinstance(value, NamedSignal)]
    assert {signal.name for signal in every} == signals.NAMES
    for signal in every:
        signal.connect(hear, sender=app)
    yield heard
    for signal in every:
        signal.disconnect(hear, sender=app)


@pytest.fixture
def account(make_phone: Callable[..., Phone]) -> Phone:
    """Return a computer at which somebody has registered as alice."""
    desk = make_phone("alice at her desk")
    assert register(desk).status_code == 201
    return desk


def users_of(events: list[Event], name: str) -> list[tuple[UUID | None, UUID | None, str | None]]:
    """Return whom the events of a name are about, who they are now, and why."""
    return [(one.user_id, one.new_user_id, one.reason) for one in events if one.event == name]


def test_a_first_login_tells_of_the_user_and_of_the_session(phone: Phone) -> None:
    with hearing(phone.app) as heard:
        grant = phone.log_in().json
    assert [one.event for one in heard] == ["user.created", "session.created"]
    assert {str(one.user_id) for one in heard} == {grant["user"]["id"]}
    assert (str(heard[1].session_id), heard[1].appid) == (grant["session_id"], APPID)
    with hearing(phone.app) as heard:
        phone.log_in()
    assert [one.event for one in heard] == ["session.created"]


def test_a_bound_user_has_another_id_from_then_on(phone: Phone, account: Phone) -> None:
    silent, alice = UUID(phone.log_in().json["user"]["id"]), UUID(user_of(account)["id"])
    with hearing(phone.app) as heard:
        bind(phone)
    assert users_of(heard, "user.merged") == [(silent, alice, "bind")]
    assert users_of(heard, "identity.bound") == [(alice, None, None)]


def test_so_has_one_whom_a_late_unionid_makes_the_same_as_another(
    phone: Phone, make_phone: Callable[..., Phone], wechat: WeChat
) -> None:
    there = make_phone(appid=OTHER_APPID)
    first, second = (UUID(one.log_in().json["user"]["id"]) for one in (phone, there))
    tell_unionids(wechat)
    phone.log_in()
    with hearing(phone.app) as heard:
        there.log_in()
    assert users_of(heard, "user.merged") == [(second, first, "unionid")]


def test_who_leaves_an_account_is_a_new_user(phone: Phone, account: Phone) -> None:
    phone.log_in()
    bind(phone)
    alice = UUID(user_of(account)["id"])
    with hearing(phone.app) as heard:
        unbind(phone)
    left = UUID(phone.log_in().json["user"]["id"])
    assert users_of(heard, "user.split") == [(alice, left, None)]
    assert users_of(heard, "identity.unbound") == [(alice, left, None)]


def test_what_changes_a_user_or_ends_a_session_is_told_with_its_reason(
    phone: Phone, make_phone: Callable[..., Phone], wechat: WeChat
) -> None:
    phone.log_in()
    lost = make_phone()
    lost.log_in()
    code = wechat.phone_code("alice", APPID)
    operator = Operator(phone.app)
    with hearing(phone.app) as heard:
        register(phone)
        phone.send("PATCH", "/user", json={"nickname": "Ali"}, token=phone.token)
        phone.send("PATCH", "/user", json={"nickname": "Ali"}, token=phone.token)
        phone.send("POST", "/phone_number", json={"code": code}, token=phone.token)
        lost.log_out()
        operator.run("users", "disable", user_of(phone)["id"])
        operator.run("users", "enable", phone_user := heard[0].user_id)
    assert [(one.event, one.reason, one.actor) for one in heard] == [
        ("user.updated", "username", None),
        ("session.created", None, None),
        ("session.ended", "replaced", None),
        ("user.updated", None, None),
        ("phone_number.set", None, None),
        ("session.ended", "logout", None),
        ("user.disabled", None, "root"),
        ("session.ended", "user_disabled", "root"),
        ("user.enabled", None, "root"),
    ]
    assert {one.user_id for one in heard} == {phone_user}


def test_a_receiver_that_fails_changes_nothing_and_stops_nobody(
    phone: Phone, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_sender: Flask, **_event: Any) -> None:
        raise RuntimeError("the shop is closed")

    with signals.session_created.connected_to(fail), hearing(phone.app) as heard:
        assert phone.log_in().status_code == 200
    assert [one.event for one in heard] == ["user.created", "session.created"]
    assert "the shop is closed" in caplog.text
    assert phone.check().status_code == 200


def test_a_receiver_finds_everything_committed_and_the_connection_free(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    phone = Phone(make_app(pool_size=1), wechat, "alice")
    found: list[str | None] = []

    def look(sender: Flask, event: Event) -> None:
        assert event.user_id is not None
        found.append(services_of(sender).directory.user(event.user_id).user.username)

    with signals.user_created.connected_to(look):
        register(phone)
    assert found == ["alice"]


def test_nobody_hears_of_what_was_rolled_back(app: Flask, services: Services) -> None:
    with hearing(app) as heard:
        with pytest.raises(RuntimeError), services.database.transaction() as transaction:
            services.audit.write(transaction, "user.created", SYSTEM)
            raise RuntimeError
        assert heard == []
