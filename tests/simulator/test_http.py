"""`flask --app wxsession.simulator run`, for real."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import requests
from click import UsageError

from tests.simulator.support import FIRST, SECOND, login_query, token_body
from wxsession.simulator import create_app

APPS = f"{FIRST}:secret-one, {SECOND}:with:colon"


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flask", "--app", "wxsession.simulator", *arguments]


@contextmanager
def running(port: int) -> Iterator[None]:
    """Run the server until the block ends; terminate it, and kill it if it does not end."""
    with subprocess.Popen(
        command("run", "--host", "127.0.0.1", "--port", str(port)),
        env={**os.environ, "WXSESSION_APPS": APPS},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            yield
        finally:
            server.terminate()
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(port):
        for _ in range(150):
            try:
                requests.get(f"{url}/simulator/exchanges", timeout=2)
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield url


def order(url: str, **fault: str | int) -> None:
    requests.post(f"{url}/simulator/fail_next", json=fault, timeout=5).raise_for_status()


def login(url: str, **body: str) -> dict[str, str]:
    answer = requests.post(f"{url}/simulator/login", json=body, timeout=5).json()
    return login_query(answer["code"])


def exchange(url: str, query: dict[str, str], timeout: float = 5) -> requests.Response:
    return requests.get(f"{url}/sns/jscode2session", params=query, timeout=timeout)


def test_a_whole_login_over_http(url: str) -> None:
    query = login(url, user="alice")
    response = exchange(url, query)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain"
    assert set(response.json()) == {"session_key", "openid"}
    assert exchange(url, query).json()["errcode"] == 40163


def test_a_secret_may_have_a_colon(url: str) -> None:
    query = login(url, appid=SECOND)
    query |= {"appid": SECOND, "secret": "with:colon"}
    assert "openid" in exchange(url, query).json()


def test_a_whole_phone_number_over_http(url: str) -> None:
    token = requests.post(f"{url}/cgi-bin/stable_token", json=token_body(), timeout=5).json()
    code = requests.post(f"{url}/simulator/phone_code", timeout=5).json()
    response = requests.post(
        f"{url}/wxa/business/getuserphonenumber",
        params={"access_token": token["access_token"]},
        json=code,
        timeout=5,
    )
    assert response.headers["Content-Type"] == "application/json; encoding=utf-8"
    assert response.json()["phone_info"]["countryCode"] == "86"


def test_a_body_of_unknown_length_is_refused(url: str) -> None:
    response = requests.post(f"{url}/cgi-bin/stable_token", data=iter([b"{", b"}"]), timeout=5)
    assert (response.status_code, response.content) == (412, b"")


@pytest.mark.parametrize("fault", ["CONNECTION_REFUSED", "CONNECTION_RESET"])
def test_a_connection_breaks_without_an_answer(url: str, fault: str) -> None:
    query = login(url)
    order(url, fault=fault)
    with pytest.raises(requests.ConnectionError, match="aborted"):
        exchange(url, query)
    again = exchange(url, query).json()
    assert again.get("errcode") == (40163 if fault == "CONNECTION_RESET" else None)


def test_an_answer_that_never_comes_is_a_read_timeout(url: str) -> None:
    query = login(url)
    order(url, fault="TIMEOUT_AFTER_EXCHANGE")
    with pytest.raises(requests.ReadTimeout):
        exchange(url, query, timeout=0.3)
    assert exchange(url, query).json()["errcode"] == 40163


def test_a_drip_comes_a_byte_at_a_time(url: str) -> None:
    query = login(url)
    order(url, fault="DRIP")
    with requests.get(
        f"{url}/sns/jscode2session", params=query, timeout=5, stream=True
    ) as response:
        assert response.raw.read1(1024) == b" "


def test_a_huge_answer_arrives(url: str) -> None:
    order(url, fault="HUGE")
    assert len(exchange(url, login(url), timeout=20).content) > 16 * 1024 * 1024


def test_the_factory_serves_the_apps_of_the_environment() -> None:
    http = create_app({"WXSESSION_APPS": APPS}).test_client()
    code = http.post("/simulator/login").get_json()["code"]
    answer = http.get("/sns/jscode2session", query_string=login_query(code)).get_json(force=True)
    assert set(answer) == {"session_key", "openid"}, "an app is not bound unless a test binds it"


def test_without_apps_there_is_no_application() -> None:
    environments = [{}, *({"WXSESSION_APPS": apps} for apps in ("", FIRST, "appid:,:very-secret"))]
    for environ in environments:
        with pytest.raises(UsageError, match="WXSESSION_APPS") as raised:
            create_app(environ)
        assert "very-secret" not in str(raised.value)


def test_with_malformed_apps_the_server_does_not_start() -> None:
    ended = subprocess.run(
        command("run", "--host", "127.0.0.1", "--port", str(free_port())),
        env={**os.environ, "WXSESSION_APPS": "appid:,:very-secret"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert "WXSESSION_APPS" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "very-secret" not in ended.stderr
