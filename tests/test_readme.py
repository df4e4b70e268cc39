"""What the README promises, done: its commands run, its tables compared with the code.

The convention: in a ```` ```console ```` block each line that begins with ``$ `` is run, all blocks
in order in one shell, against what `make run` starts; JSON below a command is compared by its
shape, anything else literally. Other blocks need root or a machine of their own.
"""

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pytest

import config
from tests.support.documents import CHINESE, ENGLISH, blocks
from tests.support.service import ROOT, free_port, plain_environment
from tests.support.settings import environment
from wxsession.settings import PREFIX, Settings
from wxsession.web.problems import PROBLEM_TYPES
from wxsession.wechat import failures
from wxsession.wechat.failures import Failure

BOTH: Final = (ENGLISH, CHINESE)
SHELLS: Final = [shell for shell in ("sh", "bash", "zsh") if shutil.which(shell)]

_SERVICE: Final = "http://127.0.0.1:8000"
_WECHAT: Final = "http://127.0.0.1:8001"
_MARK: Final = "-- next --"


@dataclass(frozen=True)
class Running:
    """What `make run` started: where, and which lines it printed to be pasted."""

    service: str
    wechat: str
    login: str
    instance: Path

    def here(self, text: str) -> str:
        """Return a text of the README with the addresses and the folder that hold here."""
        text = text.replace(_SERVICE, self.service).replace(_WECHAT, self.wechat)
        return text.replace(" instance/", f" {self.instance}/")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a running demo, in a folder of its own; its WeChat is to be left as it is."""
    with whole_demo(tmp_path_factory.mktemp("instance")) as demo:
        yield demo


@contextmanager
def whole_demo(instance: Path) -> Iterator[Running]:
    """Run what `make run` starts, and see that it ends well at Ctrl-C."""
    port, simulator_port = str(free_port()), str(free_port())
    ours = {"PORT": port, "SIMULATOR_PORT": simulator_port, "INSTANCE": str(instance)}
    with start_demo(ours) as demo:
        assert demo.stdout is not None
        printed = []
        for line in demo.stdout:
            printed.append(line)
            if line.startswith("Ctrl-C"):
                break
        login = "".join(filter(re.compile("code|grant|token|printf|curl").match, printed))
        service, wechat = (f"http://127.0.0.1:{number}" for number in (port, simulator_port))
        yield Running(service, wechat, login, instance)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 0


@contextmanager
def start_demo(ours: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run what `make run` starts until the block ends."""
    proxies = ("http_proxy", "all_proxy", "ALL_PROXY")
    inherited = {k: v for k, v in plain_environment().items() if k not in proxies}
    with subprocess.Popen(
        [sys.executable, "scripts/run.py"],
        cwd=ROOT,
        env=inherited | ours,
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        try:
            yield demo
        finally:
            demo.send_signal(signal.SIGINT)  # nothing happens where it has ended


# The commands.


@pytest.mark.parametrize("shell", SHELLS)
def test_the_printed_login_works_in(shell: str, running: Running) -> None:
    granted, checked, refreshed, status, refused = in_shell(running.login, shell).splitlines()
    first, second = json.loads(granted), json.loads(refreshed)
    assert first["session_id"] == second["session_id"]
    assert first["session_token"] != second["session_token"]
    assert json.loads(checked)["active"]
    assert status == "204"
    assert json.loads(refused)["reason"] == "logout"


@pytest.mark.parametrize("name", BOTH)
def test_the_start_shows_what_is_printed(name: str, running: Running) -> None:
    first = next(iter(blocks(name, "console")))
    assert running.here(first.replace("$ ", "", first.count("\n")).strip()) == running.login.strip()


def test_every_command_runs_and_answers_as_shown(tmp_path: Path) -> None:
    steps = [step for block in blocks(ENGLISH, "console") for step in commands(block)]
    with whole_demo(tmp_path) as demo:
        script = f"\necho '{_MARK}'\n".join(demo.here(command) for command, _ in steps)
        outputs = in_shell(script, "sh").split(_MARK)
    assert len(outputs) == len(steps)
    for (command, shown), output in zip(steps, outputs, strict=True):
        if shown.startswith("{"):
            assert shape(json.loads(output)) == shape(json.loads(shown)), command
        elif shown:
            assert output.strip() == shown, command


def test_a_taken_port_is_told(running: Running, tmp_path: Path) -> None:
    port = running.service.rpartition(":")[2]
    ours = {"PORT": port, "SIMULATOR_PORT": str(free_port()), "INSTANCE": str(tmp_path)}
    with start_demo(ours) as demo:
        assert demo.wait(20) == 1


def test_the_example_of_a_test_passes(tmp_path: Path) -> None:
    (example,) = (block for block in blocks(ENGLISH, "python") if "def test_" in block)
    (tmp_path / "test_example.py").write_text(example, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_example.py"],
        cwd=tmp_path,
        env=plain_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# The tables.


@pytest.mark.parametrize("name", BOTH)
def test_the_calls_are_those_of_the_openapi_page(name: str, running: Running) -> None:
    page = json.loads(in_shell(f"curl -sS {running.service}/openapi.json", "sh"))
    served = {
        f"{method.upper()} {path}" for path, methods in page["paths"].items() for method in methods
    }
    calls = {
        call
        for cells in rows(name)
        for call in re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`", cells[0])
    }
    assert calls == served


@pytest.mark.parametrize("name", BOTH)
def test_the_errors_are_those_of_the_code(name: str) -> None:
    statuses = {int(status) for status in HTTPStatus}
    told = {
        cells[0].strip("`"): int(cells[1])
        for cells in rows(name)
        if cells[1].isdecimal() and int(cells[1]) in statuses
    }
    assert told == {code: int(kind.status) for code, kind in PROBLEM_TYPES.items()}


@pytest.mark.parametrize("name", BOTH)
def test_the_settings_and_their_defaults_are_those_of_the_code(name: str) -> None:
    told = {
        cells[0].strip("`"): cells[1].strip("`") if cells[1].startswith("`") else None
        for cells in rows(name)
        if cells[0].startswith(f"`{PREFIX}")
    }
    fields = {field.name for field in dataclasses.fields(Settings)} - {"unknown"}
    assert told.keys() == {PREFIX + field.upper() for field in fields}
    database = told.pop(f"{PREFIX}DATABASE_URL")
    assert str(database).replace("///", f"///{ROOT}/") == config.DATABASE_URL
    without = {name.removeprefix(PREFIX) for name, default in told.items() if default is None}
    in_words = {"WECHAT_CONCURRENCY"}
    assert without == {"API_KEYS", "APPS", "DIALECTS", "SECRET_KEYS", "URL_PREFIX"} | in_words
    defaults = {k.removeprefix(PREFIX).lower(): v for k, v in told.items() if v is not None}
    url = "sqlite:////tmp/wxsession.db"
    assert Settings.read(environment(url, **defaults)) == Settings.read(environment(url))


@pytest.mark.parametrize("name", BOTH)
def test_the_failures_at_wechat_are_those_of_the_log(name: str) -> None:
    tables: list[Mapping[Any, Failure]] = [
        failures.OF_EVERY_CALL,
        failures.OF_STABLE_TOKEN,
        failures.WITH_ACCESS_TOKEN,
        failures.OF_PHONE_NUMBER,
        failures.OF_SESSION_KEY,
        {"": failures.UNKNOWN},
        failures.WITHOUT_ANSWER,
    ]
    known = [(str(key), failure) for table in tables for key, failure in table.items()]
    codes = {f"`{failure.error().code}`" for _, failure in known}
    told = [cells for cells in rows(name) if cells[1] in codes]
    keys = ["".join(re.findall(r"^`([^`]*)`", cells[0])) for cells in told]
    assert [(key, cells[1]) for key, cells in zip(keys, told, strict=True)] == [
        (key, f"`{failure.error().code}`") for key, failure in known
    ]
    if name == ENGLISH:
        assert [cells[2:] for cells in told] == [[one.meaning, one.cure] for _, one in known]


# The translation.


def test_the_chinese_readme_is_built_like_the_english_one() -> None:
    assert outline(CHINESE) == outline(ENGLISH)


def test_the_chinese_readme_has_the_same_commands_and_code() -> None:
    for language in ("console", "python", "js", "ini", "nginx", "cron", "sh", "yaml"):
        english, chinese = blocks(ENGLISH, language), blocks(CHINESE, language)
        assert [bare(block) for block in chinese] == [bare(block) for block in english]


def outline(name: str) -> list[str]:
    """Return the headings, tables and blocks of a README in order, without their words."""
    found, inside = [], False
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = not inside
            found += [line] if inside else []
        elif not inside and line.startswith("#"):
            found.append("#" * (len(line) - len(line.lstrip("#"))))
        elif not inside and line.startswith("|"):
            found.append(f"row of {len(cells_of(line))}")
        elif not inside and re.match(r"\* |\d+\. ", line):
            found.append(line.split()[0])
    return found


def bare(block: str) -> str:
    """Return a block without comments: those are translated."""
    return re.sub(r"(^|\s)#.*", "", block, flags=re.MULTILINE)


def rows(name: str) -> list[list[str]]:
    """Return the cells of every row of every table."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [cells_of(line) for line in lines if line.startswith("| ")]


def cells_of(row: str) -> list[str]:
    """Return the cells of one row."""
    return [cell.strip() for cell in row.strip("|").split("|")]


def commands(block: str) -> list[tuple[str, str]]:
    """Return the commands of a block, each with what is shown below it."""
    steps: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            steps.append((line.removeprefix("$ "), []))
        else:
            steps[-1][1].append(line)
    return [(command, "\n".join(shown)) for command, shown in steps]


def in_shell(script: str, shell: str) -> str:
    """Return what the lines print in that shell; the last one has to succeed."""
    done = subprocess.run(
        [shell, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shape(value: Any) -> Any:
    """Return the names in an answer, without its values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return None
