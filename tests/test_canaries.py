"""Nothing that is secret shows: not in a log, a traceback, an answer, or the database.

Every other test is watched as well: see `watch_the_logs` in conftest.py.
"""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, text

from tests.conftest import services_of
from tests.support.phone import Phone
from tests.support.postgres import EVERY_STATEMENT, PostgresServer
from tests.support.settings import APPID, settings_for
from wxsession import create_app
from wxsession.db import connect, metadata
from wxsession.logs import JsonFormatter
from wxsession.schema import upgrade
from wxsession.simulator import Fault, SettableClock, WeChat, wechat_transport

APP_SECRET = "canary-app-secret-4f1d"
SECRET_KEY = "canary-secret-key-of-the-server-9c2e"
PASSWORD = "canary-database-password-77aa"


@contextmanager
def listening() -> Iterator[io.StringIO]:
    """Collect everything that any logger says, tracebacks included, at DEBUG."""
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield heard
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


@pytest.fixture
def chatty_url() -> Iterator[tuple[PostgresServer, str]]:
    """Return a PostgreSQL that logs every statement with its parameters, and its URL."""
    with PostgresServer(settings=EVERY_STATEMENT) as server:
        server.create_database("canaries")
        url = server.url("canaries").replace("postgres@", f"postgres:{PASSWORD}@")
        database = connect(url)
        upgrade(database)
        database.close()
        yield server, url


def server_for(url: str, clock: SettableClock, wechat: WeChat) -> Flask:
    settings = settings_for(url, apps=f"{APPID}:{APP_SECRET}", secret_keys=SECRET_KEY)
    return create_app(settings, clock=clock, http=wechat_transport(wechat))


def live(app: Flask, wechat: WeChat, clock: SettableClock) -> tuple[list[str], set[str]]:
    """Do everything once, and let everything fail once; return the bodies and the secrets."""
    phone = Phone(app, wechat, "alice")
    secrets = {APP_SECRET, SECRET_KEY, PASSWORD}
    bodies: list[str] = []

    def note_secrets() -> None:
        token = str(phone.token)
        payload, _, signature = token.removeprefix("wxs_").partition(".")
        secrets.update({token, payload, signature, wechat.session_key("alice")})

    def note(*answers: object) -> None:
        bodies.extend(str(getattr(answer, "text", "")) for answer in answers)

    code = phone.code()
    secrets.add(code)
    phone.log_in(code)
    note_secrets()
    phone.log_in(code)
    note_secrets()
    note(phone.check(), phone.send("GET", "/sessions", token=phone.token))
    old = phone.token
    for _ in range(2):
        phone.refresh()
        note_secrets()
    clock.advance(minutes=5)
    note(phone.check(old), phone.refresh(old), phone.check(), phone.log_out())
    for fault in (*Fault, -1, 40029, 40163, 40226, 45011, 40013, 40125, 40164, 12345):
        failing = phone.code()
        secrets.update({failing, wechat.session_key("alice")})
        wechat.fail_next(fault, times=3 if fault == -1 else 1)
        answer = phone.log_in(failing)
        note_secrets()
        if answer.status_code != 200:
            note(answer)
        clock.advance(minutes=2)
    phone.log_in()
    note_secrets()
    return bodies, secrets


def break_the_database(app: Flask, wechat: WeChat, server: PostgresServer) -> list[str]:
    """Let the database refuse, miss a table, and go away; return the bodies."""
    phone = Phone(app, wechat, "alice")
    phone.log_in()
    database = services_of(app).database
    with database.statement() as connection:
        connection.execute(text("ALTER TABLE sessions RENAME TO elsewhere"))
    answers = [phone.check(), phone.refresh(), phone.log_in(), phone.log_out()]
    assert {answer.status_code for answer in answers} == {500}
    server.kill()
    answers += [phone.check(), phone.refresh(), phone.log_in(), phone.log_out()]
    assert {answer.status_code for answer in answers[4:]} == {503}
    return [answer.text for answer in answers]


def test_no_secret_shows_anywhere(
    chatty_url: tuple[PostgresServer, str], clock: SettableClock
) -> None:
    server, url = chatty_url
    wechat = WeChat({APPID: APP_SECRET}, clock=clock)
    with listening() as heard:
        app = server_for(url, clock, wechat)
        bodies, secrets = live(app, wechat, clock)
        dump = everything_stored(url)
        said_by_postgres = server.log_path.read_text(errors="replace")
        files = everything_on_disk(server.directory / "data")
        app.test_cli_runner().invoke(args=["purge-sessions", "--older-than", "0"])
        bodies += break_the_database(app, wechat, server)
    services_of(app).database.close()
    places = {
        "log": heard.getvalue(),
        "PostgreSQL's log": said_by_postgres,
        "answers": "".join(bodies),
        "database": dump,
        "PostgreSQL's files, its WAL among them": files,
        "repr": repr(services_of(app)) + repr(app.config) + repr(services_of(app).settings),
    }
    assert "unforeseen" in places["log"]  # the tracebacks are in it
    assert "execute" in places["PostgreSQL's log"]
    assert wechat.openid("alice") in files  # so what is stored in clear would be seen
    for place, content in places.items():
        found = [
            secret for secret in secrets if secret in content or secret.encode().hex() in content
        ]
        assert not found, f"{place} shows {found}"


def everything_on_disk(folder: Path) -> str:
    """Return the bytes of all files below the folder, a character each."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return "".join(path.read_bytes().decode("latin-1") for path in files)


def everything_stored(url: str) -> str:
    """Return the content of all tables, bytes as text and in hex."""
    database = connect(url)
    with database.statement() as connection:
        rows = [
            row for table in metadata.sorted_tables for row in connection.execute(select(table))
        ]
    database.close()
    values = (value for row in rows for value in row)
    return "\n".join(
        f"{bytes(value)!r} {bytes(value).hex()}" if isinstance(value, bytes) else str(value)
        for value in values
    )


@pytest.mark.parametrize("text_", ["a\r\nb", "a\x1b[31mb", "a\u2028b", "a\0b"])
def test_nothing_that_is_logged_begins_a_line_of_its_own(text_: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "said %s", (text_,), None)
    line = JsonFormatter().format(record)
    assert line.isprintable()
