"""The example mini-program: installed as its README says, shown on a phone, with real servers."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node import CLIENTS, run_node
from tests.support.service import ROOT, Service, Simulator, plain_environment
from tests.support.settings import APPID

SERVICE = "https://login.example.com"
SIMULATOR = "http://127.0.0.1:8001"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return the example after `npm install`, beside the package that it installs."""
    copy = tmp_path / "miniprogram"
    left_behind = shutil.ignore_patterns("node_modules", "miniprogram_npm", "example-*")
    shutil.copytree(ROOT / "miniprogram", copy, ignore=left_behind)
    example = copy / "example"
    subprocess.run(
        ["npm", "install", "--offline", "--no-audit", "--no-fund", "--silent"],
        cwd=example,
        env=plain_environment(),
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    return example


@pytest.fixture
def services(sqlite_url: str) -> Iterator[tuple[Simulator, Service]]:
    """Return a WeChat, and a service that asks it."""
    with Simulator() as wechat, Service(sqlite_url, wechat_url=wechat.url) as service:
        yield wechat, service


def test_the_example_works(installed: Path, services: tuple[Simulator, Service]) -> None:
    wechat, service = services
    replace(installed / "session.js", SERVICE, service.url)
    replace(installed / "simulated.js", SIMULATOR, wechat.url)
    tests = sorted(path.relative_to(CLIENTS) for path in CLIENTS.glob("example/*.test.js"))
    assert tests
    run_node(
        "--test",
        *map(str, tests),
        environment={
            "EXAMPLE": str(installed),
            "SIMULATOR": wechat.url,
            "SERVICE": service.url,
            "APPID": APPID,
        },
    )


def replace(path: Path, address: str, ours: str) -> None:
    """Change an address where a developer changes it."""
    text = path.read_text("utf-8")
    assert text.count(address) == 1
    path.write_text(text.replace(address, ours), "utf-8")
