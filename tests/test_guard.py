"""Sessions in a developer's own Flask application."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from flask import Flask

from tests.support.app import services_of
from tests.support.phone import Phone, problem
from tests.support.settings import APPID, environment
from wxsession import SettingsError, WxSession, current_session, session_required
from wxsession.simulator import SettableClock, WeChat, wechat_transport

Made = Callable[..., Flask]


@pytest.fixture
def make_host(database_url: str, clock: SettableClock, wechat: WeChat) -> Iterator[Made]:
    """Return a function that makes a business application with sessions of ours in it."""
    made: list[Flask] = []

    def make(**changes: object) -> Flask:
        host = Flask("business")
        made.append(host)
        host.config.from_mapping(environment(database_url, **{"url_prefix": "/", **changes}))
        WxSession(host, clock=clock, http=wechat_transport(wechat))

        @host.get("/orders")
        @session_required
        def orders() -> dict[str, object]:
            return {
                "user": str(current_session.user_id),
                "session": str(current_session.session_id),
                "openid": current_session.openid,
                "appid": current_session.appid,
                "unionid": current_session.unionid,
            }

        @host.get("/later")
        @session_required
        async def later() -> str:
            return str(current_session.user_id)

        @host.get("/open")
        def open_to_all() -> str:
            return str(current_session.user_id)

        return host

    yield make
    for host in made:
        services_of(host).database.close()


def test_a_guarded_view_knows_who_asks(make_host: Made, wechat: WeChat) -> None:
    wechat.bind_open_platform(APPID)
    phone = Phone(make_host(), wechat, "alice")
    grant = phone.log_in().json
    answer = phone.send("GET", "/orders", token=phone.token)
    assert answer.json == {
        "user": grant["user"]["id"],
        "session": grant["session_id"],
        "openid": wechat.openid("alice"),
        "appid": APPID,
        "unionid": wechat.unionid("alice"),
    }


def test_a_guarded_view_does_not_run_without_a_live_session(
    make_host: Made, wechat: WeChat
) -> None:
    phone = Phone(make_host(), wechat, "alice")
    assert problem(phone.send("GET", "/orders")) == (401, "missing_token", None)
    assert problem(phone.send("GET", "/orders", token="x")) == (401, "invalid_token", None)
    phone.log_in()
    phone.log_out()
    answer = phone.send("GET", "/orders", token=phone.token)
    assert problem(answer) == (401, "session_ended", "logout")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


def test_a_guarded_view_may_be_async(make_host: Made, wechat: WeChat) -> None:
    phone = Phone(make_host(), wechat, "alice")
    assert problem(phone.send("GET", "/later")) == (401, "missing_token", None)
    user = phone.log_in().json["user"]["id"]
    assert phone.send("GET", "/later", token=phone.token).text == user


def test_the_session_is_there_inside_a_guarded_view_alone(make_host: Made) -> None:
    host = make_host()
    host.testing = True
    with pytest.raises(RuntimeError, match="@session_required"):
        host.test_client().get("/open")


def test_the_calls_may_be_mounted_under_a_prefix(make_host: Made, wechat: WeChat) -> None:
    phone = Phone(make_host(url_prefix="/auth/wx"), wechat, "alice")
    answer = phone.send("POST", "/auth/wx/login", json={"code": phone.code()})
    token = answer.json["session_token"]
    assert phone.send("GET", "/orders", token=token).status_code == 200
    assert phone.send("GET", "/check_session", token=token).status_code == 404
    page = phone.send("GET", "/auth/wx/openapi.json").json
    assert page["servers"] == [{"url": "/auth/wx"}]


def test_the_hosts_own_errors_stay_its_own(make_host: Made, wechat: WeChat) -> None:
    phone = Phone(make_host(), wechat, "alice")
    answer = phone.send("GET", "/nothing")
    assert (answer.status_code, answer.mimetype) == (404, "text/html")


def test_bad_bodies_to_our_calls_are_problems_in_a_host_as_well(
    make_host: Made, wechat: WeChat
) -> None:
    phone = Phone(make_host(), wechat, "alice")
    large = phone.send("POST", "/login", data=b"x" * 70_000, content_type="application/json")
    assert problem(large) == (413, "content_too_large", None)
    text = phone.send("POST", "/login", data=b"x", content_type="text/plain")
    assert problem(text) == (415, "unsupported_media_type", None)


def test_a_host_without_a_configuration_is_told_all_that_is_missing() -> None:
    with pytest.raises(SettingsError) as caught:
        WxSession(Flask("business"))
    assert len(caught.value.faults) == 3


def test_what_the_configuration_does_not_have_is_taken_from_the_environment(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(database_url, max_sessions=3, touch_interval=" ").items():
        monkeypatch.setenv(name, value)
    host = Flask("business")
    host.config["WXSESSION_MAX_SESSIONS"] = 5
    host.config["WXSESSION_IDLE_TIMEOUT"] = None
    WxSession(host)
    settings = services_of(host).settings
    assert (settings.database_url, settings.max_sessions) == (database_url, 5)
    assert settings.touch_interval == timedelta(hours=1)
    services_of(host).database.close()


def test_the_extension_can_be_made_before_its_application(
    database_url: str, wechat: WeChat, clock: SettableClock
) -> None:
    extension = WxSession(clock=clock, http=wechat_transport(wechat))
    host = Flask("business")
    host.config.from_mapping(environment(database_url, url_prefix="/"))
    extension.init_app(host)
    assert Phone(host, wechat, "alice").log_in().status_code == 200
    services_of(host).database.close()


def test_the_hosts_command_line_has_our_commands(make_host: Made) -> None:
    run = make_host().test_cli_runner().invoke
    assert "revision" in run(args=["wxsession", "upgrade-database"]).output
    assert run(args=["wxsession", "purge-sessions"]).exit_code == 0
    assert run(args=["wxsession", "users", "list"]).exit_code == 0


def test_a_misspelt_setting_is_told_in_the_log(
    make_host: Made, caplog: pytest.LogCaptureFixture
) -> None:
    make_host(idle_timout="1h")
    assert "unknown setting WXSESSION_IDLE_TIMOUT" in caplog.text
