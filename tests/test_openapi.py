"""The OpenAPI page: valid, complete, and kept by every answer."""

import inspect
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, get_type_hints

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from tests.support.phone import Phone
from tests.support.service import ROOT
from tests.support.settings import APPS
from wxsession import errors
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat
from wxsession.web.api import ENDPOINTS, users
from wxsession.web.api.endpoints import API_KEY_ERRORS, Endpoint
from wxsession.web.api.proxy import API_KEY_HEADER
from wxsession.web.problems import PROBLEM_TYPES

AT_LENGTH = [pytest.mark.long, pytest.mark.timeout(1800)]  # so many calls, so often each

API_KEY = "an-api-key-that-is-made-up-for-tests"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return a server that a back end may ask, and that speaks our own dialect alone."""
    return make_app(
        api_keys=f"shop:{API_KEY}:introspect+users+phone+manage",
        dialects="none",
        code_limit="0",
        registration_limit="0",
        cookie="on",
        device_login="on",
        ticket_audiences="http://localhost",
    )


@pytest.fixture
def page(app: Flask) -> dict[str, Any]:
    return dict(app.test_client().get("/openapi.json").json or {})


def test_the_page_is_valid(page: dict[str, Any]) -> None:
    assert page["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(page).validate()


def test_the_page_has_every_route_and_no_other(app: Flask, page: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(?:uuid:)?(\w+)>", r"{\1}", rule.rule), method.lower())
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


# Whether a code is one, a password right, or data signed by WeChat, no schema can say: what has
# the right form may be refused all the same.
_REFUSED_ALL_THE_SAME = ["2xx", "400", "401", "403", "409", "429", "5xx"]
_JUDGED = (
    *("login", "register", "bind", "unbind", "user", "user_info", "phone_number"),
    *("tickets", "tickets/redeem"),
    *("device_logins", "device_logins/token", "device_logins/show", "device_logins/decide"),
    *("wechat/push/{appid}", "wechat/events"),
)
_REFUSED = ["400", "401", "403", "404", "405", "409", "413", "415", "429", "5xx"]


def path_of(endpoint: Endpoint) -> str:
    return endpoint.path.replace("<uuid:", "{").replace(">", "}")


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
            # API key or token there.
            *(
                {"include-name": name, "checks": {"ignored_auth": {"enabled": False}}}
                for name in (
                    *("POST /introspect", "GET /check_session", "POST /check_session"),
                    *(f"{endpoint.methods[0]} {path_of(endpoint)}" for endpoint in users.ENDPOINTS),
                )
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


def fuzzed(app: Flask, wechat: WeChat) -> tuple[Any, Counter[tuple[str, int]], str]:
    """Return the schema to fuzz by, what was answered, and the id of a user.

    Half the codes, users and introspected tokens that are sent are real ones, and so are API keys.
    """
    grant = Phone(app, wechat, "bob").log_in().json
    token, user_id = grant["session_token"], grant["user"]["id"]
    counted = Counted(app)
    schema = schemathesis.openapi.from_wsgi("/openapi.json", counted, config=_CONFIG)

    @schema.hook
    def map_case(_context: Any, case: Any) -> Any:
        if case.meta is not None and case.meta.generation.mode is GenerationMode.NEGATIVE:
            return case  # what is wrong on purpose has to stay so, or it would be accepted
        # Decided by the case alone: Hypothesis has to see the same again when it tries again.
        if case.operation.path == "/login" and len(repr(case.body)) % 2:
            case.body = {"code": wechat.login("alice")}
        if case.operation.path == "/introspect" and isinstance(case.body, dict):
            asked = case.body.get("token")
            if isinstance(asked, str) and asked:
                case.headers["Authorization"] = f"Bearer {API_KEY}"
                if len(asked) % 2:
                    case.body = {"token": token}
        if case.operation.path.startswith("/users"):
            case.headers["Authorization"] = f"Bearer {API_KEY}"
            if str(case.path_parameters.get("user_id"))[-1] in "02468ace":
                case.path_parameters["user_id"] = user_id
        if len(case.headers.get(API_KEY_HEADER, "")) % 2:
            case.headers[API_KEY_HEADER] = API_KEY
        return case

    return schema, counted.answers, user_id


@pytest.fixture
def wechat(clock: SettableClock) -> WeChat:
    """Return a WeChat that never has enough."""
    return WeChat(APPS, clock=clock, calls_per_minute=1_000_000)


# Among few calls it is chance which statuses come: that is asked where there are many.
@pytest.mark.parametrize("examples", [8, pytest.param(100, marks=AT_LENGTH)])
def test_no_answer_to_whatever_request_is_undeclared(
    app: Flask, wechat: WeChat, examples: int
) -> None:
    schema, answered, user_id = fuzzed(app, wechat)

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
    assert answered["POST /login", 200]
    assert answered["POST /login", 400]
    assert answered["GET /check_session", 401]
    assert answered["POST /introspect", 200]
    assert answered["POST /introspect", 401]
    assert answered["GET /users", 200]
    assert answered[f"GET /users/{user_id}", 200]


@pytest.mark.parametrize("stories", [20, pytest.param(300, marks=AT_LENGTH)])
def test_no_story_of_logins_checks_refreshes_and_logouts_is_undeclared(
    app: Flask, wechat: WeChat, stories: int
) -> None:
    schema, answered, _ = fuzzed(app, wechat)
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
