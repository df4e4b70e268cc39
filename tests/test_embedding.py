"""Nothing of a host application is hidden by ours, and where it is, the host is told."""

from collections.abc import Callable, Iterator

import pytest
from flask import Blueprint, Flask
from werkzeug.routing import BaseConverter

from tests.support.app import services_of
from tests.support.settings import environment
from wxsession import WxSession, create_app
from wxsession.settings import Settings
from wxsession.storage.database import connect, metadata

Made = Callable[..., Flask]


@pytest.fixture
def make_host(database_url: str) -> Iterator[Made]:
    """Return a function that makes an application with routes added before ours and after."""
    made: list[Flask] = []

    def make(
        before: Callable[[Flask], object] = str,
        after: Callable[[Flask], object] = str,
        **settings: object,
    ) -> Flask:
        host = Flask("business")
        made.append(host)
        host.config.from_mapping(environment(database_url, **settings))
        before(host)
        WxSession(host)
        after(host)
        return host

    yield make
    for host in made:
        services_of(host).database.close()


def page() -> str:
    return "the host's own"


def hiding(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was told about hidden rules, and forget it."""
    told = [text.partition(";")[0] for text in caplog.messages if " hides " in text]
    caplog.clear()
    return told


def test_a_hosts_own_routes_and_commands_are_not_hidden(
    make_host: Made, caplog: pytest.LogCaptureFixture
) -> None:
    def add(host: Flask) -> None:
        for path in ("/login", "/user", "/sessions", "/api/login", "/weapp/login"):
            host.add_url_rule(path, path.replace("/", "_"), page, methods=["GET", "POST"])
        host.cli.group("users")(lambda: None)

    host = make_host(after=add)
    client = host.test_client()
    assert client.post("/login").text == client.get("/weapp/login").text == "the host's own"
    assert client.post("/auth/login").status_code == 400  # ours, which wants a body
    assert client.post("/auth/weapp/login").status_code == 404  # no dialects
    assert {"wxsession", "users"} <= set(host.cli.commands)
    assert not {"sessions", "keys", "upgrade-database"} & set(host.cli.commands)
    assert hiding(caplog) == []


def test_the_service_keeps_its_paths_its_dialects_and_its_commands(database_url: str) -> None:
    service = create_app(Settings.read(environment(database_url)))
    assert service.test_client().post("/login").status_code == 400
    assert service.test_client().get("/weapp/login").status_code != 404
    assert {"users", "sessions", "keys", "upgrade-database"} <= set(service.cli.commands)
    services_of(service).database.close()


def test_a_route_of_ours_that_hides_one_of_the_host_is_told_with_the_first_request(
    make_host: Made, caplog: pytest.LogCaptureFixture
) -> None:
    admin = Blueprint("admin", __name__)
    admin.add_url_rule("/login", "login", page, methods=["GET", "POST"])
    host = make_host(after=lambda host: host.register_blueprint(admin), url_prefix="/")
    assert hiding(caplog) == []
    client = host.test_client()
    assert client.get("/login").text == "the host's own"  # ours takes POST
    assert hiding(caplog) == ["POST /login of wxsession hides POST /login of admin.login"]
    assert client.post("/login").status_code == 400
    assert hiding(caplog) == []


def test_a_route_of_the_host_that_hides_one_of_ours_is_told_at_once(
    make_host: Made, caplog: pytest.LogCaptureFixture
) -> None:
    host = make_host(
        before=lambda host: host.add_url_rule(
            "/auth/sessions/<name>", "one", page, methods=["DELETE"]
        ),
        after=lambda host: host.add_url_rule("/auth/user", "me", page, methods=["GET", "POST"]),
    )
    ours = "/auth/sessions/<uuid:session_id>"
    assert hiding(caplog) == [
        f"DELETE /auth/sessions/<name> of one hides DELETE {ours} of wxsession"
    ]
    host.test_client().get("/")
    assert hiding(caplog) == ["GET, POST /auth/user of wxsession hides GET, POST /auth/user of me"]


def test_a_route_for_all_that_is_left_hides_nothing(
    make_host: Made, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(BaseConverter):
        regex = "odd|-"

        def to_python(self, value: str) -> str:
            raise LookupError(value)  # as one that asks a database does

    def add(host: Flask) -> None:
        host.url_map.converters["odd"] = Odd
        host.add_url_rule("/<path:path>", "spa", lambda path: path)
        host.add_url_rule("/auth/<name>", "named", lambda name: name)
        host.add_url_rule("/auth/<int:n>/<any(login,logout):what>", "odd", page)
        host.add_url_rule("/orders/<odd:name>", "order", page)

    host = make_host(after=add)
    assert host.test_client().get("/auth/healthz").json == {"status": "ok"}
    assert hiding(caplog) == []


def test_an_application_that_matches_hosts_is_looked_through_as_well(
    make_host: Made, caplog: pytest.LogCaptureFixture
) -> None:
    def add(host: Flask) -> None:
        host.url_map.host_matching = True
        host.add_url_rule("/auth/user", "me", page, host="shop.example.org")

    host = make_host(after=add)
    host.test_client().get("/auth/healthz")
    assert hiding(caplog) == []  # ours is of another host


def test_a_command_names_the_cure_as_the_host_calls_it(make_host: Made) -> None:
    host = make_host()
    database = connect(services_of(host).settings.database_url)
    metadata.drop_all(database.engine)
    database.close()
    result = host.test_cli_runner().invoke(args=["wxsession", "users", "list"])
    assert result.exit_code == 1
    assert result.output.endswith("run `flask wxsession upgrade-database`\n")
