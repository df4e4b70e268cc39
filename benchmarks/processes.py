"""What processes cost, from /proc: the CPU time of a tree of them, the memory of one."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")


class _Process(NamedTuple):
    pid: int
    parent: int
    cpu_seconds: float


def cpu_seconds(*roots: int) -> list[float]:
    """Return what each process and all below it have used, user and system, the ended included."""
    below: dict[int, list[_Process]] = {}
    for process in (everything := list(_all())):
        below.setdefault(process.parent, []).append(process)
    return [
        sum(process.cpu_seconds for process in _tree(process, below))
        for root in roots
        for process in everything
        if process.pid == root
    ]


def children(parent: int) -> list[int]:
    """Return the processes that `parent` started, the oldest first."""
    return sorted(process.pid for process in _all() if process.parent == parent)


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has now."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _tree(root: _Process, below: Mapping[int, Sequence[_Process]]) -> Iterator[_Process]:
    yield root
    for child in below.get(root.pid, ()):
        yield from _tree(child, below)


def _all() -> Iterator[_Process]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            pid, _, rest = path.read_text().partition(" ")
            # The name, in parentheses, may have anything in it. Behind it, by proc(5): the parent
            # is the 4th field, utime, stime, cutime and cstime are the 14th to the 17th.
            fields = rest.rpartition(")")[2].split()
            yield _Process(int(pid), int(fields[1]), sum(map(int, fields[11:15])) * _TICK)
