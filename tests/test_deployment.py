"""The units of `deploy/systemd/`, as systemd reads them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.support.documents import block_with
from tests.support.packed import COMPOSE
from tests.support.service import ROOT
from tests.support.settings import environment
from tests.support.wsgi_servers import Granian
from wxsession.settings import Settings

SYSTEMD = ROOT / "deploy" / "systemd"
KINDS = {".service", ".socket", ".timer"}
UNITS = sorted(path.name for path in SYSTEMD.iterdir() if path.suffix in KINDS)
SERVICES = [name for name in UNITS if name.endswith(".service")]
EXPOSED = 20  # of 100, which systemd prints as 2.0; without the sandbox it is 85

analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd here"
)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return a folder with the units as the documents install them, of programs that are here."""
    lines = block_with("install -m 644 *.service", "sh").splitlines()
    copying = [line for line in lines if not line.startswith("systemctl ")]
    in_shell(copying, {"/etc/systemd/system": tmp_path, "/opt/wxsession": ROOT})
    for name in SERVICES:
        path = tmp_path / name
        path.write_text(here(path.read_text()))
    return tmp_path


def in_shell(lines: list[str], places: dict[str, Path]) -> None:
    """Do what the documents say, with these folders in the place of those that they name."""
    script = "\n".join(lines)
    for named, meant in places.items():
        script = script.replace(named, str(meant))
    subprocess.run(["sh", "-euc", script], check=True, timeout=60)


def here(unit: str) -> str:
    return unit.replace("/opt/wxsession/.venv/bin", str(Path(sys.executable).parent))


def systemd_analyze(units: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", *arguments],
        cwd=units,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@analyze
def test_the_units_are_free_of_faults(units: Path) -> None:
    assert not systemd_analyze(units, "verify", *(f"./{name}" for name in UNITS))


@analyze
def test_the_unit_of_patroni_is_free_of_faults(tmp_path: Path) -> None:
    unit = (ROOT / "deploy/patroni/patroni.service").read_text()
    (tmp_path / "patroni.service").write_text(
        unit.replace("/opt/patroni/bin/patroni", sys.executable)
    )
    assert not systemd_analyze(tmp_path, "verify", "./patroni.service")


@analyze
@pytest.mark.parametrize("words", ["granian", "api_keys"])
def test_the_unit_with_a_change_of_the_documents_is_free_of_faults(units: Path, words: str) -> None:
    change = here(block_with(words, "ini"))
    (units / "wxsession.service.d" / "change.conf").write_text(change)
    assert not systemd_analyze(units, "verify", "./wxsession.service")


def test_granian_is_called_as_the_tests_call_it() -> None:
    change = block_with("granian", "ini")
    assert f"Environment=WXSESSION_THREADS={Granian().threads}\n" in change
    _, _, command = change.rpartition("ExecStart=")
    command = command.replace("${WXSESSION_THREADS}", str(Granian().threads))
    _, *shown, module = command.replace("\\\n", "").split()
    _, _, _, *run, _ = Granian().command(8000, module)
    assert set(run) == {*shown, "--port", "8000", "--http1-header-read-timeout", "60000"}
    assert (ROOT / "logging.json").is_file()


@analyze
@pytest.mark.parametrize("name", SERVICES)
def test_the_units_may_do_little(units: Path, name: str) -> None:
    systemd_analyze(units, "security", "--offline=true", f"--threshold={EXPOSED}", f"./{name}")


@pytest.mark.parametrize("name", ["wxsession.service", "wxsession-events.service"])
def test_a_start_is_tried_for_as_long_as_the_database_is_away(name: str) -> None:
    unit, _, service = (SYSTEMD / name).read_text().partition("[Service]")
    assert "StartLimitIntervalSec=0" in unit
    assert re.search(r"Restart=(on-failure|always)\nRestartSec=5", service)


@pytest.mark.parametrize("name", SERVICES)
def test_the_files_of_the_service_are_its_own(name: str) -> None:
    unit = (SYSTEMD / name).read_text()
    assert "User=wxsession\n" in unit
    assert "UMask=0077" in unit
    assert "StateDirectoryMode=0700" in unit


def test_a_command_by_hand_gets_the_settings_and_every_secret_of_the_service(
    tmp_path: Path,
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in "apps", "api_keys":
        (secrets / name).touch()
    (tmp_path / "env").write_text("WXSESSION_TRUSTED_PROXIES=1\n")
    told = tmp_path / "opt" / ".venv" / "bin" / "flask"
    told.parent.mkdir(parents=True)
    told.write_text('#!/bin/sh\npwd; printf "%s\\n" "$@"; env\n')
    told.chmod(0o755)
    script = (SYSTEMD / "wxsession").read_text()
    script = script.replace("/etc/wxsession", str(tmp_path)).replace(
        "/opt/wxsession", str(tmp_path / "opt")
    )
    # As the user of the service: who is root here becomes nobody in particular.
    script = script.replace("runuser -u wxsession", "env").replace("$(id -u)", "1")
    (tmp_path / "wxsession").write_text(script)
    done = subprocess.run(
        ["sh", str(tmp_path / "wxsession"), "users", "list", "--nickname", "two words"],
        env={"PATH": "/usr/bin:/bin", "SUDO_USER": "alice"},  # as cron has it
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    where, *lines = done.stdout.splitlines()
    assert where == str(tmp_path / "opt")
    assert lines[:6] == ["--app", "wsgi", "users", "list", "--nickname", "two words"]
    assert {
        "WXSESSION_TRUSTED_PROXIES=1",
        f"WXSESSION_APPS_FILE={secrets / 'apps'}",
        f"WXSESSION_API_KEYS_FILE={secrets / 'api_keys'}",
        "SUDO_USER=alice",
        "PATH=/usr/bin:/bin:/usr/sbin:/sbin",  # runuser is there
    } <= set(lines)


def test_the_documents_install_the_files_of_nginx(tmp_path: Path) -> None:
    for words in "upstream.conf wxsession.conf", "auth-request.conf":
        block = block_with(words, "sh")
        (tmp_path / "conf.d").mkdir(exist_ok=True)
        (tmp_path / "snippets").mkdir(exist_ok=True)
        in_shell(block.splitlines(), {"/etc/nginx": tmp_path, "/opt/wxsession": ROOT})
    installed = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.conf")}
    assert installed == {"conf.d/upstream.conf", "conf.d/wxsession.conf", "snippets/wxsession.conf"}


SHIPPED = [
    *SYSTEMD.iterdir(),
    *(ROOT / "deploy" / "nginx").iterdir(),
]


@pytest.mark.parametrize(
    ("words", "language"),
    [
        ("StartLimitIntervalSec", "ini"),
        ("SuccessExitStatus", "ini"),
        ("limit_req", "nginx"),
        ("auth_request", "nginx"),
    ],
)
def test_what_the_documents_quote_stands_in_the_files(words: str, language: str) -> None:
    lines = {line.strip() for path in SHIPPED for line in path.read_text("utf-8").splitlines()}
    quoted = {line.strip() for line in block_with(words, language).splitlines()}
    assert quoted <= lines


def test_the_secrets_that_the_documents_make_for_compose_are_those_that_it_mounts(
    tmp_path: Path,
) -> None:
    _, *lines, _, _ = block_with("docker compose up", "sh").splitlines()  # no chown, no docker
    in_shell([f"cd {tmp_path}", *lines], {})
    made = {path.name: path.read_text().strip() for path in (tmp_path / "secrets").iterdir()}
    services = COMPOSE["services"].values()
    wanted = {name for one in services if "profiles" not in one for name in one.get("secrets", [])}
    assert made.keys() == wanted
    given = environment(made["database_url"], apps=made["apps"], secret_keys=made["secret_keys"])
    settings = Settings.read(given)
    url = make_url(settings.database_url)
    assert (url.host, url.password) == ("database", made["database_password"])
    assert "database" in COMPOSE["services"]
