"""The server as it is run: several processes, and what is around them failing."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import psycopg
import pytest
import requests
from sqlalchemy import select

from tests.proof.deployment import add_user, at_once, issue_token, services
from tests.support.activation import ActivatedService
from tests.support.databases import ON_BOTH
from tests.support.phone import same_for_all
from tests.support.postgres import PostgresServer
from tests.support.service import (
    ROOT,
    Service,
    Simulator,
    code_of,
    plain_environment,
    token_of,
)
from tests.support.settings import APPS, SECRET_KEY, environment
from tests.support.waiting import eventually
from tests.support.wsgi_servers import GUNICORN, Granian, Gunicorn, WsgiServer
from wxsession.storage.tables import sessions

MakeService = Callable[..., Service]

SECRETS = [*APPS.values(), SECRET_KEY]

ON_EACH_SERVER = pytest.mark.parametrize("server", [Gunicorn, Granian])


@pytest.fixture
def wechat(simulator: Simulator) -> Iterator[Simulator]:
    """Return a WeChat that answers at once, until the test says otherwise."""
    yield simulator
    simulator.answer_after(0)


@pytest.fixture
def serve(wechat: Simulator) -> Iterator[MakeService]:
    """Return a function that starts a server with these settings."""
    with ExitStack() as stack:

        def start(database_url: str, **settings: object) -> Service:
            settings = {"wechat_url": wechat.url, **settings}
            return stack.enter_context(Service(database_url, **settings))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Return as many threads as a test may want."""
    with ThreadPoolExecutor(250) as threads:
        yield threads


def log_in(service: Service, wechat: Simulator, user: str = "alice") -> str:
    return token_of(service.log_in(wechat.code(user)))


def check_for(service: Service, token: str, seconds: float) -> list[float]:
    """Check a session again and again; return how long each answer took."""
    took: list[float] = []
    end = time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        assert service.check(token).status_code == 200
        took.append(time.monotonic() - begun)
    return took


def p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


@ON_BOTH
@ON_EACH_SERVER
def test_a_session_is_good_in_every_worker(
    serve: MakeService,
    wechat: Simulator,
    database_url: str,
    pool: ThreadPoolExecutor,
    server: type[WsgiServer],
) -> None:
    service = serve(database_url, server=server())
    eventually(lambda: len(service.workers()) == 2)
    token = log_in(service, wechat)
    assert {a.status_code for a in pool.map(service.check, [token] * 60)} == {200}
    token = token_of(service.refresh(token))
    assert {a.status_code for a in pool.map(service.check, [token] * 60)} == {200}
    assert service.log_out(token).status_code == 204
    assert {code_of(a) for a in pool.map(service.check, [token] * 60)} == {"session_ended"}


@ON_EACH_SERVER
def test_the_proxy_in_front_says_where_a_client_is(
    serve: MakeService, wechat: Simulator, sqlite_url: str, server: type[WsgiServer]
) -> None:
    service = serve(sqlite_url, server=server(workers=1), trusted_proxies=1)
    forwarded = {"X-Forwarded-For": "198.51.100.66, 203.0.113.7"}
    assert service.log_in(wechat.code("alice"), headers=forwarded).ok
    with services(sqlite_url) as here, here.database.statement() as connection:
        address = connection.execute(select(sessions.c.client_address)).scalar_one()
    assert address == "203.0.113.7"


BURST = 512


@pytest.mark.serial
@pytest.mark.parametrize(
    ("server", "database_url", "latency"),
    [
        (Gunicorn, "sqlite", 0.1),
        (Gunicorn, "postgresql", 0.3),
        (Granian, "sqlite", 0.1),
        (Granian, "postgresql", 0.1),
        pytest.param(Gunicorn, "sqlite", 0.3, marks=pytest.mark.long),
        pytest.param(Gunicorn, "postgresql", 0.1, marks=pytest.mark.long),
    ],
    indirect=["database_url"],
)
def test_a_burst_of_logins_waits_for_its_turn_and_nobody_is_sent_away(
    serve: MakeService,
    wechat: Simulator,
    database_url: str,
    latency: float,
    server: type[WsgiServer],
) -> None:
    service = serve(database_url, server=server())
    with ThreadPoolExecutor(BURST) as crowd:
        for attempt in range(3):  # a machine that has other things to do may need some
            codes = [wechat.code(f"user-{attempt}-{number}") for number in range(BURST)]
            wechat.answer_after(latency)
            answers = at_once(crowd, [partial(service.log_in, code) for code in codes])
            wechat.answer_after(0)
            told = {code_of(answer) for answer in answers}
            assert told <= {None, "overloaded"}
            if told == {None}:
                break
        assert told == {None}
        tokens = {token_of(answer) for answer in answers}
        assert len(tokens) == BURST
        assert {answer.status_code for answer in crowd.map(service.check, tokens)} == {200}


@pytest.mark.serial
@pytest.mark.parametrize("server", [Gunicorn, pytest.param(Granian, marks=pytest.mark.long)])
def test_checks_do_not_notice_two_hundred_logins_that_wait(
    serve: MakeService,
    wechat: Simulator,
    postgresql_url: str,
    pool: ThreadPoolExecutor,
    server: type[WsgiServer],
) -> None:
    service = serve(postgresql_url, server=server())
    token = log_in(service, wechat)
    before = check_for(service, token, 1)
    codes = [wechat.code(f"user-{number}") for number in range(200)]
    asked = len(wechat.exchanges())
    wechat.answer_after(5)
    waiting = [pool.submit(service.log_in, code) for code in codes]
    eventually(lambda: len(wechat.exchanges()) - asked > 16)
    meanwhile = check_for(service, token, 2.5)
    assert not any(login.done() for login in waiting)
    assert_not_noticed(meanwhile, before)
    assert {login.result().status_code for login in waiting} == {200}


def assert_not_noticed(meanwhile: list[float], before: list[float]) -> None:
    """See that checks took about as long as before, on a machine that may be busy."""
    assert median(meanwhile) < max(0.2, 10 * median(before))
    assert p99(meanwhile) < max(1.0, 10 * p99(before))


def test_a_worker_knows_how_many_threads_it_has(
    serve: MakeService, sqlite_url: str, tmp_path: Path
) -> None:
    (tmp_path / "telling.py").write_text(
        "import logging\nimport config\nfrom wsgi import app\n"
        "logging.warning('it has %d threads', config.settings().threads)\n"
    )
    telling = Gunicorn(threads=48, options=("--pythonpath", str(tmp_path)))
    for settings, threads in ({}, 48), ({"threads": 40}, 40):
        service = serve(sqlite_url, module="telling:app", server=telling, **settings)
        assert any(f"it has {threads} threads" in line for line in service.lines())


@pytest.mark.serial
def test_checks_do_not_notice_a_flood_of_passwords(
    serve: MakeService, wechat: Simulator, database_url: str, pool: ThreadPoolExecutor
) -> None:
    service = serve(database_url, server=Gunicorn(threads=64))
    token = log_in(service, wechat)
    before = check_for(service, token, 1)
    flood = [pool.submit(guess, service, number) for number in range(200)]
    meanwhile = check_for(service, token, 1)
    assert_not_noticed(meanwhile, before)
    assert_held_off([one.result() for one in flood])


def guess(service: Service, number: int) -> requests.Response:
    """Try a password of somebody who is not there."""
    body = {"username": f"name-{number}", "password": "not the right one"}
    return service.send("POST", "/login", json=body)


def assert_held_off(answers: list[requests.Response]) -> None:
    """See that a flood was answered, and a part of it refused with a word on when to come back."""
    assert {code_of(answer) for answer in answers} <= {
        None,
        "bad_credentials",
        "overloaded",
        "too_many_attempts",
    }
    refused = [answer for answer in answers if code_of(answer) == "overloaded"]
    assert refused
    assert {answer.status_code for answer in refused} == {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)


@ON_BOTH
def test_fifty_guesses_at_two_workers_are_ten(
    serve: MakeService, database_url: str, pool: ThreadPoolExecutor
) -> None:
    service = serve(database_url)
    mine = {"username": "alice", "password": "correct horse battery"}
    assert service.send("POST", "/register", json=mine).status_code == 201
    wrong = {**mine, "password": "guess guess guess"}
    answers = list(pool.map(lambda _: service.send("POST", "/login", json=wrong), range(50)))
    codes = [code_of(answer) for answer in answers]
    assert codes.count("bad_credentials") <= 10
    assert set(codes) <= {"bad_credentials", "too_many_attempts", "overloaded"}
    while code_of(last := service.send("POST", "/login", json=wrong)) != "too_many_attempts":
        codes.append(code_of(last))
    assert codes.count("bad_credentials") == 10
    right = service.send("POST", "/login", json=mine)
    assert right.status_code == last.status_code
    assert same_for_all(right.json()) == same_for_all(last.json())


@pytest.mark.serial
@pytest.mark.parametrize(
    "database_url",
    ["postgresql", pytest.param("sqlite", marks=pytest.mark.long)],
    indirect=True,
)
def test_checks_do_not_notice_floods_of_codes_and_of_passwords_together(
    serve: MakeService, wechat: Simulator, database_url: str, pool: ThreadPoolExecutor
) -> None:
    # As few threads as two floods of a hundred can fill.
    service = serve(database_url, server=Gunicorn(threads=32))
    token = log_in(service, wechat)
    before = check_for(service, token, 1)
    codes = [wechat.code(f"user-{number}") for number in range(100)]
    asked = len(wechat.exchanges())
    wechat.answer_after(4)
    flood = [pool.submit(guess, service, number) for number in range(100)]
    flood += [pool.submit(service.log_in, code) for code in codes]
    eventually(lambda: len(wechat.exchanges()) > asked + 8)
    meanwhile = check_for(service, token, 2)
    assert_not_noticed(meanwhile, before)
    assert_held_off([one.result() for one in flood])


def test_while_wechat_hangs_logins_are_refused_at_once_until_it_is_back(
    serve: MakeService, wechat: Simulator, sqlite_url: str, pool: ThreadPoolExecutor
) -> None:
    timeout = 4
    service = serve(sqlite_url, server=Gunicorn(workers=1), wechat_timeout=f"{timeout},{timeout}")
    token = log_in(service, wechat)
    wechat.answer_after(2 * timeout)
    first = [pool.submit(service.log_in, wechat.code("alice")) for _ in range(10)]
    assert {code_of(one.result()) for one in first} == {"wechat_timeout"}

    finds_out = pool.submit(service.log_in, wechat.code("alice"))
    codes = [wechat.code("bob") for _ in range(20)]
    time.sleep(timeout / 8)  # until that one is under way
    begun = time.monotonic()
    refused = [service.log_in(code) for code in codes]
    took = time.monotonic() - begun
    assert {code_of(one) for one in refused} == {"wechat_timeout"}
    assert all(int(one.headers["Retry-After"]) > 0 for one in refused)
    assert took < len(codes) * timeout / 2  # some may have had to find out as well
    assert service.check(token).ok
    assert code_of(finds_out.result()) == "wechat_timeout"

    wechat.answer_after(0)
    eventually(lambda: service.log_in(wechat.code("bob")).ok)
    again = pool.map(service.log_in, [wechat.code(f"user-{number}") for number in range(20)])
    assert {answer.status_code for answer in again} == {200}


@ON_BOTH
def test_whoever_sends_the_code_of_a_killed_worker_again_is_soon_answered(
    serve: MakeService, wechat: Simulator, database_url: str, pool: ThreadPoolExecutor
) -> None:
    few = {"server": Gunicorn(workers=1, threads=32)}
    killed, other = serve(database_url, **few), serve(database_url, **few)
    wechat.answer_after(15)
    code = wechat.code("alice")
    lost = pool.submit(killed.log_in, code)
    eventually(lambda: code in wechat.exchanges())
    wechat.answer_after(0)
    killed.send_signal(signal.SIGKILL)
    begun = time.monotonic()
    retries = [pool.submit(other.log_in, code) for _ in range(20)]
    assert other.log_in(wechat.code("bob")).ok  # they hold nobody else up
    assert {code_of(one.result()) for one in retries} == {"code_used"}
    assert time.monotonic() - begun < 14  # 3 seconds, where nothing else is going on
    with pytest.raises(requests.ConnectionError):
        lost.result()


@ON_EACH_SERVER
def test_a_server_whose_requests_are_stuck_says_that_it_is_alive_and_refuses_the_others(
    serve: MakeService,
    wechat: Simulator,
    postgresql_url: str,
    pool: ThreadPoolExecutor,
    server: type[WsgiServer],
) -> None:
    service = serve(postgresql_url, server=server(workers=1, threads=16))
    token = log_in(service, wechat)
    with psycopg.connect(postgresql_url.replace("+psycopg", "")) as connection:
        connection.execute("LOCK TABLE wxsession_sessions IN ACCESS EXCLUSIVE MODE")
        checks = [pool.submit(service.check, token) for _ in range(40)]
        eventually(lambda: sum(check.done() for check in checks) == 40 - 15)
        assert service.send("GET", "/healthz").status_code == 200
        refused = [check.result() for check in checks if check.done()]
    assert {(a.status_code, code_of(a)) for a in refused} == {(503, "overloaded")}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    assert sum(check.result().ok for check in checks) == 15


class WithFewFiles(Service):
    """A service that was started as systemd and shells do."""

    def command(self) -> list[str]:
        """Return how it is called, below a limit that it may raise."""
        return ["sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh", *super().command()]


def test_a_burst_does_not_run_out_of_files(sqlite_url: str) -> None:
    with WithFewFiles(sqlite_url) as service:
        eventually(lambda: len(service.workers()) == 2)
        for pid in service.workers():
            limits = Path(f"/proc/{pid}/limits").read_text()
            found = re.search(r"Max open files +(\d+) +(\d+)", limits)
            assert found
            assert int(found[1]) >= min(4096, int(found[2]))


@pytest.fixture(params=["down", "hanging"])
def no_wechat(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of a WeChat that nobody can talk to."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        if request.param == "down":
            listener.close()
            yield "http://127.0.0.1:9"
        else:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_without_wechat_a_login_is_told_so_in_time_and_sessions_go_on(
    serve: MakeService, database_url: str, no_wechat: str
) -> None:
    with services(database_url) as here:
        token = issue_token(here, add_user(here.database))
    service = serve(database_url, wechat_url=no_wechat, wechat_timeout="0.3,0.5")
    begun = time.monotonic()
    answer = service.log_in("0" * 32)
    assert time.monotonic() - begun < 20
    assert answer.status_code == 503
    assert code_of(answer) in {"wechat_unreachable", "wechat_timeout"}
    assert int(answer.headers["Retry-After"]) > 0
    assert_sessions_work(service, token)


def test_a_wechat_that_talks_nonsense_spoils_one_login_and_nothing_else(
    serve: MakeService, wechat: Simulator, database_url: str
) -> None:
    service = serve(database_url, wechat_timeout="0.3,0.5")
    nonsense = {
        "NOT_JSON": (502, "wechat_unintelligible"),
        "HUGE": (502, "wechat_unintelligible"),
        "DRIP": (503, "wechat_timeout"),
        "CONNECTION_RESET": (503, "wechat_unreachable"),
    }
    for fault, told in nonsense.items():
        token = log_in(service, wechat)
        wechat.fail_next(fault)
        begun = time.monotonic()
        answer = service.log_in(wechat.code("bob"))
        assert time.monotonic() - begun < 20
        assert (answer.status_code, code_of(answer)) == told
        assert int(answer.headers["Retry-After"]) > 0
        assert_sessions_work(service, token)
    assert service.log_in(wechat.code("bob")).ok


def assert_sessions_work(service: Service, token: str) -> None:
    """See a session checked, refreshed and ended."""
    assert service.check(token).ok
    token = token_of(service.refresh(token))
    assert service.check(token).ok
    assert service.log_out(token).status_code == 204
    assert code_of(service.check(token)) == "session_ended"


def test_without_a_free_connection_a_check_is_refused_soon_and_liveness_is_told(
    serve: MakeService, wechat: Simulator, postgresql_url: str, pool: ThreadPoolExecutor
) -> None:
    service = serve(postgresql_url, server=Gunicorn(workers=1))
    token = log_in(service, wechat)
    with psycopg.connect(postgresql_url.replace("+psycopg", "")) as connection:
        connection.execute("LOCK TABLE wxsession_sessions IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()
        checks = [pool.submit(service.check, token) for _ in range(24)]
        assert service.send("GET", "/healthz").status_code == 200
        eventually(lambda: sum(check.done() for check in checks) == 24 - 16)
        took = time.monotonic() - begun
        assert service.send("GET", "/healthz").status_code == 200
        refused = [check.result() for check in checks if check.done()]
    assert took < 20  # 2 seconds, where nothing else is going on; the lock is for good
    assert {(a.status_code, code_of(a)) for a in refused} == {(503, "overloaded")}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    assert sum(check.result().ok for check in checks) == 16


def test_a_server_without_its_database_starts_and_recovers_by_itself(
    serve: MakeService, wechat: Simulator, own_postgres: PostgresServer
) -> None:
    own_postgres.kill()
    service = serve(own_postgres.url("own"))
    assert service.send("GET", "/healthz").status_code == 200
    not_ready = service.send("GET", "/readyz")
    assert (not_ready.status_code, code_of(not_ready)) == (503, "database_unavailable")
    assert code_of(service.log_in(wechat.code("alice"))) == "database_unavailable"
    own_postgres.restart()
    eventually(lambda: service.send("GET", "/readyz").ok)
    assert service.check(log_in(service, wechat)).ok


def test_a_database_that_comes_back_is_used_again_and_has_every_session(
    serve: MakeService, wechat: Simulator, own_postgres: PostgresServer, pool: ThreadPoolExecutor
) -> None:
    service = serve(own_postgres.url("own"))
    token = log_in(service, wechat)
    own_postgres.kill()
    down = list(pool.map(service.check, [token] * 10))
    assert {(answer.status_code, code_of(answer)) for answer in down} == {
        (503, "database_unavailable")
    }
    assert service.send("GET", "/healthz").status_code == 200
    own_postgres.restart()
    eventually(lambda: all(a.ok for a in pool.map(service.check, [token] * 10)))
    assert service.check(token_of(service.refresh(token))).ok


@ON_EACH_SERVER
def test_a_server_that_is_told_to_stop_answers_who_is_waiting(
    serve: MakeService,
    wechat: Simulator,
    sqlite_url: str,
    pool: ThreadPoolExecutor,
    server: type[WsgiServer],
) -> None:
    service = serve(sqlite_url, server=server())
    wechat.answer_after(1)
    code = wechat.code("alice")
    login = pool.submit(service.log_in, code)
    eventually(lambda: code in wechat.exchanges())
    service.send_signal(signal.SIGTERM)
    assert token_of(login.result())
    assert service.wait() == 0


@pytest.mark.parametrize(
    ("server", "database_url"),
    [(Gunicorn, "sqlite"), (Gunicorn, "postgresql"), (Granian, "sqlite")],
    indirect=["database_url"],
)
def test_a_worker_that_is_killed_is_replaced_and_no_session_is_lost(
    serve: MakeService, wechat: Simulator, database_url: str, server: type[WsgiServer]
) -> None:
    service = serve(database_url, server=server())
    tokens = [log_in(service, wechat, f"user-{number}") for number in range(5)]
    eventually(lambda: len(service.workers()) == 2)
    killed = service.workers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(service.workers()) == 4)
    eventually(lambda: answers(service))
    assert all(service.check(token).ok for token in tokens)
    assert not set(service.workers()[-2:]) & set(killed)
    assert log_in(service, wechat)


CLIENTS = 8


class Load:
    """Clients that log in, refresh and log out, each time on a connection of its own."""

    def __init__(self, service: Service, wechat: Simulator, pool: ThreadPoolExecutor) -> None:
        self.live: list[str] = []
        self.ended: list[str] = []
        self.broken_off: list[requests.ConnectionError] = []
        self._service = service
        self._wechat = wechat
        self._over = threading.Event()
        self._clients = [pool.submit(self._go_on, f"client-{number}") for number in range(CLIENTS)]

    def stop(self) -> None:
        """Return when the last request was answered; none was answered in a wrong way."""
        self._over.set()
        for client in self._clients:
            client.result()

    def _go_on(self, user: str) -> None:
        for turn in count():
            if self._over.is_set():
                return
            first, second = (self._log_in(f"{user}-{turn}-{number}") for number in range(2))
            self.live.append(token_of(self._post("/refresh", first)))
            self._post("/logout", second)
            self.ended.append(second)

    def _log_in(self, user: str) -> str:
        return token_of(self._post("/login", code=self._wechat.code(user)))

    def _post(self, path: str, token: str | None = None, **body: str) -> requests.Response:
        close = {"Connection": "close"}
        while True:
            try:
                answer = self._service.send("POST", path, token=token, headers=close, json=body)
            except requests.ConnectionError as error:
                self.broken_off.append(error)
            else:
                assert answer.ok, answer.text
                return answer


@ON_EACH_SERVER
def test_a_reload_under_load_loses_nothing_that_was_acknowledged(
    serve: MakeService,
    wechat: Simulator,
    sqlite_url: str,
    pool: ThreadPoolExecutor,
    server: type[WsgiServer],
) -> None:
    service = serve(sqlite_url, server=server())
    before = service.workers()
    load = Load(service, wechat, pool)
    eventually(lambda: len(load.ended) > CLIENTS)
    service.send_signal(signal.SIGHUP)
    eventually(lambda: not any(is_running(pid) for pid in before))
    load.stop()
    assert len(service.workers()) == 4
    assert {service.check(token).status_code for token in load.live} == {200}
    assert {code_of(service.check(token)) for token in load.ended} == {"session_ended"}
    # A worker of granian that stops closes connections on which it has read nothing yet.
    assert len(load.broken_off) <= (0 if server is Gunicorn else 2 * CLIENTS)


def test_a_restart_with_other_settings_refuses_nobody(
    wechat: Simulator, sqlite_url: str, pool: ThreadPoolExecutor
) -> None:
    with ActivatedService(sqlite_url, wechat_url=wechat.url) as service:
        before = service.workers()
        assert service.send("GET", "/docs").status_code == 404
        load = Load(service, wechat, pool)
        eventually(lambda: len(load.ended) > CLIENTS)
        service.restart(api_page="on")
        eventually(lambda: len(service.workers()) == 4)
        seen = len(load.ended)
        eventually(lambda: len(load.ended) > seen + CLIENTS)
        load.stop()
        assert not any(is_running(pid) for pid in before)
        assert not load.broken_off
        assert service.send("GET", "/docs").status_code == 200
        assert {service.check(token).status_code for token in load.live} == {200}
        assert {code_of(service.check(token)) for token in load.ended} == {"session_ended"}


@ON_EACH_SERVER
def test_every_line_of_the_log_is_json(
    serve: MakeService, wechat: Simulator, sqlite_url: str, server: type[WsgiServer]
) -> None:
    service = serve(sqlite_url, server=server())
    wechat.fail_next(40013)
    assert code_of(service.log_in(wechat.code("alice"))) == "app_rejected"
    service.send_signal(signal.SIGTERM)
    assert service.wait() == 0
    lines = [json.loads(line) for line in service.lines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert "40013" in " ".join(line["message"] for line in lines if line["level"] == "ERROR")


def answers(service: Service) -> bool:
    try:
        return service.send("GET", "/healthz").ok
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize(
    ("command", "times"),
    [
        ((*GUNICORN, "--bind", "127.0.0.1:0", "wsgi:app"), {1}),
        ((*GUNICORN, "--bind", "127.0.0.1:0", "--preload", "wsgi:app"), {1}),
        (Granian().command(0, "wsgi:app"), range(1, 1000)),  # each of its workers says so
        ((sys.executable, "-m", "flask", "--app", "wsgi", "purge-sessions"), {1}),
        ((sys.executable, "-m", "flask", "--app", "wsgi", "upgrade-database"), {1}),
    ],
    ids=[
        "gunicorn",
        "gunicorn --preload",
        "granian",
        "flask purge-sessions",
        "flask upgrade-database",
    ],
)
def test_a_bad_configuration_is_refused_at_once_with_every_fault_and_no_secret(
    command: Sequence[str], times: Container[int]
) -> None:
    wrong = environment(
        "mysql://root:db-password-canary@example.org/db",
        secret_keys="too-short-canary",
        idle_timeout="1w-canary",
        max_sessions="-5",
        wechat_url="ftp://canary@example.org",
    )
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=plain_environment() | wrong,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    told = done.stdout + done.stderr
    assert done.returncode not in {0, None}
    names = ["DATABASE_URL", "SECRET_KEYS", "IDLE_TIMEOUT", "MAX_SESSIONS", "WECHAT_URL"]
    assert all(told.count(f"WXSESSION_{name}:") in times for name in names), told
    assert not [secret for secret in (*SECRETS, "canary") if secret in told]


def test_the_server_ends_with_the_process_that_started_it(sqlite_url: str) -> None:
    program = (
        "import sys, time; from tests.support.service import Service\n"
        f"service = Service({sqlite_url!r}); service.start()\n"
        "print(service.url, *service.workers(), flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout
        url, *pids = starter.stdout.readline().split()
        assert requests.get(f"{url}/healthz", timeout=5).ok
        starter.kill()
    eventually(lambda: not any(is_running(int(pid)) for pid in pids))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
