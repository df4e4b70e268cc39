"""The OpenAPI page: valid, complete, and kept by every answer."""

import hashlib
import inspect
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, get_type_hints

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from werkzeug.exceptions import HTTPException

from tests.support.phone import Phone
from tests.support.service import ROOT
from tests.support.settings import APPID, APPS
from wxsession import errors
from wxsession.services import Services
from wxsession.settings import SCOPES
from wxsession.simulator import SettableClock, WeChat
from wxsession.web.api import ENDPOINTS
from wxsession.web.api.endpoints import API_KEY_ERRORS, Auth, Endpoint
from wxsession.web.api.proxy import API_KEY_HEADER
from wxsession.web.problems import PROBLEM_TYPES

AT_LENGTH = [pytest.mark.long, pytest.mark.timeout(1800)]  # so many calls, so often each

API_KEY = "an-api-key-that-is-made-up-for-tests"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return a server that a back end may ask, and that speaks our own dialect alone."""
    return make_app(
        api_keys=f"shop:{API_KEY}:{'+'.join(SCOPES)}",
        dialects="none",
        code_limit="0",
        registration_limit="0",
        cookie="on",
        device_login="on",
        issuer=ORIGIN,
        ticket_audiences=ORIGIN,
    )


@pytest.fixture
def page(app: Flask) -> dict[str, Any]:
    return dict(app.test_client().get("/openapi.json").json or {})


def test_the_page_is_valid(page: dict[str, Any]) -> None:
    assert page["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(page).validate()


def test_the_page_has_every_route_and_no_other(app: Flask, page: dict[str, Any]) -> None:
    routes = {
        (templated(rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}
    }
    told = {(path, method) for path, methods in page["paths"].items() for method in methods}
    assert told | {("/openapi.json", "get")} == routes


def test_every_code_that_a_call_may_answer_with_is_told_under_its_status(
    page: dict[str, Any],
) -> None:
    for methods in page["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    codes = response["description"].replace("`", "").split(" or ")
                    assert {int(PROBLEM_TYPES[code].status) for code in codes} == {int(status)}


def test_what_may_be_left_out_has_no_default_by_which_it_looks_required(
    page: dict[str, Any],
) -> None:
    fields = [
        field
        for model in page["components"]["schemas"].values()
        for field in model.get("properties", {}).values()
    ]
    assert len(fields) > 50
    assert not [field for field in fields if "default" in field]


def test_every_operation_says_what_opens_it(page: dict[str, Any]) -> None:
    opened_by = {
        operation["operationId"]: operation["security"]
        for methods in page["paths"].values()
        for operation in methods.values()
    }
    assert opened_by["login"] == opened_by["healthz"] == opened_by["readyz"] == []
    assert opened_by["refresh"] == [{"session": []}]


def test_every_operation_has_a_tag_that_is_described_and_the_page_our_version(
    page: dict[str, Any],
) -> None:
    operations = [op for methods in page["paths"].values() for op in methods.values()]
    described = {tag["name"] for tag in page["tags"] if tag["description"]}
    assert {tag for operation in operations for tag in operation["tags"]} == described
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert page["info"]["version"] == project["version"]
    assert "other dialects are not here" in page["info"]["description"]


def test_operations_have_names_of_their_own(page: dict[str, Any]) -> None:
    names = [op["operationId"] for methods in page["paths"].values() for op in methods.values()]
    assert len(names) == len(set(names))


# Whether a code is one, a password right, data signed by WeChat, or a text free of NUL, no schema
# says: what has the right form may be refused all the same.
_REFUSED_ALL_THE_SAME = ["2xx", "400", "401", "403", "409", "429", "5xx"]
_JUDGED = (
    *("login", "register", "bind", "unbind", "user", "user_info", "phone_number"),
    *("tickets", "tickets/redeem"),
    *("device_logins", "device_logins/token", "device_logins/show", "device_logins/decide"),
    *("wechat/push/{appid}", "wechat/events"),
)
_REFUSED = ["400", "401", "403", "404", "405", "409", "413", "415", "429", "5xx"]


def templated(rule: str) -> str:
    """Return the path of a route, as the page has it."""
    return re.sub(r"<(?:uuid:)?(\w+)>", r"{\1}", rule)


def paths_opened_by(auth: Auth) -> set[str]:
    return {templated(endpoint.path) for endpoint in ENDPOINTS if endpoint.auth is auth}


OPENED_BY_SESSION = paths_opened_by(Auth.SESSION)
OPENED_BY_API_KEY = paths_opened_by(Auth.API_KEY)

ORIGIN = "http://localhost"
ACCOUNT = {"username": "carol", "password": "a long password of a test"}

_CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {"negative_data_rejection": {"expected-statuses": _REFUSED}},
        "operations": [
            *(
                {
                    "include-name": name,
                    "checks": {
                        "positive_data_acceptance": {"expected-statuses": _REFUSED_ALL_THE_SAME}
                    },
                }
                for name in (
                    *(f"POST /{call}" for call in _JUDGED),
                    *("PUT /password", "PATCH /user", "DELETE /user", "GET /wechat/push/{appid}"),
                    *("GET /events", "GET /users"),
                )
            ),
            {
                "include-name": "GET /web-view",
                "checks": {
                    "positive_data_acceptance": {"expected-statuses": ["303", "400", "5xx"]}
                },
            },
            # A logout says the same for a token that is none: who asks may not learn which are.
            {"include-name": "POST /logout", "checks": {"ignored_auth": {"enabled": False}}},
            # The check believes that it made the headers up; the hook below, or a link, put a real
            # API key or token there. That others are refused is asked at the end of the test.
            *(
                {
                    "include-name": f"{method} {templated(endpoint.path)}",
                    "checks": {"ignored_auth": {"enabled": False}},
                }
                for endpoint in ENDPOINTS
                if endpoint.auth is not Auth.NONE
                for method in endpoint.methods
                if endpoint.path != "/logout"
            ),
        ],
    }
)


@dataclass
class Counted:
    """A WSGI application that remembers what it answered: how often which status to which call."""

    app: Flask
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Answer, and count the answer."""

        def start(status: str, *rest: Any) -> Any:
            call = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
            self.answers[call, int(status[:3])] += 1
            return start_response(status, *rest)

        return self.app(environ, start)


@dataclass
class Real:
    """What is right of a request: schemas tell the form of a code, but not which one is good."""

    app: Flask
    wechat: WeChat
    newcomers: Iterator[int] = field(default_factory=count)

    def token(self, path: str) -> str:
        """Return a token of somebody who has just logged in, and has what the call is about."""
        body = ACCOUNT if path == "/password" else {"code": self.wechat.login("alice")}
        return str(self.sent("/login", body)["session_token"])

    def sent(self, path: str, body: Any = None, token: str | None = None) -> Any:
        """Return the body of the answer to a request, which has to be granted."""
        answer = Phone(self.app, self.wechat, "alice").send("POST", path, json=body, token=token)
        assert answer.status_code < 300, answer.text
        return answer.json

    def ticket(self) -> str:
        """Return a ticket that nobody has used."""
        return str(self.sent("/tickets", {"audience": ORIGIN}, self.token("/tickets"))["ticket"])

    def user(self) -> dict[str, str]:
        """Return the ids of a user who has just come, and of its session."""
        code = self.wechat.login(f"newcomer {next(self.newcomers)}")
        grant = self.sent("/login", {"code": code})
        return {"user_id": grant["user"]["id"], "session_id": grant["session_id"]}

    def approved(self) -> str:
        """Return the code of a device that its user has let in."""
        device = self.sent("/device_logins")
        decision = {"user_code": device["user_code"], "approve": True}
        self.sent("/device_logins/decide", decision, self.token("/device_logins/decide"))
        return str(device["device_code"])

    def body(self, path: str) -> dict[str, Any] | None:
        """Return a body that is right, for a request that is judged by more than its form."""
        made: dict[str, Callable[[], dict[str, Any]]] = {
            "/login": lambda: {"code": self.wechat.login("alice")},
            "/bind": lambda: ACCOUNT,
            "/password": lambda: dict.fromkeys(("password", "new_password"), ACCOUNT["password"]),
            "/introspect": lambda: {"token": self.token(path)},
            "/phone_number": lambda: {"code": self.wechat.phone_code("alice")},
            "/user_info": lambda: {**self.wechat.user_info("alice")},
            "/tickets": lambda: {"audience": ORIGIN},
            "/tickets/redeem": lambda: {"audience": ORIGIN, "ticket": self.ticket()},
            "/device_logins/token": lambda: {"device_code": self.approved()},
            "/device_logins/show": lambda: {"user_code": self.sent("/device_logins")["user_code"]},
            "/device_logins/decide": lambda: {
                "user_code": self.sent("/device_logins")["user_code"],
                "approve": False,
            },
            "/wechat/events": lambda: {
                "MsgType": "event",
                "Event": "user_info_modified",
                "CreateTime": 1764000000,
                "ToUserName": "gh_0",
                "OpenID": self.wechat.openid("alice"),
                "AppID": APPID,
            },
        }
        return made[path]() if path in made else None


def fuzzed(
    app: Flask, wechat: WeChat, *, only: Container[str] | None = None
) -> tuple[Any, Counter[tuple[str, int]]]:
    """Return the schema to fuzz by, and what was answered.

    About half the sessions, API keys, codes, tickets and users that are sent are real ones; with
    `only`, those of these paths alone.
    """
    real = Real(app, wechat)
    real.sent("/register", ACCOUNT)
    counted = Counted(app)
    schema = schemathesis.openapi.from_wsgi("/openapi.json", counted, config=_CONFIG)

    @schema.hook
    def map_case(_context: Any, case: Any) -> Any:
        if case.meta is not None and case.meta.generation.mode is GenerationMode.NEGATIVE:
            return case  # what is wrong on purpose has to stay so, or it would be accepted
        path = case.operation.path
        if only is not None and path not in only:
            return case
        # Decided by the case alone: Hypothesis has to see the same again when it tries again.
        drawn = repr((case.body, case.query, case.headers, case.path_parameters))
        key, content, *_ = hashlib.sha256(drawn.encode()).digest()
        if path in OPENED_BY_SESSION and key % 2:
            case.headers["Authorization"] = f"Bearer {real.token(path)}"
        if path in OPENED_BY_API_KEY and key % 4:
            case.headers["Authorization"] = f"Bearer {API_KEY}"
        if API_KEY_HEADER in case.headers and key % 2:
            case.headers[API_KEY_HEADER] = API_KEY
        if content % 2 and (body := real.body(path)) is not None:
            case.body = body
        if content % 2 and "user_id" in case.path_parameters:
            known = real.user()
            case.path_parameters |= {name: known[name] for name in case.path_parameters}
        if content % 2 and path == "/web-view":
            case.query = {"ticket": real.ticket(), "to": "/orders"}
        return case

    return schema, counted.answers


def every_call(schema: Any) -> list[str]:
    operations = [result.ok() for result in schema.get_all_operations()]
    return [f"{operation.method.upper()} {operation.path}" for operation in operations]


@pytest.fixture
def wechat(clock: SettableClock) -> WeChat:
    """Return a WeChat that never has enough."""
    return WeChat(APPS, clock=clock, calls_per_minute=1_000_000)


# Among few calls it is chance which statuses come: that is asked where there are many.
@pytest.mark.parametrize("examples", [8, pytest.param(100, marks=AT_LENGTH)])
def test_no_answer_to_whatever_request_is_undeclared(
    app: Flask, wechat: WeChat, examples: int
) -> None:
    schema, answered = fuzzed(app, wechat)

    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
            | operation.as_strategy()
        )
        def fuzz(case: Any) -> None:
            case.call_and_validate()

        fuzz()
    assert answered
    if examples < 100:
        return
    statuses = {call: set[int]() for call in every_call(schema)}
    routes = app.url_map.bind("localhost")
    for call, status in answered:
        method, _, path = call.partition(" ")
        with suppress(HTTPException):
            rule, _ = routes.match(path, method=method, return_rule=True)
            statuses.get(f"{method} {templated(rule.rule)}", set()).add(status)
    # WeChat alone can sign what it pushes. Every other call was granted, and refused without a key.
    refused = {call for call, seen in statuses.items() if min(seen) >= 400}
    assert refused == {f"{method} /wechat/push/{{appid}}" for method in ("GET", "POST")}
    closed = {
        f"{method} {templated(endpoint.path)}"
        for endpoint in ENDPOINTS
        if endpoint.auth in {Auth.SESSION, Auth.API_KEY}
        for method in endpoint.methods
    }
    assert not {call for call in closed if 401 not in statuses[call]}


@pytest.mark.parametrize("stories", [20, pytest.param(300, marks=AT_LENGTH)])
def test_no_story_of_logins_checks_refreshes_and_logouts_is_undeclared(
    app: Flask, wechat: WeChat, stories: int
) -> None:
    # A story goes on with the sessions that it began itself.
    schema, answered = fuzzed(app, wechat, only={"/login", "/introspect"})
    # Of sessions alone: users are found, disabled or not by what earlier stories did to them.
    machine = schema.exclude(path_regex="^/users").as_state_machine()
    machine.run(
        settings=settings(
            max_examples=stories,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
    )
    if stories < 100:
        return
    for status in (200, 401):
        assert answered["GET /check_session", status] + answered["POST /check_session", status]
        assert answered["POST /refresh", status]
        assert answered["GET /sessions", status]
    assert answered["POST /logout", 204]


# What the docstrings of the services say under `Raises:` is what the endpoints declare.

Error = type[errors.WxSessionError]

_RAISED = re.compile(r"^    ([A-Z]\w+(?:,\s+[A-Z]\w+)*):", re.MULTILINE)
_OF_NO_SERVICE = {errors.MissingToken, errors.NotReady, *API_KEY_ERRORS}
"""What a request is refused with before a service is called, or any query may raise."""


def documented(endpoint: Endpoint) -> set[Error]:
    """Return the errors that the services which an endpoint calls say they raise."""
    called = re.findall(r"services\.(\w+)\.(\w+)\(", inspect.getsource(endpoint.function))
    found: set[Error] = set()
    for service, method in called:
        text = inspect.getdoc(getattr(get_type_hints(Services)[service], method)) or ""
        for names in _RAISED.findall(text.partition("Raises:\n")[2]):
            found.update(getattr(errors, name) for name in re.split(r",\s+", names))
    return found


def without_relatives(some: set[Error], others: set[Error]) -> set[Error]:
    return {
        one
        for one in some
        if not any(issubclass(one, other) or issubclass(other, one) for other in others)
    }


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.function.__name__)
def test_an_endpoint_declares_what_its_services_say_they_raise(endpoint: Endpoint) -> None:
    reads = endpoint.body or endpoint.query or endpoint.query_model
    declared = {*endpoint.raises, *([errors.InvalidRequest] if reads else [])}
    said = documented(endpoint)
    assert not without_relatives(said, declared)
    assert not without_relatives(set(endpoint.raises) - _OF_NO_SERVICE, said)
