"""Hosts of their own for servers under test: network namespaces of Linux that can vanish."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import Final, Self

_PROGRAM: Final = "ip"

# Takes a `Lan` away when the process that made it closes the pipe, or ends, however that ends. It
# kills what is frozen, too.
_JANITOR: Final = """
import os, signal, subprocess, sys, time
def ip(*words):
    return subprocess.run(["ip", *words], stdout=subprocess.PIPE, text=True).stdout
switch, = sys.argv[1:]
sys.stdin.buffer.read()
for line in ip("netns", "list").splitlines():
    name = line.split()[0]
    if name.startswith(switch + "h"):
        while pids := ip("netns", "pids", name).split():
            for pid in pids:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)
        ip("netns", "del", name)
ip("link", "del", switch)
"""


class NetworkError(Exception):
    """There is no such host for the tests; the message says why."""


class Namespace:
    """A host with one address, on a cable of its own to this one.

    Needs root and the program `ip` of Debian's package iproute2.
    """

    def __init__(self) -> None:
        """Make nothing yet."""
        number = secrets.randbelow(1 << 14)
        net = f"10.213.{number >> 6}.{(number & 63) * 4}"
        base, _, last = net.rpartition(".")
        self._here, self.address = f"{base}.{int(last) + 1}", f"{base}.{int(last) + 2}"
        self._name = f"wxsession{number}"
        self.prefix = (_PROGRAM, "netns", "exec", self._name)

    def __enter__(self) -> Self:
        """Make the host, and connect it.

        Raises:
            NetworkError: this machine does not let us.
        """
        near, far = f"wn{self._name[9:]}", f"wf{self._name[9:]}"
        _run("netns", "add", self._name)
        try:
            _run("link", "add", near, "type", "veth", "peer", "name", far, "netns", self._name)
            _run("addr", "add", f"{self._here}/30", "dev", near)
            _run("link", "set", near, "up")
            self._inside("addr", "add", f"{self.address}/30", "dev", far)
            self._inside("link", "set", far, "up")
            self._inside("link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away, and the cable with it."""
        _run("netns", "del", self._name)

    def vanish(self) -> None:
        """Let nothing that it sends arrive here, as if every packet were dropped."""
        self._inside("route", "add", "blackhole", self._here)

    def come_back(self) -> None:
        """Let it be reached again."""
        self._inside("route", "del", "blackhole", self._here)

    def _inside(self, *arguments: str) -> None:
        _run("-n", self._name, *arguments)


class Lan:
    """Machines on one switch, which reach each other and this machine.

    Whatever runs on them ends with the process that made them, however that ends. Needs root and
    the program `ip` of Debian's package iproute2.
    """

    def __init__(self) -> None:
        """Make nothing yet."""
        number = secrets.randbelow(1 << 8)
        self.prefix = f"10.214.{number}."
        """How every address there begins."""
        self._switch = f"ws{number}"
        self._janitor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Make the switch, with this machine on it.

        Raises:
            NetworkError: this machine does not let us.
        """
        _run("link", "add", self._switch, "type", "bridge")
        self._janitor = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _JANITOR, self._switch],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the tests
        )
        try:
            _run("addr", "add", f"{self.prefix}1/24", "dev", self._switch)
            _run("link", "set", self._switch, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Take everything away, and kill what runs there."""
        if self._janitor is not None:
            self._janitor.communicate(timeout=30)
            self._janitor = None

    def host(self, last: int) -> "Host":
        """Return a new machine; `last` is the last number of its address."""
        host = Host(f"{self._switch}h{last}", f"{self.prefix}{last}")
        _run("netns", "add", host.name)
        _run("link", "add", host.port, "type", "veth", "peer", "name", "eth0", "netns", host.name)
        _run("link", "set", host.port, "master", self._switch, "up")
        _run("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
        _run("-n", host.name, "link", "set", "eth0", "up")
        _run("-n", host.name, "link", "set", "lo", "up")
        return host


class Host:
    """A machine of a `Lan`: a network namespace, and what runs in it."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.port = f"{name}p"
        """Its port at the switch."""
        self.prefix = (_PROGRAM, "netns", "exec", name)
        """What stands before a command that is to run there."""

    def vanish(self) -> None:
        """Pull its cable: whatever it sends and whatever is sent to it is lost."""
        _run("link", "set", self.port, "down")

    def come_back(self) -> None:
        """Plug the cable in again."""
        _run("link", "set", self.port, "up")

    def signal(self, number: signal.Signals, *, but: Collection[int] = ()) -> None:
        """Send a signal to every process there, but not to these."""
        for pid in map(int, _run("netns", "pids", self.name).split()):
            if pid not in but:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)


def _run(*arguments: str) -> str:
    try:
        done = subprocess.run(
            [_PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except FileNotFoundError:
        raise NetworkError("the program 'ip' is missing: apt install iproute2") from None
    if done.returncode:
        problem = (
            f"a network namespace cannot be made here ({done.stderr.strip()}): these tests need"
            " root, and a container that may make one (--cap-add NET_ADMIN --cap-add SYS_ADMIN)"
        )
        raise NetworkError(problem)
    return done.stdout
