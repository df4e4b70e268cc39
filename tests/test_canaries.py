"""Nothing that is secret shows: not in a log, a traceback, an answer, or the database.

Every other test is watched as well: see `watch_the_logs` in conftest.py.
"""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from tests.support.app import services_of
from tests.support.phone import Phone
from tests.support.postgres import EVERY_STATEMENT, PostgresServer
from tests.support.settings import APPID, settings_for
from tests.support.wires import API_KEY as OTHER_API_KEY
from tests.support.wires import WIRES
from wxsession import create_app
from wxsession.common.logs import JsonFormatter
from wxsession.common.metrics import NUMBERS
from wxsession.errors import WxSessionError
from wxsession.simulator import Fault, SettableClock, WeChat, wechat_transport
from wxsession.simulator.errors import WeChatError
from wxsession.storage.database import connect, metadata
from wxsession.storage.migrate import upgrade
from wxsession.storage.tables import users

APP_SECRET = "canary-app-secret-4f1d"
SECRET_KEY = "canary-secret-key-of-the-server-9c2e"
PASSWORD = "canary-database-password-77aa"
API_KEY = "canary-api-key-of-a-back-end-31bd"
ACCOUNT_PASSWORDS = [f"canary-password-{number}-8e5c" for number in range(4)]
PHONE_NUMBER = "13987654321"
OWN = "https://login.example.com"
EVERY_ERRCODE = (-1, 40001, 40013, 40029, 40125, 40163, 40164, 40226, 42001, 45011, 47001, 12345)


@contextmanager
def listening() -> Iterator[io.StringIO]:
    """Collect everything that any logger says, tracebacks included, at DEBUG."""
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    handler.setFormatter(JsonFormatter())
    # SQLAlchemy gives its own logger a level when it is imported, and says no statement and no row.
    loggers = [logging.getLogger(), logging.getLogger("sqlalchemy")]
    before = [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        yield heard
    finally:
        loggers[0].removeHandler(handler)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


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
    settings = settings_for(
        url,
        apps=f"{APPID}:{APP_SECRET}",
        secret_keys=SECRET_KEY,
        api_keys=f"shop:{API_KEY},wafer:{OTHER_API_KEY}",
        check_session_keys="on",
        dialects="all",
        ticket_audiences=OWN,
        issuer=OWN,
        cookie="on",
        device_login="on",
    )
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
        for wire in WIRES.values():
            failing = phone.code()
            secrets.update({failing, wechat.session_key("alice")})
            wechat.fail_next(fault, times=3 if fault == -1 else 1)
            answer = wire.log_in(phone, failing)
            if token := wire.token(answer.json):
                phone.token = token
                note_secrets()
            else:
                note(answer)
            clock.advance(minutes=2)
    phone.log_in()
    note_secrets()
    return bodies, secrets


class Canary:
    """Somebody with an account and a phone number, whose every secret is known to the test."""

    def __init__(self, app: Flask, wechat: WeChat) -> None:
        self.phone = Phone(app, wechat, "carol")
        self.secrets = {API_KEY, PHONE_NUMBER, *ACCOUNT_PASSWORDS}
        self.bodies: list[str] = []
        self._access_tokens = services_of(app).access_tokens
        self._wechat = wechat
        wechat.set_phone_number("carol", PHONE_NUMBER)

    def send(self, method: str, path: str, **request: Any) -> None:
        """Send it with the token, and keep what is in the answer: a grant's token is a secret."""
        answer = self.phone.send(method, path, token=self.phone.token, **request)
        if answer.is_json and "session_token" in (answer.json or {}):
            self.phone.token = answer.json["session_token"]
            self.secrets.add(str(self.phone.token))
        else:
            self.bodies.append(answer.text)

    def post(self, path: str, **body: object) -> None:
        """Send it as JSON."""
        self.send("POST", path, json=body)

    def log_in(self, **credentials: str) -> None:
        """Log in by a code of wx.login."""
        code = self.phone.code()
        self.secrets.update({code, self._wechat.session_key("carol")})
        self.post("/login", code=code, **credentials)

    def ask_for_the_phone_number(self) -> None:
        """Hand in a code of the button getPhoneNumber."""
        code = self._wechat.phone_code("carol")
        self.secrets.add(code)
        self.post("/phone_number", code=code)
        with suppress(WxSessionError):  # the fault that was ordered met this one as well
            self.secrets.add(self._access_tokens.use(APPID, lambda token: token))

    def live_with_an_account(self) -> None:
        """Register, log in, bind, change the password: rightly and wrongly."""
        first, second, wrong, another = ACCOUNT_PASSWORDS
        name = "carol's account"
        self.post("/register", username=name, password=first)
        self.phone.token = None
        self.log_in()
        for password in (wrong, first):
            self.post("/bind", username=name, password=password)
        for password in (wrong, first):
            change = {"password": password, "new_password": second}
            self.send("PUT", "/password", json=change)
        self.post("/register", username=name, password=another)
        self.log_in(username=name, password=wrong)
        self.log_in(username=name, password=second)
        self.send("PATCH", "/user", json={"nickname": "Carol"})
        self.send("GET", "/user")

    def show_open_data(self, clock: SettableClock) -> None:
        """Hand in one's own and somebody else's, and let WeChat fail in every way."""
        wechat = self._wechat
        self.ask_for_the_phone_number()
        own = wechat.phone_number("carol")
        for data in (own, wechat.phone_number("bob"), {**own, "iv": "AAAA"}):
            self.post("/phone_number", encryptedData=data["encryptedData"], iv=data["iv"])
            self.post("/user_info", encryptedData=data["encryptedData"], iv=data["iv"])
        self.post("/user_info", **wechat.user_info("carol"))
        for fault in (*Fault, *EVERY_ERRCODE):
            wechat.fail_next(fault, times=3)
            self.ask_for_the_phone_number()
            wechat.fail_next(fault, times=3)
            self.post("/user_info", **wechat.user_info("bob"))
            spend_the_faults(wechat)
            clock.advance(minutes=2)
            self.log_in()

    def be_asked_about(self) -> None:
        """Let back ends ask, with a key and without."""
        for key in (API_KEY, API_KEY[:-1]):
            headers = {"Authorization": f"Bearer {key}"}
            token = {"token": str(self.phone.token)}
            told = self.phone.send("POST", "/introspect", data=token, headers=headers).text
            self.bodies.append(told.replace(self._wechat.openid("carol"), ""))  # they may know it
            self.send("GET", "/check_session", headers={"X-Wxsession-Api-Key": key})

    def go_elsewhere(self) -> None:
        """Go into a web-view and onto a PC, rightly and wrongly."""
        phone, key = self.phone, {"Authorization": f"Bearer {API_KEY}"}
        signed = phone.send("POST", "/access_token", token=phone.token).json
        self.secrets.add(signed["access_token"])
        for _ in range(2):
            ticket = phone.send("POST", "/tickets", json={"audience": OWN}, token=phone.token).json
            self.secrets.add(ticket["ticket"])
            for audience in (OWN + "/", OWN):
                body = {"ticket": ticket["ticket"], "audience": audience}
                told = phone.send("POST", "/tickets/redeem", json=body, headers=key).text
                self.bodies.append(told.replace(self._wechat.openid("carol"), ""))
        ticket = phone.send("POST", "/tickets", json={"audience": OWN}, token=phone.token).json
        self.secrets.add(ticket["ticket"])
        for to in ("//evil", "/", "/"):
            query = {"ticket": ticket["ticket"], "to": to}
            opened = phone.send("GET", "/web-view", query_string=query)
            self.bodies.append(opened.text)
            if cookie := opened.headers.get("Set-Cookie"):
                self.secrets.add(cookie.partition("=")[2].partition(";")[0])
        begun = phone.send("POST", "/device_logins").json
        self.secrets.add(begun["device_code"])
        for approve in (True, False):
            self.post("/device_logins/decide", user_code=begun["user_code"], approve=approve)
        granted = phone.send(
            "POST", "/device_logins/token", json={"device_code": begun["device_code"]}
        ).json
        self.secrets.add(granted["session_token"])
        self.post("/device_logins/token", device_code=begun["device_code"])

    def be_guessed_at(self) -> None:
        """Let somebody try until the account is closed."""
        _, second, wrong, _ = ACCOUNT_PASSWORDS
        self.post("/unbind", password=second)
        for _ in range(12):
            self.post("/login", username="carol's account", password=wrong)


def spend_the_faults(wechat: WeChat) -> None:
    """Let whatever was to fail and was not asked for fail unseen."""
    for _ in range(6):
        with suppress(WeChatError):
            wechat.code2session({}, "127.0.0.1")


def use_the_commands(app: Flask) -> str:
    """Return what the commands of an administrator say."""
    runner = app.test_cli_runner()
    with services_of(app).database.statement() as connection:
        user_id = connection.execute(select(users.c.id).where(users.c.username.is_not(None)))
        one = str(user_id.scalars().first())
    lines = [
        ["users", "list"],
        ["users", "list", "--json"],
        ["users", "list", "--phone", PHONE_NUMBER, "--json"],
        ["users", "show", one],
        ["users", "show", one, "--json"],
        ["sessions", "list", "--all"],
        ["sessions", "list", "--all", "--json"],
        ["keys", "reseal"],
        ["keys", "status"],
        ["keys", "status", "--json"],
        ["users", "reset-session-keys", one, "--as", "carol"],
    ]
    said = [runner.invoke(args=line) for line in lines]
    assert {result.exit_code for result in said} == {0}, [r.output for r in said if r.exit_code]
    return "".join(result.output for result in said)


def break_the_database(app: Flask, wechat: WeChat, server: PostgresServer) -> list[str]:
    """Let the database have other types, miss a table, and go away; return the bodies."""
    phone = Phone(app, wechat, "alice")
    phone.log_in()
    database = services_of(app).database
    with database.statement() as connection:
        connection.execute(text("ALTER TABLE wxsession_sessions ALTER id TYPE text"))
        connection.execute(text("ALTER TABLE wxsession_sessions ALTER user_agent TYPE int USING 0"))
    unforeseen = [phone.check(), phone.refresh(), phone.log_in(), phone.log_out()]
    assert {answer.status_code for answer in unforeseen} == {500}
    with database.statement() as connection:
        connection.execute(text("ALTER TABLE wxsession_sessions RENAME TO elsewhere"))
    refused = [phone.check(), phone.refresh(), phone.log_in(), phone.log_out()]
    server.kill()
    refused += [phone.check(), phone.refresh(), phone.log_in(), phone.log_out()]
    assert {answer.status_code for answer in refused} == {503}
    return [answer.text for answer in (*unforeseen, *refused)]


def test_no_secret_shows_anywhere(
    chatty_url: tuple[PostgresServer, str], clock: SettableClock
) -> None:
    server, url = chatty_url
    wechat = WeChat({APPID: APP_SECRET}, clock=clock)
    with listening() as heard:
        app = server_for(url, clock, wechat)
        bodies, secrets = live(app, wechat, clock)
        carol = Canary(app, wechat)
        carol.live_with_an_account()
        carol.show_open_data(clock)
        carol.be_asked_about()
        carol.go_elsewhere()
        carol.be_guessed_at()
        bodies, secrets = bodies + carol.bodies, secrets | carol.secrets
        commands = use_the_commands(app)
        dump = everything_stored(url)
        said_by_postgres = server.log_path.read_text(errors="replace")
        files = everything_on_disk(server.directory / "data")
        app.test_cli_runner().invoke(args=["purge-sessions", "--older-than", "0"])
        bodies += break_the_database(app, wechat, server)
    services_of(app).database.close()
    places = {
        "metrics": json.dumps(NUMBERS.snapshot()),
        "log": heard.getvalue(),
        "PostgreSQL's log": said_by_postgres,
        "answers": "".join(bodies),
        "commands": commands,
        "database": dump,
        "PostgreSQL's files, its WAL among them": files,
        "repr": repr(services_of(app)) + repr(app.config) + repr(services_of(app).settings),
    }
    assert "unforeseen" in places["log"]  # the tracebacks are in it
    assert "INSERT INTO wxsession_identities" in places["log"]  # and the statements
    assert "Row (" in places["log"]  # and what they yielded
    assert "execute" in places["PostgreSQL's log"]
    assert wechat.openid("alice") in files  # so what is stored in clear would be seen
    assert wechat.openid("alice") not in places["answers"]
    assert wechat.openid("carol") not in places["answers"]
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
