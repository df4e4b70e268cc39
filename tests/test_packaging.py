"""What others install: a wheel with all that it needs, tried in an environment with nothing else.

The developer's application is the one that docs/en/flask.md shows, and WeChat is the simulator out
of the same wheel. Nothing of this checkout can be imported there.
"""

import email
import json
import zipfile
from pathlib import Path

import pytest

from tests.support.demo import pasted, started
from tests.support.documents import block_with
from tests.support.installed import Installed, InstalledServer, install
from tests.support.service import ROOT, Simulator
from tests.support.settings import environment

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return an environment with the wheel and what it depends on, and the documents' `shop.py`."""
    there = install(tmp_path_factory.mktemp("developer"), str(wheel))
    shop = block_with("wxsession = WxSession(app)", "python")
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
    simulator = InstalledServer(installed, "wxsession.simulator", Simulator.alive, environment(""))
    settings = environment(f"sqlite:///{installed.folder / 'shop.db'}", wechat_url=simulator.url)
    installed.run(*installed.flask("shop", "wxsession", "upgrade-database"), **settings)
    with simulator, InstalledServer(installed, "shop", "/auth/readyz", settings) as shop:
        code = shop.http.post(f"{simulator.url}/simulator/login", timeout=30).json()["code"]
        grant = shop.http.post(f"{shop.url}/auth/login", json={"code": code}, timeout=30).json()
        refused = shop.http.get(f"{shop.url}/orders", timeout=30)
        bearer = {"Authorization": f"Bearer {grant['session_token']}"}
        answered = shop.http.get(f"{shop.url}/orders", headers=bearer, timeout=30)
    assert refused.status_code == 401
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert refused.json()["code"] == "missing_token"
    assert answered.status_code == 200, answered.text
    assert answered.json() == {"orders_of": grant["user"]["id"]}


def test_a_wheel_runs_the_demo(installed: Installed) -> None:
    demo = (str(installed.bin / "python"), "-m", "wxsession", "demo")
    with started(installed.folder, *demo) as (printed, _):
        granted, *_, refused = pasted(printed)
    assert json.loads(granted)["user"]["new"]
    assert json.loads(refused)["code"] == "session_ended"


def test_an_installed_wheel_is_not_this_checkout(installed: Installed) -> None:
    where = "import wxsession.storage.migrate as s; print(s.__file__); print(s.migrations_path())"
    printed = installed.run(str(installed.bin / "python"), "-c", where)
    for line in printed.splitlines():
        assert Path(line).is_relative_to(installed.folder)
        assert "site-packages" in line
