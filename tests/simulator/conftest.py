"""A small world: two apps, a clock that stands still, and a server's question to WeChat."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import requests
from flask.testing import FlaskClient

from wxsession.simulator import SettableClock, WeChat, wechat_transport
from wxsession.simulator.http import create_flask_app

APPS = {"wx0000000000000001": "secret-one", "wx0000000000000002": "secret-two"}

Query = Callable[..., dict[str, str]]


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(datetime(2026, 9, 17, 14, 59, 38, tzinfo=UTC))


@pytest.fixture
def wechat(clock: SettableClock) -> WeChat:
    return WeChat(APPS, clock=clock)


@pytest.fixture
def query() -> Query:
    """Ask what a server asks about a code; a parameter that is None is left out."""

    def ask(code: str, **changes: str | None) -> dict[str, str]:
        appid, secret = next(iter(APPS.items()))
        asked: dict[str, str | None] = {
            "appid": appid,
            "secret": secret,
            "js_code": code,
            "grant_type": "authorization_code",
            **changes,
        }
        return {name: value for name, value in asked.items() if value is not None}

    return ask


@pytest.fixture
def http(wechat: WeChat) -> FlaskClient:
    return create_flask_app(wechat).test_client()


@pytest.fixture
def session(wechat: WeChat) -> Iterator[requests.Session]:
    with wechat_transport(wechat) as session:
        yield session
