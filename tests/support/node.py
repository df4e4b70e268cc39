"""Programs of mini-programs for tests: run in Node, against real servers."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support.service import plain_environment

CLIENTS: Final = Path(__file__).resolve().parents[1] / "clients"


def run_node(*arguments: str, environment: Mapping[str, str], timeout: float = 120) -> str:
    """Return what Node printed; it runs in `tests/clients`, where the packages are installed."""
    done = subprocess.run(
        ["node", *arguments],
        cwd=CLIENTS,
        env=plain_environment() | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
