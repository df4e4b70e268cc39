"""What others install: a wheel with all that it needs, tried in an environment with nothing else.

The developer's application is the one that docs/en/flask.md shows, and WeChat is the simulator out
of the same wheel. Nothing of this checkout can be imported there.
"""

import email
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import requests

from tests.support.documents import block_with
from tests.support.service import ROOT, free_port, plain_environment
from tests.support.settings import environment

pytestmark = pytest.mark.long

_PATIENCE: Final = 60.0


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel, in a folder that has the developer's application."""

    folder: Path

    @property
    def bin(self) -> Path:
        """Where its programs are."""
        return self.folder / "environment" / "bin"

    def flask(self, app: str, *arguments: str) -> list[str]:
        """Return how its flask command is called."""
        return [str(self.bin / "flask"), "--app", app, *arguments]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return an environment with the wheel and what it depends on, and the documents' `shop.py`."""
    there = Installed(tmp_path_factory.mktemp("developer"))
    new = [sys.executable, "-m", "venv", "--without-pip", str(there.bin.parent)]
    subprocess.run(new, check=True, timeout=60)
    pip(
        *("--python", str(there.bin / "python")),
        *("install", "-c", str(ROOT / "constraints.txt"), str(wheel)),
    )
    shop = block_with("WxSession(app)", "python")
    (there.folder / "shop.py").write_text(shop, encoding="utf-8")
    return there


def test_the_wheel_holds_the_package_and_its_migrations_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {name for name in names if name.startswith("wxsession/")}
    assert {
        "wxsession/py.typed",
        "wxsession/simulator/http.py",
        "wxsession/migrations/env.py",
        "wxsession/migrations/script.py.mako",
    } <= package
    here = {path.name for path in (ROOT / "migrations" / "versions").glob("*.py")}
    there = {Path(name).name for name in package if "/migrations/versions/" in name}
    assert here == there
    rest = names - package
    assert all(name.split("/")[0].endswith(".dist-info") for name in rest), rest
    assert any(name.endswith("/licenses/LICENSE") for name in rest)
    assert not any("__pycache__" in name for name in names)


def test_the_wheel_says_where_the_project_is(wheel: Path) -> None:
    files = zipfile.ZipFile(wheel)
    (name,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
    said = email.message_from_bytes(files.read(name))
    urls = dict(url.split(", ") for url in said.get_all("Project-URL", []))
    assert urls.keys() == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert all(url.startswith("https://github.com/wxsession/wxsession") for url in urls.values())
    assert "example.org" not in str(said)
    classifiers = set(said.get_all("Classifier", []))
    assert {
        "Framework :: Flask",
        "Typing :: Typed",
        "Operating System :: OS Independent",
    } < classifiers


def test_a_wheel_serves_a_developers_own_application(installed: Installed) -> None:
    wechat, shop = free_port(), free_port()
    settings = plain_environment() | environment(
        f"sqlite:///{installed.folder / 'shop.db'}", wechat_url=f"http://127.0.0.1:{wechat}"
    )
    run(installed.flask("shop", "upgrade-database"), installed.folder, settings)
    simulated = installed.flask("wxsession.simulator", "run", "--port", str(wechat))
    served = installed.flask("shop", "run", "--port", str(shop))
    with (
        serving(simulated, installed.folder, settings, wechat, "/simulator/exchanges"),
        serving(served, installed.folder, settings, shop, "/readyz"),
        requests.Session() as http,
    ):
        http.trust_env = False
        code = http.post(f"http://127.0.0.1:{wechat}/simulator/login", timeout=30).json()["code"]
        grant = http.post(f"http://127.0.0.1:{shop}/login", json={"code": code}, timeout=30).json()
        orders = f"http://127.0.0.1:{shop}/orders"
        refused = http.get(orders, timeout=30)
        bearer = {"Authorization": f"Bearer {grant['session_token']}"}
        answered = http.get(orders, headers=bearer, timeout=30)
    assert refused.status_code == 401
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert refused.json()["code"] == "missing_token"
    assert answered.status_code == 200, answered.text
    assert answered.json() == {"orders_of": grant["user"]["id"]}


def test_an_installed_wheel_is_not_this_checkout(installed: Installed) -> None:
    where = "import wxsession.storage.migrate as s; print(s.__file__); print(s.migrations_path())"
    printed = run([str(installed.bin / "python"), "-c", where], installed.folder)
    for line in printed.splitlines():
        assert Path(line).is_relative_to(installed.folder)
        assert "site-packages" in line


def pip(*arguments: str) -> None:
    """Run pip, with the machine's own configuration."""
    quiet = ("--quiet", "--disable-pip-version-check")
    run([sys.executable, "-m", "pip", *quiet, *arguments], ROOT, os.environ)


def run(command: list[str], folder: Path, environ: Mapping[str, str] | None = None) -> str:
    """Return what the program prints; it has to succeed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=plain_environment() if environ is None else environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def serving(
    command: list[str], folder: Path, environ: Mapping[str, str], port: int, alive: str
) -> Iterator[None]:
    """Run a server until the block ends; it is asked to go, and killed if it does not."""
    log = folder / f"{port}.log"
    with (
        log.open("wb") as file,
        subprocess.Popen(command, cwd=folder, env=environ, stdout=file, stderr=file) as server,
    ):
        try:
            await_answer(server, f"http://127.0.0.1:{port}{alive}", log)
            yield
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def await_answer(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return as soon as the server answers."""
    deadline = time.monotonic() + _PATIENCE
    with requests.Session() as http:
        http.trust_env = False
        while time.monotonic() < deadline and server.poll() is None:
            with suppress(requests.RequestException):
                if http.get(url, timeout=2).ok:
                    return
            time.sleep(0.05)
    pytest.fail(f"it does not serve:\n{log.read_text(errors='replace')}")
