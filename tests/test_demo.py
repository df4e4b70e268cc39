"""``python -m wxsession demo``: what somebody tries first, also where there is no make."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.demo import DEMO, pasted, started
from tests.support.service import free_port, plain_environment
from tests.test_windows import WITHOUT

ON_WINDOWS: Final = f"""{WITHOUT}
import runpy
del signal.SIGHUP, os.killpg
sys.argv = ["wxsession", "demo"]
runpy.run_module("wxsession", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "command", [DEMO, (sys.executable, "-c", ON_WINDOWS)], ids=["here", "as on Windows"]
)
def test_the_lines_that_it_prints_log_in_and_out(tmp_path: Path, command: tuple[str, ...]) -> None:
    with started(tmp_path, *command) as (printed, _):
        granted, checked, refreshed, status, refused = pasted(printed)
    first, second = json.loads(granted), json.loads(refreshed)
    assert first["session_id"] == second["session_id"]
    assert json.loads(checked)["active"]
    assert (status, json.loads(refused)["reason"]) == ("204", "logout")
    assert "/sns/jscode2session" in (tmp_path / "instance" / "simulator.log").read_text()


def test_what_it_signed_survives_a_restart(tmp_path: Path) -> None:
    with started(tmp_path) as (printed, _):
        (granted, *_) = pasted(printed)
        user = json.loads(granted)["user"]["id"]
    with started(tmp_path) as (printed, _):
        (granted, *_) = pasted(printed)
        assert json.loads(granted)["user"]["id"] == user


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*DEMO, "--port", port, "--simulator-port", str(free_port())],
            cwd=tmp_path,
            env=plain_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert f"port {port} is taken" in done.stderr
    assert "--port" in done.stderr
    assert not list(tmp_path.iterdir())
