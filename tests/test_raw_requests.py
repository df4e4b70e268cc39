"""Requests that no HTTP library sends, byte by byte to the service behind each server."""

import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import Final

import pytest

from tests.support.service import Service
from tests.support.wsgi_servers import Granian, Gunicorn, WsgiServer
from wxsession.web.bodies import LONGEST_BODY

KEY: Final = "an-api-key-that-is-made-up-for-tests"
DIALECTS: Final = ["/onLogin", "/api/fetch_code", "/api/login", "/mina_auth/"]
PATIENCE: Final = 30


@pytest.fixture(scope="module", params=[Gunicorn, Granian])
def server(request: pytest.FixtureRequest) -> WsgiServer:
    """Return what runs the service."""
    kind: type[WsgiServer] = request.param
    return kind(workers=1)


@pytest.fixture(scope="module")
def shop(
    migrated_file: Path, tmp_path_factory: pytest.TempPathFactory, server: WsgiServer
) -> Iterator[Service]:
    """Return an application with our calls, every dialect and a view of its own."""
    path = tmp_path_factory.mktemp("shop") / "wxsession.db"
    shutil.copy(migrated_file, path)
    with Service(
        f"sqlite:///{path}",
        server=server,
        module="tests.support.shop:app",
        dialects="all",
        api_keys=f"shop:{KEY}",
    ) as running:
        yield running


@pytest.fixture(scope="module")
def with_body(shop: Service) -> list[tuple[str, str]]:
    """Return method and path of every call that reads a body."""
    paths = shop.send("GET", "/openapi.json").json()["paths"]
    own = [
        (method.upper(), path)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if "requestBody" in operation
    ]
    return [*own, *(("POST", path) for path in DIALECTS)]


def converse(shop: Service, *sent: bytes) -> tuple[int, str]:
    """Send these bytes and no more; return the status and the body of the answer."""
    with socket.create_connection(("127.0.0.1", shop.port), timeout=PATIENCE) as connection:
        connection.sendall(b"".join(sent))
        if not sent[-1].endswith(b"\r\n\r\n"):  # something is missing, and will not come
            with suppress(OSError):  # who does not need it has answered, and closed
                connection.shutdown(socket.SHUT_WR)
        answer = HTTPResponse(connection)
        answer.begin()
        body = answer.read().decode()
        after = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 200 OK" not in after  # nothing in a body is taken for a request
    return answer.status, body


def head(method: str, path: str, *headers: str) -> bytes:
    kind = "application/x-www-form-urlencoded" if path == "/introspect" else "application/json"
    same = ["Host: shop", "Connection: close", f"Content-Type: {kind}"]
    lines = [f"{method} {path} HTTP/1.1", *same, *headers]
    if path in {"/introspect", "/mina_auth/", "/tickets/redeem", "/wechat/events"}:
        lines.append(f"Authorization: Bearer {KEY}")
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def send_chunked(shop: Service, method: str, path: str, body: bytes) -> tuple[int, str]:
    return converse(shop, head(method, path, "Transfer-Encoding: chunked"), body)


BROKEN: Final = {
    "a length that is none": b"zz\r\nabc",
    "no length": b"\r\n",
    "a negative length": b"-1\r\n",
    "a chunk that is cut": b"10\r\n{}",
    "no end of a chunk": b'2\r\n{}{"code": "a"}\r\n0\r\n\r\n',
    "no last chunk": chunk(b"{}"),
    "a broken chunk after a good one": chunk(b'{"code": "a"}') + b"xx\r\n",
    "a request behind a broken chunk": b"zz\r\nGET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_a_broken_chunk_is_a_bad_request_to_every_call(
    shop: Service, server: WsgiServer, with_body: list[tuple[str, str]], body: bytes
) -> None:
    for method, path in with_body:
        status, told = send_chunked(shop, method, path, body)
        if isinstance(server, Granian):  # which ends the body there, and says nothing
            assert 200 <= status < 500, (path, told)
        elif path == "/mina_auth/":
            assert (status, json.loads(told)["returnCode"]) == (200, 1007)
        else:
            assert (status, "invalid_request" in told) == (400, True), (path, told)
    assert "unforeseen" not in shop.log.read_text()


@pytest.mark.parametrize("body", [b"", b"{}", b'{"code": "a"}', b"token=a"])
def test_a_body_that_ends_too_early_is_a_bad_request_to_every_call(
    shop: Service, with_body: list[tuple[str, str]], body: bytes
) -> None:
    for method, path in with_body:
        announced = f"Content-Length: {len(body) + 1}"
        status, told = converse(shop, head(method, path, announced), body)
        if path == "/mina_auth/":
            assert (status, json.loads(told)["returnCode"]) == (200, 1007)
        else:
            assert (status, "invalid_request" in told) == (400, True), (path, told)


def test_what_is_too_long_in_chunks_is_refused_and_never_cut(
    shop: Service, with_body: list[tuple[str, str]]
) -> None:
    start = b'{"code": "", "session_id": "", "interface": {"interfaceName": "", "para": {}}}'
    longest = start.ljust(LONGEST_BODY)
    for method, path in with_body:
        fits = send_chunked(shop, method, path, chunk(longest) + b"0\r\n\r\n")
        for too_long in (
            chunk(longest + b" ") + b"0\r\n\r\n",
            chunk(longest) + chunk(b"THIS IS NOT JSON") + b"0\r\n\r\n",
            chunk(longest) * 3 + b"0\r\n\r\n",
        ):
            status, told = send_chunked(shop, method, path, too_long)
            if path == "/mina_auth/":
                assert "The body is too large." in told
                assert "The body is too large." not in fits[1]
            else:
                assert (status, "content_too_large" in told) == (413, True), (path, told)
                assert fits[0] in {400, 401}, (path, fits)


def test_chunks_are_read_as_any_other_body(shop: Service) -> None:
    body = chunk(b'{"username": "ali') + chunk(b'ce", "password": "correct horse battery"}')
    assert send_chunked(shop, "POST", "/register", body + b"0\r\n\r\n")[0] == 201


@pytest.mark.parametrize("body", [*BROKEN.values(), chunk(b'{"session_id": "a"}') + b"0\r\n\r\n"])
def test_a_guarded_view_looks_for_no_token_in_chunks(shop: Service, body: bytes) -> None:
    status, told = send_chunked(shop, "POST", "/orders", body)
    assert (status, json.loads(told)["code"]) == (401, "missing_token")


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/x/healthz", "SCRIPT_NAME: /x", 404),
        ("/nothing", "PATH_INFO: /healthz", 404),
        ("/healthz", "SCRIPT_NAME: /zzz", 200),
        ("/healthz", "PATH_INFO: /nothing", 200),
    ],
)
def test_no_header_changes_the_path(shop: Service, path: str, header: str, status: int) -> None:
    assert converse(shop, head("GET", path, header))[0] == status
