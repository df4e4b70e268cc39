"""``python -m wxsession demo``: what somebody tries first, also where there is no make."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import requests

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


def test_it_prints_a_way_into_the_console_where_the_user_is_on_the_screen(tmp_path: Path) -> None:
    with started(tmp_path) as (printed, _):
        (granted, *_) = pasted(printed)
        user_id = json.loads(granted)["user"]["id"]
        (way_in,) = re.findall(r"http://localhost:\d+/demo/\S+", printed)
        with requests.Session() as browser:
            browser.trust_env = False
            entered = browser.get(way_in, allow_redirects=False, timeout=30)
            cookie = entered.headers["Set-Cookie"].partition(";")[0]
            users = way_in.partition("/demo/")[0] + "/users"
            page = browser.get(users, headers={"Cookie": cookie}, timeout=30)
            guessed = browser.get(way_in[:-1], timeout=30)
    assert f"/users/{user_id}" in page.text
    assert guessed.status_code == 404


def test_what_it_signed_survives_a_restart(tmp_path: Path) -> None:
    with started(tmp_path) as (printed, _):
        (granted, *_) = pasted(printed)
        user = json.loads(granted)["user"]["id"]
    with started(tmp_path) as (printed, _):
        (granted, *_) = pasted(printed)
        assert json.loads(granted)["user"]["id"] == user


def refused(folder: Path, *options: object) -> str:
    """Return what the demo says when it does not start."""
    done = subprocess.run(
        [*DEMO, *map(str, options)],
        cwd=folder,
        env=plain_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path, "--port", port, "--simulator-port", free_port())
    assert f"port {port} is taken" in said
    assert "--port" in said
    assert not list(tmp_path.iterdir())


def test_one_port_for_two_servers_is_refused(tmp_path: Path) -> None:
    port = free_port()
    said = refused(tmp_path, "--port", port, "--simulator-port", port)
    assert "the ports must differ" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("demo.db", "this is no database, but long enough for one", "database_unavailable"),
        ("demo.key", "short", "WXSESSION_SECRET_KEYS"),
        ("simulator.log/folder", "", "simulator.log"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    path = tmp_path / "instance" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    said = refused(tmp_path, "--port", free_port(), "--simulator-port", free_port())
    assert f"the demo cannot use {tmp_path / 'instance'}: " in said
    assert reason in said
    assert "--instance" in said
    assert path.read_text() == text
