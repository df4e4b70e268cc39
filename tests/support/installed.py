"""Environments into which the wheel of this checkout is installed, and what runs there."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.service import ROOT, Server, plain_environment


@dataclass(frozen=True)
class Installed:
    """An environment that has the wheel, in a folder that has a developer's application."""

    folder: Path

    @property
    def bin(self) -> Path:
        """Where its programs are."""
        return self.folder / "environment" / "bin"

    def flask(self, app: str, *arguments: str) -> list[str]:
        """Return how its flask command is called."""
        return [str(self.bin / "flask"), "--app", app, *arguments]

    def run(self, *command: str, **environment: str) -> str:
        """Return what the program prints; it has to succeed."""
        return _run(command, self.folder, plain_environment() | environment)


class InstalledServer(Server):
    """An application that the installed flask command serves."""

    def __init__(
        self, installed: Installed, app: str, alive: str, settings: Mapping[str, str]
    ) -> None:
        """Start nothing yet."""
        super().__init__(settings, folder=installed.folder)
        self.alive = alive
        self._flask = partial(installed.flask, app)

    def command(self) -> list[str]:
        """Return how flask is called."""
        return self._flask("run", "--port", str(self.port))


def build_wheel(folder: Path) -> Path:
    """Return the wheel of this checkout."""
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


def install(folder: Path, *packages: str) -> Installed:
    """Return an environment in this folder with these packages, and what they depend on."""
    there = Installed(folder)
    new = [sys.executable, "-m", "venv", "--without-pip", str(there.bin.parent)]
    subprocess.run(new, check=True, timeout=60)
    _pip(
        *("--python", str(there.bin / "python")),
        *("install", "-c", str(ROOT / "constraints.txt"), *packages),
    )
    return there


def _pip(*arguments: str) -> None:
    """Run pip, with the machine's own configuration."""
    quiet = ("--quiet", "--disable-pip-version-check")
    _run([sys.executable, "-m", "pip", *quiet, *arguments], ROOT, os.environ)


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
