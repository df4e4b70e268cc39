"""Backup, restore, upgrade and rolling back, by the commands of `docs/en/operate.md`."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.support.app import CHEAP_HASHER, services_of
from tests.support.documents import block_with
from tests.support.machine import Machine
from tests.support.phone import Answer, Phone
from tests.support.postgres import PostgresServer
from tests.support.settings import SECRET_KEY, settings_for
from tests.support.waiting import eventually
from tests.test_webhooks import SECRET, Receiver, listening
from wxsession import create_app
from wxsession.services import Services
from wxsession.simulator import WeChat, wechat_transport
from wxsession.storage.tables import audit_events

pytestmark = pytest.mark.long

APPID, APP_SECRET = "wx5d2b7a9c4e1f8036", "9f86d081884c7d659a2feaa0c55ad015"
OTHER_KEY = "another-key-which-has-sealed-nothing-at-all"
END_ALL = "wxsession sessions end-all"
WRITERS = 4
SAFE = {"fsync": "on", "full_page_writes": "on"}  # the doctor looks for both


@pytest.fixture
def wechat() -> WeChat:
    """Return a WeChat with the clock of this machine."""
    return WeChat({APPID: APP_SECRET})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a back end that is told of events."""
    found = Receiver()
    with listening(found):
        yield found


@contextmanager
def serving(url: str, wechat: WeChat, receiver: Receiver) -> Iterator[Flask]:
    """Yield a server on a database, which tells a receiver of events."""
    told = f"shop:http://127.0.0.1:{receiver.port}/events:{SECRET}"
    settings = settings_for(
        url, apps=f"{APPID}:{APP_SECRET}", webhooks=told, webhooks_to_private="on"
    )
    app = create_app(settings, http=wechat_transport(wechat), hasher=CHEAP_HASHER)
    yield app
    services_of(app).database.close()


def make_phone(app: Flask, wechat: WeChat, user: str) -> Phone:
    return Phone(app, wechat, user, APPID)


def refusal(answer: Answer) -> str:
    """Return the reason of a 401."""
    assert answer.status_code == 401, answer.text
    return str(answer.json["code"])


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """Return a PostgreSQL with the role of the documents."""
    with PostgresServer(settings=SAFE) as server:
        with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("CREATE ROLE wxsession LOGIN")
        yield server


def let_settle(services: Services) -> None:
    """Wait until the feed shows everything that has happened."""
    with services.database.statement() as connection:
        written = connection.execute(select(func.count()).select_from(audit_events)).scalar_one()
    eventually(lambda: len(services.feed.read(limit=1000).events) == written)


def test_postgresql_is_restored(
    postgres: PostgresServer, tmp_path: Path, wechat: WeChat, receiver: Receiver
) -> None:
    machine = Machine(tmp_path, postgres=postgres)
    url = postgres.url("wxsession").replace("postgres@", "wxsession@")
    apps = f"{APPID}:{APP_SECRET}"
    machine.keep_secrets(apps=apps, database_url=url, secret_keys=SECRET_KEY)
    _, create = block_with("sudo -u postgres createuser", "sh").splitlines()
    machine.do(f"{create}\nwxsession upgrade-database")

    with serving(url, wechat, receiver) as app:
        services = services_of(app)
        services.delivery.run("shop")  # a new webhook hears of what comes now
        phones = {name: make_phone(app, wechat, name) for name in ("alice", "bob", "carol")}
        ids = {name: phone.log_in().json["user"]["id"] for name, phone in phones.items()}
        let_settle(services)
        tokens = {name: phone.token for name, phone in phones.items()}
        machine.do(block_with("pg_dump", "sh"))
        services.delivery.run("shop")
        delivered = list(receiver.asked)
        phones["alice"].refresh()
        phones["bob"].log_out()
        machine.do(f"wxsession users delete {ids['carol']} --yes")
        dave = make_phone(app, wechat, "dave")
        daves_id = dave.log_in().json["user"]["id"]
        let_settle(services)
        cursor = services.feed.end()

    bring_back, end_all = block_with("pg_restore", "sh").split(END_ALL)
    machine.do(bring_back)
    # With the same keys every token of then is good: also of who logged out since, or is gone.
    with serving(url, wechat, receiver) as app:
        for name, token in tokens.items():
            assert make_phone(app, wechat, name).check(token).status_code == 200, name
        assert refusal(make_phone(app, wechat, "dave").check(dave.token)) == "invalid_token"
    machine.do(END_ALL + end_all)

    with serving(url, wechat, receiver) as app:
        services = services_of(app)
        for name, token in tokens.items():
            phone = make_phone(app, wechat, name)
            assert refusal(phone.check(token)) == "session_ended"
            assert phone.log_in().json["user"]["id"] == ids[name]
        assert make_phone(app, wechat, "dave").log_in().json["user"]["id"] != daves_id
        let_settle(services)
        since = [event.event for event in services.feed.read(cursor).events]
        assert "session.ended" in since
        assert since.count("user.created") == 1
        services.delivery.run("shop")
        assert receiver.asked[len(delivered) :][: len(delivered)] == delivered

    gone = machine.do(block_with("psql -d wxsession_before", "sh"))
    assert ids["carol"] in gone
    assert "(1 row)" in gone
    stop, start = machine.asked_of_systemd()
    assert (stop.split()[0], start.split()[0]) == ("stop", "start")

    machine.keep_secrets(secret_keys=OTHER_KEY)
    without = machine.tries("wxsession doctor --all")
    assert without.returncode == 1
    assert "add the key that sealed them to WXSESSION_SECRET_KEYS" in without.stdout


def test_sqlite_is_backed_up_while_it_is_written_and_restored(
    tmp_path: Path, wechat: WeChat, receiver: Receiver
) -> None:
    machine = Machine(tmp_path)
    path = machine.state / "wxsession.db"
    machine.keep_secrets(
        apps=f"{APPID}:{APP_SECRET}", database_url=f"sqlite:///{path}", secret_keys=SECRET_KEY
    )
    machine.do("wxsession upgrade-database")
    tokens: list[str] = []
    with serving(f"sqlite:///{path}", wechat, receiver) as app:
        over = threading.Event()

        def log_in(writer: int) -> None:
            for turn in count():
                if over.is_set():
                    return
                grant = make_phone(app, wechat, f"user-{writer}-{turn}").log_in().json
                tokens.append(grant["session_token"])

        writers = [threading.Thread(target=log_in, args=(number,)) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        eventually(lambda: len(tokens) > 100)
        acknowledged = list(tokens)
        machine.do(block_with("VACUUM INTO", "sh"))
        eventually(lambda: len(tokens) > len(acknowledged) + 20)
        over.set()
        for writer in writers:
            writer.join(60)

    made = tmp_path / "wxsession-backup.db"
    assert made.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(made) as backup:
        assert backup.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    backup.close()
    bring_back, end_all = block_with("wxsession.db-wal", "sh").split(END_ALL)
    machine.do(bring_back)
    with serving(f"sqlite:///{path}", wechat, receiver) as app:
        checks = [make_phone(app, wechat, "").check(token) for token in acknowledged]
        assert {answer.status_code for answer in checks} == {200}
        assert refusal(make_phone(app, wechat, "").check(tokens[-1])) == "invalid_token"
    machine.do(END_ALL + end_all)
    with serving(f"sqlite:///{path}", wechat, receiver) as app:
        assert refusal(make_phone(app, wechat, "").check(acknowledged[0])) == "session_ended"
