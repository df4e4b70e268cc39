"""What the console's pages consist of: known files, words in both languages, no foreign host."""

import ast
import base64
import hashlib
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.documents import page
from tests.support.service import ROOT
from tests.support.settings import environment
from tests.test_wording import CHINESE_CHARACTER, values_in
from wxsession.console import SCREENS, account, failures, wording
from wxsession.operations.admins.admin import Role
from wxsession.wechat.failures import WITHOUT_REPLY

CONSOLE: Final = ROOT / "wxsession" / "console"
TEMPLATES: Final = sorted((CONSOLE / "templates").glob("*.html"))
VENDORED: Final = {
    "htmx.org-2.0.11/LICENSE": ("hU3SbIwDRi3Fq5qi+gLVwm7zNVOKB3ddD795kmN4Dg7C86VuGoDrWKa/TPGW6BWA"),
    "htmx.org-2.0.11/htmx.min.js": (
        "2OatzQy1H+Zd/IIrjr1TcuDGqLXeHhbooAyJY1KdQMKnr4LZ22k31GBLdYKHmVjg"
    ),
    "pico-2.1.1/LICENSE.md": ("K5/WgppsnT39y6gx17eQ5uAagTf6qibmgVx+v+EGLb1zpf4INzYes0+U/2AmYhHe"),
    "pico-2.1.1/pico.min.css": ("L1dWfspMTHU/ApYnFiMz2QID/PlP1xCW9visvBdbEkOLkSSWsP6ZJWhPw6apiXxU"),
    "uplot-1.6.32/LICENSE": ("LBMwZlHtMnim4BBA9gOI4OOPUI5cNjaxzIZCJRYYEyIykienqB4X7/vxq0t1Ihgd"),
    "uplot-1.6.32/uPlot.iife.min.js": (
        "Gx3t0zdBAuQOuvvmaLZj7HKEiSgWTAs+VdtNY7wt19QDPTDQjFIwAuXDj0zeN00c"
    ),
    "uplot-1.6.32/uPlot.min.css": (
        "IfV0B7MIOYuO95kO9G5ySKPz/85zqFNOAs8iy4tkK5zd9izhJAB8b7lHrwYqqmYE"
    ),
}


def test_what_others_wrote_is_as_they_published_it() -> None:
    folder = CONSOLE / "static" / "vendor"
    found = {
        path.relative_to(folder).as_posix(): base64.b64encode(
            hashlib.sha384(path.read_bytes()).digest()
        ).decode()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == VENDORED


REFUSING: Final = (
    *(
        f"wxsession.console.{name}"
        for name in ("admins", "admission", "events", "forms", "webhooks")
    ),
    *(f"wxsession.operations.admins.{name}" for name in ("passkeys", "register", "signing_in")),
    *(f"wxsession.operations.{name}" for name in ("delivery", "passwords", "session_search")),
    "wxsession.events.search",
)
"""Where it is found what is wrong with a field of a page."""


def said() -> Iterator[str]:
    """Yield every text that pages say."""
    for path in TEMPLATES:
        for double, single in re.findall(
            r"""\bsay\((?:"([^"]*)"|'([^']*)')[,)]""", path.read_text(encoding="utf-8")
        ):
            yield double or single
    for screens in (*SCREENS, account.screens):
        yield from ([screens.title] if screens.title else [])
        yield from screens.says.values()
    for failure in failures.FAILURES.values():
        yield failure.title
        yield failure.cure
    yield from faults()
    yield from WITHOUT_REPLY
    yield "answered {status}"
    yield from wording.REASONS.values()
    yield from wording.HAPPENED.values()
    yield from Role
    yield from ("live", "ended", "expired")


def faults() -> Iterator[str]:
    """Yield every field that a page may find wrong, and what is wrong with it."""
    yield from ("event", "reason", "user", "address", "appid", "actor", "since", "until")
    for name in REFUSING:
        module = importlib.import_module(name)
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            match node:
                case ast.Call(
                    func=ast.Attribute(ast.Name("InvalidRequest"), "of"), args=[field, text]
                ):
                    if isinstance(field, ast.Constant):
                        yield str(field.value)
                    yield eval(ast.unparse(text), vars(module))  # noqa: S307 - with its constants in it


@pytest.mark.parametrize("text", sorted(set(said())))
def test_whatever_the_pages_say_is_there_in_chinese_with_the_same_values(text: str) -> None:
    chinese = wording.say("zh", text)
    assert CHINESE_CHARACTER.search(chinese) or text == "Webhooks"
    assert values_in(chinese) == values_in(text)


def test_every_event_of_the_documents_has_words() -> None:
    rows = page("events").english.read_text(encoding="utf-8").splitlines()
    cells = [row.split("|")[1] for row in rows if row.startswith("| `")]
    documented = {name for cell in cells for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", cell)}
    assert documented
    assert documented == wording.HAPPENED.keys()


def test_no_page_has_a_script_or_a_style_of_its_own_or_a_file_of_somebody_else() -> None:
    for path in TEMPLATES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\sstyle=|\son\w+=|javascript:|hx-on", text), path.name
        for script in re.findall(r"<script([^>]*)>", text):
            assert "src=" in script or 'type="application/json"' in script, path.name
        assert "<style" not in text
        assert not re.search(r"(src|href)=.(https?:)?//", text), path.name
        assert "| safe" not in text
        assert "|safe" not in text


@pytest.mark.parametrize("path", sorted(CONSOLE.glob("*.py")), ids=lambda path: str(path.stem))
def test_the_console_asks_services_and_writes_no_sql(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
    }
    assert not {name for name in imported if name.startswith("sqlalchemy")}
    assert "wxsession.storage.tables" not in imported


LOADED: Final = """
import sys, wsgi
wsgi.app
names = ("wxsession.console", "webauthn", "pyotp", "segno", "OpenSSL")
print(*(name for name in sys.modules if name.startswith(names)))
"""


def test_the_process_of_the_api_loads_nothing_of_the_console(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=ROOT,
        env=environment(f"sqlite:///{tmp_path}/none.db"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.strip() == ""
