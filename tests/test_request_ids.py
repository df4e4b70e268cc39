"""One id leads from a proxy's line to ours, to WeChat's rid, and to the event."""

import io
import json
import logging
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests
from flask import Flask
from sqlalchemy import select

from tests.support.app import services_of
from tests.support.nginx import Nginx
from tests.support.phone import Phone
from tests.support.service import ROOT, Service, Simulator
from tests.support.settings import APPID, settings_for
from tests.support.waiting import eventually
from wxsession import WxSession, session_required
from wxsession.common.current_request import current_request_id, new_request_id
from wxsession.common.logs import JsonFormatter
from wxsession.simulator import WeChat, wechat_transport
from wxsession.storage.tables import audit_events

GIVEN = "a-proxy.made:this/id=1"


@pytest.fixture
def written() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Return a function that returns what was logged, as the service writes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    ours = logging.getLogger("wxsession")
    ours.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    ours.removeHandler(handler)


def is_uuid7(text: str | None) -> bool:
    return text is not None and UUID(text).version == 7 and str(UUID(text)) == text


def test_ids_are_new_ones_in_order_and_a_forked_child_has_its_own() -> None:
    ids = [new_request_id() for _ in range(1000)]
    assert all(map(is_uuid7, ids))
    assert len(set(ids)) == 1000
    assert ids == sorted(ids)
    forked = (
        "import os; from wxsession.common.current_request import new_request_id\n"
        "child = os.fork()\n"
        "child and os.wait()\n"
        "print(new_request_id(), flush=True)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", forked], cwd=ROOT, check=True, capture_output=True, text=True
    )
    child, parent = printed.stdout.split()
    assert parent[14:23] != child[14:23]


def test_every_response_names_its_request_and_a_problem_repeats_it(phone: Phone) -> None:
    assert is_uuid7(phone.log_in().headers["X-Request-ID"])
    checked, again = phone.check(), phone.check()
    assert checked.headers["X-Request-ID"] != again.headers["X-Request-ID"]
    for path in ("/check_session", "/sessions", "/login", "/nowhere", "/openapi.json"):
        answer = phone.app.test_client().get(path)
        request_id = answer.headers["X-Request-ID"]
        assert is_uuid7(request_id)
        if answer.status_code >= 400:
            assert answer.get_json()["request_id"] == request_id
        answer.close()
        assert current_request_id() is None


def test_a_stranger_does_not_name_requests(app: Flask) -> None:
    answer = app.test_client().get("/check_session", headers={"X-Request-ID": GIVEN})
    assert is_uuid7(answer.headers["X-Request-ID"])


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (GIVEN, True),
        ("8" * 8, True),
        ("x" * 128, True),
        ("7" * 7, False),
        ("x" * 129, False),
        ('a"quote-and-more', False),
        ("with a space in it", False),
        ("١٢٣٤٥٦٧٨", False),
    ],
)
def test_our_proxy_names_requests_if_the_name_is_safe(
    given: str, make_app: Callable[..., Flask], *, taken: bool
) -> None:
    app = make_app(trusted_proxies=1)
    environ = {"HTTP_X_REQUEST_ID": given.encode().decode("latin-1")}
    answer = app.test_client().get("/check_session", environ_overrides=environ)
    assert (answer.headers["X-Request-ID"] == given) is taken
    assert taken or is_uuid7(answer.headers["X-Request-ID"])


def test_the_log_beside_wechats_rid_and_the_event_have_the_id(
    phone: Phone, wechat: WeChat, written: Callable[[], list[dict[str, Any]]]
) -> None:
    wechat.fail_next(40125)
    request_id = phone.log_in().headers["X-Request-ID"]
    (line,) = [line for line in written() if line["level"] == "ERROR"]
    assert line["request_id"] == request_id
    assert (line["appid"], line["call"], line["errcode"], line["code"]) == (
        APPID,
        "/sns/jscode2session",
        40125,
        "app_rejected",
    )
    assert f"rid {line['rid']}: the app secret is wrong; correct the secret" in line["message"]
    request_id = phone.log_in().headers["X-Request-ID"]
    with services_of(phone.app).database.statement() as connection:
        ids = connection.execute(select(audit_events.c.event, audit_events.c.request_id)).all()
    assert ("session.created", request_id) in ids


def accesses(written: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is of the access log."""
    return [line for line in written if line["logger"] == "wxsession.access"]


def test_the_access_log_is_off_unless_asked_for(
    phone: Phone, written: Callable[[], list[dict[str, Any]]]
) -> None:
    phone.log_in().close()
    assert not accesses(written())


def test_the_access_log_has_a_line_for_each_request_and_never_a_query(
    make_app: Callable[..., Flask],
    wechat: WeChat,
    written: Callable[[], list[dict[str, Any]]],
) -> None:
    app = make_app(access_log="on", trusted_proxies=1)
    phone = Phone(app, wechat, "alice")
    grant = phone.log_in()
    grant.close()
    headers = {
        "Authorization": f"Bearer {phone.token}",
        "X-Forwarded-For": "192.0.2.9, 198.51.100.7",
        "User-Agent": "MicroMessenger\x1b[31m",
        "X-Request-ID": GIVEN,
    }
    client = app.test_client()
    checked = client.get("/check_session?token=canary", headers=headers, buffered=True)
    client.head("/healthz", buffered=True)
    client.get("/canary?secret=canary", buffered=True)
    client.delete(f"/sessions/{grant.json['session_id']}", headers=headers, buffered=True)
    lines = accesses(written())
    assert "canary" not in json.dumps(lines)
    logged_in, check, alive, lost, ended = lines
    user, session = grant.json["user"]["id"], grant.json["session_id"]
    assert logged_in["route"] == "/login"
    assert (logged_in["user"], logged_in["session"]) == (user, session)
    assert logged_in["appid"] == APPID
    assert check.pop("ms") > 0
    assert check.pop("time")
    assert check == {
        "level": "INFO",
        "logger": "wxsession.access",
        "message": "GET /check_session 200",
        "request_id": GIVEN,
        "method": "GET",
        "route": "/check_session",
        "status": 200,
        "bytes": len(checked.data),
        "address": "198.51.100.7",
        "user_agent": "MicroMessenger\x1b[31m",
        "user": user,
        "session": session,
        "appid": None,
    }
    assert (alive["method"], alive["bytes"], alive["user"]) == ("HEAD", 0, None)
    assert (lost["route"], lost["status"]) == (None, 404)
    assert ended["route"] == "/sessions/<uuid:session_id>"


def test_the_access_log_says_of_every_kind_of_response_what_was_sent(
    make_app: Callable[..., Flask], wechat: WeChat, written: Callable[[], list[dict[str, Any]]]
) -> None:
    key = "an-api-key-that-is-made-up-for-tests"
    settings = {"api_keys": f"shop:{key}:users", "api_page": "on", "dialects": "all"}
    app = make_app(access_log="on", **settings)
    phone = Phone(app, wechat, "alice")
    user = phone.log_in().json["user"]["id"]
    theirs, ours = {"Authorization": f"Bearer {key}"}, {"Authorization": f"Bearer {phone.token}"}
    client = app.test_client()
    tag = client.get(f"/users/{user}", headers=theirs, buffered=True).headers["ETag"]
    known = theirs | {"If-None-Match": tag}
    answers = [
        client.open(path, method=method, headers=headers, json=body, buffered=True)
        for method, path, headers, body in (
            ("GET", f"/users/{user}", known, None),
            ("GET", "/check_session", ours, None),
            ("GET", "/check_session", {}, None),
            ("POST", "/login", {}, {"code": 1}),
            ("POST", "/login", {}, {"code": "no-such-code"}),
            ("POST", "/mina_auth/", {}, {"version": 1}),
            ("OPTIONS", "/login", {}, None),
            ("DELETE", "/login", {}, None),
            ("GET", "/nowhere", {}, None),
            ("GET", "/docs", {}, None),
            ("GET", "/docs/swagger-ui.css", {}, None),
            ("HEAD", "/openapi.json", {}, None),
            ("POST", "/logout", ours, None),
        )
    ]
    assert {answer.status_code for answer in answers} >= {200, 204, 304, 400, 401, 404, 405}
    sent = [(answer.status_code, len(answer.data)) for answer in answers]
    lines = accesses(written())[-len(sent) :]
    assert [(line["status"], line["bytes"]) for line in lines] == sent


def test_a_host_application_gets_ids_in_our_answers_and_keeps_its_own(
    database_url: str, wechat: WeChat
) -> None:
    host = Flask("host")
    settings = settings_for(database_url, url_prefix="/auth", dialects="none")
    WxSession(host, settings=settings, http=wechat_transport(wechat))

    @host.get("/orders")
    @session_required
    def orders() -> str:
        return "none"

    @host.get("/open")
    def opened() -> str:
        return str(current_request_id())

    client = host.test_client()
    own = client.get("/open")
    assert is_uuid7(own.text)
    assert "X-Request-ID" not in own.headers
    for path in ("/orders", "/auth/check_session"):
        refused = client.get(path)
        assert refused.get_json()["request_id"] == refused.headers["X-Request-ID"]
    assert current_request_id() is None
    services_of(host).database.close()


class LoggingToFile(Service):
    """The service with gunicorn's own option for an access log."""

    def command(self) -> list[str]:
        """Return how it is called."""
        return [*super().command(), "--access-logfile", str(self.directory / "access")]


def test_gunicorns_option_brings_our_lines_into_its_file(sqlite_url: str) -> None:
    with LoggingToFile(sqlite_url) as service:
        service.send("GET", "/check_session?token=canary")
        path = service.directory / "access"
        eventually(lambda: "/check_session" in path.read_text())
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert "canary" not in path.read_text() + "".join(service.lines())
    assert lines[-1]["message"] == "GET /check_session 401"


def test_one_id_leads_from_nginx_to_the_log_to_wechats_rid_and_to_the_event(
    migrated_file: Path, simulator: Simulator, tmp_path: Path
) -> None:
    path = shutil.copy(migrated_file, tmp_path / "followed.db")
    url = f"sqlite:///{path}"
    with (
        Service(url, wechat_url=simulator.url, trusted_proxies=1, access_log="on") as service,
        Nginx(tmp_path, service=service.url, application="http://127.0.0.1:9") as nginx,
    ):
        simulator.fail_next(40029)
        answer = requests.post(
            f"{nginx.login}/login",
            json={"code": simulator.code("followed")},
            headers={"X-Request-ID": "what-the-client-says"},
            verify=str(nginx.certificate),
            timeout=30,
        )
        eventually(lambda: any("POST /login" in line for line in service.lines()))
        eventually(lambda: "POST /login" in nginx.access_log())
        lines = [json.loads(line) for line in service.lines() if line.startswith("{")]
        followed = re.findall(r"POST /login .* ([0-9a-f]{32})$", nginx.access_log(), re.MULTILINE)
    assert followed == [answer.json()["request_id"]] == [answer.headers["X-Request-ID"]]
    ours = [line for line in lines if line.get("request_id") == followed[0]]
    assert [line["message"] for line in ours][-1] == "POST /login 400"
    assert any(re.search(r"rid [0-9a-f-]{26}: ", line["message"]) for line in ours)
    with sqlite3.connect(path) as database:
        found = database.execute("SELECT event, request_id FROM wxsession_events").fetchall()
    assert found == [("login.failed", followed[0])]
