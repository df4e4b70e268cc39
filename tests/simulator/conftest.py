"""A small world: two apps, a clock that stands still, and two ways to WeChat."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests
from flask.testing import FlaskClient

from tests.simulator.support import APPS
from wxsession.simulator import SettableClock, WeChat, wechat_transport
from wxsession.simulator.http import create_flask_app


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(datetime(2026, 9, 17, 14, 59, 38, tzinfo=UTC))


@pytest.fixture
def wechat(clock: SettableClock) -> WeChat:
    return WeChat(APPS, clock=clock)


@pytest.fixture
def http(wechat: WeChat) -> FlaskClient:
    return create_flask_app(wechat).test_client()


@pytest.fixture
def session(wechat: WeChat) -> Iterator[requests.Session]:
    with wechat_transport(wechat) as session:
        yield session
