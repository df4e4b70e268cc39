"""A host of its own for a server under test: a network namespace of Linux that can vanish."""

import secrets
import subprocess
from typing import Final, Self

_PROGRAM: Final = "ip"


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


def _run(*arguments: str) -> None:
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
