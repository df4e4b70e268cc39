"""The examples for uni-app and Taro: built by the real tool chains, and run against a service."""

import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.node import CLIENTS, run_node
from tests.support.service import ROOT, Service, Simulator, free_port, plain_environment
from tests.support.settings import APPID

PACKAGE: Final = ROOT / "miniprogram"
CACHE: Final = ROOT / "build" / "frameworks"  # some hundred megabytes that need not come twice
BROWSER: Final = {"private": True, "dependencies": {"jsdom": "26.1.0"}}

ADDRESS: Final = "baseUrl: 'https://login.example.com',"
HAND_OUT: Final = "\nglobalThis.wxsession = wxs\n"

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture
def services(sqlite_url: str) -> Iterator[tuple[Simulator, Service]]:
    """Return a WeChat, and a service that asks it."""
    with (
        Simulator() as wechat,
        Service(sqlite_url, wechat_url=wechat.url, registration_limit="0") as service,
    ):
        yield wechat, service


def test_uni_app_logs_in_requests_and_uploads(services: tuple[Simulator, Service]) -> None:
    port = free_port()
    install(CACHE / "browser", BROWSER)
    folder = prepared("example-uni-app", services[1].url, port)
    compile_types(folder, "uni.ts", "@dcloudio/types")
    tool = ["node_modules/@dcloudio/vite-plugin-uni/bin/uni.js", "build"]
    for kind, options in {"mp-weixin": ["-p", "mp-weixin"], "h5": []}.items():
        build(folder, *tool, *options)
        run(kind, folder / "dist" / "build" / kind, services, port)


def test_taro_logs_in_requests_and_uploads(services: tuple[Simulator, Service]) -> None:
    port = free_port()
    folder = prepared("example-taro", services[1].url, port)
    compile_types(folder, "taro.ts", "")
    build(folder, "node_modules/@tarojs/cli/bin/taro", "build", "--type", "weapp")
    run("weapp", folder / "dist", services, port)


def prepared(example: str, service: str, files_port: int) -> Path:
    """Return the example with its packages, as a developer has it who wrote these addresses."""
    folder = CACHE / example
    manifest = json.loads((PACKAGE / example / "package.json").read_text("utf-8"))
    assert manifest["dependencies"].pop("wxsession-miniprogram") == "file:.."
    install(folder, manifest)
    install_ours(folder)
    shutil.rmtree(folder / "dist", ignore_errors=True)
    for path in (PACKAGE / example).iterdir():
        if path.is_dir() and path.name not in {"node_modules", "dist"}:
            shutil.rmtree(folder / path.name, ignore_errors=True)
            shutil.copytree(path, folder / path.name)
        elif path.is_file() and path.name != "package.json":
            shutil.copy(path, folder)
    session = folder / "src" / "session.js"
    text = session.read_text("utf-8")
    assert text.count(ADDRESS) == 1
    ours = f"baseUrl: '{service}', origins: ['http://127.0.0.1:{files_port}'],"
    session.write_text(text.replace(ADDRESS, ours) + HAND_OUT, "utf-8")
    return folder


def install(folder: Path, manifest: dict[str, object]) -> None:
    """Install the packages of this manifest into a folder, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(manifest, indent=2)
    stamp = folder / "node_modules" / f".installed-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if not stamp.exists():
        (folder / "package.json").write_text(text, "utf-8")
        call("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", cwd=folder)
        stamp.touch()


def install_ours(folder: Path) -> None:
    """Install the client as its package has it."""
    ours = folder / "node_modules" / "wxsession-miniprogram"
    shutil.rmtree(ours, ignore_errors=True)
    packed = folder / call("npm", "pack", str(PACKAGE), "--silent", cwd=folder).split()[-1]
    with tarfile.open(packed) as archive:
        archive.extractall(folder / "node_modules", filter="data")
    (folder / "node_modules" / "package").rename(ours)
    packed.unlink()


def compile_types(folder: Path, program: str, types: str) -> None:
    """Compile a program where our types meet those of the framework."""
    shutil.copy(CLIENTS / "types" / program, folder)
    compiler = "node_modules/typescript/bin/tsc"
    checks = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2017", "--lib", "es2017,dom"]
    found = ["--module", "esnext", "--moduleResolution", "bundler", "--types", types]
    where = ["--typeRoots", str(folder / "node_modules")]
    arguments = [compiler, "--ignoreConfig", *checks, *found, *where, str(folder / program)]
    run_node(*arguments, environment={})


def build(folder: Path, *arguments: str) -> None:
    """Run a tool chain as `npm run build:…` does."""
    call("node", *arguments, cwd=folder, NODE_ENV="production")


def run(kind: str, built: Path, services: tuple[Simulator, Service], files_port: int) -> None:
    """Run the promises of the client in what was built."""
    wechat, service = services
    run_node(
        "--experimental-vm-modules",  # those of a browser
        "--test",
        "frameworks/built.test.js",
        environment={
            "BUILT": str(built),
            "TOOLS": str(CACHE / "browser"),
            "KIND": kind,
            "FILES_PORT": str(files_port),
            "SIMULATOR": wechat.url,
            "SERVICE": service.url,
            "APPID": APPID,
        },
    )


def call(*command: str, cwd: Path, **environment: str) -> str:
    """Return what a program prints; it has to succeed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=plain_environment() | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout
