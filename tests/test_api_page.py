"""The API page: there where it is asked for, made of known files, and alone with its server."""

import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from flask import Flask

from tests.support.phone import problem
from tests.support.service import ROOT

FILES: Final = ROOT / "wxsession" / "web" / "api" / "swagger_ui"
OF_5_35_0: Final = {
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui-bundle.js.LICENSE.txt": (
        "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb"
    ),
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}
ITS_FILES: Final = {
    "docs/swagger-ui.css": "text/css",
    "docs/swagger-ui-bundle.js": "text/javascript",
    "docs/start.js": "text/javascript",
}
MakeApp = Callable[..., Flask]


def test_the_files_of_swagger_ui_are_those_of_its_release_and_no_others() -> None:
    found = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in FILES.iterdir()}
    assert found == OF_5_35_0
    assert "Apache License" in (FILES / "LICENSE").read_text("utf-8")


def test_nobody_gets_the_page_who_has_not_asked_for_it(app: Flask) -> None:
    for path in ("/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js"):
        assert problem(app.test_client().get(path)) == (404, "not_found", None)


@pytest.mark.parametrize("prefix", ["", "/auth"])
def test_the_page_loads_its_files_and_the_description_from_its_own_server_alone(
    make_app: MakeApp, prefix: str
) -> None:
    client = make_app(api_page="on", url_prefix=prefix).test_client()
    page = client.get(f"{prefix}/docs")
    assert (page.status_code, page.mimetype) == (200, "text/html")
    linked = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert sorted(linked) == sorted([*ITS_FILES, "data:,"])
    for path, media_type in ITS_FILES.items():
        answer = client.get(f"{prefix}/{path}")  # as a browser resolves it against the page
        assert (answer.status_code, answer.mimetype) == (200, media_type)
    start = client.get(f"{prefix}/docs/start.js").text
    assert "url: 'openapi.json'" in start
    assert "validatorUrl: null" in start
    assert client.get(f"{prefix}/openapi.json").status_code == 200


def test_the_policy_is_that_of_the_page_alone_and_lets_no_foreign_host_in(
    make_app: MakeApp,
) -> None:
    client = make_app(api_page="on").test_client()
    policy: Any = client.get("/docs").headers["Content-Security-Policy"]
    sources = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert sources["default-src"] == "'none'"
    assert sources["script-src"] == sources["connect-src"] == "'self'"
    assert sources["frame-ancestors"] == "'none'"
    assert "http" not in policy
    for path in ("/openapi.json", "/healthz", "/docs/start.js"):
        assert "Content-Security-Policy" not in client.get(path).headers
