"""The machine: its cores, who works on which of them, and what a reader has to know of it."""

import os
import platform
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

CORES: Final = tuple(sorted(os.sched_getaffinity(0)))
SERVER_CORE: Final = CORES[0]
LOAD_CORE: Final = CORES[-1]
"""The load generator and PostgreSQL share the last core; the server has the first for itself."""

_PACKAGES: Final = (
    "wxsession",
    "Flask",
    "SQLAlchemy",
    "psycopg",
    "gunicorn",
    "granian",
    "requests",
    "Flask-Session",
    "Flask-SQLAlchemy",
    "Flask-Login",
    "Flask-JWT-Extended",
    "Django",
)


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Let what is started inside run on that core alone; processes inherit it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def facts() -> list[str]:
    """Return what machine and system this is, a line each, with nothing personal in it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release()}"
    return [
        f"Machine: {_processor()}, {len(CORES)} cores, {memory:.0f} GiB of memory",
        f"System: {system}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
    ]


def versions() -> list[str]:
    """Return the installed ones of the Python packages that take part."""
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
