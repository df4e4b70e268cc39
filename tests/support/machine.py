"""The machine that the documents describe, for their commands: its folders are in one of a test."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.postgres import Postgres, find_postgres
from tests.support.service import ROOT

SCRIPT: Final = ROOT / "deploy" / "systemd" / "wxsession"


class Machine:
    """Does what its operator types, as root.

    `sudo` needs no other user here, and `systemctl` only writes down what it was asked for.
    """

    def __init__(self, folder: Path, *, postgres: Postgres | None = None) -> None:
        """Install what the commands call."""
        self._folder = folder
        self._bin = folder / "bin"
        for name in ("bin", "etc/wxsession/secrets", "lib"):
            (folder / name).mkdir(parents=True)
        (folder / "etc" / "wxsession" / "env").touch()
        self._install("sudo", '#!/bin/sh\nshift 2\nexec "$@"\n')
        self._install("systemctl", f'#!/bin/sh\necho "$@" >> {folder}/systemctl\n')
        script = self._here(SCRIPT.read_text(encoding="utf-8"))
        flask = f"{shlex.quote(sys.executable)} -m flask"
        # There is no other user to become.
        script = script.replace("$(id -u)", "1").replace(".venv/bin/flask", flask)
        self._install("wxsession", script)
        path = f"{self._bin}:{os.environ['PATH']}"
        self._environment = {"PATH": path, "HOME": str(folder)}
        if postgres is not None:
            at = {"PGHOST": postgres.host, "PGPORT": str(postgres.port), "PGUSER": "postgres"}
            self._environment |= {**at, "PATH": f"{find_postgres()}:{path}"}

    @property
    def state(self) -> Path:
        """What /var/lib/wxsession is."""
        return self._folder / "lib"

    def keep_secrets(self, **secrets: str) -> None:
        """Write secrets into files, by the names of these files."""
        for name, value in secrets.items():
            path = self._folder / "etc" / "wxsession" / "secrets" / name
            path.write_text(value + "\n")
            path.chmod(0o640)

    def do(self, block: str) -> str:
        """Return what the commands print; each of them has to succeed."""
        done = self.tries(block)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def tries(self, block: str) -> subprocess.CompletedProcess[str]:
        """Do the commands, as far as they succeed."""
        return subprocess.run(
            ["sh", "-euc", self._here(block)],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    def asked_of_systemd(self) -> list[str]:
        """Return what systemctl was called with, in order."""
        return (self._folder / "systemctl").read_text().splitlines()

    def _here(self, text: str) -> str:
        places = {
            "/var/lib/wxsession": str(self.state),
            "/etc/wxsession": str(self._folder / "etc" / "wxsession"),
            "-C /etc ": f"-C {self._folder / 'etc'} ",
            "/opt/wxsession": str(ROOT),
            "-o wxsession -g wxsession ": "",
        }
        for named, meant in places.items():
            text = text.replace(named, meant)
        return text

    def _install(self, name: str, script: str) -> None:
        path = self._bin / name
        path.write_text(script)
        path.chmod(0o755)
