"""The doctor finds what was planted, and names the cure; a healthy server has nothing to say."""

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, insert, text, update

from tests.support.app import TODAY, services_of
from tests.support.databases import ON_BOTH, ON_POSTGRESQL
from tests.support.pgbouncer import PgBouncer
from tests.support.phone import Phone
from tests.support.postgres import PostgresServer
from tests.support.service import Service, Simulator, free_port
from tests.support.settings import SECRET_KEY, settings_for
from tests.support.waiting import eventually
from wxsession import SettingsError, create_app
from wxsession.operations import job_results
from wxsession.operations.database_checks import DatabaseChecks
from wxsession.services import Services
from wxsession.simulator import Fault, SettableClock, WeChat
from wxsession.storage.database import new_id
from wxsession.storage.tables import job_results as results_table
from wxsession.storage.tables import session_keys, sessions

APPID, APP_SECRET = "wx5d2b7a9c4e1f8036", "9f86d081884c7d659a2feaa0c55ad015"
APPS = f"{APPID}:{APP_SECRET}"

EMPTY = "empty"
"""The name of a file with nothing in it."""

Make = Callable[..., Flask]


@pytest.fixture
def wechat(clock: SettableClock) -> WeChat:
    """Return a WeChat that knows an app with the ids and secrets of real ones."""
    return WeChat({APPID: APP_SECRET}, clock=clock)


@pytest.fixture
def make(make_app: Make) -> Make:
    """Return a function that makes a server that was purged a moment ago."""

    def made(**changes: object) -> Flask:
        app = make_app(**{"apps": APPS, **changes})
        job_results.record(services_of(app).database, "purge", {"sessions": 0}, complete=True)
        return app

    return made


def examine(app: Flask, *options: str) -> tuple[int, list[str]]:
    """Return the doctor's exit status, and what it says of everything that is not ok."""
    result = app.test_cli_runner().invoke(args=["doctor", "--json", *options])
    found = json.loads(result.stdout)
    assert found["healthy"] == (result.exit_code == 0)
    return result.exit_code, [_said(one) for one in found["findings"] if one["state"] != "ok"]


def only_fault(app: Flask, *options: str) -> str:
    """Return the one fault that the doctor finds."""
    status, found = examine(app, *options)
    (fault,) = [one for one in found if one.startswith("fault")]
    assert status == 1
    return fault


def only_warning(app: Flask, *options: str) -> str:
    """Return the one warning that the doctor has, for a server that works."""
    status, found = examine(app, *options)
    (warning,) = found
    assert warning.startswith("warning")
    assert status == 0
    return warning


def _said(finding: dict[str, Any]) -> str:
    assert finding["cure"], finding
    return "{state} {subject}: {found}; {cure}".format_map(finding)


def execute(app: Flask, statement: Any, values: Any = None) -> None:
    """Run a statement as an operator who does harm."""
    with services_of(app).database.statement() as connection:
        connection.execute(statement, values)


@ON_BOTH
def test_a_healthy_server_gets_a_clean_bill(make: Make, wechat: WeChat) -> None:
    app = make(trusted_proxies=1)
    Phone(app, wechat, "alice", appid=APPID).log_in()
    status, found = examine(app, "--wechat", "--all")
    assert [one for one in found if "is off: a crash" not in one] == []
    assert status == bool(found)
    lines = app.test_cli_runner().invoke(args=["doctor", "--wechat"]).stdout.splitlines()
    assert "ok       sealed values: 1 opened" in lines
    assert f"ok       wechat: {APPID}: WeChat gives an access_token" in lines
    assert APP_SECRET not in "".join(lines)


# What is wrong in the settings is told before there is anything to examine.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"apps": ""}, "WXSESSION_APPS: missing; appid:secret"),
        ({"secret_keys": "k" * 40}, "anybody can guess or look up; make one with openssl rand"),
        (
            {"secret_keys": "a-key-that-is-made-up-for-this-test"},
            "anybody can guess or look up; make one with openssl rand",
        ),
        ({"secret_keys": "", "secret_keys_file": "/nowhere"}, "give the path of a file"),
        ({"secret_keys": "", "secret_keys_file": "/dev/null"}, "this is not a file; give the path"),
        ({"apps": "", "apps_file": EMPTY}, "the file is empty; write the value into it"),
        ({"metrics": "9464"}, "WXSESSION_METRICS: "),
        ({"touch_interval": "7d"}, "WXSESSION_TOUCH_INTERVAL is not shorter than"),
        ({"apps_file": "/nowhere"}, "given twice, here and without _FILE; remove one of them"),
        ({"api_keys": "shop:short"}, "at least 16 characters; make one with openssl rand"),
    ],
)
def test_a_fault_in_the_settings_is_told_with_its_cure(
    changes: dict[str, object], said: str, sqlite_url: str, tmp_path: Path
) -> None:
    if EMPTY in changes.values():
        (tmp_path / EMPTY).touch()
        changes = {name: value and tmp_path / str(value) for name, value in changes.items()}
    with pytest.raises(SettingsError, match="cannot start") as caught:
        settings_for(sqlite_url, **changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"apps": f"demo:{APP_SECRET}"}, "demo in WXSESSION_APPS is no appid"),
        ({"apps": f"{APPID}:secret"}, f"the AppSecret of {APPID} is none"),
        ({"apps": f"{APPID}:{'0123456789abcdef' * 2}"}, f"the AppSecret of {APPID} is an example"),
        ({"wechat_url": "http://wechat.example"}, "is not https: AppSecrets cross the network"),
    ],
)
def test_settings_that_cannot_be_right_are_faults(
    changes: dict[str, object], said: str, make: Make
) -> None:
    assert said in only_fault(make(**changes))


def test_a_wechat_that_is_none_and_credentials_in_urls_are_warned_of(make: Make) -> None:
    assert "leave it out to ask api.weixin.qq.com" in only_warning(
        make(wechat_url="http://127.0.0.1:8001")
    )
    assert "name the dialects that your clients use" in only_warning(make(dialects="all"))


def test_secrets_that_everybody_can_read_are_faults(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(SECRET_KEY)
    path.chmod(0o644)
    app = make(secret_keys="", secret_keys_file=path)
    said = "can read the file of WXSESSION_SECRET_KEYS_FILE; run chmod o-r on it"
    assert said in only_fault(app)
    path.chmod(0o600)
    database = tmp_path / "wxsession.db"
    database.chmod(0o644)
    assert f"can read the database {database}; run chmod o-r on it" in only_fault(app)


# The metrics.


def test_boards_without_data_are_warned_of(make: Make) -> None:
    nobody = free_port()
    said = only_warning(make(metrics=f"127.0.0.1:{nobody}"))
    assert f"127.0.0.1:{nobody} does not respond" in said
    assert "the boards have no data; start the service; if it runs, its log says why" in said


def test_an_address_of_metrics_at_which_another_program_listens_is_warned_of(
    make: Make, simulator: Simulator
) -> None:
    said = only_warning(make(metrics=f"127.0.0.1:{simulator.port}"))
    assert f"another program listens at 127.0.0.1:{simulator.port}: the boards have no" in said
    assert said.endswith("; let WXSESSION_METRICS be another address")


def test_metrics_that_are_there_are_well(make: Make) -> None:
    app = make(metrics=f"127.0.0.1:{free_port()}")
    exporter = services_of(app).exporter
    assert exporter is not None
    exporter.start()
    eventually(lambda: examine(app) == (0, []))


# The database that cannot be used.


def of_database(url: str) -> str:
    """Return the one fault of a server whose database is at `url`."""
    app = create_app(settings_for(url, apps=APPS, database_timeout="3s"))
    try:
        return only_fault(app)
    finally:
        services_of(app).database.close()


def test_a_database_that_is_not_there_is_told_apart_from_one_that_is_down(
    postgres: PostgresServer,
) -> None:
    down = f"postgresql://postgres@127.0.0.1:{free_port()}/x"
    assert "start PostgreSQL, or correct host and port" in of_database(down)
    assert "create it with createdb" in of_database(postgres.url("nowhere"))
    nobody = postgres.url("template").replace("postgres@", "nobody@")
    assert "create it with createuser" in of_database(nobody)
    astray = "postgresql://postgres@wxsession.invalid/x"
    assert "correct the host in WXSESSION_DATABASE_URL, or the DNS" in of_database(astray)


def test_an_example_of_a_password_is_told() -> None:
    app = create_app(settings_for(f"postgresql://p:PASSWORD@127.0.0.1:{free_port()}/x", apps=APPS))
    said = "fault settings: the password in WXSESSION_DATABASE_URL is an example; set one of your"
    assert any(one.startswith(said) for one in examine(app)[1])
    services_of(app).database.close()


def test_a_host_that_says_nothing_is_a_matter_of_the_firewall() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "let the firewall pass" in of_database(f"postgresql://p@127.0.0.1:{port}/x")


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_text("Dear Sir or Madam, " * 100)
    path.chmod(0o600)
    assert "let WXSESSION_DATABASE_URL name another file" in of_database(f"sqlite:///{path}")


def test_a_database_without_a_schema_is_told(bare_url: str) -> None:
    app = create_app(settings_for(bare_url, apps=APPS))
    _, found = examine(app)
    services_of(app).database.close()
    assert "fault schema: there is none; run upgrade-database" in found


@ON_BOTH
def test_a_schema_that_is_old_or_from_the_future_is_told(make: Make) -> None:
    app = make()
    execute(app, text("UPDATE wxsession_version SET version_num = '20260101_01'"))
    assert "fault schema: it is old: 20260101_01; run upgrade-database" in examine(app)[1]
    execute(app, text("UPDATE wxsession_version SET version_num = '21260101_01'"))
    assert "install the newest version here as well" in " ".join(examine(app)[1])


@ON_BOTH
def test_a_missing_index_is_told(make: Make) -> None:
    app = make()
    execute(app, text("DROP INDEX ix_wxsession_sessions_user_id"))
    said = "ix_wxsession_sessions_user_id is missing: what needs it is slow; create it"
    assert any(said in one for one in examine(app)[1])


@ON_POSTGRESQL
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("ALTER TABLE wxsession_sessions SET (autovacuum_enabled = off)", "RESET (autovacuum_en"),
        ("ALTER DATABASE {} SET default_transaction_read_only = on", "target_session_attrs=read"),
        (
            "ALTER DATABASE {} CONNECTION LIMIT 20",
            "may open 32, and the database's limit leaves 20",
        ),
    ],
)
def test_a_server_that_is_set_up_wrongly_is_told(make: Make, harm: str, said: str) -> None:
    app = make()
    database = services_of(app).database
    execute(app, text(harm.format(database.engine.url.database)))
    database.close()  # another connection sees it
    assert any(said in one for one in examine(app, "--workers", "2")[1])


@ON_POSTGRESQL
def test_a_server_that_forgets_is_told(make: Make) -> None:
    assert any("set fsync = on" in one for one in examine(make())[1])  # that of the tests is so


@ON_POSTGRESQL
def test_more_connections_than_the_server_has_are_told(make: Make) -> None:
    faults = examine(make(pool_size=900), "--workers", "4")[1]
    assert any("may open 3600, and max_connections leaves" in one for one in faults)


def test_a_pooler_that_passes_too_little_on_is_told(own_postgres: PostgresServer) -> None:
    with PgBouncer(own_postgres) as pooler:
        app = create_app(settings_for(pooler.database_url("own"), apps=APPS))
        job_results.record(services_of(app).database, "purge", {"sessions": 0}, complete=True)
        found = examine(app)[1]
        services_of(app).database.close()
    assert any("set max_prepared_statements in PgBouncer" in one for one in found)
    assert any("ALTER ROLE … SET statement_timeout" in one for one in found)


@ON_BOTH
@pytest.mark.parametrize(("apart", "state"), [(10, "warning"), (-90, "fault")])
def test_clocks_that_disagree_are_told(services: Services, apart: int, state: str) -> None:
    database = services.database
    checks = DatabaseChecks(
        database,
        settings=services.settings,
        resealing=services.resealing,
        host_time=lambda: database.now() + timedelta(seconds=apart),
    )
    (clock,) = [one for one in checks.examine(workers=1) if one[0] == "clock"]
    assert clock.state == state
    assert f"differ by {abs(apart)} seconds" in clock.found
    assert clock.cure == "set the one that is wrong, and let NTP keep both"


# What lies in the database.


@ON_BOTH
def test_what_no_key_opens_and_what_an_old_key_sealed_is_told(make: Make, wechat: WeChat) -> None:
    app = make(trusted_proxies=1)
    Phone(app, wechat, "alice", appid=APPID).log_in()
    newer = make(secret_keys=f"{SECRET_KEY},{'a-newer-key-' * 4}")
    assert any("1 of 1 are under an older key; run keys reseal" in o for o in examine(newer)[1])
    without = make(secret_keys="another-key-" * 4)
    assert any("1 of 1 cannot be opened; add the key" in one for one in examine(without)[1])
    execute(app, update(session_keys).values(sealed=b"moved"))
    assert any("1 of 1 cannot be opened" in one for one in examine(app)[1])


@ON_BOTH
def test_a_purge_that_does_not_run_is_told(make: Make) -> None:
    app = make()
    execute(app, delete(results_table))
    assert any("no purge has finished yet; run purge-sessions every" in o for o in examine(app)[1])
    long_ago = services_of(app).database.now() - timedelta(hours=30)
    row = {"job": "purge", "item": "sessions", "total": 1, "succeeded_at": long_ago}
    execute(app, insert(results_table), row)
    assert any("the last one finished 30 hours ago; run" in one for one in examine(app)[1])


def add_sessions(app: Flask, count: int, address: str | None, day: date) -> None:
    """Add sessions of one user from an address, to be purged on a day."""
    services, user = services_of(app), new_id()
    with services.database.transaction() as transaction:
        services.users.add(transaction, user)
    row = {"user_id": user, "token_hash": b"0" * 32, "client_address": address, "purge_on": day}
    moments = ("created_at", "auth_time", "absolute_expires_at", "idle_expires_at")
    row |= dict.fromkeys(moments, TODAY)
    execute(app, insert(sessions), [{"id": new_id(), **row} for _ in range(count)])


@ON_BOTH
def test_rows_that_should_be_gone_are_told(make: Make) -> None:
    app = make()
    add_sessions(app, 1, "198.51.100.7", date(2020, 1, 1))
    said = "sessions that should be gone are still there, since 2020-01-01; run purge-sessions"
    assert any(said in one for one in examine(app)[1])


@ON_BOTH
def test_a_proxy_that_is_taken_for_every_client_is_told(make: Make) -> None:
    app = make()
    add_sessions(app, 20, "127.0.0.1", date(2126, 1, 1))
    assert any("set WXSESSION_TRUSTED_PROXIES to the number" in one for one in examine(app)[1])
    add_sessions(app, 5, None, date(2126, 1, 1))  # by way of a back end: nobody knows from where
    assert any("the last 15 sessions all come from loopback" in one for one in examine(app)[1])
    add_sessions(app, 1, "198.51.100.7", date(2126, 1, 1))
    assert not any("WXSESSION_TRUSTED_PROXIES" in one for one in examine(app)[1])
    add_sessions(app, 20, None, date(2126, 1, 1))
    assert "proxies" not in app.test_cli_runner().invoke(args=["doctor"]).stdout


# WeChat.


@pytest.mark.parametrize(
    ("fault", "said", "in_chinese"),
    [
        (40125, "correct the secret in WXSESSION_APPS", "修正 WXSESSION_APPS 里的 AppSecret"),
        (40164, "(it is ", "IP 是 "),
        (Fault.CONNECTION_REFUSED, "correct WXSESSION_WECHAT_URL, or the", "该地址和端口无人监听"),
    ],
)
def test_a_wechat_that_refuses_is_told_with_its_cure(
    fault: Fault | int, said: str, in_chinese: str, make: Make, wechat: WeChat
) -> None:
    app = make()
    wechat.fail_next(fault, times=2)
    found = only_fault(app, "--wechat")
    assert found.startswith(f"fault wechat: {APPID}: ")
    assert said in found
    assert APP_SECRET not in found
    wechat.fail_next(fault, times=2)
    chinese = app.test_cli_runner(env={"LC_ALL": "zh_CN.UTF-8"})
    assert in_chinese in chinese.invoke(args=["doctor", "--wechat"]).output


# The health check.


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a server that is alive, and not ready: its database has no schema."""
    with Service(f"sqlite:///{tmp_path_factory.mktemp('bare') / 'bare.db'}") as running:
        yield running


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ((), 0, "/healthz: ok"),
        (("--ready",), 1, "/readyz responds 503; run doctor"),
        (("--url", "http://127.0.0.1:9"), 1, "does not respond"),
        (("--url", "127.0.0.1"), 1, "does not respond"),
        (("--url", "http://127.0.0.1:eighty"), 1, "nonnumeric port"),
        (("--url", "http://my server"), 1, "can't contain control characters"),
    ],
)
def test_the_health_check_tells_by_its_exit_status(
    options: tuple[str, ...], status: int, said: str, service: Service, app: Flask
) -> None:
    arguments = ["healthcheck", "--url", service.url, *options]
    result = app.test_cli_runner().invoke(args=arguments)
    assert said in result.stdout
    assert result.exit_code == status


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH\r\n", b"\x1b[2J\r\n"])
def test_the_health_check_says_in_one_line_that_a_port_is_not_of_http(
    banner: bytes, app: Flask
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:

        def greet() -> None:
            with server.accept()[0] as connection:
                connection.sendall(banner)
                while connection.recv(1024):  # until the other side hangs up
                    pass

        greeted = pool.submit(greet)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        arguments = ["healthcheck", "--url", url, "--timeout", "60"]
        result = app.test_cli_runner().invoke(args=arguments)
        greeted.result()
    (line,) = result.output.splitlines()
    assert line.startswith(f"{url}/healthz does not respond: ")
    assert line.endswith("correct --url")
    assert line.isprintable()
    assert result.exit_code == 1
