"""Several processes for one proof: they start afresh, and end with this one."""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(function: Callable[[A], R], arguments: Iterable[A]) -> list[R]:
    """Return what the function returns for each argument, each in a process of its own."""
    given = list(arguments)
    # Not forked: this process has threads and open connections.
    with ProcessPoolExecutor(len(given), get_context("spawn"), _end_with_parent) as pool:
        return list(pool.map(function, given))


def _end_with_parent() -> None:
    def watch() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
