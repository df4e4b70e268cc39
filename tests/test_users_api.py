"""Back ends find users and manage them, each with a key that is good for what it needs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.support.app import services_of
from tests.support.databases import ON_BOTH
from tests.support.phone import Answer, Phone, problem
from tests.support.settings import APPID, OTHER_APPID
from tests.test_feed import let_settle
from wxsession.accounts.throttle import FAILURES_PER_ADDRESS, WINDOW
from wxsession.errors import SettingsError
from wxsession.services import Services
from wxsession.settings import Settings
from wxsession.simulator import SettableClock
from wxsession.storage.tables import audit_events, identities, users
from wxsession.users.phone_numbers import PhoneNumber

pytestmark = ON_BOTH

KEYS = {
    "till": ("a-key-for-introspection-alone", ""),
    "shop": ("a-key-for-users-of-the-shop", ":users"),
    "courier": ("a-key-for-users-and-their-phones", ":introspect+users+phone"),
    "support": ("a-key-for-who-manages-users", ":manage + users"),
    "feed": ("a-key-for-whoever-reads-events", ":events"),
}
NUMBER = "13800138000"
NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(api_keys=",".join(f"{name}:{key}{of}" for name, (key, of) in KEYS.items()))


@dataclass
class BackEnd:
    """A back end with the key of this name."""

    app: Flask
    name: str
    address: str = "198.51.100.20"
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, method: str, path: str, *, key: str | None = None, **request: Any) -> Answer:
        """Send a request with the key, or with another one."""
        headers = {"Authorization": f"Bearer {key or KEYS[self.name][0]}", **self.headers}
        headers |= request.pop("headers", {})
        answer = self.app.test_client().open(
            path,
            method=method,
            headers=headers,
            environ_overrides={"REMOTE_ADDR": self.address},
            **request,
        )
        return cast("Answer", answer)

    def get(self, path: str, **request: Any) -> Answer:
        """Ask."""
        return self.send("GET", path, **request)

    def found(self, **query: object) -> list[str]:
        """Return the ids of the users that are found."""
        answer = self.send("GET", "/users", query_string=query)
        assert answer.status_code == 200, answer.text
        return [user["id"] for user in answer.json["users"]]


@pytest.fixture
def shop(app: Flask) -> BackEnd:
    return BackEnd(app, "shop")


@pytest.fixture
def courier(app: Flask) -> BackEnd:
    return BackEnd(app, "courier")


@pytest.fixture
def support(app: Flask) -> BackEnd:
    return BackEnd(app, "support")


def user_of(phone: Phone) -> str:
    """Return the id of a phone's user, who logs in for that."""
    user_id: str = phone.log_in().json["user"]["id"]
    return user_id


def give_number(services: Services, user_id: str, country_code: str = "86") -> None:
    columns = services.phones.columns(PhoneNumber(NUMBER, country_code), UUID(user_id))
    with services.database.statement() as connection:
        connection.execute(update(users).where(users.c.id == UUID(user_id)).values(columns))


def shown_numbers(services: Services) -> list[tuple[str, str, int, str]]:
    c = audit_events.c
    query = select(c.actor, c.user_id, c.count, c.client_address).order_by(c.id)
    with services.database.statement() as connection:
        rows = connection.execute(query.where(c.event == "phone_number.shown")).all()
    return [(actor, str(user_id), count, address) for actor, user_id, count, address in rows]


# What a key is good for.


READS = [("GET", "/users"), ("GET", f"/users/{NOBODY}")]
MANAGES = [
    ("GET", f"/users/{NOBODY}/sessions"),
    ("DELETE", f"/users/{NOBODY}/sessions"),
    ("DELETE", f"/users/{NOBODY}/sessions/{NOBODY}"),
    ("POST", f"/users/{NOBODY}/disable"),
    ("POST", f"/users/{NOBODY}/enable"),
]


@pytest.mark.parametrize(
    ("name", "method", "path", "scope"),
    [
        *((name, *call, "users") for name in ("till", "feed") for call in READS),
        *((name, *call, "manage") for name in ("till", "shop", "courier") for call in MANAGES),
        ("shop", "POST", "/introspect", "introspect"),
        ("shop", "GET", f"/users?phone_number={NUMBER}", "phone"),
    ],
)
def test_a_key_without_the_scope_is_told_which_one_it_lacks(
    app: Flask, name: str, method: str, path: str, scope: str
) -> None:
    refused = BackEnd(app, name).send(method, path)
    assert problem(refused) == (403, "insufficient_scope", None)
    assert refused.json["scope"] == scope
    challenge = f'Bearer realm="wxsession", error="insufficient_scope", scope="{scope}"'
    assert refused.headers["WWW-Authenticate"] == challenge


def test_a_proxy_needs_a_key_for_introspection(phone: Phone) -> None:
    phone.log_in()
    for name, expected in (("till", 200), ("courier", 200), ("shop", 403)):
        headers = {"X-Wxsession-Api-Key": KEYS[name][0]}
        answer = phone.send("GET", "/check_session", headers=headers, token=phone.token)
        assert answer.status_code == expected


@pytest.mark.parametrize(("method", "path"), READS + MANAGES)
def test_without_a_key_of_ours_nothing_is_told(
    shop: BackEnd, phone: Phone, method: str, path: str
) -> None:
    phone.log_in()
    for wrong in ("a-key-that-nobody-holds", str(phone.token)):
        assert problem(shop.send(method, path, key=wrong)) == (401, "invalid_api_key", None)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("shop:a-key-of-the-shop:user", "known are introspect, users, phone, manage, events"),
        ("shop:a-key-of-the-shop:", "known are introspect"),
        ("shop:a-key-of-the-shop:users+", "known are introspect"),
        ("shop:a-key:of-the-shop:users", "a key has no colon in it"),
        ("shop:a-key-of-the-shop:users,till:a-key-of-the-shop", "has a name or a key twice"),
        (f"{'n' * 65}:a-key-of-the-shop", "a name has at most 64"),
    ],
)
def test_scopes_that_are_none_are_a_fault_that_shows_no_key(
    make_app: Callable[..., Flask], value: str, told: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        make_app(api_keys=value)
    [fault] = caught.value.faults
    assert fault.startswith("WXSESSION_API_KEYS: ")
    assert told in fault
    assert "of-the-shop" not in fault


def test_what_a_setting_shows_of_a_key_is_its_scopes(app: Flask) -> None:
    settings: Settings = services_of(app).settings
    assert repr(settings.api_keys["courier"]) == "ApiKey(introspect+phone+users)"


def test_wrong_keys_from_one_address_are_limited_and_right_ones_never(
    app: Flask, shop: BackEnd, clock: SettableClock
) -> None:
    thief = BackEnd(app, "shop")
    for number in range(FAILURES_PER_ADDRESS):
        tried = thief.get("/users", key=f"a-guess-of-a-key-number-{number}")
        assert problem(tried) == (401, "invalid_api_key", None)
    refused = thief.get("/users", key="one-guess-too-many-of-a-key")
    assert problem(refused) == (429, "too_many_attempts", "api_keys")
    assert refused.headers["Retry-After"] == str(int(WINDOW.total_seconds()))
    assert shop.get("/users").status_code == 200  # though it is behind the same address
    assert problem(BackEnd(app, "shop", "203.0.113.1").get("/users", key="x" * 20))[0] == 401
    assert problem(shop.get("/users", headers={"Authorization": ""}))[0] == 401
    clock.advance(seconds=WINDOW.total_seconds())
    assert problem(thief.get("/users", key="a-guess-of-a-key-much-later"))[0] == 401


# One user.


def test_a_back_end_learns_all_it_needs_of_a_user_and_the_number_by_its_scope(
    shop: BackEnd, courier: BackEnd, services: Services, phone: Phone, clock: SettableClock
) -> None:
    user_id = user_of(phone)
    phone.send("POST", "/user", json={"nickname": "Alice"}, token=phone.token)
    give_number(services, user_id)
    with services.database.statement() as connection:
        openid = connection.execute(select(identities.c.openid)).scalar_one()
        unionid = connection.execute(select(identities.c.unionid)).scalar_one()
    told = {
        "id": user_id,
        "username": None,
        "nickname": "Alice",
        "avatar_url": None,
        "phone_number": "138******00",
        "country_code": "86",
        "identities": [{"appid": APPID, "openid": openid, "unionid": unionid}],
        "disabled": False,
        "created_at": "2026-11-21T08:30:00.000Z",
    }
    assert shop.get(f"/users/{user_id}").json == told
    assert shown_numbers(services) == []
    assert courier.get(f"/users/{user_id}").json == told | {"phone_number": NUMBER}
    clock.advance(minutes=1)
    courier.get("/users")
    assert shown_numbers(services) == [("courier", user_id, 2, courier.address)]


def test_a_user_without_a_number_is_no_event(
    courier: BackEnd, services: Services, phone: Phone
) -> None:
    answer = courier.get(f"/users/{user_of(phone)}")
    assert (answer.json["phone_number"], answer.json["country_code"]) == (None, None)
    assert shown_numbers(services) == []


def test_an_unknown_user_is_not_found(shop: BackEnd, support: BackEnd) -> None:
    assert problem(shop.get(f"/users/{NOBODY}")) == (404, "not_found", None)
    assert problem(shop.get("/users/alice")) == (404, "not_found", None)
    for method, path in MANAGES:
        assert problem(support.send(method, path)) == (404, "not_found", None)


def test_an_unchanged_user_is_not_sent_again(
    shop: BackEnd, courier: BackEnd, services: Services, phone: Phone
) -> None:
    user_id = user_of(phone)
    give_number(services, user_id)
    first = shop.get(f"/users/{user_id}")
    assert first.headers["Cache-Control"] == "private, no-cache"
    known = {"If-None-Match": first.headers["ETag"]}
    again = shop.get(f"/users/{user_id}", headers=known)
    assert (again.status_code, again.data, again.headers["ETag"]) == (
        304,
        b"",
        first.headers["ETag"],
    )
    assert courier.get(f"/users/{user_id}", headers=known).json["phone_number"] == NUMBER
    phone.send("POST", "/user", json={"nickname": "Alice"}, token=phone.token)
    changed = shop.get(f"/users/{user_id}", headers=known)
    assert (changed.status_code, changed.json["nickname"]) == (200, "Alice")


@pytest.mark.parametrize("known", ["*", "W/{}", '"another", {}'])
def test_an_unchanged_user_is_recognized_however_the_tag_is_sent(
    shop: BackEnd, phone: Phone, known: str
) -> None:
    user = f"/users/{user_of(phone)}"
    tag = shop.get(user).headers["ETag"]
    answer = shop.get(user, headers={"If-None-Match": known.format(tag)})
    assert (answer.status_code, answer.data) == (304, b"")


@pytest.mark.parametrize("condition", ["If-Match", "If-Modified-Since", "If-Range"])
def test_no_other_condition_keeps_a_user_back(shop: BackEnd, phone: Phone, condition: str) -> None:
    user = f"/users/{user_of(phone)}"
    answer = shop.get(user, headers={condition: '"another"'})
    assert (answer.status_code, answer.json) == (200, shop.get(user).json)


def test_who_was_merged_is_found_as_the_user_that_they_became(
    shop: BackEnd, support: BackEnd, services: Services, make_phone: Callable[..., Phone]
) -> None:
    alice, bob = make_phone("alice"), make_phone("bob", appid=OTHER_APPID)
    old, new = user_of(bob), user_of(alice)
    with services.database.transaction() as transaction:
        locked = services.users.lock(transaction, [UUID(old), UUID(new)])
        services.users.merge(transaction, locked[UUID(old)], locked[UUID(new)])
    moved = shop.get(f"/users/{old}")
    assert (moved.status_code, moved.headers["Location"]) == (308, f"/users/{new}")
    assert moved.json == {"user_id": new}
    assert moved.headers["Cache-Control"] == "no-store"
    moved = support.get(f"/users/{old}/sessions?all=true&limit=5")
    assert moved.headers["Location"] == f"/users/{new}/sessions?all=true&limit=5"
    assert support.send("POST", f"/users/{old}/disable").status_code == 308
    assert shop.get(f"/users/{new}").json["disabled"] is False
    assert support.send("POST", f"/users/{old}/disable", follow_redirects=True).json == {
        "user_id": new,
        "disabled": True,
        "sessions_ended": 2,
    }
    assert shop.found() == [new]


# Many users.


def test_users_are_found_by_what_they_are_known_by(
    shop: BackEnd, courier: BackEnd, services: Services, make_phone: Callable[..., Phone]
) -> None:
    phones = make_phone("alice"), make_phone("bob", appid=OTHER_APPID), make_phone("carol")
    alice, bob, carol = (user_of(phone) for phone in phones)
    credentials = {"username": "Carol", "password": "one long password"}
    phones[2].send("POST", "/register", json=credentials, token=phones[2].token)
    give_number(services, bob)
    give_number(services, carol, country_code="852")
    with services.database.statement() as connection:
        c = identities.c
        rows = connection.execute(select(c.user_id, c.openid)).all()
        openids = {str(user_id): openid for user_id, openid in rows}
        connection.execute(
            update(identities).where(c.user_id == UUID(alice)).values(unionid="a-unionid-of-alice")
        )
    assert shop.found() == [alice, bob, carol]
    assert shop.found(username="CAROL") == [carol]
    assert shop.found(openid=openids[bob]) == [bob]
    assert shop.found(openid=openids[bob], appid=OTHER_APPID) == [bob]
    assert shop.found(openid=openids[bob], appid=APPID) == []
    assert shop.found(appid=APPID) == [alice, carol]
    assert shop.found(unionid="a-unionid-of-alice") == [alice]
    assert shop.found(openid="o-of-nobody") == []
    assert courier.found(phone_number=NUMBER) == [bob]
    assert courier.found(phone_number=NUMBER, country_code="852") == [carol]


def test_pages_have_every_user_once_while_others_join(
    shop: BackEnd, make_phone: Callable[..., Phone]
) -> None:
    there = [user_of(make_phone(f"user-{number}")) for number in range(5)]
    seen: list[str] = []
    page = shop.get("/users?limit=2").json
    while True:
        seen += [user["id"] for user in page["users"]]
        if page["next"] is None:
            break
        there.append(user_of(make_phone(f"late-{len(seen)}")))
        page = shop.get(f"/users?limit=2&after={page['next']}").json
    assert seen == there


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("openID=x", "openID"),
        ("openid=", "openid"),
        ("openid=x&openid=y", "openid"),
        ("openid=%00", "openid"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("after=alice", "after"),
        ("phone_number=%2B8613800138000", "phone_number"),
        ("phone_number=13800138000%0A", "phone_number"),
        ("country_code=x", "country_code"),
    ],
)
def test_a_query_that_is_none_finds_nobody_and_names_the_field(
    courier: BackEnd, phone: Phone, query: str, field: str
) -> None:
    phone.log_in()
    refused = courier.get(f"/users?{query}")
    assert problem(refused) == (400, "invalid_request", None)
    assert [error["field"] for error in refused.json["errors"]] == [field]


# Managing them.


def test_a_disabled_user_is_out_until_enabled_and_the_audit_names_the_key(
    support: BackEnd, services: Services, phone: Phone
) -> None:
    user_id = user_of(phone)
    done = support.send("POST", f"/users/{user_id}/disable")
    assert done.json == {"user_id": user_id, "disabled": True, "sessions_ended": 1}
    assert problem(phone.check()) == (401, "session_ended", "user_disabled")
    assert problem(phone.log_in()) == (403, "user_blocked", None)
    assert support.get(f"/users/{user_id}").json["disabled"] is True
    done = support.send("POST", f"/users/{user_id}/enable")
    assert done.json == {"user_id": user_id, "disabled": False, "sessions_ended": 0}
    assert phone.log_in().status_code == 200
    c = audit_events.c
    with services.database.statement() as connection:
        query = select(c.event, c.actor, c.client_address).where(c.actor.is_not(None))
        written = {tuple(row) for row in connection.execute(query)}
    assert written == {
        (event, "support", support.address)
        for event in ("user.disabled", "session.ended", "user.enabled")
    }


def test_sessions_are_listed_and_ended_one_or_all(
    support: BackEnd, make_phone: Callable[..., Phone]
) -> None:
    first, second, third = (make_phone("alice") for _ in range(3))
    user_id = [user_of(one) for one in (first, second, third)].pop()
    its = f"/users/{user_id}/sessions"
    listed = support.get(f"{its}?limit=2").json
    assert [one["state"] for one in listed["sessions"]] == ["live", "live"]
    rest = support.get(f"{its}?after={listed['next']}").json
    assert rest["next"] is None
    [oldest] = [one["session_id"] for one in rest["sessions"]]
    assert support.send("DELETE", f"{its}/{oldest}").json == {"session_id": oldest, "ended": True}
    assert support.send("DELETE", f"{its}/{oldest}").json == {"session_id": oldest, "ended": False}
    assert problem(first.check()) == (401, "session_ended", "revoked")
    assert second.check().status_code == 200
    done = support.send("DELETE", its)
    assert done.json == {"user_id": user_id, "sessions_ended": 2}
    assert problem(third.check()) == (401, "session_ended", "revoked")
    assert support.get(its).json == {"sessions": [], "next": None}
    assert {one["reason"] for one in support.get(f"{its}?all=true").json["sessions"]} == {"revoked"}


def test_a_session_is_not_ended_through_another_user(
    support: BackEnd, make_phone: Callable[..., Phone]
) -> None:
    alice, bob = make_phone("alice"), make_phone("bob")
    user_of(alice)
    session_id = alice.sessions()[0]["id"]
    path = f"/users/{user_of(bob)}/sessions/{session_id}"
    assert problem(support.send("DELETE", path)) == (404, "not_found", None)
    assert alice.check().status_code == 200


# Events, and the end.


def test_a_back_end_reads_on_along_the_feed(app: Flask, phone: Phone) -> None:
    phone.log_in()
    phone.log_out()
    let_settle(services_of(app))
    feed = BackEnd(app, "feed")
    first = feed.get("/events?limit=2").json
    assert [one["event"] for one in first["events"]] == ["user.created", "session.created"]
    rest = feed.get("/events", query_string={"after": first["next"]}).json
    assert [(one["event"], one["reason"]) for one in rest["events"]] == [
        ("session.ended", "logout")
    ]
    last = feed.get("/events", query_string={"after": rest["next"]}).json
    assert last == {"events": [], "next": rest["next"]}


@pytest.mark.parametrize("query", ["after=nonsense", "limit=0", "limit=1001", "limit=x", "after="])
def test_what_is_no_cursor_and_no_size_is_a_bad_request(app: Flask, query: str) -> None:
    refused = BackEnd(app, "feed").get(f"/events?{query}")
    assert problem(refused)[:2] == (400, "invalid_request")


def test_only_a_key_for_events_reads_them(app: Flask) -> None:
    refused = BackEnd(app, "support").get("/events")
    assert problem(refused)[:2] == (403, "insufficient_scope")
    assert refused.json["scope"] == "events"


def test_a_back_end_that_manages_users_deletes_one(app: Flask, phone: Phone) -> None:
    user_id = phone.log_in().json["user"]["id"]
    path = f"/users/{user_id}"
    assert problem(BackEnd(app, "shop").send("DELETE", path))[:2] == (403, "insufficient_scope")
    assert phone.check().status_code == 200
    support = BackEnd(app, "support")
    assert support.send("DELETE", path).status_code == 204
    assert phone.check().status_code == 401
    assert problem(support.get(path))[:2] == (404, "not_found")
    assert problem(support.send("DELETE", f"/users/{NOBODY}"))[:2] == (404, "not_found")
    assert phone.log_in().json["user"]["id"] != user_id
