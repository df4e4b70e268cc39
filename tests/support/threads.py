"""A machine on which no thread can be started any more."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NO_ROOM = 1 << 47
"""Bytes of a stack for which no process has addresses."""


@contextmanager
def no_more_threads() -> Iterator[None]:
    """Let no thread start while the block runs."""
    before = threading.stack_size(_NO_ROOM)
    try:
        yield
    finally:
        threading.stack_size(before)
