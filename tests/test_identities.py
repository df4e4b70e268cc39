"""Who is the same person: WeChat users of several apps, bans, and what somebody took apart."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import func, insert, select

from tests.support.app import services_of
from tests.support.databases import ON_BOTH
from tests.support.phone import Answer, Phone, problem
from tests.support.postgres import PostgresServer
from tests.support.settings import APPID, OTHER_APPID, settings_for
from tests.support.statements import overhearing
from tests.test_accounts import PASSWORD, bind, by_password, register, rows, user_of
from tests.test_administration import Operator
from wxsession import create_app
from wxsession.errors import UserBlocked
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat, wechat_transport
from wxsession.storage.database import new_id
from wxsession.storage.tables import sessions, users
from wxsession.users.merging import MOST_MOVED_SESSIONS

pytestmark = ON_BOTH

THREE = (APPID, OTHER_APPID, "wx00112233445566aa")
WEEK = timedelta(days=7)
MakePhone = Callable[..., Phone]


def tell_unionids(wechat: WeChat, *appids: str) -> None:
    """Let WeChat tell the unionid in these apps from now on."""
    for appid in appids or (APPID, OTHER_APPID):
        wechat.bind_open_platform(appid)


def id_of(phone: Phone) -> UUID:
    return UUID(user_of(phone)["id"])


def unbind(phone: Phone, **body: object) -> Answer:
    return phone.send("POST", "/unbind", json=body, token=phone.token)


def bound(phone: Phone) -> list[dict[str, Any]]:
    answer = phone.send("GET", "/identities", token=phone.token)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json["identities"]
    return found


@dataclass
class Trio:
    """A server of three apps, and the WeChat that they are of."""

    app: Flask
    wechat: WeChat

    def phones(self, user: str) -> list[Phone]:
        """Return somebody's phone in each of the apps."""
        return [Phone(self.app, self.wechat, user, appid=appid) for appid in THREE]


@contextmanager
def trio_at(database_url: str, clock: SettableClock) -> Iterator[Trio]:
    """Yield a server of three apps at a database."""
    apps = {appid: f"an-app-secret-of-{appid}" for appid in THREE}
    wechat = WeChat(apps, clock=clock)
    settings = settings_for(
        database_url, apps=",".join(f"{appid}:{secret}" for appid, secret in apps.items())
    )
    app = create_app(settings, clock=clock, http=wechat_transport(wechat))
    yield Trio(app, wechat)
    services_of(app).database.close()


@pytest.fixture
def trio(database_url: str, clock: SettableClock) -> Iterator[Trio]:
    """Return a server of three apps."""
    with trio_at(database_url, clock) as found:
        yield found


@pytest.fixture
def there(phone: Phone, make_phone: MakePhone) -> Phone:
    """Return the same person's phone, in another app."""
    return make_phone(phone.user, appid=OTHER_APPID)


@pytest.fixture
def account(make_phone: MakePhone) -> Phone:
    """Return a computer at which somebody has registered as alice."""
    desk = make_phone("alice at her desk")
    assert register(desk).status_code == 201
    return desk


# Bans.


def test_a_ban_outlives_a_unionid_that_is_learnt_late(
    phone: Phone, there: Phone, wechat: WeChat, services: Services
) -> None:
    phone.log_in()
    banned = id_of(phone)
    services.administration.disable(banned)
    there.log_in()
    tell_unionids(wechat)
    there.log_in()
    for _ in range(2):
        assert problem(phone.log_in()) == (403, "user_blocked", None)
    assert services.directory.user(banned).user.disabled_at is not None
    assert id_of(there) != banned


def test_who_turns_out_to_be_somebody_banned_is_blocked(
    phone: Phone, there: Phone, wechat: WeChat, services: Services
) -> None:
    tell_unionids(wechat, APPID)
    phone.log_in()
    there.log_in()
    banned = id_of(phone)
    services.administration.disable(banned)
    tell_unionids(wechat, OTHER_APPID)
    for _ in range(2):
        assert problem(there.log_in()) == (403, "user_blocked", None)
    services.administration.enable(banned)
    there.log_in()
    assert id_of(there) == banned


def test_a_new_app_is_no_way_around_a_ban(
    phone: Phone, there: Phone, wechat: WeChat, services: Services
) -> None:
    tell_unionids(wechat)
    phone.log_in()
    services.administration.disable(id_of(phone))
    assert problem(there.log_in()) == (403, "user_blocked", None)


@pytest.mark.parametrize("banned", [0, 1])
def test_no_merge_takes_a_ban_away(
    account: Phone, phone: Phone, services: Services, banned: int
) -> None:
    phone.log_in()
    ids = [id_of(phone), id_of(account)]
    services.administration.disable(ids[banned])
    with services.database.transaction() as connection:
        locked = services.users.lock(connection, ids)
        source, target = (locked[user_id] for user_id in ids)
        with pytest.raises(UserBlocked):
            services.users.merge(connection, source, target)
    assert rows(services, users) == 2


# Unbinding holds.


def test_what_was_unbound_before_the_unionid_was_known_stays_unbound(
    account: Phone, phone: Phone, there: Phone, wechat: WeChat
) -> None:
    for one in (phone, there):
        one.log_in()
        assert bind(one).status_code == 200
    assert unbind(account, appid=APPID).status_code == 200
    tell_unionids(wechat)
    for one in (there, phone, there, phone):  # whichever of them WeChat tells first
        one.log_in()
    assert user_of(there)["username"] == "alice"
    assert user_of(phone)["username"] is None


def test_the_other_one_does_not_follow_what_was_unbound(
    account: Phone, phone: Phone, there: Phone, wechat: WeChat
) -> None:
    for one in (phone, there):
        one.log_in()
        bind(one)
    unbind(account, appid=APPID)
    tell_unionids(wechat)
    phone.log_in()
    there.log_in()
    assert user_of(there)["username"] == "alice"
    assert user_of(phone)["username"] is None


def test_who_was_shown_out_does_not_come_back_by_another_app(
    account: Phone, phone: Phone, there: Phone, wechat: WeChat
) -> None:
    tell_unionids(wechat)
    phone.log_in()
    bind(phone)
    there.log_in()
    assert user_of(there)["username"] == "alice"  # without being asked: see `GET /identities`
    assert [one["appid"] for one in bound(account)] == [APPID, OTHER_APPID]
    assert unbind(account, all=True).status_code == 200
    assert bound(account) == []
    for one in (phone, there):
        assert problem(one.check()) == (401, "session_ended", "unbound")
        assert one.log_in().json["user"]["username"] is None
    assert id_of(phone) == id_of(there)  # one person still, and another one


def test_a_new_app_of_who_was_shown_out_is_not_the_accounts(
    account: Phone, phone: Phone, there: Phone, wechat: WeChat
) -> None:
    tell_unionids(wechat)
    phone.log_in()
    bind(phone)
    unbind(account, appid=APPID)
    assert there.log_in().json["user"]["username"] is None
    assert phone.log_in().json["user"]["id"] == user_of(there)["id"]


def test_an_unbind_is_remembered_through_a_merge(trio: Trio) -> None:
    first, second, third = trio.phones("alice")
    desk = Phone(trio.app, trio.wechat, "alice at her desk")
    register(desk)
    tell_unionids(trio.wechat, *THREE)
    first.log_in()
    second.log_in()
    assert unbind(second).status_code == 200  # off a user without a username
    second.log_in()
    assert bind(first).status_code == 200
    third.log_in()
    assert id_of(first) == id_of(desk)
    assert id_of(third) == id_of(second) != id_of(desk)


def test_of_several_with_one_unionid_a_ban_of_any_holds_for_a_new_app(trio: Trio) -> None:
    first, second, third = trio.phones("alice")
    tell_unionids(trio.wechat, *THREE)
    first.log_in()
    second.log_in()
    unbind(second)
    second.log_in()
    services_of(trio.app).administration.disable(id_of(second))
    assert first.check().status_code == 200
    assert problem(third.log_in()) == (403, "user_blocked", None)


def test_binding_with_the_password_is_the_way_back(
    account: Phone, phone: Phone, there: Phone, wechat: WeChat
) -> None:
    tell_unionids(wechat)
    phone.log_in()
    bind(phone)
    unbind(account, appid=APPID)
    phone.log_in()
    assert bind(phone).status_code == 200
    assert there.log_in().json["user"]["username"] == "alice"  # and the unionid counts again


def test_all_of_a_user_without_a_username_is_the_last_way_in(
    phone: Phone, there: Phone, wechat: WeChat
) -> None:
    tell_unionids(wechat)
    phone.log_in()
    there.log_in()
    assert problem(unbind(phone, all=True)) == (409, "last_credential", None)
    assert len(bound(phone)) == 2


def test_one_app_or_all_of_them(account: Phone) -> None:
    answer = unbind(account, all=True, appid=APPID)
    assert problem(answer)[:2] == (400, "invalid_request")


def test_unbinding_all_of_none_is_no_error(account: Phone) -> None:
    assert unbind(account, all=True).json["user"]["username"] == "alice"


def test_strangers_whom_an_account_had_bound_part_as_strangers(
    account: Phone, phone: Phone, make_phone: MakePhone
) -> None:
    bob = make_phone("bob", appid=OTHER_APPID)
    for one in (phone, bob):
        one.log_in()
        bind(one)
    assert unbind(phone, all=True).status_code == 200
    assert user_of(phone)["username"] == "alice"  # the session that asked goes on
    phone.log_in()
    bob.log_in()
    assert len({id_of(one) for one in (account, phone, bob)}) == 3


def test_the_apps_that_lead_to_a_user_are_listed(
    account: Phone, phone: Phone, there: Phone, clock: SettableClock
) -> None:
    there.log_in()
    clock.advance(minutes=1)
    phone.log_in()
    clock.advance(minutes=1)
    for one in (there, phone):
        clock.advance(minutes=1)
        bind(one)
    assert bound(phone) == [
        {"appid": OTHER_APPID, "bound_at": "2026-11-21T08:33:00.000Z", "current": False},
        {"appid": APPID, "bound_at": "2026-11-21T08:34:00.000Z", "current": True},
    ]
    assert bound(account)[1]["current"] is False


# The password of an account, and of no other.


def test_a_username_that_is_a_users_id_opens_nothing_of_that_user(
    phone: Phone, there: Phone, make_phone: MakePhone, wechat: WeChat, clock: SettableClock
) -> None:
    tell_unionids(wechat)
    phone.log_in()
    there.log_in()
    clock.advance(hours=3)
    thief = make_phone("thief")
    assert register(thief, str(id_of(phone))).status_code == 201
    stolen = make_phone("alice", token=there.token)
    assert problem(unbind(stolen, password=PASSWORD)) == (401, "bad_credentials", None)
    body = {"password": PASSWORD, "new_password": "quite another one"}
    phone.log_in()
    answer = phone.send("PUT", "/password", json=body, token=phone.token)
    assert problem(answer) == (401, "bad_credentials", None)
    assert by_password(thief, str(id_of(phone))).status_code == 200
    assert len(bound(phone)) == 2


# Linking can be switched off.


def test_without_linking_a_unionid_is_kept_and_joins_nobody(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    app = make_app(link_by_unionid="off")
    here, there = (Phone(app, wechat, "alice", appid=appid) for appid in (APPID, OTHER_APPID))
    here.log_in()  # before WeChat tells it
    tell_unionids(wechat)
    for one in (here, there, here):
        one.log_in()
    assert id_of(here) != id_of(there)
    operator = Operator(app)
    assert len(operator.found("--unionid", wechat.unionid("alice"))) == 2


# What becomes of a user that was merged.


def give_old_sessions(services: Services, user_id: UUID, count: int, ended: Any) -> None:
    """Let a user have had so many sessions."""
    row = {
        "user_id": user_id,
        "token_hash": bytes(32),
        "created_at": ended,
        "auth_time": ended,
        "absolute_expires_at": ended + timedelta(days=30),
        "idle_expires_at": ended + WEEK,
        "purge_on": ended.date(),
        "ended_at": ended,
        "end_reason": "logout",
    }
    with services.database.transaction() as connection:
        if count:
            connection.execute(insert(sessions), [{"id": new_id(), **row} for _ in range(count)])


def sessions_of(services: Services, user_id: UUID) -> int:
    with services.database.statement() as connection:
        query = select(func.count()).where(sessions.c.user_id == user_id)
        return connection.execute(query).scalar_one()


def test_a_merge_moves_so_many_old_sessions_and_the_purge_does_the_rest(
    account: Phone, phone: Phone, services: Services, clock: SettableClock
) -> None:
    operator = Operator(phone.app)
    phone.log_in()
    silent, alice = id_of(phone), id_of(account)
    give_old_sessions(services, silent, MOST_MOVED_SESSIONS + 200, clock())
    assert bind(phone).status_code == 200
    assert sessions_of(services, silent) == 200
    assert sessions_of(services, alice) == MOST_MOVED_SESSIONS + 2
    assert operator.found() == [str(alice)]
    every = services.directory.sessions(alice, every=True, limit=10_000).items
    assert len(every) == MOST_MOVED_SESSIONS + 202
    assert phone.log_in().json["user"]["id"] == str(alice)

    services.purge.run(WEEK)
    assert sessions_of(services, silent) == 200  # still kept for those who ask why they ended
    clock.advance(days=7)
    phone.log_in()
    services.purge.run(WEEK)
    with services.database.statement() as connection:
        assert connection.execute(select(users.c.id)).scalars().all() == [alice]


def test_nobody_can_do_anything_to_who_was_merged(
    account: Phone, phone: Phone, services: Services, clock: SettableClock
) -> None:
    operator = Operator(phone.app)
    phone.log_in()
    phone.send("PATCH", "/user", json={"nickname": "Ali"}, token=phone.token)
    silent, alice = id_of(phone), id_of(account)
    give_old_sessions(services, silent, MOST_MOVED_SESSIONS + 1, clock())
    bind(phone)
    for command in ("show", "disable", "enable", "end-sessions"):
        result = operator.run("users", command, silent)
        assert (result.exit_code, result.output) == (
            1,
            f"Error: this user was merged into {alice}\n",
        )
    with services.database.statement() as connection:
        row = connection.execute(select(users).where(users.c.id == silent)).one()
    assert (row.nickname, row.username, row.disabled_at) == (None, None, None)


@pytest.mark.parametrize("old_sessions", [0, MOST_MOVED_SESSIONS + 1])
@pytest.mark.usefixtures("account")
def test_a_change_that_a_merge_overtakes_is_not_lost_without_a_word(
    phone: Phone,
    make_app: Callable[..., Flask],
    services: Services,
    clock: SettableClock,
    old_sessions: int,
) -> None:
    phone.log_in()
    give_old_sessions(services, id_of(phone), old_sessions, clock())
    elsewhere = Phone(make_app(), phone.wechat, phone.user, token=phone.token)

    def overtake(statement: str) -> None:
        if statement.startswith("BEGIN"):  # the session was checked, nothing is locked
            assert bind(elsewhere).status_code == 200

    def call_me_ali() -> Answer:
        return phone.send("PATCH", "/user", json={"nickname": "Ali"}, token=phone.token)

    with overhearing(services.database, before=overtake):
        assert problem(call_me_ali()) == (503, "overloaded", None)
    assert call_me_ali().json["username"] == "alice"
    assert user_of(elsewhere)["nickname"] == "Ali"


def test_who_was_merged_twice_is_found_where_it_ended(
    account: Phone, phone: Phone, there: Phone, wechat: WeChat, services: Services
) -> None:
    phone.log_in()
    there.log_in()
    first, second = id_of(phone), id_of(there)
    tell_unionids(wechat)
    phone.log_in()
    there.log_in()
    assert id_of(there) == first
    bind(phone)
    alice = id_of(account)
    operator = Operator(phone.app)
    for old in (first, second):
        assert str(alice) in operator.run("users", "show", old).output
    told = {(one.event, one.user_id) for one in services.directory.user(alice).events}
    assert {
        ("user.merged", second),
        ("session.created", second),
        ("session.created", first),
        ("user.merged", first),
        ("identity.bound", alice),
    } <= told


# Locks are taken in one order.


@pytest.mark.parametrize("rounds", [40, pytest.param(200, marks=pytest.mark.long)])
def test_three_apps_that_learn_one_unionid_at_once_never_wait_for_each_other(
    own_postgres: PostgresServer, clock: SettableClock, rounds: int
) -> None:
    with trio_at(own_postgres.url("own"), clock) as trio:

        def log_in(one: tuple[int, str]) -> int:
            number, appid = one
            phone = Phone(trio.app, trio.wechat, f"user {number}", appid=appid)
            begun = time.monotonic()
            answer = phone.log_in()
            if answer.status_code == 503 and time.monotonic() - begun > 1:  # a busy machine
                answer = phone.log_in()
            return answer.status_code

        everybody = [(number, appid) for number in range(rounds) for appid in THREE]
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(log_in, everybody)) == {200}
        tell_unionids(trio.wechat, *THREE)
        with ThreadPoolExecutor(6) as pool:
            for number in range(rounds):
                six = [(number, appid) for appid in (*THREE, *THREE)]
                assert set(pool.map(log_in, six)) == {200}
        assert rows(services_of(trio.app), users) == rounds
    assert "deadlock" not in own_postgres.log_path.read_text(errors="replace")
