"""The fixtures for applications: used as their documentation says, by a test suite of its own."""

import subprocess
import sys
from pathlib import Path

from tests.support.service import ROOT, plain_environment

CONFTEST = """
import pytest
from flask import Flask

from wxsession import WxSession, current_session, session_required
from wxsession.testing import create_tables

pytest_plugins = ["wxsession.testing"]
wxsession = WxSession()


@pytest.fixture
def app(wxsession_settings, wxsession_http, wxsession_clock):
    app = Flask("shop")
    app.config.update(wxsession_settings)
    wxsession.init_app(app, http=wxsession_http, clock=wxsession_clock)
    create_tables(app)

    @app.get("/orders")
    @session_required
    def orders():
        return {"openid": current_session.openid}

    return app
"""

SUITE = """
import pytest


def test_orders(app, wechat, wxsession_login, wxsession_clock):
    client = app.test_client()
    headers = wxsession_login(client, "alice")
    assert client.get("/orders", headers=headers).json == {"openid": wechat.openid("alice")}
    wxsession_clock.advance(days=8)
    assert client.get("/orders", headers=headers).status_code == 401
    wxsession_login(client, "alice")


def test_what_a_user_takes_back(app, wechat, wxsession_login, wxsession_push):
    client = app.test_client()
    headers = wxsession_login(client, "alice")
    client.post("/auth/user", json={"nickname": "Alice"}, headers=headers)
    message = wechat.push("user_authorization_revoke", "alice", members={"RevokeInfo": "6"})
    wxsession_push(client, message)
    assert client.get("/auth/user", headers=headers).json["nickname"] is None
    with pytest.raises(pytest.fail.Exception, match="push_refused"):
        wxsession_push(client, message._replace(path="/wechat/push/wx0"))


def test_a_login_that_is_refused_says_why(app, wechat, wxsession_login):
    wechat.fail_next(45011)
    with pytest.raises(pytest.fail.Exception, match="wechat_rate_limited"):
        wxsession_login(app.test_client(), "alice")
"""


def test_the_tests_of_an_application_have_a_wechat_tables_and_logins(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_shop.py").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=plain_environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr
