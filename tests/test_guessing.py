"""Whoever can only try: passwords, codes and usernames, one after the other or all at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any, Literal

import pytest
from argon2 import PasswordHasher
from flask import Flask
from sqlalchemy import func, select

from tests.support.app import TODAY, services_of
from tests.support.databases import ON_BOTH, ON_SQLITE
from tests.support.phone import Answer, Phone, problem, same_for_all
from tests.support.settings import OTHER_APPID, settings_for
from tests.support.waiting import eventually
from tests.support.wires import API_KEY, WIRES
from wxsession import create_app
from wxsession.accounts.authenticator import Credentials
from wxsession.accounts.throttle import FAILURES_PER_ACCOUNT, FAILURES_PER_ADDRESS, Throttle
from wxsession.errors import InvalidRequest, Overloaded
from wxsession.services import Services
from wxsession.simulator import Fault, SettableClock, WeChat, wechat_transport
from wxsession.storage.tables import audit_events, failed_attempts, login_codes, users
from wxsession.users.client import ClientInfo

pytestmark = ON_BOTH

RIGHT, WRONG = "correct horse battery", "guess guess guess"
AT_ONCE = 50
GARBAGE = "0" * 32
MOCK = "the code is a mock one"
BEHIND_A_BACK_END = "wafer-session-server"
MakeApp = Callable[..., Flask]


class Scales(PasswordHasher):
    """A cheap hasher that notes what it is asked, and can be held up."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.evaluated: list[bytes] = []
        self.go_on = Event()
        self.go_on.set()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
        """Weigh a password, when it may go on."""
        self.evaluated.append(password.encode() if isinstance(password, str) else password)
        assert self.go_on.wait(60)
        return super().verify(hash, password)


@pytest.fixture
def scales() -> Scales:
    return Scales()


@pytest.fixture
def weighed(
    database_url: str, clock: SettableClock, wechat: WeChat, scales: Scales
) -> Iterator[Flask]:
    """Return a server whose passwords are weighed on these scales, with an account alice."""
    http = wechat_transport(wechat)
    app = create_app(settings_for(database_url), clock=clock, http=http, hasher=scales)
    services_of(app).accounts.register(None, Credentials("alice", RIGHT), ClientInfo(None, None))
    yield app
    services_of(app).database.close()


def register(phone: Phone, username: str, **request: Any) -> Answer:
    return phone.send(
        "POST", "/register", json={"username": username, "password": RIGHT}, **request
    )


def guess(phone: Phone, password: str, username: str = "alice") -> Answer:
    return phone.send("POST", "/login", json={"username": username, "password": password})


def attempts(services: Services) -> list[int]:
    """Return what the counters hold, fullest first; those of a whole day are left out."""
    failures = failed_attempts.c.failures
    query = select(failures).where(failures > 0).order_by(failures.desc())
    query = query.where(failed_attempts.c.expires_at < TODAY + timedelta(hours=12))
    with services.database.statement() as connection:
        return list(connection.execute(query).scalars())


def told(services: Services) -> dict[tuple[str, str | None], int]:
    """Return what the audit counts of what was refused."""
    c = audit_events.c
    query = select(c.event, c.reason, func.sum(c.count)).group_by(c.event, c.reason)
    query = query.where(c.event.not_in(["session.created", "user.created"]))
    with services.database.statement() as connection:
        return {(event, reason): int(n) for event, reason, n in connection.execute(query)}


def rows(services: Services, table: Any) -> int:
    with services.database.statement() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def shown(answer: Answer) -> tuple[object, ...]:
    """Return all that a guesser sees of an answer but its time and the id of the request."""
    headers = {name: value for name, value in answer.headers.items() if name != "X-Request-ID"}
    return answer.status_code, same_for_all(answer.json), headers


# Fifty guesses at once.


@pytest.mark.parametrize("position", [None, 1, 10, 11, 50])
def test_of_fifty_guesses_at_once_ten_are_evaluated(
    weighed: Flask, wechat: WeChat, scales: Scales, position: int | None
) -> None:
    """The one that is right is evaluated among the first ten, and looks like the others after."""
    services = services_of(weighed)
    phones = [Phone(weighed, wechat, str(n), address=f"198.51.100.{n}") for n in range(AT_ONCE)]
    passwords = [RIGHT if number == position else WRONG for number in range(1, AT_ONCE + 1)]
    scales.go_on.clear()
    with ThreadPoolExecutor(FAILURES_PER_ACCOUNT) as pool:
        tried: list[Future[Answer]] = []
        for number in range(FAILURES_PER_ACCOUNT):
            tried.append(pool.submit(guess, phones[number], passwords[number]))
            eventually(lambda: attempts(services)[:1] == [len(tried)])
        answers = [
            guess(phones[number], passwords[number])
            for number in range(FAILURES_PER_ACCOUNT, AT_ONCE)
        ]
        scales.go_on.set()
        first = [one.result() for one in tried]
    right = position is not None and position <= FAILURES_PER_ACCOUNT
    assert sorted(answer.status_code for answer in first) == [200] * right + [401] * (10 - right)
    assert {answer.status_code for answer in answers} == {429}
    assert len({str(shown(answer)) for answer in answers}) == 1
    assert scales.evaluated.count(WRONG.encode()) == 10 - right
    assert scales.evaluated.count(RIGHT.encode()) == int(right)
    noted = told(services)
    assert noted["login.failed", "bad_credentials"] == 10 - right
    assert noted["login.failed", "too_many_attempts"] == 40
    assert noted.get(("login.locked", None), 0) == (position != 10)  # the tenth was wrong


def test_fifty_guesses_that_race_are_ten_guesses(
    weighed: Flask, wechat: WeChat, scales: Scales
) -> None:
    phones = [Phone(weighed, wechat, str(n), address=f"198.51.100.{n}") for n in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda phone: guess(phone, WRONG), phones))
    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 40
    assert len(scales.evaluated) == 10
    assert guess(phones[0], RIGHT).status_code == 429
    assert len(scales.evaluated) == 10


def test_an_address_tries_a_hundred_names_at_once_and_no_more(
    weighed: Flask, wechat: WeChat, scales: Scales
) -> None:
    phone = Phone(weighed, wechat, "guesser")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: guess(phone, WRONG, f"name-{n}"), range(120)))
    assert sum(answer.status_code == 401 for answer in answers) == FAILURES_PER_ADDRESS
    assert len(scales.evaluated) == FAILURES_PER_ADDRESS
    # What one counter refused is not counted in the other.
    # Each account has one for a quarter of an hour and one for a day.
    assert sorted(attempts(services_of(weighed))) == [1] * 100 + [100]


def test_right_ones_at_once_close_nothing(weighed: Flask, wechat: WeChat) -> None:
    phone = Phone(weighed, wechat, "alice")
    for _ in range(3):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda _: guess(phone, RIGHT), range(AT_ONCE)))
        assert {answer.status_code for answer in answers} <= {200, 429}
    assert attempts(services_of(weighed)) == []
    assert guess(phone, RIGHT).status_code == 200


def test_a_right_password_takes_back_its_own_count_alone_while_others_guess(
    weighed: Flask, wechat: WeChat, scales: Scales
) -> None:
    services = services_of(weighed)
    guesser = Phone(weighed, wechat, "guesser", address="198.51.100.1")
    owner = Phone(weighed, wechat, "alice")
    for _ in range(3):
        guess(guesser, WRONG)
    scales.go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        login = pool.submit(guess, owner, RIGHT)
        eventually(lambda: attempts(services) == [4, 3, 1])
        with ThreadPoolExecutor(1) as other:
            wrong = other.submit(guess, guesser, WRONG)
            eventually(lambda: attempts(services) == [5, 4, 1])
            scales.go_on.set()
            assert (login.result().status_code, wrong.result().status_code) == (200, 401)
    assert attempts(services) == [4, 4]
    assert guess(owner, RIGHT).status_code == 200
    assert attempts(services) == [4]  # of the guesser's address; nobody else was trying


@pytest.mark.parametrize("failure", [Overloaded(), InvalidRequest([]), KeyboardInterrupt()])
def test_only_a_wrong_password_stays_counted(services: Services, failure: BaseException) -> None:
    throttle: Throttle = services.throttle
    with pytest.raises(type(failure)), throttle.guess("alice", ClientInfo("203.0.113.7", None)):
        assert attempts(services) == [1, 1]
        raise failure
    assert attempts(services) == []


def test_a_counter_that_is_over_begins_again(
    weighed: Flask, wechat: WeChat, clock: SettableClock
) -> None:
    phone = Phone(weighed, wechat, "guesser")
    for _ in range(2):
        for _ in range(FAILURES_PER_ACCOUNT):
            assert guess(phone, WRONG).status_code == 401
        refused = guess(phone, WRONG)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "900")
        clock.advance(minutes=15)


def test_a_closed_account_is_told_with_its_user(
    weighed: Flask, wechat: WeChat, clock: SettableClock
) -> None:
    services = services_of(weighed)
    phone = Phone(weighed, wechat, "guesser")
    for name in ("alice", "nobody"):
        for _ in range(FAILURES_PER_ACCOUNT + 5):
            guess(phone, WRONG, name)
    c = audit_events.c
    query = select(c.user_id.is_not(None)).where(c.event == "login.locked")
    with services.database.statement() as connection:
        assert sorted(connection.execute(query).scalars()) == [False, True]
    clock.advance(minutes=15)
    guess(phone, WRONG)
    assert told(services)["login.locked", None] == 2


def test_others_do_not_keep_a_user_from_changing_the_password(
    app: Flask, wechat: WeChat, clock: SettableClock
) -> None:
    owner, guesser = Phone(app, wechat, "alice"), Phone(app, wechat, "x", address="198.51.100.1")
    owner.token = register(owner, "alice").json["session_token"]
    for _ in range(FAILURES_PER_ACCOUNT):
        guess(guesser, WRONG)
    assert guess(owner, RIGHT).status_code == 429

    def change(password: str) -> int:
        body = {"password": password, "new_password": "quite another one"}
        return owner.send("PUT", "/password", json=body, token=owner.token).status_code

    # A thief of the session has ten guesses as well.
    assert [change(WRONG) for _ in range(11)] == [401] * 10 + [429]
    clock.advance(minutes=15)
    refreshed = owner.send("POST", "/login", json={"username": "alice", "password": RIGHT})
    owner.token = refreshed.json["session_token"]
    for _ in range(FAILURES_PER_ACCOUNT):
        guess(guesser, WRONG)
    assert change(RIGHT) in {200, 204}


# Codes.


def spoil(phone: Phone, times: int, code: str = GARBAGE) -> list[str]:
    """Send codes that are none; return what each is answered."""
    codes = [code if code == MOCK else f"{number:0>{len(code)}}" for number in range(times)]
    return [str(problem(phone.log_in(one))[1]) for one in codes]


@pytest.mark.parametrize("code", [GARBAGE, MOCK])
def test_who_sends_codes_that_are_none_is_refused_after_thirty(
    phone: Phone, wechat: WeChat, services: Services, make_phone: Callable[..., Phone], code: str
) -> None:
    good = phone.code()
    assert spoil(phone, 35, code) == ["invalid_code"] * 30 + ["too_many_attempts"] * 5
    asked, kept = len(wechat.exchanges), rows(services, login_codes)
    assert (asked, kept) == ((30, 30) if code == GARBAGE else (0, 0))
    refused = phone.log_in(good)
    assert problem(refused) == (429, "too_many_attempts", "codes")
    assert refused.headers["Retry-After"] == "600"
    assert refused.headers["RateLimit-Policy"] == '"codes";q=30;w=600'
    assert refused.headers["RateLimit"] == '"codes";r=0;t=600'
    assert (len(wechat.exchanges), rows(services, login_codes)) == (asked, kept)
    assert make_phone(address="198.51.100.9").log_in(good).status_code == 200
    assert told(services) == {
        ("login.failed", "invalid_code"): 30,
        ("login.failed", "too_many_attempts"): 6,
    }


def test_the_limit_of_codes_is_over_after_its_window(
    make_app: MakeApp, wechat: WeChat, clock: SettableClock
) -> None:
    phone = Phone(make_app(code_limit="3/1m"), wechat, "alice")
    spoil(phone, 3)
    clock.advance(seconds=59)
    assert problem(phone.log_in())[0] == 429
    clock.advance(seconds=1)
    assert phone.log_in().status_code == 200


def test_without_a_limit_no_code_is_counted(make_app: MakeApp, wechat: WeChat) -> None:
    phone = Phone(make_app(code_limit="0"), wechat, "alice")
    assert set(spoil(phone, 40)) == {"invalid_code"}
    assert attempts(services_of(phone.app)) == []


def test_good_codes_of_one_address_are_never_in_each_others_way(
    app: Flask, wechat: WeChat, services: Services
) -> None:
    phones = [Phone(app, wechat, f"user {number}") for number in range(64)]
    spoil(phones[0], 29)
    with ThreadPoolExecutor(16) as pool:
        assert {one.status_code for one in pool.map(Phone.log_in, phones)} == {200}
    assert attempts(services) == [29]


def test_what_wechat_did_not_refuse_is_not_counted(
    make_app: MakeApp, wechat: WeChat, clock: SettableClock
) -> None:
    phone = Phone(make_app(code_limit="1/10m"), wechat, "alice")
    services = services_of(phone.app)
    code = phone.code()
    with ThreadPoolExecutor(8) as pool:  # duplicates wait for the one exchange
        assert {one.status_code for one in pool.map(phone.log_in, [code] * 8)} == {200}
    thief = Phone(phone.app, wechat, "thief", user_agent="curl/8")
    assert problem(thief.log_in(code))[1] == "code_used"  # nobody had to ask WeChat
    for fault in (-1, 45011, 40226, Fault.CONNECTION_REFUSED):
        wechat.fail_next(fault, times=3 if fault == -1 else 1)
        assert phone.log_in().status_code in {403, 429, 503}
    assert attempts(services) == []
    clock.advance(seconds=10)
    assert problem(phone.log_in(code))[1] == "code_used"  # this time WeChat says so
    assert attempts(services) == [1]
    assert problem(phone.log_in()) == (429, "too_many_attempts", "codes")


def test_workers_count_codes_together(make_app: MakeApp, wechat: WeChat) -> None:
    phones = [Phone(make_app(code_limit="5/10m"), wechat, "alice") for _ in range(2)]
    assert spoil(phones[0], 5) == ["invalid_code"] * 5
    # A worker looks only for addresses that it has seen such a code from.
    assert problem(phones[1].log_in("f" * 32))[1] == "invalid_code"
    for phone in phones:
        assert problem(phone.log_in()) == (429, "too_many_attempts", "codes")
    assert len(wechat.exchanges) == 6


@ON_SQLITE
@pytest.mark.parametrize("dialect", [name for name in WIRES if name != BEHIND_A_BACK_END])
def test_every_dialect_of_mini_programs_has_the_limit(
    make_app: MakeApp, wechat: WeChat, dialect: str
) -> None:
    phone = Phone(make_app(code_limit="2/10m", dialects=dialect), wechat, "alice")
    wire = WIRES[dialect]
    refused = [wire.log_in(phone, GARBAGE), wire.log_in(phone, MOCK)]
    limited = wire.log_in(phone, phone.code())
    assert [wire.token(answer.json) for answer in (*refused, limited)] == [None] * 3
    assert len(wechat.exchanges) == 1
    assert [answer.status_code for answer in (*refused, limited)] == [400, 400, 429]
    assert limited.headers["Retry-After"] == "600"


@ON_SQLITE
def test_no_user_of_a_back_end_can_stop_the_logins_of_the_others(
    make_app: MakeApp, wechat: WeChat
) -> None:
    """All of them come from the back end's one address, which has shown an API key."""
    app = make_app(code_limit="2/10m", dialects=BEHIND_A_BACK_END, api_keys=f"shop:{API_KEY}")
    back_end, wire = Phone(app, wechat, "alice"), WIRES[BEHIND_A_BACK_END]
    junk = [wire.log_in(back_end, f"{number:a>32}") for number in range(5)]
    assert [answer.json["returnCode"] for answer in junk] == [40029] * 5
    code = back_end.code()
    assert wire.token(wire.log_in(back_end, code).json) is not None
    # The back end may repeat the code, and nobody else may.
    assert wire.token(wire.log_in(back_end, code).json) is not None
    assert problem(back_end.log_in(code)) == (400, "code_used", None)
    # And whoever has no key has the limit, at this address as well.
    assert spoil(back_end, 2) == ["invalid_code"] * 2
    assert problem(back_end.log_in()) == (429, "too_many_attempts", "codes")


@ON_SQLITE
@pytest.mark.parametrize(
    "code",
    [
        "1234567",
        MOCK,
        "undefined!",
        "[object Object]",
        "\uff10" * 32,
        "代码代码代码代码",
        "a" * 31 + "\n",
        "../../../etc",
    ],
)
def test_what_cannot_be_a_code_costs_nothing(
    phone: Phone, wechat: WeChat, services: Services, code: str
) -> None:
    assert problem(phone.log_in(code)) == (400, "invalid_code", None)
    assert (len(wechat.exchanges), rows(services, login_codes)) == (0, 0)
    assert told(services) == {("login.failed", "invalid_code"): 1}


@ON_SQLITE
@pytest.mark.parametrize(
    "code", ["12345678", "x" * 128, "0f1xYl000QnGkV1oGV300mHqLw3xYl0L", "-_-_-_-_"]
)
def test_what_may_be_a_code_is_asked_about(phone: Phone, wechat: WeChat, code: str) -> None:
    assert problem(phone.log_in(code)) == (400, "invalid_code", None)
    assert wechat.exchanges == [code]


@ON_SQLITE
@pytest.mark.parametrize("code", ["", "x" * 129, "a\0" * 8])
def test_what_no_field_holds_is_no_request(phone: Phone, services: Services, code: str) -> None:
    answer = phone.send("POST", "/login", json={"code": code})
    assert problem(answer)[:2] == (400, "invalid_request")
    assert (attempts(services), told(services)) == ([], {})


def test_a_limit_of_codes_comes_before_the_password(
    weighed: Flask, wechat: WeChat, scales: Scales
) -> None:
    phone = Phone(weighed, wechat, "alice")
    spoil(phone, 30)
    body = {"code": phone.code(), "username": "alice", "password": RIGHT}
    assert problem(phone.send("POST", "/login", json=body)) == (429, "too_many_attempts", "codes")
    assert scales.evaluated == []
    assert guess(phone, RIGHT).status_code == 200  # the other way stays open


# Registrations.


def test_ten_users_an_hour_are_made_from_one_address(
    weighed: Flask, wechat: WeChat, clock: SettableClock
) -> None:
    phone = Phone(weighed, wechat, "spammer")
    services = services_of(weighed)
    statuses = [register(phone, f"name-{number}").status_code for number in range(13)]
    assert statuses == [201] * 10 + [429] * 3
    refused = register(phone, "alice")  # which is taken, and that is not told any more
    assert problem(refused) == (429, "too_many_attempts", "registrations")
    assert refused.headers["RateLimit-Policy"] == '"registrations";q=10;w=3600'
    assert rows(services, users) == 11
    assert told(services) == {("registration.failed", "too_many_attempts"): 4}
    assert register(Phone(weighed, wechat, "bob", address="198.51.100.9"), "bob").status_code == 201
    clock.advance(hours=1)
    assert register(phone, "name-11").status_code == 201


def test_registrations_at_once_are_counted_before_they_are_hashed(
    make_app: MakeApp, wechat: WeChat
) -> None:
    phone = Phone(make_app(registration_limit="3/1h"), wechat, "spammer")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: register(phone, f"name-{n}"), range(32)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 29
    assert rows(services_of(phone.app), users) == 3


def test_taken_names_are_found_ten_times_an_hour(weighed: Flask, wechat: WeChat) -> None:
    phone = Phone(weighed, wechat, "curious")
    statuses = [register(phone, "alice").status_code for _ in range(12)]
    assert statuses == [409] * 10 + [429] * 2
    assert register(phone, "some-free-name").status_code == 429


def test_a_user_finds_taken_names_as_often_wherever_and_disturbs_nobody(
    weighed: Flask, wechat: WeChat
) -> None:
    curious, honest = Phone(weighed, wechat, "curious"), Phone(weighed, wechat, "honest")
    for phone in (curious, honest):
        phone.log_in()
    for number in range(10):
        curious.address = f"198.51.100.{number}"
        assert register(curious, "alice", token=curious.token).status_code == 409
    assert register(curious, "alice", token=curious.token).status_code == 429
    curious.address = honest.address
    assert register(curious, "bob", token=curious.token).status_code == 429
    assert register(honest, "bob", token=honest.token).status_code == 201


def test_users_of_one_address_get_their_names(app: Flask, wechat: WeChat) -> None:
    for number in range(12):
        phone = Phone(app, wechat, f"user {number}")
        phone.log_in()
        assert register(phone, f"name-{number}", token=phone.token).status_code == 201
    assert attempts(services_of(app)) == []


def test_what_is_no_registration_is_not_counted(phone: Phone, services: Services) -> None:
    for _ in range(20):
        assert register(phone, "x").status_code == 400
    assert attempts(services) == []


def test_without_a_limit_no_registration_is_counted(make_app: MakeApp, wechat: WeChat) -> None:
    phone = Phone(make_app(registration_limit="0"), wechat, "spammer")
    assert {register(phone, f"name-{number}").status_code for number in range(12)} == {201}


def test_each_app_has_the_same_limit(app: Flask, wechat: WeChat) -> None:
    """An address is an address, whatever app it asks for."""
    spoil(Phone(app, wechat, "alice"), 30)
    there = Phone(app, wechat, "alice", appid=OTHER_APPID)
    assert problem(there.log_in()) == (429, "too_many_attempts", "codes")
