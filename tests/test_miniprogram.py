"""Our own client of mini-programs: its promises, its size, its syntax, its types, its package."""

import json
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

PACKAGE: Final = ROOT / "miniprogram"
SOURCES: Final = sorted(str(path) for path in (PACKAGE / "lib").glob("*.js"))
SMALL: Final = 8192
MANY: Final = 200


LOST_ANSWERS: Final = "lost-answers.test.js"
PROMISES: Final = sorted(path.name for path in (CLIENTS / "session").glob("*.test.js"))

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
        yield {**urls, "SIMULATOR": simulator.url, "APPID": APPID}


@pytest.fixture(scope="module")
def servers(
    migrated_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Return where a service, two whose sessions do not live long, and a WeChat are."""
    path = shutil.copy(migrated_file, tmp_path_factory.mktemp("miniprogram"))
    url = f"sqlite:///{path}"
    with serving(url, SERVICE={}, SHORT_LIVED=SHORT_LIVED, CAPPED=CAPPED) as urls:
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
    sizes = json.loads(run_node("session/measure.js", *SOURCES, environment={}))
    assert len(sizes) == len(SOURCES)
    assert sum(sizes.values()) < SMALL


def test_it_calls_nothing_that_es2015_does_not_have() -> None:
    # Whatever the compiler says of plain JavaScript, it has to be the same with a later library.
    assert _complaints("es2015") == _complaints("esnext")


def test_the_types_allow_what_is_meant_and_nothing_else() -> None:
    run_node("node_modules/typescript/bin/tsc", "-p", "types/tsconfig.json", environment={})


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
        "lib/errors.js",
        "lib/index.d.ts",
        "lib/index.js",
        "lib/store.js",
        "lib/wechat.js",
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
