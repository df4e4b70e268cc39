"""Whoever stands between a mini-program and its session: our nginx files, other back ends.

Their 401 may have any form; our client finds its way back to a session, and nobody else gets in.
"""

import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.back_ends import Asking, Express, Serving, Trusting
from tests.support.nginx import Nginx
from tests.support.node import run_node
from tests.support.phone import same_for_all
from tests.support.recipes import API_KEY
from tests.support.service import Service, Simulator, code_of
from tests.support.settings import APPID
from tests.support.wsgi_servers import Gunicorn

NOWHERE = "http://127.0.0.1:9"
PATIENCE = 30
BURST = 100
IDENTITY = ("X-Wxsession-User", "X-Wxsession-Session", "X-Wxsession-Appid", "X-Wxsession-Openid")

MakeNginx = Callable[..., Nginx]


@pytest.fixture(scope="module")
def service(
    simulator: Simulator, migrated_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Return a service that a proxy and other back ends may ask."""
    path = shutil.copy(migrated_file, tmp_path_factory.mktemp("between"))
    keys = f"shop:{API_KEY}"
    url = f"sqlite:///{path}"
    with Service(url, wechat_url=simulator.url, api_keys=keys, trusted_proxies=1) as running:
        yield running


@pytest.fixture
def application() -> Trusting:
    """Return the application that is behind nginx."""
    return Trusting()


@pytest.fixture
def make_nginx(application: Trusting, tmp_path: Path) -> Iterator[MakeNginx]:
    """Return a function that starts an nginx before that application."""
    with ExitStack() as stack:
        behind = stack.enter_context(Serving(application))

        def make(service_url: str, *, bare: bool = False) -> Nginx:
            made = Nginx(tmp_path, service=service_url, application=behind.url, bare=bare)
            return stack.enter_context(made)

        yield make


@pytest.fixture
def nginx(make_nginx: MakeNginx, service: Service) -> Nginx:
    """Return an nginx with the files that are shipped."""
    return make_nginx(service.url)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def logged_in(service: Service, simulator: Simulator, user: str = "alice") -> dict[str, str]:
    """Return the header of somebody's new session."""
    return bearer(service.log_in(simulator.code(user)).json()["session_token"])


# The client.


@contextmanager
def behind(kind: str, service: Service, make_nginx: MakeNginx) -> Iterator[str]:
    """Yield the address of a back end."""
    if kind == "Express":
        with Express(service.url, API_KEY) as express:
            yield express.url
    elif kind == "bare WSGI":
        with Serving(Asking(service.url, API_KEY)) as serving:
            yield serving.url
    else:
        yield make_nginx(service.url, bare="without a body" in kind).shop


@pytest.mark.parametrize(
    ("kind", "checks"),
    [
        ("nginx", 0),  # it hands on what our server says of the token
        ("nginx without a body", 1),
        ("Express", 1),
        ("bare WSGI", 1),
    ],
)
def test_the_client_comes_back_to_a_session_from_a_401_of(
    kind: str, checks: int, service: Service, simulator: Simulator, make_nginx: MakeNginx
) -> None:
    with behind(kind, service, make_nginx) as address:
        environment = {
            "SERVICE": service.url,
            "BACK_END": address,
            "CHECKS": str(checks),
            "SIMULATOR": simulator.url,
            "APPID": APPID,
        }
        run_node("--test", "between/recovery.test.js", environment=environment)


def test_the_client_comes_back_when_its_server_is_behind_nginx_too(
    nginx: Nginx, simulator: Simulator
) -> None:
    environment = {
        "SERVICE": nginx.login,
        "BACK_END": nginx.shop,
        "CHECKS": "0",
        "SIMULATOR": simulator.url,
        "APPID": APPID,
        "NODE_EXTRA_CA_CERTS": str(nginx.certificate),
    }
    run_node("--test", "between/recovery.test.js", environment=environment)


# The block before an application.


def test_the_application_is_told_who_it_is_and_not_the_token(
    nginx: Nginx, service: Service, simulator: Simulator, application: Trusting
) -> None:
    forged = dict.fromkeys(IDENTITY, "mallory")
    headers = logged_in(service, simulator) | forged
    answer = nginx.http.post(f"{nginx.shop}/orders/html", b"tea", headers=headers, timeout=PATIENCE)
    assert answer.status_code == 200
    told = {name: application.seen.get(name) for name in IDENTITY}
    user = service.send("GET", "/user", headers=headers).json()["id"]
    assert told["X-Wxsession-User"] == user
    assert "mallory" not in told.values()
    assert None not in told.values()
    assert "Authorization" not in application.seen
    assert application.body == b"tea"


def test_the_client_chooses_neither_its_address_nor_the_id_of_its_request(
    nginx: Nginx, service: Service, simulator: Simulator, application: Trusting
) -> None:
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Request-ID": "chosen-by-the-client"}
    url = f"{nginx.shop}/orders/html"
    nginx.http.get(url, headers=logged_in(service, simulator) | forged, timeout=PATIENCE)
    assert application.seen["X-Forwarded-For"] == "6.6.6.6, 127.0.0.1"  # the last one counts
    assert application.seen["X-Request-Id"] != "chosen-by-the-client"
    assert application.seen["Host"] == "127.0.0.1"
    refused = nginx.http.get(url, headers=bearer("x") | forged, timeout=PATIENCE)
    assert refused.status_code == 401
    assert refused.headers["X-Request-ID"] != "chosen-by-the-client"  # as wxsession had it


def test_what_a_login_by_password_does_not_have_is_not_taken_from_the_client(
    nginx: Nginx, service: Service, application: Trusting
) -> None:
    account = {"username": "alice-behind-nginx", "password": "a long password of a test"}
    grant = service.send("POST", "/register", json=account).json()
    forged = dict.fromkeys(IDENTITY, "mallory")
    headers = bearer(grant["session_token"]) | forged
    nginx.http.get(f"{nginx.shop}/orders/html", headers=headers, timeout=PATIENCE)
    told = {name: application.seen.get(name) for name in IDENTITY}
    assert told == dict.fromkeys(IDENTITY) | {
        "X-Wxsession-User": grant["user"]["id"],
        "X-Wxsession-Session": grant["session_id"],
    }


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_our_401_comes_through_with_its_body(
    method: str, nginx: Nginx, service: Service, simulator: Simulator, application: Trusting
) -> None:
    headers = logged_in(service, simulator)
    service.send("POST", "/logout", headers=headers)
    url = f"{nginx.shop}/orders/html?page=2"
    answer = nginx.http.request(method, url, data=b"tea" * 99999, headers=headers, timeout=PATIENCE)
    asked = service.send("GET", "/check_session", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == asked.headers["WWW-Authenticate"]
    if method != "HEAD":
        assert code_of(answer) == "session_ended"
        assert same_for_all(answer.json()) == same_for_all(asked.json())
    assert not application.seen


def test_nobody_gets_in_without_a_session(nginx: Nginx, application: Trusting) -> None:
    forged = dict.fromkeys(IDENTITY, "mallory")
    for headers, code in ((forged, "missing_token"), (bearer("x") | forged, "invalid_token")):
        answer = nginx.http.get(f"{nginx.shop}/orders/html", headers=headers, timeout=PATIENCE)
        assert (answer.status_code, code_of(answer)) == (401, code)
    assert nginx.http.get(f"{nginx.shop}/_wxsession", timeout=PATIENCE).status_code == 404
    assert not application.seen


def test_a_wrong_api_key_of_the_proxy_lets_nobody_in(
    make_nginx: MakeNginx,
    sqlite_url: str,
    simulator: Simulator,
    application: Trusting,
) -> None:
    with Service(sqlite_url, wechat_url=simulator.url, api_keys=f"shop:not-{API_KEY}") as service:
        nginx = make_nginx(service.url)
        headers = logged_in(service, simulator)
        answer = nginx.http.get(f"{nginx.shop}/orders/html", headers=headers, timeout=PATIENCE)
    assert (answer.status_code, code_of(answer)) == (401, "invalid_api_key")
    assert not application.seen
    assert not [name for name in answer.headers if name in IDENTITY]


def test_an_api_key_of_the_proxy_that_is_for_something_else_is_a_503(
    make_nginx: MakeNginx,
    sqlite_url: str,
    simulator: Simulator,
    application: Trusting,
) -> None:
    key = f"shop:{API_KEY}:users"
    with Service(sqlite_url, wechat_url=simulator.url, api_keys=key) as service:
        nginx = make_nginx(service.url)
        headers = logged_in(service, simulator)
        answer = nginx.http.get(f"{nginx.shop}/orders/html", headers=headers, timeout=PATIENCE)
    assert (answer.status_code, code_of(answer)) == (503, "overloaded")
    assert not application.seen


def test_what_the_application_says_itself_is_left_alone(
    nginx: Nginx, service: Service, simulator: Simulator
) -> None:
    headers = logged_in(service, simulator)
    refused = nginx.http.get(f"{nginx.shop}/vip/error", headers=headers, timeout=PATIENCE)
    assert (refused.status_code, refused.json()) == (401, {"error": "unauthorized"})
    broken = nginx.http.get(f"{nginx.shop}/broken/error", headers=headers, timeout=PATIENCE)
    assert (broken.status_code, broken.text) == (500, "the shop is closed")


def test_while_wxsession_is_down_the_answer_is_503(
    make_nginx: MakeNginx, application: Trusting
) -> None:
    nginx = make_nginx(NOWHERE)
    answer = nginx.http.get(f"{nginx.shop}/orders/html", headers=bearer("x"), timeout=PATIENCE)
    assert (answer.status_code, code_of(answer)) == (503, "overloaded")
    assert answer.headers["Retry-After"] == "1"
    assert not application.seen


# The server before wxsession.


def by_https(nginx: Nginx, path: str, method: str = "GET", **asked: Any) -> requests.Response:
    """Return what the server before wxsession says, by the path as it is."""
    request = requests.Request(method, nginx.login, **asked).prepare()
    request.url = nginx.login + path
    return nginx.http.send(request, verify=str(nginx.certificate), timeout=PATIENCE)


def test_the_server_speaks_https_and_says_so(nginx: Nginx) -> None:
    answer = by_https(nginx, "/check_session")
    assert (answer.status_code, code_of(answer)) == (401, "missing_token")
    assert "max-age=" in answer.headers["Strict-Transport-Security"]
    assert "nosniff" in answer.headers["X-Content-Type-Options"]
    assert "/" not in answer.headers["Server"]


def test_without_https_there_is_a_redirect_and_the_way_to_a_certificate(
    nginx: Nginx, tmp_path: Path
) -> None:
    plain = nginx.http.get(f"{nginx.plain}/user?x=1", allow_redirects=False, timeout=PATIENCE)
    assert (plain.status_code, plain.headers["Location"]) == (301, "https://127.0.0.1/user?x=1")
    challenge = tmp_path / ".well-known" / "acme-challenge" / "token"
    challenge.parent.mkdir(parents=True)
    challenge.write_text("proof")
    url = f"{nginx.plain}/.well-known/acme-challenge/token"
    assert nginx.http.get(url, timeout=PATIENCE).text == "proof"


@pytest.mark.parametrize(
    "path",
    [
        *["/mina_auth", "/mina_auth/", "//mina_auth/", "/./mina_auth/", "/%6dina_auth/"],
        *[
            "/x/../mina_auth/",
            "/introspect",
            "/%69ntrospect",
            "/tickets/redeem",
            "/users",
            "/users/01a1fcc0-9674-77c8-9ace-c01a36356919",
            "/events",
            "/wechat/events",
            "/readyz",
            "/openapi.json",
        ],
    ],
)
def test_what_is_for_back_ends_and_probes_is_closed(nginx: Nginx, path: str) -> None:
    for method in ("GET", "POST"):
        answer = by_https(nginx, path, method, json={})
        assert answer.status_code == 404
        assert "problem+json" not in answer.headers["Content-Type"]  # not even asked


def test_logins_from_one_address_are_limited_and_checks_are_not(nginx: Nginx) -> None:
    def log_in(_: int) -> requests.Response:
        return by_https(nginx, "/login", "POST", json={"code": ""})

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(log_in, range(300)))
        checked = list(clients.map(lambda _: by_https(nginx, "/check_session"), range(300)))
    limited = [answer for answer in answers if answer.status_code == 429]
    assert {code_of(answer) for answer in limited} == {"too_many_attempts"}
    assert {answer.headers["Retry-After"] for answer in limited} == {"10"}
    assert {answer.status_code for answer in answers} == {400, 429}
    assert BURST <= len(answers) - len(limited) <= BURST + 10
    assert {answer.status_code for answer in checked} == {401}


def test_slow_clients_hold_no_thread_of_the_service(
    make_nginx: MakeNginx, sqlite_url: str, simulator: Simulator
) -> None:
    few = Gunicorn(workers=1, threads=2)
    with ExitStack() as stack:
        service = Service(sqlite_url, wechat_url=simulator.url, server=few)
        nginx = make_nginx(stack.enter_context(service).url)
        trusting = ssl.create_default_context(cafile=nginx.certificate)
        for _ in range(50):
            plain = socket.create_connection(
                ("127.0.0.1", urlsplit(nginx.login).port), timeout=PATIENCE
            )
            slow = trusting.wrap_socket(stack.enter_context(plain), server_hostname="127.0.0.1")
            stack.enter_context(slow).sendall(
                b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 64\r\n\r\n{"
            )
        for _ in range(10):
            assert by_https(nginx, "/check_session").status_code == 401
