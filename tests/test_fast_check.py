"""The check in front of Flask: nobody can tell it from the one behind."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text, update
from werkzeug.test import create_environ, run_wsgi_app

from tests.support.app import services_of
from tests.support.databases import ON_BOTH
from tests.support.phone import Phone
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.tables import users
from wxsession.users.phone_numbers import PhoneNumber
from wxsession.web.api import Door, FastCheck

Happening = Callable[[Phone, SettableClock], None]
Answer = tuple[bytes, str, list[tuple[str, str]]]


def ask(application: Any, method: str, path: str, headers: dict[str, str]) -> Answer:
    """Return all that a server would send, in its order."""
    environ = create_environ(path, method=method, headers=headers, data=b"{}")
    body, status, sent = run_wsgi_app(application, environ, buffered=True)
    return b"".join(body), status, list(sent)


def front_of(app: Flask) -> FastCheck:
    assert isinstance(app.wsgi_app, Door)
    front = app.wsgi_app.application
    assert isinstance(front, FastCheck)
    return front


def log_out(phone: Phone, _clock: SettableClock) -> None:
    phone.log_out()


def wait_a_week(_phone: Phone, clock: SettableClock) -> None:
    clock.advance(days=7)


def wait_a_month(phone: Phone, clock: SettableClock) -> None:
    for _ in range(5):
        clock.advance(days=6)
        phone.check()


def lose_a_refresh(phone: Phone, _clock: SettableClock) -> None:
    phone.lose_refresh()


def refresh_twice(phone: Phone, _clock: SettableClock) -> None:
    first = phone.token
    phone.refresh()
    phone.refresh()
    phone.token = first


def be_disabled(phone: Phone, _clock: SettableClock) -> None:
    services = services_of(phone.app)
    services.administration.disable(services.sessions.check(str(phone.token)).user.id)


def break_the_database(phone: Phone, _clock: SettableClock) -> None:
    with services_of(phone.app).database.statement() as connection:
        connection.execute(text("ALTER TABLE sessions RENAME TO elsewhere"))


def have_a_profile(phone: Phone, _clock: SettableClock) -> None:
    services = services_of(phone.app)
    user_id = services.sessions.check(str(phone.token)).user.id
    profile = {
        "username": "alice",
        "nickname": '"\\/\b\f\n\r\t\x01\x7f</b>&\u2028 é 小明 😀',
        "avatar_url": "https://example.org/a.png?b=c&d",
        **services.phones.columns(PhoneNumber("13800138000", "86"), user_id),
    }
    with services.database.statement() as connection:
        connection.execute(update(users).where(users.c.id == user_id).values(profile))


def nothing(_phone: Phone, _clock: SettableClock) -> None:
    pass


HAPPENINGS = [
    nothing,
    have_a_profile,
    log_out,
    wait_a_week,
    wait_a_month,
    lose_a_refresh,
    refresh_twice,
    be_disabled,
    break_the_database,
]


@ON_BOTH  # it reads rows as their driver has them
@pytest.mark.parametrize("happening", HAPPENINGS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_answers_as_the_blueprint_does_byte_by_byte(
    phone: Phone, clock: SettableClock, happening: Happening, method: str
) -> None:
    front = front_of(phone.app)
    phone.log_in()
    happening(phone, clock)
    headers = {"Authorization": f"Bearer {phone.token}"}
    assert ask(front, method, "/check_session", headers) == ask(
        front.application, method, "/check_session", headers
    )


WITHOUT_A_SESSION: list[dict[str, str]] = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer x"},
    {"Authorization": "Basic YTpi"},
    {"X-Wxsession-Api-Key": ""},
    {"X-Wxsession-Api-Key": "nobody's"},
    {"Authorization": "Bearer x", "Content-Type": "text/plain", "Accept": "text/html"},
]


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "PUT"])
def test_without_a_session_as_well(app: Flask, method: str) -> None:
    front = front_of(app)
    for path in ("/check_session", "/check_session/", "/check_session?token=x", "/login"):
        for headers in WITHOUT_A_SESSION:
            assert ask(front, method, path, headers) == ask(
                front.application, method, path, headers
            ), (path, headers)


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
