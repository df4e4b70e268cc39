"""The purge as an administrator runs it: `flask purge-sessions`, on the load's core."""

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from benchmarks.machine import LOAD_CORE, on_core
from tests.support.service import ROOT, plain_environment
from tests.support.settings import environment

LONG_AGO: Final = timedelta(days=9)
_OLDER_THAN: Final = "7d"
_MORE_IS_LEFT: Final = 3


@dataclass(frozen=True)
class Purged:
    """What the command said in the end."""

    sessions: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Rows deleted in a second."""
        return self.sessions / self.seconds


def start_purge(url: str, *, max_seconds: float = 600) -> "subprocess.Popen[str]":
    """Start the command."""
    options = ("--json", "--older-than", _OLDER_THAN, "--max-seconds", str(max_seconds))
    with on_core(LOAD_CORE):
        return subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "wsgi", "purge-sessions", *options],
            cwd=ROOT,
            env=plain_environment() | environment(url),
            stdout=subprocess.PIPE,
            text=True,
        )


def finish_purge(process: "subprocess.Popen[str]") -> Purged:
    """Wait for its end and return what it said."""
    output, _ = process.communicate(timeout=900)
    if process.returncode not in {0, _MORE_IS_LEFT}:
        raise RuntimeError(f"the purge failed: {process.returncode}")
    said = json.loads(output)
    return Purged(said["sessions"], said["seconds"])
