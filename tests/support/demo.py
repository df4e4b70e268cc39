"""``python -m wxsession demo``, as somebody starts it and pastes what it prints."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.service import free_port, plain_environment

DEMO: Final = (sys.executable, "-m", "wxsession", "demo")


@contextmanager
def started(folder: Path, *command: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the demo in a folder, and see that it ends well at Ctrl-C; yield what it prints."""
    names = ("PORT", "SIMULATOR_PORT", "CONSOLE_PORT")
    ports = {name: str(free_port()) for name in names}
    with subprocess.Popen(
        command or DEMO,
        cwd=folder,
        # Settings of a real server, and a proxy, must not matter.
        env=plain_environment()
        | ports
        | {"WXSESSION_DATABASE_URL": "nonsense", "http_proxy": "http://127.0.0.1:9"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell that runs us in the background lets its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as demo:
        try:
            assert demo.stdout is not None
            printed = ""
            for line in demo.stdout:
                printed += line
                if line.startswith("Ctrl-C"):
                    break
            yield printed, demo
            demo.send_signal(signal.SIGINT)
            assert demo.wait(20) == 0, printed
        finally:
            demo.kill()


def pasted(printed: str) -> list[str]:
    """Return what a shell prints for the lines that were printed to be pasted."""
    lines = filter(re.compile("export|code|grant|token|printf|curl").match, printed.splitlines())
    script = "\n".join(lines)
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()
