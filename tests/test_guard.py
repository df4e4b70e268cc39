"""Sessions in a developer's own Flask application."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from flask import Blueprint, Flask

from tests.support.app import services_of
from tests.support.phone import Phone, problem
from tests.support.settings import APPID, environment
from wxsession import (
    SettingsError,
    WxSession,
    WxSessionError,
    current_session,
    require_session,
    session_required,
)
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
    host.config["WXSESSION_DIALECTS"] = host.config["WXSESSION_URL_PREFIX"] = ""
    WxSession(host)
    settings = services_of(host).settings
    assert (settings.database_url, settings.max_sessions) == (database_url, 5)
    assert settings.touch_interval == timedelta(hours=1)
    assert (settings.dialects, settings.url_prefix) == ((), "/auth")
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


@pytest.fixture
def extension() -> WxSession:
    """Return an extension as a module of its own has it, before there is an application."""
    return WxSession()


@pytest.fixture
def shop(
    extension: WxSession, database_url: str, clock: SettableClock, wechat: WeChat
) -> Iterator[Flask]:
    """Return a business application that uses all that the guard offers."""
    app = Flask("shop")
    app.config.from_mapping(environment(database_url, url_prefix="/"))
    extension.init_app(app, clock=clock, http=wechat_transport(wechat))
    accounts = Blueprint("accounts", "accounts", url_prefix="/accounts")
    accounts.before_request(require_session)
    loaded: list[UUID] = []

    @extension.user_loader
    def load(user_id: UUID) -> dict[str, str]:
        loaded.append(user_id)
        return {"customer": str(user_id)}

    @app.get("/")
    @session_required(optional=True)
    def home() -> dict[str, object]:
        return {"user": str(current_session.user_id) if current_session else None}

    @app.post("/payments")
    @session_required(max_age=timedelta(minutes=10))
    def pay() -> dict[str, object]:
        return {"customer": current_session.user, "again": current_session.user, "n": len(loaded)}

    @accounts.get("/mine")
    def mine() -> dict[str, object]:
        return {
            "username": current_session.username,
            "nickname": current_session.nickname,
            "avatar_url": current_session.avatar_url,
            "auth_time": current_session.auth_time.isoformat(),
            "created_at": current_session.created_at.isoformat(),
        }

    app.register_blueprint(accounts)
    yield app
    services_of(app).database.close()


@pytest.fixture
def customer(shop: Flask, wechat: WeChat) -> Phone:
    return Phone(shop, wechat, "alice")


def test_an_optional_guard_lets_a_stranger_in_and_knows_a_user(customer: Phone) -> None:
    assert customer.send("GET", "/").json == {"user": None}
    user_id = customer.log_in().json["user"]["id"]
    assert customer.send("GET", "/", token=customer.token).json == {"user": user_id}


def test_an_optional_guard_refuses_a_session_that_is_over(customer: Phone) -> None:
    customer.log_in()
    customer.log_out()  # a client that still has a token wants to know that it is worth nothing
    answer = customer.send("GET", "/", token=customer.token)
    assert problem(answer) == (401, "session_ended", "logout")


def test_what_needs_a_recent_login_says_so_and_a_refresh_is_none(
    customer: Phone, clock: SettableClock
) -> None:
    customer.log_in()
    clock.advance(minutes=10)
    assert customer.send("POST", "/payments", token=customer.token).status_code == 200
    clock.advance(seconds=1)
    customer.refresh()
    answer = customer.send("POST", "/payments", token=customer.token)
    assert problem(answer) == (403, "reauthentication_required", None)
    customer.log_in()
    assert customer.send("POST", "/payments", token=customer.token).status_code == 200


def test_the_applications_own_user_is_loaded_once_for_a_request(customer: Phone) -> None:
    user_id = customer.log_in().json["user"]["id"]
    answer = customer.send("POST", "/payments", token=customer.token).json
    assert answer == {"customer": {"customer": user_id}, "again": {"customer": user_id}, "n": 1}


def test_a_whole_blueprint_is_guarded_by_one_line(customer: Phone, clock: SettableClock) -> None:
    assert problem(customer.send("GET", "/accounts/mine")) == (401, "missing_token", None)
    customer.log_in()
    customer.send("PATCH", "/user", json={"nickname": "Alice"}, token=customer.token)
    assert customer.send("GET", "/accounts/mine", token=customer.token).json == {
        "username": None,
        "nickname": "Alice",
        "avatar_url": None,
        "auth_time": clock().isoformat(),
        "created_at": clock().isoformat(),
    }


def test_a_socket_or_a_job_asks_by_token_or_by_the_sessions_id(
    extension: WxSession, customer: Phone, clock: SettableClock
) -> None:
    grant = customer.log_in().json
    found = extension.check(str(customer.token))
    assert (str(found.user_id), str(found.session_id)) == (
        grant["user"]["id"],
        grant["session_id"],
    )
    assert found.openid == customer.wechat.openid("alice")
    remembered = extension.session(found.session_id)
    assert remembered is not None
    assert remembered.user_id == found.user_id
    clock.advance(days=6)
    assert extension.session(found.session_id) is not None  # which is no use of it
    clock.advance(days=1)
    assert extension.session(found.session_id) is None
    with pytest.raises(WxSessionError):
        extension.check(str(customer.token))
    assert extension.session(found.user_id) is None  # no session has that id


def test_the_id_of_a_user_who_became_another_leads_to_that_one(
    extension: WxSession, customer: Phone
) -> None:
    alone = UUID(customer.log_in().json["user"]["id"])
    assert extension.current_id(alone) == alone
    account = Phone(customer.app, customer.wechat, "nobody")
    credentials = {"username": "alice", "password": "correct horse battery"}
    registered = account.send("POST", "/register", json=credentials).json["user"]["id"]
    customer.send("POST", "/bind", json=credentials, token=customer.token)
    assert extension.current_id(alone) == UUID(registered)


def test_without_a_function_for_it_there_is_no_user_and_that_is_said(
    database_url: str, wechat: WeChat
) -> None:
    app = Flask("shop")
    app.config.from_mapping(environment(database_url, url_prefix="/"))
    extension = WxSession(app, http=wechat_transport(wechat))
    phone = Phone(app, wechat, "alice")
    phone.log_in()
    with pytest.raises(RuntimeError, match="user_loader"):
        _ = extension.check(str(phone.token)).user
    extension.services.database.close()


def test_an_extension_of_several_applications_wants_to_know_which(
    extension: WxSession, shop: Flask, database_url: str
) -> None:
    other = Flask("other")
    other.config.from_mapping(environment(database_url, url_prefix="/"))
    extension.init_app(other)
    with pytest.raises(RuntimeError, match="app_context"):
        _ = extension.services
    for app in (shop, other):
        with app.app_context():
            assert extension.services is services_of(app)
    services_of(other).database.close()
