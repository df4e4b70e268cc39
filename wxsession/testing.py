"""Fixtures for the tests of an application that has wxsession in it: a plugin of pytest.

A ``conftest.py`` says ``pytest_plugins = ["wxsession.testing"]`` and makes the application of
`wxsession_settings`, `wxsession_http` and `wxsession_clock`.
"""

import secrets
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from wxsession.services import EXTENSION, Services
from wxsession.simulator import Push, SettableClock, WeChat, wechat_transport
from wxsession.storage.migrate import upgrade

APPID = "wx0123456789abcdef"
"""The app that `wechat` and `wxsession_settings` have."""

_APP_SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - invented


_PUSH_TOKEN = "0123456789abcdef"  # noqa: S105 - invented
_ENCODING_AES_KEY = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


class Deliver(Protocol):
    """Sends a message of WeChat's, as ``wechat.push(…)`` returns it, to the application."""

    def __call__(self, client: FlaskClient, message: Push) -> None:
        """Return if the message is taken; otherwise the test fails."""


class LogIn(Protocol):
    """Logs a user of WeChat in, through the endpoint and the simulated WeChat."""

    def __call__(self, client: FlaskClient, user: str, *, appid: str = APPID) -> dict[str, str]:
        """Return the headers with which the user's phone sends its requests."""


def create_tables(app: Flask) -> None:
    """Bring the schema to the newest revision, as ``upgrade-database`` does."""
    services: Services = app.extensions[EXTENSION]
    upgrade(services.database)


@pytest.fixture
def wxsession_clock() -> SettableClock:
    """Return the time of `wechat`, and of the application if it is handed over; ``advance`` it."""
    return SettableClock()


@pytest.fixture
def wechat(wxsession_clock: SettableClock) -> WeChat:
    """Return a WeChat in this process, whose every user exists as soon as it is named."""
    messages = {APPID: (_PUSH_TOKEN, _ENCODING_AES_KEY)}
    return WeChat({APPID: _APP_SECRET}, clock=wxsession_clock, push=messages)


@pytest.fixture
def wxsession_http(wechat: WeChat) -> requests.Session:
    """Return what sends the application's requests to `wechat`."""
    return wechat_transport(wechat)


@pytest.fixture
def wxsession_settings(tmp_path: Path) -> dict[str, Any]:
    """Return keys for ``app.config``: an SQLite file of this test, and the app of `wechat`."""
    return {
        "WXSESSION_DATABASE_URL": f"sqlite:///{tmp_path / 'wxsession.db'}",
        "WXSESSION_APPS": f"{APPID}:{_APP_SECRET}",
        "WXSESSION_SECRET_KEYS": secrets.token_hex(32),
        "WXSESSION_PUSH": f"{APPID}:{_PUSH_TOKEN}:{_ENCODING_AES_KEY}",
    }


@pytest.fixture
def wxsession_login(wechat: WeChat) -> LogIn:
    """Return a function that logs a user in; see `LogIn`."""

    def log_in(client: FlaskClient, user: str, *, appid: str = APPID) -> dict[str, str]:
        services: Services = client.application.extensions[EXTENSION]
        code = wechat.login(user, appid)
        path = f"{services.settings.url_prefix or ''}/login"
        answer = client.post(path, json={"code": code, "appid": appid})
        if answer.status_code != HTTPStatus.OK:
            pytest.fail(f"the login of {user} was refused: {answer.status} {answer.text}")
        return {"Authorization": f"Bearer {answer.get_json()['session_token']}"}

    return log_in


@pytest.fixture
def wxsession_push() -> Deliver:
    """Return a function that sends a message of WeChat's to the application; see `Deliver`."""

    def deliver(client: FlaskClient, message: Push) -> None:
        services: Services = client.application.extensions[EXTENSION]
        answer = client.open(
            (services.settings.url_prefix or "") + message.path,
            method=message.method,
            query_string=dict(message.query),
            data=message.body,
            content_type=message.content_type,
        )
        if answer.status_code != HTTPStatus.OK:
            pytest.fail(f"the message was refused: {answer.status} {answer.text}")

    return deliver
