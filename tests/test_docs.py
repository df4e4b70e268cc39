"""What the README and the pages of docs/ promise, done.

The convention: in a ```` ```console ```` block each line that begins with ``$ `` is run, the blocks
of a page in order in one shell, against what `make run` starts; JSON below a command is compared
by its shape, anything else literally. Other blocks need root or a machine of their own.
"""

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pytest

import config
from tests.support.documents import CLIENT, PAGES, README, Document, block_with, blocks, page
from tests.support.recipes import RECIPES
from tests.support.service import ROOT, free_port, plain_environment
from tests.support.settings import environment
from wxsession import DIALECTS, create_app
from wxsession.common.metrics import METRICS
from wxsession.common.wording import CHINESE, ENGLISH, in_language
from wxsession.settings import PREFIX, Settings
from wxsession.web.problems import PROBLEM_TYPES
from wxsession.wechat import failures
from wxsession.wechat.failures import Failure

DOCUMENTS: Final = [README, CLIENT, *PAGES]
WITH_COMMANDS: Final = [one for one in DOCUMENTS if blocks(one.english, "console")]
ALONE: Final = {"simulator"}  # moves WeChat's clock, and lets it fail
LONGEST_README: Final = 200
OURS: Final = [
    *(path for one in DOCUMENTS for path in (one.english, one.chinese)),
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    ROOT / "miniprogram" / "example" / "README.md",
]

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=str)
in_both_languages = pytest.mark.parametrize("language", ["english", "chinese"])
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
        """Return commands with the addresses and the folders that hold here.

        What jq looks for has to be there.
        """
        text = text.replace(_SERVICE, self.service).replace(_WECHAT, self.wechat)
        text = re.sub(r"(\$PWD/)?\binstance/", f"{self.instance}/", text)
        text = text.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        return text.replace("jq -r ", "jq -er ")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a running demo, in a folder of its own; its WeChat is to be left as it is."""
    with whole_demo(tmp_path_factory.mktemp("instance")) as demo:
        yield demo


@contextmanager
def whole_demo(instance: Path) -> Iterator[Running]:
    """Run what `make run` starts, and see that it ends well at Ctrl-C."""
    port, simulator_port, console_port = (str(free_port()) for _ in range(3))
    ours = {
        "PORT": port,
        "SIMULATOR_PORT": simulator_port,
        "CONSOLE_PORT": console_port,
        "INSTANCE": str(instance),
    }
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
    with subprocess.Popen(
        [sys.executable, "scripts/run.py"],
        cwd=ROOT,
        env=inherited() | ours,
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


def test_the_quickstart_shows_what_is_printed(running: Running) -> None:
    first = next(iter(blocks(page("quickstart").english, "console")))
    assert running.here(first.replace("$ ", "", first.count("\n")).strip()) == running.login.strip()


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=str)
def test_every_command_runs_and_is_answered_as_shown(
    document: Document, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if document.name in ALONE:
        with whole_demo(tmp_path) as demo:
            run_commands(document, demo)
    else:
        run_commands(document, request.getfixturevalue("running"))


def run_commands(document: Document, demo: Running) -> None:
    """Run all commands of a document in one shell, and compare what they print."""
    steps = [step for block in blocks(document.english, "console") for step in commands(block)]
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
    (example,) = blocks(page("simulator").english, "python")
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


@pytest.mark.parametrize("words", ["@sock.route", '@jobs.cli.command("remind")'])
def test_the_socket_and_the_job_are_those_of_the_shop(words: str) -> None:
    sources = (ROOT / "tests" / "hosts" / "shop").glob("*.py")
    shown = block_with(words, "python")
    assert any(shown in source.read_text("utf-8") for source in sources)


def test_the_page_of_recipes_shows_what_the_files_are() -> None:
    name, shown = None, set()
    text = page("recipes").english.read_text(encoding="utf-8")
    pieces = re.finditer(
        r"^```(?P<language>\w+)\n(?P<block>.*?)^```$|\(\.\./\.\./(?P<file>(?:recipes|deploy)/[^)]+)\)",
        text,
        re.MULTILINE | re.DOTALL,
    )
    for piece in pieces:
        if piece["file"]:
            name = piece["file"]
            shown.add(name)
        elif piece["language"] != "sh":
            assert name is not None
            assert piece["block"] in (ROOT / name).read_text(encoding="utf-8"), name
    of_packages = {"package.json", "requirements.txt", "go.mod"}
    made = {"node_modules", "__pycache__"}
    files = [path for path in RECIPES.rglob("*") if path.is_file() and made.isdisjoint(path.parts)]
    names = {str(path.relative_to(ROOT)) for path in files if path.name not in of_packages}
    assert shown == {*names, "deploy/nginx/auth-request.conf"}


# The tables, in both languages.


@in_both_languages
def test_the_endpoints_are_those_of_the_openapi_page(language: str, running: Running) -> None:
    openapi = json.loads(in_shell(f"curl -sS {running.service}/openapi.json", "sh"))
    served = {
        f"{method.upper()} {path}"
        for path, methods in openapi["paths"].items()
        for method in methods
    }
    told = {
        endpoint
        for cells in rows("api", language)
        for endpoint in re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`", cells[0])
    }
    assert told == served


@in_both_languages
def test_the_errors_are_those_of_the_code(language: str) -> None:
    statuses = {str(int(status)) for status in HTTPStatus}
    told = {
        cells[0].strip("`"): int(cells[1])
        for cells in rows("errors", language)
        if cells[1] in statuses
    }
    assert told == {code: int(kind.status) for code, kind in PROBLEM_TYPES.items()}


@in_both_languages
def test_the_settings_and_their_defaults_are_those_of_the_code(language: str) -> None:
    told = {
        cells[0].strip("`"): cells[1].strip("`") if cells[1].startswith("`") else None
        for cells in rows("settings", language)
        if cells[0].startswith(f"`{PREFIX}")
    }
    fields = {field.name for field in dataclasses.fields(Settings)} - {"files"}
    assert told.keys() == {PREFIX + field.upper() for field in fields}
    database = told.pop(f"{PREFIX}DATABASE_URL")
    assert str(database).replace("///", f"///{ROOT}/") == config.DATABASE_URL
    without = {name.removeprefix(PREFIX) for name, default in told.items() if default is None}
    in_words = {"WECHAT_CONCURRENCY"}
    optional = {"API_KEYS", "DIALECTS", "ISSUER", "PUSH", "PUSH_FORWARD", "TICKET_AUDIENCES"}
    optional |= {"URL_PREFIX", "WEBHOOKS"}
    assert without == optional | {"APPS", "SECRET_KEYS"} | in_words
    defaults = {k.removeprefix(PREFIX).lower(): v for k, v in told.items() if v is not None}
    url = "sqlite:////tmp/wxsession.db"
    assert Settings.read(environment(url, **defaults)) == Settings.read(environment(url))


@in_both_languages
def test_the_metrics_are_those_of_the_code(language: str) -> None:
    told = {
        name: (cells[1], set(re.findall(r"`([a-z_]+)`", cells[2])))
        for cells in rows("operate", language)
        for name in re.findall(r"`((?:wxsession|http_server)_[a-z_]+)`", cells[0])
    }
    assert told.keys() == METRICS.keys()
    for name, metric in METRICS.items():
        kind, labels = told[name]
        assert kind == metric.kind
        assert set(metric.labels) <= labels


@in_both_languages
def test_it_is_said_what_to_do_about_every_alert(language: str) -> None:
    told = [
        name
        for cells in rows("operate", language)
        for name in re.findall(r"`(Wxsession\w+)`", cells[0])
    ]
    rules = (ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8")
    assert sorted(told) == sorted(re.findall(r"- alert: (\w+)", rules))


@in_both_languages
def test_the_failures_at_wechat_are_those_of_the_log(language: str) -> None:
    tables: list[Mapping[Any, Failure]] = [
        failures.OF_EVERY_CALL,
        failures.OF_STABLE_TOKEN,
        failures.WITH_ACCESS_TOKEN,
        failures.OF_PHONE_NUMBER,
        failures.OF_SESSION_KEY,
        {"": failures.UNKNOWN},
        failures.WITHOUT_REPLY,
    ]
    known = [(str(key), failure) for table in tables for key, failure in table.items()]
    codes = {f"`{failure.error().code}`" for _, failure in known}
    told = [cells for cells in rows("errors", language) if cells[1] in codes]
    keys = ["".join(re.findall(r"^`([^`]*)`", cells[0])) for cells in told]
    assert [(key, cells[1]) for key, cells in zip(keys, told, strict=True)] == [
        (key, f"`{failure.error().code}`") for key, failure in known
    ]
    spoken = {"english": ENGLISH, "chinese": CHINESE}[language]
    assert [cells[2:] for cells in told] == [
        [in_language(one.meaning, spoken), in_language(one.cure, spoken)] for _, one in known
    ]


@in_both_languages
def test_the_commands_are_those_of_the_code(language: str, tmp_path: Path) -> None:
    settings = Settings.read(environment(f"sqlite:///{tmp_path / 'wxsession.db'}"))
    known = set()
    for name, command in create_app(settings).cli.commands.items():
        inner = getattr(command, "commands", {})
        known |= {f"{name} {each}" for each in inner} or {name}
    told = [
        re.sub(r"`flask --app wsgi (.*?)( ID)?`", r"\1", cells[0])
        for cells in rows("commands", language)
        if cells[0].startswith("`flask")
    ]
    assert sorted(told) == sorted(known)


@in_both_languages
def test_the_dialects_are_those_of_the_code(language: str) -> None:
    told = {cells[0].strip("`") for cells in rows("migrate", language) if "`" in cells[0]}
    assert told == set(DIALECTS)


@in_both_languages
def test_the_tree_and_the_floors_are_those_of_the_code(language: str) -> None:
    tree, floors = blocks(getattr(page("development"), language), "text")
    _, _, package = tree.partition("\nwxsession/")
    told = re.findall(r"^  (\w+)(?:/|\.py)", package, re.MULTILINE)
    every = (path for path in (ROOT / "wxsession").iterdir() if path.suffix in {"", ".py"})
    here = {path.stem for path in every} - {"__init__", "__pycache__"}
    assert sorted(told) == sorted(here)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert [bare(floor).strip() for floor in floors.splitlines()] == layers


# The README, and the way from page to page.


@in_both_languages
def test_the_readme_is_short(language: str) -> None:
    lines = getattr(README, language).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_README


@in_both_languages
def test_the_readme_leads_to_every_page(language: str) -> None:
    reached = {target for target, _ in links(getattr(README, language))}
    assert {getattr(one, language) for one in PAGES} <= reached


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    for target, anchor in links(path):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"


# The translation.


def test_every_page_is_there_in_both_languages() -> None:
    names = [sorted(p.name for p in (ROOT / "docs" / each).iterdir()) for each in ("en", "zh")]
    assert names[0] == names[1]


@every_document
def test_the_translation_is_built_like_the_original(document: Document) -> None:
    assert outline(document.chinese) == outline(document.english)


@every_document
def test_the_translation_has_the_same_commands_and_code(document: Document) -> None:
    language = r"(?!mermaid)\w+"  # pictures have words
    english, chinese = blocks(document.english, language), blocks(document.chinese, language)
    assert [bare(block) for block in chinese] == [bare(block) for block in english]


@every_document
def test_the_translation_stays_in_its_language(document: Document) -> None:
    first, *pages = (target for target, _ in links(document.chinese))
    assert first == document.english
    first, *originals = (target for target, _ in links(document.english))
    assert first == document.chinese
    twins = {one: one.with_name(one.name.replace(".en.", ".zh.")) for one in originals}
    twins |= {one.english: one.chinese for one in DOCUMENTS}
    assert sorted(pages) == sorted(twins.get(target, target) for target in originals)


@pytest.mark.parametrize("words", ["登录态", "无感刷新", "静默登录", "踢下线", "自部署", "接口"])
def test_what_people_search_for_stands_there(words: str) -> None:
    assert any(words in one.chinese.read_text(encoding="utf-8") for one in DOCUMENTS)


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_there_is_one_word_for_one_thing(path: Path) -> None:
    others = "您|应答|打码|到期|兑现"  # 你、响应、脱敏、过期、resolve
    assert not re.findall(others, path.read_text(encoding="utf-8"))


def outline(path: Path) -> list[str]:
    """Return the headings, tables and blocks of a document in order, without their words."""
    found, inside = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
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


def links(path: Path) -> list[tuple[Path, str]]:
    """Return where a document leads within this checkout: the file, and the heading if one is."""
    text = prose(path)
    inner = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    parts = [link.partition("#") for link in inner]
    return [
        ((path.parent / file).resolve() if file else path, unquote(anchor))
        for file, _, anchor in parts
    ]


def anchors(path: Path) -> set[str]:
    """Return the anchors that a forge gives to the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def prose(path: Path) -> str:
    """Return a document without its fenced blocks."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def bare(block: str) -> str:
    """Return a block without comments: those are translated."""
    return re.sub(r"(^|\s+)#.*", "", block, flags=re.MULTILINE)


def rows(name: str, language: str) -> list[list[str]]:
    """Return the cells of every row of every table of a page."""
    lines = getattr(page(name), language).read_text(encoding="utf-8").splitlines()
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


def inherited() -> dict[str, str]:
    """Return the environment of this test, without what would get between it and the demo."""
    proxies = ("http_proxy", "all_proxy", "ALL_PROXY")
    return {k: v for k, v in plain_environment().items() if k not in proxies}


def in_shell(script: str, shell: str) -> str:
    """Return what the lines print in that shell; each of them has to succeed."""
    done = subprocess.run(
        [shell, "-euc", script],
        cwd=ROOT,
        env=inherited(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shape(value: Any) -> Any:
    """Return the names in a response, without its values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return None
