"""The hot endpoints in front of Flask: nobody can tell them from those behind."""

import string
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text
from werkzeug.test import create_environ, run_wsgi_app

from tests.support.app import services_of
from tests.support.phone import Phone
from wxsession.sessions.session import SessionView
from wxsession.simulator import WeChat
from wxsession.storage.tables import sessions
from wxsession.users.client import ClientInfo
from wxsession.users.phone_numbers import PhoneNumber
from wxsession.users.user import User
from wxsession.web.api import Door
from wxsession.web.api.front import Front, check_json
from wxsession.web.api.schemas import CheckReply
from wxsession.web.instrumentation import Instrumentation

Sent = tuple[bytes, str, list[tuple[str, str]]]


def ask(
    application: Any, method: str, path: str, headers: dict[str, str], data: bytes = b"{}"
) -> Sent:
    """Return all that a server would send, in its order."""
    environ = create_environ(path, method=method, headers=headers, data=data)
    body, status, sent = run_wsgi_app(application, environ, buffered=True)
    return b"".join(body), status, list(sent)


def front_of(app: Flask) -> Front:
    assert isinstance(app.wsgi_app, Instrumentation)
    assert isinstance(app.wsgi_app.application, Door)
    front = app.wsgi_app.application.application
    assert isinstance(front, Front)
    return front


def nothing(_phone: Phone) -> None:
    pass


def refresh_and_lose_it(phone: Phone) -> None:
    phone.lose_refresh()


def log_out(phone: Phone) -> None:
    phone.log_out()


def break_the_database(phone: Phone) -> None:
    with services_of(phone.app).database.statement() as connection:
        connection.execute(text("ALTER TABLE wxsession_sessions RENAME TO elsewhere"))


@pytest.mark.parametrize("happening", [nothing, refresh_and_lose_it, log_out, break_the_database])
def test_it_sends_what_the_blueprint_sends_byte_by_byte(
    phone: Phone, happening: Callable[[Phone], None]
) -> None:
    front = front_of(phone.app)
    phone.log_in()
    happening(phone)
    headers = {"Authorization": f"Bearer {phone.token}"}
    for method in ("GET", "POST"):
        assert ask(front, method, "/check_session", headers) == ask(
            front.application, method, "/check_session", headers
        )


TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]))
PHONES = st.builds(
    PhoneNumber, st.text(string.digits, min_size=1, max_size=20), st.sampled_from(["86", "1"])
)


@given(
    user=st.builds(
        User,
        id=st.uuids(),
        username=TEXTS,
        nickname=TEXTS | st.just('"\\/\b\f\n\r\t\x01\x7f</b>&\u2028 é 小明 😀'),
        avatar_url=TEXTS,
        phone=st.none() | PHONES,
    ),
    expires_in=st.integers(0, 10**9),
    moment=st.datetimes(timezones=st.just(UTC)),
    superseded=st.booleans(),
)
def test_the_json_is_what_the_models_write(
    user: User, expires_in: int, moment: datetime, *, superseded: bool
) -> None:
    view = SessionView(
        session_id=user.id,
        user=user,
        identity=None,
        created_at=moment,
        auth_time=moment,
        expires_in=expires_in,
        absolute_expires_at=moment,
        client=ClientInfo(None, None),
        superseded=superseded,
    )
    assert check_json(view).decode() == CheckReply.of(view).model_dump_json()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic YTpi"},
        {"X-Wxsession-Api-Key": ""},
        {"X-Wxsession-Api-Key": "nobody's"},
        {"Authorization": "Bearer x", "Content-Type": "text/plain", "Accept": "text/html"},
    ],
    ids=str,
)
def test_without_a_session_as_well(app: Flask, headers: dict[str, str]) -> None:
    front = front_of(app)
    paths = ("/check_session", "/check_session/", "/check_session?token=x", "/login")
    for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT"):
        for path in paths:
            sent = ask(front, method, path, headers)
            assert sent == ask(front.application, method, path, headers)


def test_it_is_where_the_calls_are_mounted(make_app: Callable[..., Flask], wechat: WeChat) -> None:
    app = make_app(url_prefix="/auth", trusted_proxies=1)
    phone = Phone(app, wechat, "alice")
    answer = phone.send("POST", "/auth/login", json={"code": phone.code()})
    token = answer.json["session_token"]
    assert phone.send("GET", "/auth/check_session", token=token).status_code == 200
    assert phone.send("GET", "/check_session", token=token).status_code == 404


def test_a_plain_check_never_comes_to_flask(phone: Phone) -> None:
    phone.log_in()
    asked: list[str] = []
    phone.app.before_request_funcs.setdefault(None, []).append(lambda: asked.append("flask"))
    assert phone.check().status_code == 200
    assert asked == []
    phone.sessions()
    assert asked == ["flask"]


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("path", ["/login", "/refresh", "/logout", "/introspect"])
@pytest.mark.parametrize(
    ("headers", "data"),
    [
        ({}, b""),
        ({}, b"{}"),
        (JSON, b""),
        (JSON, b"{"),
        (JSON, b'{"code": 7, "everywhere": "no"}'),
        (JSON, b'{"code": "a-code-of-nobody"}'),
        (JSON, b'{"code": "a", "code": "b"}'),
        (JSON, b"[" * 2000),
        (JSON, b" " * 70_000),
        ({"Content-Type": "text/plain"}, b"code=x"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"token=x&token=y"),
        ({"Authorization": "Bearer x"}, b""),
        ({"Authorization": "Basic c2hvcDp4"}, b"token=x"),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_in_the_same_words(
    app: Flask, path: str, headers: dict[str, str], data: bytes
) -> None:
    front = front_of(app)
    for method in ("POST", "GET", "OPTIONS"):
        sent = ask(front, method, path, headers, data)
        assert sent == ask(front.application, method, path, headers, data)


def test_a_refresh_a_logout_and_an_introspection_are_what_the_blueprint_sends(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    key = "a-key-of-the-shop-that-is-made-up"
    app = make_app(api_keys=f"shop:{key}")
    phone, front = Phone(app, wechat, "alice"), front_of(app)
    phone.log_in()
    bearer = {"Authorization": f"Bearer {phone.token}"}
    asking = {"Authorization": f"Bearer {key}"}
    token = f"token={phone.token}".encode()
    form = {**asking, "Content-Type": "application/x-www-form-urlencoded"}
    for path, headers, data in (
        ("/introspect", form, token),
        ("/refresh", bearer, b""),  # the same token again gets the same one
        ("/logout", {**bearer, **JSON}, b'{"everywhere": true}'),
    ):
        sent = ask(front, "POST", path, headers, data)
        assert sent[1].startswith("20")
        assert sent == ask(front.application, "POST", path, headers, data)


def test_none_of_them_comes_to_flask(phone: Phone) -> None:
    asked: list[str] = []
    phone.app.before_request_funcs.setdefault(None, []).append(lambda: asked.append("flask"))
    for call in (phone.log_in, phone.refresh, phone.check, phone.log_out):
        assert call().status_code < 300
    assert asked == []


def test_who_asks_is_known_behind_a_proxy_too(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    phone = Phone(make_app(trusted_proxies=1), wechat, "alice")
    phone.app.test_client().post(
        "/login",
        json={"code": phone.code()},
        headers={"X-Forwarded-For": "198.51.100.9"},
        environ_base={"REMOTE_ADDR": "10.0.0.1"},
    )
    with services_of(phone.app).database.statement() as connection:
        stored = connection.execute(select(sessions.c.client_address)).scalar_one()
    assert stored == "198.51.100.9"
