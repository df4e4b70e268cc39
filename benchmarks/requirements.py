"""What has to be installed; a benchmark without it says so before it begins."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.postgres import PostgresNotFound, find_postgres

EXPRESS: Final = Path(__file__).with_name("peers") / "express"
_OLDEST_NODE: Final = 20
_EXTRAS: Final = (
    "granian",
    "flask_session",
    "flask_sqlalchemy",
    "flask_login",
    "flask_jwt_extended",
    "django",
    "matplotlib",
)


class MissingProgram(Exception):
    """Something is not installed; the message has a line for each, with what to install."""


def ensure_installed(
    which: Callable[[str], str | None] = shutil.which,
    find_server: Callable[[], Path] = find_postgres,
    find_module: Callable[[str], object] = importlib.util.find_spec,
) -> None:
    """Return if nothing is missing.

    `which` finds programs, `find_server` PostgreSQL's, `find_module` packages of Python.

    Raises:
        MissingProgram: something is.
    """
    faults = []
    if which("wrk") is None:
        faults.append("wrk is missing: apt install wrk")
    if (node := which("node")) is None or _version(node) < _OLDEST_NODE or which("npm") is None:
        faults.append(f"Node {_OLDEST_NODE} or newer with npm is missing: apt install nodejs npm")
    elif not _express_is_there():
        faults.append("the packages of Express are missing: make bench installs them")
    try:
        find_server()
    except PostgresNotFound:
        faults.append("PostgreSQL is missing: apt install postgresql")
    if absent := [name for name in _EXTRAS if find_module(name) is None]:
        faults.append(f"{', '.join(absent)}: missing; pip install -e '.[bench]'")
    if faults:
        raise MissingProgram("\n".join(faults))


def _express_is_there() -> bool:
    return (EXPRESS / "node_modules" / "express-session").is_dir()


def _version(node: str) -> int:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)", done.stdout)
    return int(found[1]) if found else 0
