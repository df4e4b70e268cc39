"""Our own client of mini-programs: its promises, its size, its syntax, its types, its package."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.node import CLIENTS, run_node
from tests.support.service import ROOT, Service, Simulator, plain_environment
from tests.support.settings import APPID
from wxsession.web.problems import PROBLEM_TYPES

PACKAGE: Final = ROOT / "miniprogram"
SOURCES: Final = sorted(str(path) for path in (PACKAGE / "lib").glob("*.js"))
CORE: Final = ["addresses", "core", "errors", "platform", "store"]
SMALL: Final = 8192
SMALL_ENOUGH: Final = 14 * 1024
MANY: Final = 200


LOST_ANSWERS: Final = "lost-answers.test.js"
PROMISES: Final = sorted(path.name for path in (CLIENTS / "session").glob("*.test.js"))

SOCIABLE: Final = {
    "registration_limit": "0",  # everybody here has one address
    "device_login": "on",
    "ticket_audiences": "https://shop.example.com",
    "api_keys": "shop:an-api-key-that-is-made-up-for-tests",
}
SHORT_LIVED: Final = {"idle_timeout": "2s", "touch_interval": "0s"}
CAPPED: Final = {"idle_timeout": "4s", "absolute_timeout": "5s", "touch_interval": "0s"}


@contextmanager
def serving(database_url: str, **kinds: Mapping[str, object]) -> Iterator[dict[str, str]]:
    """Start a WeChat and a service of each kind; yield where they are."""
    with ExitStack() as stack:
        simulator = stack.enter_context(Simulator())
        services = {
            name: Service(database_url, wechat_url=simulator.url, **settings)  # type: ignore[arg-type]
            for name, settings in kinds.items()
        }
        for service in services.values():
            stack.callback(service.stop)
            service.launch()
        for service in services.values():
            service.await_answer()
        urls = {name: service.url for name, service in services.items()}
        codes = ",".join(PROBLEM_TYPES)
        yield {**urls, "SIMULATOR": simulator.url, "APPID": APPID, "CODES": codes}


@pytest.fixture(scope="module")
def servers(
    migrated_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Return where a service, two whose sessions do not live long, and a WeChat are."""
    path = shutil.copy(migrated_file, tmp_path_factory.mktemp("miniprogram"))
    url = f"sqlite:///{path}"
    with serving(url, SERVICE=SOCIABLE, SHORT_LIVED=SHORT_LIVED, CAPPED=CAPPED) as urls:
        yield urls


@pytest.mark.parametrize("promises", [name for name in PROMISES if name != LOST_ANSWERS])
def test_the_client_keeps_its_promises(servers: dict[str, str], promises: str) -> None:
    run_node("--test", f"session/{promises}", environment=servers)


# The next two move WeChat's clock, since it allows a user a hundred logins a minute.


@pytest.mark.long
def test_no_lost_answer_logs_a_user_out(
    sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(sqlite_url, SHORT_LIVED=SHORT_LIVED) as urls:
        said = run_node("--test", f"session/{LOST_ANSWERS}", environment=urls)
    seed = next(line for line in said.splitlines() if line.startswith("# seed"))
    with capsys.disabled():
        print(f"\n{LOST_ANSWERS}: {seed}")


@pytest.mark.long
def test_a_storm_costs_one_login(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    # The old client logs in once for each request; the default cap would end most of its sessions.
    with serving(sqlite_url, PATIENT={"max_sessions": 2 * MANY}) as urls:
        said = run_node("session/storm.js", str(MANY), environment=urls)
    table, figures = said.rstrip().rsplit("\n", 1)
    with capsys.disabled():
        print(f"\n{table}")
    ours, old = json.loads(figures)
    assert ours["wx.login calls"] == ours["login calls"] == 1
    assert ours["requests sent"] == ours["answered"] == MANY
    assert old["wx.login calls"] == old["login calls"] > MANY / 2
    assert old["answered"] == MANY


def test_it_is_small_and_its_syntax_is_that_of_es2015() -> None:
    measured = json.loads(run_node("session/measure.js", *SOURCES, environment={}))
    sizes = {Path(path).stem: size for path, size in measured.items()}
    assert len(sizes) == len(SOURCES)
    assert sum(sizes[name] for name in CORE) < SMALL
    beside = {"alipay", "zh"}  # loaded only by those that ask for them
    assert sum(size for name, size in sizes.items() if name not in beside) < SMALL_ENOUGH


def test_the_core_needs_nothing_of_the_rest() -> None:
    sources = [(PACKAGE / "lib" / f"{name}.js").read_text("utf-8") for name in CORE]
    needed = {name for source in sources for name in re.findall(r"require\('./(\w+)'\)", source)}
    assert needed <= set(CORE)


@pytest.mark.parametrize("checked", ["skipLibCheck", "whole"])
@pytest.mark.parametrize("resolution", ["node16", "bundler"])
@pytest.mark.parametrize("platform", [None, "miniprogram-api-typings"])
def test_the_types_allow_what_is_meant_and_nothing_else(
    tmp_path: Path, platform: str | None, resolution: str, checked: str
) -> None:
    modules = tmp_path / "node_modules"
    package = modules / "wxsession-miniprogram"
    package.mkdir(parents=True)
    shutil.copytree(PACKAGE / "lib", package / "lib")
    shutil.copy(PACKAGE / "package.json", package)
    shutil.copy(CLIENTS / "types" / "calls.ts", tmp_path)
    if platform:
        shutil.copytree(CLIENTS / "node_modules" / platform, modules / platform)
        shutil.copy(CLIENTS / "types" / "platforms.ts", tmp_path)
    options = {
        "target": "es2017",
        "lib": ["es2017"],
        "module": "node16" if resolution == "node16" else "esnext",
        "moduleResolution": resolution,
        "types": [platform] if platform else [],
        "strict": True,
        "exactOptionalPropertyTypes": True,
        "skipLibCheck": checked == "skipLibCheck",
        "noEmit": True,
    }
    config = {"compilerOptions": options, "include": ["*.ts"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    run_node("node_modules/typescript/bin/tsc", "-p", str(tmp_path), environment={})


def test_the_package_holds_what_it_should(tmp_path: Path) -> None:
    packed = subprocess.run(
        ["npm", "pack", "--dry-run", "--json", "--offline", "--cache", str(tmp_path)],
        cwd=PACKAGE,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (described,) = json.loads(packed.stdout)
    assert sorted(file["path"] for file in described["files"]) == [
        "LICENSE",
        "README.md",
        "README.zh-CN.md",
        "lib/addresses.js",
        "lib/alipay.d.ts",
        "lib/alipay.js",
        "lib/buttons.js",
        "lib/calls.js",
        "lib/core.d.ts",
        "lib/core.js",
        "lib/errors.js",
        "lib/hooks.js",
        "lib/index.d.ts",
        "lib/index.js",
        "lib/platform.js",
        "lib/store.js",
        "lib/transfers.js",
        "lib/zh.d.ts",
        "lib/zh.js",
        "package.json",
    ]
    manifest = json.loads((PACKAGE / "package.json").read_text())
    assert not {"dependencies", "devDependencies", "scripts"} & manifest.keys()
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def _complaints(library: str) -> list[str]:
    """Return what the compiler says of the sources when it knows this library alone."""
    options = ["--target", "es2015", "--module", "commonjs", "--lib", library, "--noEmit"]
    known = ["--allowJs", "--checkJs", "--strict", "false", "--typeRoots", "node_modules"]
    types = ["--types", "miniprogram-api-typings"]
    compiler = "node_modules/typescript/bin/tsc"
    done = subprocess.run(
        ["node", compiler, *options, *known, *types, "--ignoreConfig", *SOURCES],
        cwd=CLIENTS,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "TS5" not in done.stdout, done.stdout  # wrong options
    return done.stdout.splitlines()
