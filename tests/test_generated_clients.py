"""Clients of others' generators, made of the OpenAPI page: they compile, and ask as they should."""

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
from flask import Flask

from tests.support.node import CLIENTS, run_node
from tests.support.phone import Phone
from tests.support.service import ROOT, plain_environment
from tests.test_frameworks import install
from wxsession.simulator import WeChat
from wxsession.web.api import ENDPOINTS
from wxsession.web.api.openapi import document

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

CACHE: Final = ROOT / "build" / "generators"
API_KEY: Final = "an-api-key-that-is-made-up-for-tests"
GENERATOR: Final = {
    "private": True,
    "dependencies": {"openapi-typescript": "7.13.0", "typescript": "5.9.3"},
}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return the page with every call, also of those that a setting turns on."""
    path = tmp_path / "openapi.json"
    path.write_text(document(ENDPOINTS, mounted_at="/"), "utf-8")
    return path


def test_openapi_typescript_makes_types_by_which_a_program_compiles(
    page: Path, tmp_path: Path
) -> None:
    install(CACHE, GENERATOR)
    modules = CACHE / "node_modules"
    types = tmp_path / "wxsession.d.ts"
    generate = str(modules / "openapi-typescript/bin/cli.js")
    run_node(generate, str(page), "-o", str(types), environment={})
    program = tmp_path / "generated.ts"
    program.write_text((CLIENTS / "types" / "generated.ts").read_text("utf-8"), "utf-8")
    compiler = str(modules / "typescript/bin/tsc")
    strict = ["--noEmit", "--strict", "--target", "es2022", "--module", "esnext"]
    run_node(compiler, *strict, "--moduleResolution", "bundler", str(program), environment={})


def test_openapi_python_client_makes_a_client_that_finds_a_user(
    page: Path, tmp_path: Path, make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    folder = tmp_path / "generated"
    generate = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    said = subprocess.run(
        [*generate, "--path", str(page), "--output-path", str(folder)],
        env=plain_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    ).stdout
    # WeChat sends it, in XML as well, and nobody else.
    assert set(re.findall("WARNING parsing (.*) within", said)) == {"POST /wechat/push/{appid}"}
    generated = package("generated", folder)
    find_user = importlib.import_module("generated.api.users.find_user")

    app = make_app(api_keys=f"shop:{API_KEY}:users")
    phone = Phone(app, wechat, "alice")
    user_id = UUID(phone.log_in().json["user"]["id"])
    transport = httpx.WSGITransport(app=app)
    client = generated.AuthenticatedClient(
        "http://localhost", API_KEY, httpx_args={"transport": transport}
    )
    found = find_user.sync(user_id, client=client)
    assert (found.id, found.phone_number, len(found.identities)) == (user_id, None, 1)
    assert find_user.sync(UUID(int=1), client=client).code == "not_found"


def package(name: str, folder: Path) -> Any:
    """Return the package in a folder, imported under this name."""
    spec = spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
