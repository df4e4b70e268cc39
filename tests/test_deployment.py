"""The units of the documents, as systemd reads them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documents import block_with
from tests.support.service import ROOT
from tests.support.wsgi_servers import Granian

SERVICES = {"wxsession.service": "Type=notify", "wxsession-purge.service": "Type=oneshot"}
EXPOSED = 20  # of 100; without the sandbox it is 85

analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd here"
)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return a folder with the units as the documents have them, of programs that are here."""
    sandbox = block_with("SystemCallFilter", "ini")
    here = Path(sys.executable).parent
    for name, words in SERVICES.items():
        unit = block_with(words, "ini").replace("/opt/wxsession/.venv/bin", str(here))
        (tmp_path / name).write_text(unit)
        (tmp_path / f"{name}.d").mkdir()
        (tmp_path / f"{name}.d" / "sandbox.conf").write_text(sandbox)
    (tmp_path / "wxsession-purge.timer").write_text(block_with("[Timer]", "ini"))
    return tmp_path


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
    names = [*SERVICES, "wxsession-purge.timer"]
    assert not systemd_analyze(units, "verify", *(f"./{name}" for name in names))


@analyze
def test_the_unit_with_granian_is_free_of_faults(units: Path) -> None:
    here = str(Path(sys.executable).parent)
    change = block_with("granian", "ini").replace("/opt/wxsession/.venv/bin", here)
    (units / "wxsession.service.d" / "granian.conf").write_text(change)
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


def test_a_start_is_tried_for_as_long_as_the_database_is_away() -> None:
    unit, _, service = block_with("Type=notify", "ini").partition("[Service]")
    assert "StartLimitIntervalSec=0" in unit
    assert "Restart=on-failure\nRestartSec=5" in service


@pytest.mark.parametrize("kind", SERVICES.values())
def test_the_files_of_the_service_are_its_own(kind: str) -> None:
    unit = block_with(kind, "ini")
    assert "UMask=0077" in unit
    assert "StateDirectoryMode=0700" in unit
