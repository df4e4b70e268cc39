"""An operator ends everybody's sessions, and moves WeChat users between accounts."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.support.databases import ON_BOTH, ON_SQLITE
from tests.support.phone import Phone, problem
from tests.support.settings import APPID, OTHER_APPID
from tests.test_accounts import by_password, keep, register
from tests.test_administration import NOBODY, Operator, add_sessions, live, noted, user_of
from wxsession.services import Services
from wxsession.simulator import WeChat
from wxsession.storage.tables import audit_events

pytestmark = ON_BOTH

MakePhone = Callable[..., Phone]


@pytest.fixture
def operator(app: Flask) -> Operator:
    return Operator(app)


def actors(services: Services, *names: str) -> set[str | None]:
    """Return who did what has these names."""
    with services.database.statement() as connection:
        query = select(audit_events.c.actor).where(audit_events.c.event.in_(names))
        return set(connection.execute(query).scalars())


# Everybody's sessions.


def test_the_sessions_of_everybody_end_and_everybody_may_log_in_again(
    operator: Operator, make_phone: MakePhone, services: Services
) -> None:
    phones = [make_phone("alice"), make_phone("bob"), make_phone("carol", appid=OTHER_APPID)]
    for phone in phones:
        phone.log_in()
    ended = operator.ask("sessions", "end-all", "--everybody", "--yes", "--as", "ops")
    assert ended == {"appid": None, "sessions_ended": 3}
    for phone in phones:
        assert problem(phone.check()) == (401, "session_ended", "revoked")
        assert phone.log_in().status_code == 200
    assert noted(services, "session.ended") == 3
    assert actors(services, "session.ended") == {"ops"}


def test_the_sessions_of_one_app_end_and_no_others(
    operator: Operator, make_phone: MakePhone
) -> None:
    here, there = make_phone("alice"), make_phone("bob", appid=OTHER_APPID)
    desk = make_phone("carol at her desk")
    here.log_in()
    there.log_in()
    register(desk, "carol")
    shown = operator.read("sessions", "end-all", "--appid", APPID, "--yes")
    assert shown == "1 sessions ended.\n"
    assert problem(here.check()) == (401, "session_ended", "revoked")
    assert there.check().status_code == 200
    assert desk.check().status_code == 200
    assert operator.ask("sessions", "end-all", "--appid", APPID, "--yes")["sessions_ended"] == 0


def test_many_sessions_end_in_batches_and_a_run_that_was_stopped_goes_on(
    phone: Phone, services: Services
) -> None:
    phone.log_in()
    add_sessions(services, 1200)

    class Stopped(Exception):
        pass

    def stop(_done: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        services.administration.end_all_sessions(progress=stop)
    assert live(services) == 701
    told: list[int] = []
    assert services.administration.end_all_sessions(progress=told.append) == 701
    assert told == [0, 500, 701]
    assert live(services) == 0


def test_sessions_that_begin_meanwhile_stay(
    phone: Phone, make_phone: MakePhone, services: Services
) -> None:
    phone.log_in()
    add_sessions(services, 600)
    late = make_phone("bob")

    def log_in(_done: int) -> None:
        if late.token is None:
            late.log_in()

    assert services.administration.end_all_sessions(progress=log_in) == 601
    assert late.check().status_code == 200


def test_ending_all_beside_logouts_and_refreshes_leaves_nothing_half_done(
    operator: Operator, make_phone: MakePhone, services: Services
) -> None:
    phones = [make_phone(f"user {number}") for number in range(20)]
    for phone in phones:
        phone.log_in()
    with ThreadPoolExecutor(8) as pool:
        running = [
            pool.submit(phone.log_out, everywhere=True)
            if number % 2
            else pool.submit(phone.refresh)
            for number, phone in enumerate(phones)
        ]
        operator.read("sessions", "end-all", "--everybody", "--yes")
        assert {one.result().status_code for one in running} <= {200, 204, 401}
    assert live(services) == 0
    with services.database.statement() as connection:
        ended = select(func.sum(audit_events.c.count)).where(
            audit_events.c.event == "session.ended"
        )
        assert connection.execute(ended).scalar_one() == 20


@ON_SQLITE
@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        ([], 2, "say either --appid APPID or --everybody"),
        (["--appid", APPID, "--everybody"], 2, "say either --appid APPID or --everybody"),
        (["--everybody"], 1, "End the sessions of everybody? [y/N]"),  # and nobody answers
        (["--appid", "wx0000000000000000", "--yes"], 1, "appid has no WeChat user here"),
    ],
)
def test_nothing_ends_by_a_slip(
    operator: Operator, phone: Phone, args: list[str], status: int, said: str
) -> None:
    phone.log_in()
    result = operator.run("sessions", "end-all", *args)
    assert result.exit_code == status
    assert said in result.output
    assert phone.check().status_code == 200


# WeChat users.


@pytest.fixture
def account(make_phone: MakePhone) -> Phone:
    """Return a phone whose WeChat user belongs to the account alice."""
    phone = make_phone("alice")
    phone.log_in()
    assert register(phone).status_code == 201
    return phone


def test_an_unbound_wechat_user_is_a_user_of_its_own(
    operator: Operator, account: Phone, services: Services
) -> None:
    user_id = user_of(account)
    done = operator.ask("identities", "unbind", user_id, APPID, "--as", "ops")
    assert done["user_id"] == user_id
    assert problem(account.check()) == (401, "session_ended", "unbound")
    account.log_in()
    assert user_of(account) == done["new_user_id"] != user_id
    assert by_password(account).json["user"]["id"] == user_id
    assert actors(services, "identity.unbound", "user.split") == {"ops"}


def test_the_last_way_to_log_in_is_not_unbound(operator: Operator, phone: Phone) -> None:
    phone.log_in()
    refused = operator.run("identities", "unbind", user_of(phone), APPID)
    assert refused.exit_code == 1
    assert refused.output.startswith("Error: the user would have no way left to log in;")
    assert phone.check().status_code == 200


def test_a_moved_wechat_user_logs_in_as_the_other_user(
    operator: Operator, account: Phone, make_phone: MakePhone, services: Services
) -> None:
    desk = make_phone("bob at his desk")
    register(desk, "bob")
    user_id, new_user_id = user_of(account), user_of(desk)
    keep(desk, by_password(desk, "bob"))
    done = operator.ask("identities", "move", user_id, APPID, new_user_id, "--as", "ops")
    assert done == {"user_id": user_id, "new_user_id": new_user_id, "merged": False}
    assert problem(account.check()) == (401, "session_ended", "unbound")
    account.log_in()
    assert user_of(account) == new_user_id
    assert by_password(account).json["user"]["id"] == user_id
    assert desk.check().status_code == 200
    assert actors(services, "identity.unbound", "identity.bound") == {"ops"}
    # and back
    operator.read("identities", "move", new_user_id, APPID, user_id)
    account.log_in()
    assert user_of(account) == user_id


def test_a_user_who_would_be_left_without_a_way_in_is_merged(
    operator: Operator, phone: Phone, make_phone: MakePhone, services: Services
) -> None:
    desk = make_phone("bob at his desk")
    register(desk, "bob")
    phone.log_in()
    phone.send("PATCH", "/user", json={"nickname": "Bobby"}, token=phone.token)
    old_id, account_id = user_of(phone), user_of(desk)
    done = operator.ask("identities", "move", old_id, APPID, account_id, "--as", "ops")
    assert done["merged"] is True
    phone.log_in()
    assert user_of(phone) == account_id
    assert phone.check().json["user"]["nickname"] == "Bobby"
    shown = operator.run("users", "show", old_id)
    assert shown.output == f"Error: this user was merged into {account_id}\n"
    assert actors(services, "user.merged") == {"ops"}


def test_no_unionid_brings_a_moved_wechat_user_back(
    operator: Operator, wechat: WeChat, make_phone: MakePhone
) -> None:
    for app in (APPID, OTHER_APPID):
        wechat.bind_open_platform(app)
    here, there = make_phone("alice"), make_phone("alice", appid=OTHER_APPID)
    here.log_in()
    there.log_in()
    assert user_of(here) == user_of(there)
    desk = make_phone("bob at his desk")
    register(desk, "bob")
    user_id, new_user_id = user_of(here), user_of(desk)
    operator.read("identities", "move", user_id, APPID, new_user_id)
    here.log_in()
    there.log_in()
    assert (user_of(here), user_of(there)) == (new_user_id, user_id)


def test_what_cannot_be_moved_is_told_and_stays(
    operator: Operator, account: Phone, make_phone: MakePhone
) -> None:
    other, desk = make_phone("bob"), make_phone("carol at her desk")
    other.log_in()
    register(desk, "carol")
    user_id, other_id, desk_id = user_of(account), user_of(other), user_of(desk)

    def refused(*args: object) -> str:
        result = operator.run("identities", *args)
        assert result.exit_code == 1, result.output
        return result.output.removeprefix("Error: ").strip()

    assert refused("move", user_id, APPID, other_id) == (
        "the other user has a WeChat user of this app already"
    )
    assert refused("move", other_id, APPID, user_id) == (
        "the other user has a WeChat user of this app already"
    )
    assert refused("move", user_id, OTHER_APPID, other_id) == (
        f"user has no WeChat user of {OTHER_APPID}"
    )
    assert refused("unbind", desk_id, APPID) == f"user has no WeChat user of {APPID}"
    assert refused("move", user_id, APPID, user_id) == (
        "user is the one whom the WeChat user belongs to"
    )
    assert refused("move", user_id, APPID, NOBODY) == "no user has this id"
    assert refused("unbind", NOBODY, APPID) == "no user has this id"
    operator.read("users", "disable", desk_id)
    assert (
        refused("move", user_id, APPID, desk_id) == "one of the users is disabled; enable it first"
    )
    for phone in (account, other):
        assert phone.check().status_code == 200


# Who did it.


def test_every_change_bears_the_name_of_the_operator(
    operator: Operator, make_phone: MakePhone, services: Services
) -> None:
    ids = {}
    for name in ("alice", "bob", "carol", "dave", "erin", "frank"):
        phone = make_phone(name)
        phone.log_in()
        register(phone, name)
        ids[name] = user_of(phone)
    desk = make_phone("greta at her desk")
    register(desk, "greta")
    session_id = operator.ask("sessions", "list", "--user", ids["bob"])["sessions"][0]["session_id"]
    with services.database.statement() as connection:
        before = set(connection.execute(select(audit_events.c.id)).scalars())
    for command in (
        ("users", "create", "--username", "henry"),
        ("users", "set-password", ids["alice"]),
        ("users", "unlock", ids["alice"]),
        ("sessions", "end", session_id),
        ("users", "disable", ids["carol"]),
        ("users", "enable", ids["carol"]),
        ("users", "end-sessions", ids["dave"]),
        ("users", "reset-session-keys", ids["dave"]),
        ("users", "export", ids["dave"]),
        ("users", "delete", ids["dave"], "--yes"),
        ("identities", "unbind", ids["erin"], APPID),
        ("identities", "move", ids["frank"], APPID, user_of(desk)),
        ("sessions", "end-all", "--everybody", "--yes"),
    ):
        operator.read(*command, "--as", "ops")
    with services.database.statement() as connection:
        query = select(audit_events.c.event, audit_events.c.actor)
        rows = connection.execute(query.where(audit_events.c.id.not_in(before))).all()
    assert len(rows) > 15
    assert {tuple(row) for row in rows if row.actor != "ops"} == set()
