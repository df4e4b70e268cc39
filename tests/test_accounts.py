"""Accounts: registered, bound to WeChat users, unbound, and kept from guessers."""

import re
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from argon2 import PasswordHasher
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from scripts.common_passwords import installed, long_enough
from tests.support.app import CHEAP_HASHER, services_of
from tests.support.databases import ON_BOTH, ON_SQLITE
from tests.support.line import HeldLine
from tests.support.phone import Answer, Phone, problem, same_for_all
from tests.support.settings import APPID, OTHER_APPID, settings_for
from wxsession import create_app
from wxsession.accounts.authenticator import Credentials
from wxsession.accounts.common_passwords import is_common
from wxsession.accounts.passwords import (
    OWASP_MINIMUM,
    Passwords,
    ensure_acceptable,
    new_username,
    normalised_username,
)
from wxsession.accounts.throttle import (
    FAILURES_PER_ACCOUNT,
    FAILURES_PER_ADDRESS,
    FAILURES_PER_DAY,
)
from wxsession.common.limits import Places
from wxsession.errors import BadCredentials, InvalidRequest, Overloaded
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.tables import audit_events, identities, sessions, users
from wxsession.users.client import ClientInfo

pytestmark = ON_BOTH

PASSWORD = "correct horse battery"
NEW_PASSWORD = "quite another one"
MakePhone = Callable[..., Phone]


def register(phone: Phone, username: str = "alice", password: str = PASSWORD) -> Answer:
    """Register at a phone that nobody is logged in at."""
    body = {"username": username, "password": password}
    answer = phone.send("POST", "/register", json=body, token=phone.token)
    if answer.status_code == 201:
        phone.token = answer.json["session_token"]
    return answer


def by_password(phone: Phone, username: str = "alice", password: str = PASSWORD) -> Answer:
    return phone.send("POST", "/login", json={"username": username, "password": password})


def bind(phone: Phone, username: str = "alice", password: str = PASSWORD) -> Answer:
    body = {"username": username, "password": password}
    return keep(phone, phone.send("POST", "/bind", json=body, token=phone.token))


def change_password(
    phone: Phone, password: str | None = PASSWORD, new: str = NEW_PASSWORD
) -> Answer:
    body = (
        {"new_password": new} if password is None else {"password": password, "new_password": new}
    )
    return keep(phone, phone.send("PUT", "/password", json=body, token=phone.token))


def keep(phone: Phone, answer: Answer) -> Answer:
    """Keep the token of a grant."""
    if answer.status_code == 200:
        phone.token = answer.json["session_token"]
    return answer


def user_of(phone: Phone) -> dict[str, Any]:
    answer = phone.check()
    assert answer.status_code == 200, answer.text
    return dict(answer.json["user"])


def events(services: Services) -> list[str]:
    with services.database.statement() as connection:
        return list(
            connection.execute(select(audit_events.c.event).order_by(audit_events.c.id)).scalars()
        )


def rows(services: Services, table: Any) -> int:
    with services.database.statement() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


@pytest.fixture
def account(make_phone: MakePhone) -> Phone:
    """Return a computer at which somebody has registered as alice."""
    desk = make_phone("alice at her desk")
    assert register(desk).status_code == 201
    return desk


# Registering.


def test_a_registration_logs_in(account: Phone) -> None:
    assert user_of(account)["username"] == "alice"


def test_a_registration_with_a_session_names_its_own_user(phone: Phone) -> None:
    grant = phone.log_in()
    first = phone.token
    answer = register(phone)
    assert answer.status_code == 201
    assert answer.json["user"]["id"] == grant.json["user"]["id"]
    assert user_of(phone)["username"] == "alice"
    assert problem(phone.check(first)) == (401, "session_ended", "replaced")
    assert by_password(phone).json["user"]["id"] == grant.json["user"]["id"]


def test_a_registration_with_a_dead_token_makes_nobody(phone: Phone, services: Services) -> None:
    phone.log_in()
    phone.log_out()
    assert problem(register(phone))[:2] == (401, "session_ended")
    assert rows(services, users) == 1


def test_a_registration_does_not_renew_the_login(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    clock.advance(minutes=9)
    register(phone)
    clock.advance(minutes=2)
    assert problem(change_password(phone))[:2] == (403, "reauthentication_required")


def test_a_stolen_old_session_cannot_add_a_password(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    clock.advance(minutes=10, seconds=1)
    assert problem(register(phone))[:2] == (403, "reauthentication_required")


@pytest.mark.parametrize("name", ["alice", "ALICE", "\uff21lice"])
@pytest.mark.usefixtures("account")
def test_a_name_is_taken_in_every_spelling(make_phone: MakePhone, name: str) -> None:
    assert problem(register(make_phone(), name))[:2] == (409, "username_taken")


def test_a_user_has_one_username(account: Phone) -> None:
    assert problem(register(account, "somebody-else"))[:2] == (409, "username_taken")


@ON_SQLITE
@pytest.mark.parametrize(
    "name", ["ab", "a" * 65, "a\tb c", "a\u200bbc", "a\x1b[31m", " abc", "ab\u2028c"]
)
def test_a_name_that_nobody_could_read_is_refused(
    phone: Phone, services: Services, name: str
) -> None:
    answer = register(phone, name)
    assert problem(answer)[:2] == (400, "invalid_request")
    assert [fault["field"] for fault in answer.json["errors"]] == ["username"]
    assert rows(services, users) == 0


# Letters, marks and symbols by their categories, whose glyphs are empty all the same.
UNSEEN = re.compile(
    "VARIATION SELECTOR|(HANGUL|SMALL SCRIPT)( CHOSEONG| JUNGSEONG)? FILLER$|GRAPHEME JOINER"
    "|BRAILLE PATTERN BLANK|NULL NOTEHEAD|KHMER VOWEL INHERENT|HIEROGLYPH (FULL|HALF) BLANK"
)


def test_a_name_has_no_character_that_nobody_sees() -> None:
    seen, unseen = {"L", "M", "N", "P", "S"}, set()
    for number in range(0x110000):
        letter = chr(number)
        category = unicodedata.category(letter)
        if category in {"Cn", "Co"} and number % 97:
            continue  # a million that have no meaning
        try:
            new_username(f"car{letter}ol")
        except InvalidRequest:
            unseen |= {letter} if category[0] in seen else set()
        else:
            assert category[0] in seen or normalised_username(letter) == " ", hex(number)
            assert not UNSEEN.search(unicodedata.name(letter, ""))
    assert all(UNSEEN.search(unicodedata.name(letter)) for letter in unseen)


@ON_SQLITE
@pytest.mark.parametrize(
    "name",
    ["car\ufe0fol", "car\u034fol", "ca\u3164rol", "carol\u17b4", "car\u2800ol", "car\u202eol"],
)
def test_what_looks_like_another_name_is_refused_with_its_cure(phone: Phone, name: str) -> None:
    answer = register(phone, name)
    assert problem(answer)[:2] == (400, "invalid_request")
    assert answer.json["errors"][0]["field"] == "username"
    assert re.search(
        r"invisible character, U\+[0-9A-F]{4}; leave it out", answer.json["errors"][0]["message"]
    )


@ON_SQLITE
@pytest.mark.parametrize("name", ["carol  x", "carol ", "\u3000carol", "carol\u1680x"])
def test_blanks_make_no_other_name(phone: Phone, name: str) -> None:
    assert problem(register(phone, name))[:2] == (400, "invalid_request")


@pytest.mark.parametrize(
    "name", ["carol x", "кэрол", "卡罗尔", "キャロル", "कैरल", "كارول", "캐럴캐럴"]
)
def test_a_name_in_any_script_is_taken(phone: Phone, name: str) -> None:
    assert register(phone, name).status_code == 201


@given(st.text())
def test_the_stored_form_of_a_name_is_its_own_stored_form(name: str) -> None:
    try:
        stored = new_username(name)
    except InvalidRequest:
        return
    assert new_username(stored) == stored == normalised_username(name.swapcase().swapcase())


@ON_SQLITE
@pytest.mark.parametrize(
    "password",
    [
        *("1234567", "x" * 129, "password123", "PASSWORD123", "iloveyou"),
        *("88888888", "987654321", "woaini1314", "1qaz2wsx", "19900807", "07081990"),
        "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44\uff11",  # hashed as password1
        "\U0001d429assword1",
        "e\u0301" * 4,  # four letters
    ],
)
def test_a_password_that_is_short_long_or_common_is_refused(
    phone: Phone, services: Services, password: str
) -> None:
    answer = register(phone, "alice", password)
    assert problem(answer)[:2] == (400, "invalid_request")
    assert answer.json["errors"][0]["field"] == "password"
    assert password not in answer.text
    assert rows(services, users) == 0


@ON_SQLITE
def test_the_commonest_passwords_are_refused_and_hardly_any_other() -> None:
    common = long_enough(installed())
    assert len(common) > 15_000
    assert all(map(is_common, common))
    rest = [f"correct horse {number}" for number in range(20_000)]
    assert len(list(filter(is_common, rest))) < 5


@ON_SQLITE
@pytest.mark.parametrize(
    "password", ["19901307", "99999901", "18120807", "1990-08-07", "199008071"]
)
def test_digits_that_are_no_day_of_a_life_may_be_a_password(password: str) -> None:
    ensure_acceptable(password, username="alice")


@ON_SQLITE
def test_everything_that_is_wrong_is_told_at_once(phone: Phone) -> None:
    answer = register(phone, "ab", "short")
    assert [fault["field"] for fault in answer.json["errors"]] == ["username", "password"]


@ON_SQLITE
def test_the_username_is_no_password(phone: Phone) -> None:
    assert problem(register(phone, "alice-liddell", "Alice-Liddell"))[:2] == (
        400,
        "invalid_request",
    )


@ON_SQLITE
@pytest.mark.parametrize("password", ["        x", "ключ-от-двери", "密码密码密码密码", "x" * 128])
def test_any_characters_make_a_password(phone: Phone, password: str) -> None:
    assert register(phone, "alice", password).status_code == 201
    assert by_password(phone, "alice", password).status_code == 200


# Logging in by password.


def test_a_login_by_password_is_a_session_without_a_wechat_user(account: Phone) -> None:
    answer = by_password(account, "ALICE")
    assert answer.status_code == 200
    account.token = answer.json["session_token"]
    assert [one["appid"] for one in account.sessions()] == [None, None]


def test_unknown_user_and_wrong_password_are_told_alike(account: Phone) -> None:
    wrong, unknown = by_password(account, password="wrong one"), by_password(account, "nobody")
    assert problem(wrong) == problem(unknown) == (401, "bad_credentials", None)
    assert same_for_all(wrong.json) == same_for_all(unknown.json)
    assert wrong.headers["WWW-Authenticate"] == unknown.headers["WWW-Authenticate"]


def test_a_hash_of_weaker_parameters_is_made_anew_at_the_next_login(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    app = make_app(hasher=OWASP_MINIMUM)
    desk, database = Phone(app, wechat, "alice"), services_of(app).database
    assert register(desk).status_code == 201
    with database.statement() as connection:
        weak = CHEAP_HASHER.hash(PASSWORD)  # as an older version may have stored it
        connection.execute(update(users).values(password_hash=weak))
    assert by_password(desk).status_code == 200
    with database.statement() as connection:
        stored = connection.execute(select(users.c.password_hash)).scalar_one()
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert by_password(desk).status_code == 200


class Crowded(PasswordHasher):
    """Verifies; for a new hash there is no room while it is `full`."""

    full = False

    def hash(self, *args: Any, **kwargs: Any) -> str:
        """Return a hash, or refuse to."""
        if self.full:
            raise Overloaded
        return super().hash(*args, **kwargs)


def test_a_right_password_is_right_also_when_there_is_no_room_to_hash_it_anew(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    hasher = Crowded(time_cost=2, memory_cost=64, parallelism=1)
    app = make_app(hasher=hasher)
    desk, database = Phone(app, wechat, "alice"), services_of(app).database
    assert register(desk).status_code == 201
    assert by_password(desk).status_code == 200
    with database.statement() as connection:
        weak = CHEAP_HASHER.hash(PASSWORD)
        connection.execute(update(users).values(password_hash=weak))
    hasher.full = True
    assert by_password(desk).status_code == 200


def test_a_password_costs_what_owasp_asks_for(database_url: str) -> None:
    services = services_of(create_app(settings_for(database_url)))
    services.accounts.register(None, Credentials("alice", PASSWORD), ClientInfo(None, None))
    with services.database.statement() as connection:
        stored = connection.execute(select(users.c.password_hash)).scalar_one()
    services.database.close()
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_disabled_account_is_told_so_only_with_its_password(
    account: Phone, services: Services, clock: SettableClock
) -> None:
    with services.database.statement() as connection:
        connection.execute(update(users).values(disabled_at=clock()))
    assert problem(by_password(account))[:2] == (403, "user_blocked")
    assert problem(by_password(account, password="wrong one"))[:2] == (401, "bad_credentials")


@ON_SQLITE
@pytest.mark.parametrize(
    "body", [{}, {"username": "alice"}, {"password": PASSWORD}, {"code": "x", "username": "alice"}]
)
def test_half_of_the_credentials_are_none(phone: Phone, body: dict[str, str]) -> None:
    assert problem(phone.send("POST", "/login", json=body))[:2] == (400, "invalid_request")


# Binding.


def test_a_silent_user_is_merged_into_the_account(
    account: Phone, phone: Phone, services: Services
) -> None:
    silent = phone.log_in().json["user"]
    answer = bind(phone)
    assert answer.status_code == 200
    alice = user_of(account)
    assert answer.json["user"] == alice
    assert silent["id"] != alice["id"]
    assert user_of(phone)["id"] == alice["id"]
    assert phone.log_in().json["user"]["id"] == alice["id"]
    assert rows(services, users) == 1
    assert "identity.bound" in events(services)


def test_the_history_of_the_silent_user_stays_under_its_id_and_is_shown_with_the_account(
    account: Phone, phone: Phone, services: Services
) -> None:
    silent = UUID(phone.log_in().json["user"]["id"])
    bind(phone)
    alice = UUID(user_of(account)["id"])
    shown = services.directory.user(alice).events
    assert [(one.event, one.user_id) for one in shown] == [
        ("identity.bound", alice),
        ("user.merged", silent),
        ("session.created", silent),
        ("user.created", silent),
        ("session.created", alice),
        ("user.created", alice),
    ]


def test_what_the_silent_user_told_of_itself_is_kept(
    account: Phone, phone: Phone, services: Services
) -> None:
    from wxsession.users.phone_numbers import PhoneNumber  # noqa: PLC0415 - of this test alone

    silent = UUID(phone.log_in().json["user"]["id"])
    columns = services.phones.columns(PhoneNumber("13800000000", "86"), silent)
    with services.database.statement() as connection:
        connection.execute(
            update(users).where(users.c.id == silent).values(nickname="Ali", **columns)
        )
    bind(phone)
    assert user_of(account)["nickname"] == "Ali"
    assert user_of(account)["phone_number"] == "138******00"


def test_a_number_that_no_server_key_opens_is_not_replaced_by_a_bind(
    account: Phone, phone: Phone, services: Services
) -> None:
    from wxsession.users.phone_numbers import PhoneNumber  # noqa: PLC0415 - of this test alone

    silent, alice = (UUID(one.json["user"]["id"]) for one in (phone.log_in(), account.check()))
    readable = services.phones.columns(PhoneNumber("13800000000", "86"), silent)
    sealed_for_nobody = {"phone_number_sealed": bytes(40), "phone_number_hash": bytes(32)}
    with services.database.statement() as connection:
        connection.execute(update(users).where(users.c.id == silent).values(readable))
        connection.execute(update(users).where(users.c.id == alice).values(sealed_for_nobody))
    bind(phone)
    with services.database.statement() as connection:
        kept = select(users.c.phone_number_sealed).where(users.c.id == alice)
        assert connection.execute(kept).scalar_one() == bytes(40)
    assert user_of(account)["phone_number"] is None


@pytest.mark.usefixtures("account")
def test_binding_again_changes_nothing_but_the_token(phone: Phone) -> None:
    phone.log_in()
    first, second = bind(phone).json, bind(phone).json
    assert first.pop("session_token") != second.pop("session_token")
    assert first == second
    assert phone.check().status_code == 200


@pytest.mark.usefixtures("account")
def test_sessions_that_never_proved_the_password_do_not_come_along(
    phone: Phone, make_phone: MakePhone
) -> None:
    elsewhere = make_phone("alice")
    elsewhere.log_in()
    phone.log_in()
    assert bind(phone).status_code == 200
    assert problem(elsewhere.check()) == (401, "session_ended", "revoked")
    assert len(phone.sessions()) == 2  # this one, and the one at the desk


@pytest.mark.usefixtures("account")
def test_a_copy_of_the_token_before_the_bind_is_no_copy_of_the_accounts(
    phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    copy = phone.token
    bind(phone)
    assert phone.token != copy
    clock.advance(seconds=30)
    assert problem(phone.check(copy)) == (401, "session_superseded", None)
    assert problem(phone.refresh(copy)) == (401, "session_ended", "token_reused")


@pytest.mark.usefixtures("account")
def test_a_lost_answer_to_a_bind_is_asked_for_again_and_is_the_same(
    phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    before = phone.token
    lost = bind(phone).json
    clock.advance(seconds=29)
    phone.token = before
    assert phone.check().json["superseded"] is True
    assert bind(phone).json["session_token"] == lost["session_token"]
    clock.advance(seconds=1)  # asking again has not made the grace longer
    assert problem(phone.check(before)) == (401, "session_superseded", None)
    assert phone.check().json["user"]["username"] == "alice"


@pytest.mark.usefixtures("account")
def test_who_lost_the_answer_to_a_refresh_may_bind_with_the_token_before(
    phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    before = phone.token
    lost = phone.lose_refresh().json["session_token"]
    clock.advance(minutes=5)
    assert bind(phone).json["session_token"] == lost
    assert phone.check().status_code == 200
    assert phone.check(before).json["superseded"] is True
    clock.advance(seconds=30)
    assert problem(phone.check(before)) == (401, "session_superseded", None)


@pytest.mark.usefixtures("account")
def test_a_refresh_and_a_bind_at_once_lead_to_one_token(
    app: Flask, wechat: WeChat, services: Services
) -> None:
    phones = [Phone(app, wechat, "alice") for _ in range(8)]
    phones[0].log_in()
    for phone in phones:
        phone.token = phones[0].token

    def act(number: int) -> Answer:
        return phones[number].refresh() if number % 2 else bind(phones[number])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(act, range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["session_token"] for answer in answers}) == 1
    assert user_of(phones[0])["username"] == "alice"
    assert rows(services, users) == 1


@pytest.mark.usefixtures("account")
def test_an_account_has_one_wechat_user_of_an_app(
    make_phone: MakePhone, services: Services
) -> None:
    first, second = make_phone("alice"), make_phone("bob")
    first.log_in()
    second.log_in()
    bind(first)
    assert problem(bind(second)) == (409, "identity_bound", None)
    assert user_of(second)["username"] is None
    assert rows(services, users) == 2


@pytest.mark.usefixtures("account")
def test_an_account_has_a_wechat_user_of_each_app(make_phone: MakePhone) -> None:
    here, there = make_phone("alice"), make_phone("alice", appid=OTHER_APPID)
    here.log_in()
    there.log_in()
    assert bind(here).status_code == bind(there).status_code == 200
    assert user_of(here)["id"] == user_of(there)["id"]


@pytest.mark.usefixtures("account")
def test_two_accounts_are_never_merged(phone: Phone, services: Services) -> None:
    phone.log_in()
    register(phone, "somebody-else", PASSWORD)
    assert problem(bind(phone)) == (409, "identity_bound", None)
    assert rows(services, users) == 2


@pytest.mark.usefixtures("account")
def test_binding_needs_a_recent_login_which_a_refresh_is_not(
    phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    clock.advance(minutes=10)
    phone.refresh()
    assert bind(phone).status_code == 200
    clock.advance(seconds=1)
    assert problem(bind(phone))[:2] == (403, "reauthentication_required")


def test_a_session_without_a_wechat_user_has_nothing_to_bind(account: Phone) -> None:
    assert problem(bind(account))[:2] == (403, "reauthentication_required")


@pytest.mark.usefixtures("account")
def test_a_wrong_password_binds_nothing(phone: Phone) -> None:
    phone.log_in()
    assert problem(bind(phone, password="wrong one"))[:2] == (401, "bad_credentials")
    assert user_of(phone)["username"] is None


def test_the_cap_holds_after_a_merge(make_app: Callable[..., Flask], wechat: WeChat) -> None:
    app = make_app(max_sessions=3)
    desk, handset = Phone(app, wechat, "desk"), Phone(app, wechat, "alice")
    register(desk)
    for _ in range(2):
        by_password(desk)
    for _ in range(3):
        handset.log_in()
    assert bind(handset).status_code == 200
    assert len(handset.sessions()) == 3


# Logging in and binding at once.


def both(phone: Phone, code: str | None = None, **credentials: str) -> Answer:
    body = {"code": code or phone.code(), "appid": phone.appid}
    body |= {"username": "alice", "password": PASSWORD, **credentials}
    answer = phone.send("POST", "/login", json=body)
    if answer.status_code == 200:
        phone.token = answer.json["session_token"]
    return answer


@pytest.mark.parametrize("seen_before", [True, False])
@pytest.mark.usefixtures("account")
def test_code_and_credentials_log_in_and_bind(
    phone: Phone, services: Services, *, seen_before: bool
) -> None:
    if seen_before:
        phone.log_in()
    code = phone.code()
    answer = both(phone, code)
    assert answer.status_code == 200
    assert answer.json["user"]["username"] == "alice"
    assert both(phone, code).json["user"] == answer.json["user"]  # a lost answer
    assert phone.log_in().json["user"]["username"] == "alice"
    assert rows(services, users) == 1


@pytest.mark.usefixtures("account")
def test_sessions_from_before_a_login_that_binds_do_not_come_along_either(
    phone: Phone, make_phone: MakePhone
) -> None:
    elsewhere = make_phone("alice")
    elsewhere.log_in()
    assert both(phone).status_code == 200
    assert problem(elsewhere.check()) == (401, "session_ended", "revoked")
    assert len(phone.sessions()) == 2  # this one, and the one at the desk


@pytest.mark.usefixtures("account")
def test_wrong_credentials_do_not_cost_the_code(phone: Phone) -> None:
    code = phone.code()
    assert problem(both(phone, code, password="wrong one"))[:2] == (401, "bad_credentials")
    assert phone.wechat.exchanges == []
    assert both(phone, code).status_code == 200


@pytest.mark.usefixtures("account")
def test_a_bad_code_binds_nothing(phone: Phone, services: Services) -> None:
    assert problem(both(phone, "0" * 32))[:2] == (400, "invalid_code")
    assert rows(services, identities) == 0


@pytest.mark.usefixtures("account")
def test_a_conflict_logs_nobody_in_and_leaves_nothing(
    make_phone: MakePhone, services: Services
) -> None:
    assert both(make_phone("alice")).status_code == 200
    before = rows(services, users), rows(services, identities), rows(services, sessions)
    bob = make_phone("bob")
    code = bob.code()
    assert problem(both(bob, code)) == (409, "identity_bound", None)
    assert (rows(services, users), rows(services, identities), rows(services, sessions)) == before
    assert problem(both(bob, code))[:2] == (400, "code_used")


# Unbinding.


def unbind(phone: Phone, **body: str) -> Answer:
    return phone.send("POST", "/unbind", json=body, token=phone.token)


@pytest.mark.usefixtures("account")
def test_an_unbound_wechat_user_starts_anew(phone: Phone) -> None:
    phone.log_in()
    bind(phone)
    elsewhere = Phone(phone.app, phone.wechat, phone.user)
    elsewhere.log_in()
    answer = unbind(phone)
    assert answer.status_code == 200
    assert answer.json["user"]["username"] == "alice"
    assert user_of(phone)["username"] == "alice"
    assert problem(elsewhere.check()) == (401, "session_ended", "unbound")
    assert elsewhere.log_in().json["user"]["username"] is None
    assert bind(elsewhere).status_code == 200


def test_the_last_way_in_is_not_taken_away(phone: Phone) -> None:
    phone.log_in()
    assert problem(unbind(phone)) == (409, "last_credential", None)
    assert phone.log_in().json["user"]["new"] is False


def test_the_last_of_two_wechat_users_stays(phone: Phone, wechat: WeChat) -> None:
    for appid in (APPID, OTHER_APPID):
        wechat.bind_open_platform(appid)
    there = Phone(phone.app, wechat, phone.user, appid=OTHER_APPID)
    phone.log_in()
    there.log_in()
    assert unbind(there).status_code == 200
    assert problem(unbind(phone)) == (409, "last_credential", None)
    assert there.log_in().json["user"]["id"] != user_of(phone)["id"]  # the unionid undoes nothing


@pytest.mark.usefixtures("account")
def test_unbinding_needs_a_recent_login_or_the_password(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    bind(phone)
    clock.advance(minutes=11)
    assert problem(unbind(phone))[:2] == (403, "reauthentication_required")
    assert problem(unbind(phone, password="wrong one"))[:2] == (401, "bad_credentials")
    assert unbind(phone, password=PASSWORD).status_code == 200


def test_unbinding_what_is_not_bound_is_no_error(account: Phone) -> None:
    assert unbind(account, appid=APPID).json["user"]["username"] == "alice"
    assert problem(unbind(account, appid="wx0000000000000000"))[:2] == (400, "invalid_request")
    assert problem(unbind(account))[:2] == (400, "invalid_request")


# Changing the password.


def test_a_changed_password_ends_every_other_session(account: Phone, phone: Phone) -> None:
    phone.log_in()
    bind(phone)
    answer = change_password(account)
    assert answer.status_code == 200
    assert answer.json["user"] == user_of(account)
    assert problem(phone.check()) == (401, "session_ended", "password_changed")
    assert account.check().status_code == 200
    assert problem(by_password(account))[:2] == (401, "bad_credentials")
    assert by_password(account, password=NEW_PASSWORD).status_code == 200


def test_a_changed_password_ends_every_copy_of_the_token(
    account: Phone, clock: SettableClock
) -> None:
    before = account.token
    change_password(account)
    assert account.check(before).json["superseded"] is True  # the answer may have been lost
    clock.advance(seconds=30)
    assert problem(account.check(before)) == (401, "session_superseded", None)
    assert account.check().status_code == 200


def test_a_password_is_changed_by_who_knows_it(account: Phone, phone: Phone) -> None:
    assert problem(change_password(account, "wrong one"))[:2] == (401, "bad_credentials")
    phone.log_in()
    assert problem(change_password(phone, "wrong one"))[:2] == (401, "bad_credentials")
    answer = change_password(account, new="password123")
    assert problem(answer)[:2] == (400, "invalid_request")
    assert answer.json["errors"][0]["field"] == "new_password"


# The way back: the password is forgotten, the WeChat user is there.


def test_who_forgot_the_password_sets_a_new_one_after_a_login_by_code(
    account: Phone, phone: Phone, services: Services
) -> None:
    phone.log_in()
    bind(phone)
    phone.log_in()
    answer = change_password(phone, None)
    assert answer.status_code == 200
    assert answer.json["user"] == user_of(phone)
    assert problem(account.check()) == (401, "session_ended", "password_changed")
    assert problem(by_password(account))[:2] == (401, "bad_credentials")
    assert by_password(account, password=NEW_PASSWORD).status_code == 200
    with services.database.statement() as connection:
        query = select(audit_events.c.reason).where(audit_events.c.event == "password.changed")
        assert connection.execute(query).scalars().all() == ["reset"]


@pytest.mark.usefixtures("account")
def test_the_thief_of_an_old_session_sets_no_password_and_a_refresh_does_not_help(
    phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    bind(phone)
    clock.advance(minutes=11)
    assert problem(change_password(phone, None))[:2] == (403, "reauthentication_required")
    phone.refresh()
    assert problem(change_password(phone, None))[:2] == (403, "reauthentication_required")
    assert by_password(phone).status_code == 200
    phone.log_in()
    assert change_password(phone, None).status_code == 200


@pytest.mark.usefixtures("account")
def test_a_login_by_password_does_not_replace_the_password(phone: Phone) -> None:
    keep(phone, by_password(phone))
    assert problem(change_password(phone, None))[:2] == (403, "reauthentication_required")
    assert by_password(phone).status_code == 200


@pytest.mark.usefixtures("account")
def test_a_session_whose_wechat_user_was_unbound_needs_the_password(phone: Phone) -> None:
    phone.log_in()
    bind(phone)
    unbind(phone)
    assert problem(change_password(phone, None))[:2] == (403, "reauthentication_required")
    assert change_password(phone).status_code == 200


def test_a_user_without_a_username_has_no_password_to_forget(phone: Phone) -> None:
    phone.log_in()
    answer = change_password(phone, None)
    assert problem(answer)[:2] == (400, "invalid_request")
    assert answer.json["errors"][0]["message"] == "this user has no username; register one"


@pytest.mark.usefixtures("account")
def test_the_way_back_opens_what_guesses_have_closed(phone: Phone, make_phone: MakePhone) -> None:
    phone.log_in()
    bind(phone)
    guesser = make_phone(address="198.51.100.1")
    for _ in range(FAILURES_PER_ACCOUNT):
        by_password(guesser, password="guess guess")
        change_password(phone, "guess guess")
    assert problem(by_password(phone))[:2] == (429, "too_many_attempts")
    assert change_password(phone, None).status_code == 200
    assert by_password(phone, password=NEW_PASSWORD).status_code == 200
    assert change_password(phone, NEW_PASSWORD, "and another one").status_code == 200


# Guessing.


def test_guesses_close_the_account_for_a_while_and_never_the_way_by_code(
    account: Phone, phone: Phone, make_phone: MakePhone, clock: SettableClock
) -> None:
    phone.log_in()
    bind(phone)
    guesser = make_phone(address="198.51.100.1")
    for _ in range(FAILURES_PER_ACCOUNT):
        assert problem(by_password(guesser, password="guess guess"))[1] == "bad_credentials"
    refused = by_password(guesser, password="guess guess")
    assert problem(refused)[:2] == (429, "too_many_attempts")
    assert refused.headers["Retry-After"] == "900"
    assert refused.headers["RateLimit-Policy"] == '"passwords";q=10;w=900'
    assert refused.headers["RateLimit"] == '"passwords";r=0;t=900'
    assert problem(by_password(account))[:2] == (429, "too_many_attempts")
    assert phone.log_in().status_code == 200
    clock.advance(minutes=14)
    for _ in range(20):
        by_password(guesser, password="guess guess")
    clock.advance(minutes=1)  # going on does not make it longer
    assert by_password(account).status_code == 200


def test_guesses_of_a_day_close_the_account_until_the_next_and_never_the_way_by_code(
    account: Phone, phone: Phone, make_phone: MakePhone, clock: SettableClock
) -> None:
    phone.log_in()
    bind(phone)
    windows = FAILURES_PER_DAY // FAILURES_PER_ACCOUNT
    for number in range(windows):
        guesser = make_phone(address=f"198.51.100.{number}")
        for _ in range(FAILURES_PER_ACCOUNT):
            assert problem(by_password(guesser, password="guess guess"))[1] == "bad_credentials"
        clock.advance(minutes=15)
    refused = by_password(account)
    assert problem(refused) == (429, "too_many_attempts", "passwords")
    assert refused.headers["RateLimit-Policy"] == '"passwords";q=100;w=86400'
    left = 86400 - windows * 900
    assert refused.headers["Retry-After"] == str(left)
    assert phone.log_in().status_code == 200
    assert change_password(phone).status_code == 200  # who has a session is counted separately
    clock.advance(seconds=left)
    assert by_password(account, password=NEW_PASSWORD).status_code == 200


def test_a_right_password_does_not_give_the_day_back(account: Phone, clock: SettableClock) -> None:
    guesses = 0
    while guesses < FAILURES_PER_DAY:
        for _ in range(FAILURES_PER_ACCOUNT - 1):
            by_password(account, password="guess guess")
            guesses += 1
        if guesses < FAILURES_PER_DAY:
            assert by_password(account).status_code == 200
    assert problem(by_password(account))[:2] == (429, "too_many_attempts")
    clock.advance(hours=24)
    assert by_password(account).status_code == 200


def test_a_name_that_nobody_has_is_closed_alike(phone: Phone) -> None:
    for _ in range(FAILURES_PER_ACCOUNT):
        by_password(phone, "nobody")
    assert problem(by_password(phone, "nobody"))[:2] == (429, "too_many_attempts")


def test_a_right_password_forgets_the_wrong_ones(account: Phone) -> None:
    for _ in range(3):
        for _ in range(FAILURES_PER_ACCOUNT - 1):
            by_password(account, password="guess guess")
        assert by_password(account).status_code == 200


@pytest.mark.usefixtures("account")
def test_an_address_cannot_try_one_name_after_the_other(make_phone: MakePhone) -> None:
    def guess(number: int) -> None:
        address = f"2001:db8:1:2::{number:x}"  # all of them one customer's
        by_password(make_phone(address=address), f"name-{number}", "guess guess")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(guess, range(FAILURES_PER_ADDRESS)))
    closed, open_ = make_phone(address="2001:db8:1:2::ffff"), make_phone(address="2001:db8:1:3::1")
    assert problem(by_password(closed))[:2] == (429, "too_many_attempts")
    assert by_password(open_).status_code == 200


def test_parallel_guesses_are_all_counted(account: Phone, make_phone: MakePhone) -> None:
    phones = [make_phone(address=f"198.51.100.{number}") for number in range(30)]
    with ThreadPoolExecutor(30) as pool:
        list(pool.map(lambda one: by_password(one, password="guess guess"), phones))
    assert problem(by_password(account))[:2] == (429, "too_many_attempts")


@ON_SQLITE
def test_hashing_is_bounded(make_app: Callable[..., Flask], wechat: WeChat) -> None:
    phone = Phone(make_app(threads=16, hasher=OWASP_MINIMUM), wechat, "alice")
    phone.log_in()
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: by_password(phone, f"name-{n}"), range(64)))
        statuses = {answer.status_code for answer in answers}
    assert statuses == {401, 503}
    assert all("Retry-After" in a.headers for a in answers if a.status_code == 503)


def test_whoever_waits_for_wechat_and_for_a_hash_share_three_quarters_of_the_threads(
    database_url: str, clock: SettableClock, wechat: WeChat
) -> None:
    line = HeldLine(wechat)
    settings = settings_for(database_url, threads=8, wechat_concurrency=8)
    app = create_app(settings, clock=clock, http=line.session())
    phones = [Phone(app, wechat, f"user-{number}") for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(phone.log_in) for phone in phones]
        held = [line.next() for _ in phones]
        late = Phone(app, wechat, "late")
        assert problem(by_password(late))[:2] == (503, "overloaded")
        assert problem(late.log_in())[:2] == (503, "overloaded")
        assert problem(late.check("none"))[:2] == (401, "invalid_token")  # it finds a thread
        for let_go in held:
            let_go.set()
        assert [one.result(60).status_code for one in waiting] == [200] * 6
    assert problem(by_password(late))[:2] == (401, "bad_credentials")
    services_of(app).database.close()


def test_without_a_stored_hash_nothing_fits() -> None:
    passwords = Passwords(part=1, budget=Places(1))
    assert not passwords.fits("anything", None)
    assert not passwords.fits("anything", "not a hash at all")


# Fifty at once.


def test_fifty_registrations_of_one_name_make_one_user(
    app: Flask, wechat: WeChat, services: Services
) -> None:
    phones = [Phone(app, wechat, str(n), address=f"198.51.100.{n}") for n in range(50)]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(register, phones))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
    assert {problem(a)[1] for a in answers if a.status_code == 409} == {"username_taken"}
    assert rows(services, users) == 1
    assert rows(services, sessions) == 1


@pytest.mark.usefixtures("account")
def test_as_many_binds_of_one_account_as_may_be_tried_at_once_bind_one(
    app: Flask, wechat: WeChat, services: Services
) -> None:
    phones = [Phone(app, wechat, str(number)) for number in range(FAILURES_PER_ACCOUNT)]
    for phone in phones:
        phone.log_in()
    with ThreadPoolExecutor(len(phones)) as pool:
        answers = list(pool.map(bind, phones))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    assert {problem(a)[1] for a in answers if a.status_code == 409} == {"identity_bound"}
    bound = [user_of(phone)["username"] for phone in phones]
    assert sorted(map(str, bound)) == ["None"] * 9 + ["alice"]
    assert rows(services, users) == 10


@pytest.mark.usefixtures("account")
def test_as_many_logins_that_bind_one_wechat_user_bind_it_once(
    app: Flask, wechat: WeChat, services: Services
) -> None:
    phones = [Phone(app, wechat, "alice") for _ in range(FAILURES_PER_ACCOUNT)]
    with ThreadPoolExecutor(len(phones)) as pool:
        answers = list(pool.map(both, phones))
    assert {answer.status_code for answer in answers} == {200}
    assert rows(services, users) == 1
    assert events(services).count("identity.bound") == 1


@pytest.mark.usefixtures("account")
def test_binds_and_logins_at_once_lose_nobody(
    app: Flask, wechat: WeChat, services: Services
) -> None:
    phones = [Phone(app, wechat, "alice") for _ in range(12)]
    phones[0].log_in()

    def act(number: int) -> Answer:
        return bind(phones[0]) if number == 0 else phones[number].log_in()

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(act, range(12)))
    assert {answer.status_code for answer in answers} == {200}
    for phone in phones:
        if phone.check().status_code != 200:  # it came before the bind, without the password
            assert problem(phone.check()) == (401, "session_ended", "revoked")
            phone.log_in()
    assert {user_of(phone)["username"] for phone in phones} == {"alice"}
    assert rows(services, users) == 1


# Several apps.


def test_a_unionid_that_comes_later_makes_one_user_of_two(
    phone: Phone, wechat: WeChat, services: Services
) -> None:
    there = Phone(phone.app, wechat, phone.user, appid=OTHER_APPID)
    first, second = phone.log_in().json["user"], there.log_in().json["user"]
    assert first["id"] != second["id"]
    for appid in (APPID, OTHER_APPID):
        wechat.bind_open_platform(appid)
    phone.log_in()
    there.log_in()
    assert user_of(phone)["id"] == user_of(there)["id"] == first["id"]
    assert rows(services, users) == 1


def test_a_unionid_leads_a_silent_user_to_the_account(phone: Phone, wechat: WeChat) -> None:
    there = Phone(phone.app, wechat, phone.user, appid=OTHER_APPID)
    phone.log_in()
    there.log_in()
    register(there, "alice", PASSWORD)
    for appid in (APPID, OTHER_APPID):
        wechat.bind_open_platform(appid)
    there.log_in()
    phone.log_in()
    assert user_of(phone)["username"] == user_of(there)["username"] == "alice"


def test_a_unionid_never_merges_two_accounts(phone: Phone, wechat: WeChat) -> None:
    there = Phone(phone.app, wechat, phone.user, appid=OTHER_APPID)
    for one, name in ((phone, "alice"), (there, "bob")):
        one.log_in()
        register(one, name, PASSWORD)
    for appid in (APPID, OTHER_APPID):
        wechat.bind_open_platform(appid)
    for one, name in ((phone, "alice"), (there, "bob")):
        assert one.log_in().json["user"]["username"] == name


def test_both_apps_learning_the_unionid_at_once_make_one_user(
    app: Flask, wechat: WeChat, services: Services
) -> None:
    for number in range(5):
        here = Phone(app, wechat, f"user {number}")
        there = Phone(app, wechat, f"user {number}", appid=OTHER_APPID)
        here.log_in()
        there.log_in()
    for appid in (APPID, OTHER_APPID):
        wechat.bind_open_platform(appid)
    for number in range(5):
        pair = [Phone(app, wechat, f"user {number}", appid=a) for a in (APPID, OTHER_APPID)]
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(Phone.log_in, pair))
        assert {answer.status_code for answer in answers} == {200}
        for one in pair:
            one.log_in()
        assert user_of(pair[0])["id"] == user_of(pair[1])["id"]
    assert rows(services, users) == 5


# The audit.


def test_the_audit_says_who_did_what_from_where(
    account: Phone, phone: Phone, services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    by_password(account, password="wrong one")
    phone.log_in("0" * 32)
    bind(phone, password="wrong one")
    bind(phone)
    old = phone.token
    phone.refresh()
    phone.check()
    phone.refresh()
    phone.check()
    clock.advance(minutes=1)
    assert problem(phone.refresh(old)) == (401, "session_ended", "token_reused")
    with services.database.statement() as connection:
        told = connection.execute(
            select(
                *(audit_events.c.event, audit_events.c.reason),
                *(audit_events.c.count, audit_events.c.client_address),
            ).order_by(audit_events.c.at, audit_events.c.id)
        ).all()
    assert {address for *_, address in told} == {"203.0.113.7"}
    assert sorted((event, reason, count) for event, reason, count, _ in told) == [
        ("identity.bound", None, 1),
        ("login.failed", "bad_credentials", 2),
        ("login.failed", "invalid_code", 1),
        ("session.created", None, 1),
        ("session.created", None, 1),
        ("session.ended", "token_reused", 1),
        ("user.created", None, 1),
        ("user.created", None, 1),
        ("user.merged", "bind", 1),
    ]


# Logging in with a profile.


def with_profile(phone: Phone, result: dict[str, Any], code: str | None = None) -> Answer:
    body = {"code": code or phone.code(), "appid": phone.appid, "user_info": result}
    return phone.send("POST", "/login", json=body)


def test_what_get_user_info_gave_may_come_with_the_code(phone: Phone, wechat: WeChat) -> None:
    wechat.set_profile("alice", nickName="Alice", avatarUrl="https://example.org/alice.png")
    code = phone.code()
    result = wechat.user_info("alice")
    answer = with_profile(phone, result, code)
    assert answer.status_code == 200
    assert answer.json["user"]["nickname"] == "Alice"
    assert with_profile(phone, result, code).json["user"] == {**answer.json["user"], "new": False}


def test_a_refused_or_anonymous_profile_is_a_login_all_the_same(
    phone: Phone, wechat: WeChat
) -> None:
    for result in ({"errMsg": "getUserInfo:fail auth deny"}, wechat.user_info("alice")):
        answer = with_profile(phone, result)
        assert answer.status_code == 200
        assert answer.json["user"]["nickname"] is None


def test_a_profile_under_an_unknown_key_logs_nobody_in(
    phone: Phone, wechat: WeChat, services: Services
) -> None:
    answer = with_profile(phone, wechat.user_info("bob"))
    assert problem(answer)[:2] == (409, "session_key_stale")
    assert rows(services, users) == rows(services, sessions) == 0
    assert phone.log_in().status_code == 200


def test_a_malformed_profile_does_not_cost_the_code(phone: Phone, wechat: WeChat) -> None:
    code = phone.code()
    result = wechat.user_info("alice")
    assert problem(with_profile(phone, {**result, "iv": "AAAA"}, code))[0] == 400
    assert with_profile(phone, result, code).status_code == 200


def test_a_profile_without_a_code_belongs_to_nobody(account: Phone, wechat: WeChat) -> None:
    body = {"username": "alice", "password": PASSWORD, "user_info": wechat.user_info("alice")}
    assert problem(account.send("POST", "/login", json=body))[:2] == (400, "invalid_request")


def test_a_password_that_was_changed_meanwhile_opens_nothing(
    account: Phone, services: Services
) -> None:
    verified = services.accounts.verify(Credentials("alice", PASSWORD), ClientInfo(None, None))
    assert change_password(account).status_code == 200
    with pytest.raises(BadCredentials), services.database.transaction() as connection:
        services.authenticator.lock(connection, verified)


def test_later_failures_do_not_make_the_window_longer(account: Phone, clock: SettableClock) -> None:
    for _ in range(FAILURES_PER_ACCOUNT - 1):
        by_password(account, password="guess guess")
    clock.advance(minutes=14)
    by_password(account, password="guess guess")
    refused = by_password(account)
    assert problem(refused)[:2] == (429, "too_many_attempts")
    assert refused.headers["Retry-After"] == "60"
    clock.advance(minutes=1)
    assert by_password(account).status_code == 200
