"""The image of `deploy/Dockerfile`, built and run without an engine for containers.

A folder becomes the root of a mount namespace of its own. Of this machine it has /usr, the
libraries, and Python, all to be read only: they stand for the base image. Everything else is what
the steps of the file put there. Needs root.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.network import Namespace
from tests.support.service import ROOT, Server

DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile"
PORT: Final = 8000

_BASE: Final = Path(sys.base_prefix)

# What the root is made of, and then the program in it. Mounts are gone when it ends, because the
# namespace is its own.
_ENTER: Final = """
set -eu
root=$1 mode=$2 user=$3 folder=$4
shift 4
mount --make-rprivate /
mount --bind "$root" "$root"
for given in /usr "$PYTHON" /proc /dev; do
    mkdir -p "$root$given"
    mount --rbind "$given" "$root$given"
done
mount -o remount,bind,ro "$root/usr"
mount -o remount,bind,ro "$root$PYTHON"
for link in /bin /lib /lib64 /sbin; do
    [ ! -L "$link" ] || [ -L "$root$link" ] || cp -P "$link" "$root$link"
done
if [ "$mode" = ro ]; then
    mkdir -p "$root/run/secrets"
    mount --bind "$SECRETS" "$root/run/secrets"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount -o remount,bind,ro "$root"
fi
exec chroot --userspec="$user" --groups="" "$root" \\
    sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""


@dataclass
class _Stage:
    """One stage: its folder, and what holds for the steps that follow."""

    root: Path
    environment: dict[str, str]
    folder: str = "/"
    user: str = "0:0"
    healthcheck: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    stop_signal: str = ""


class Image:
    """What the last stage of the Dockerfile left behind."""

    def __init__(self, folder: Path) -> None:
        """Build it in an empty folder; what a step prints is shown if it fails."""
        stages: dict[str, _Stage] = {}
        context = folder / "context"
        _copy_context(context)
        for name, rest in instructions():
            if name == "FROM":
                alias = rest.rpartition(" AS ")[2]
                stage = stages[alias] = _Stage(folder / f"stage-{len(stages)}", _base())
                _furnish(stage.root)
            elif name != "ARG":  # none has to be given
                _STEPS[name](stage, rest, context, stages)
        self._stage = stage

    @property
    def user(self) -> str:
        """As whom it runs."""
        return self._stage.user

    @property
    def healthcheck(self) -> list[str]:
        """The command that says whether it is well."""
        return self._stage.healthcheck

    @property
    def stop_signal(self) -> str:
        """What asks it to stop."""
        return self._stage.stop_signal

    @property
    def command(self) -> list[str]:
        """What it runs if nothing else is said."""
        return self._stage.command

    def called(
        self, command: Sequence[str], settings: Mapping[str, str], secrets: Path, host: Namespace
    ) -> list[str]:
        """Return how a command is called in it, on a host and on a root that is only to be read.

        `secrets` is what /run/secrets shows; /tmp is empty, and in memory.
        """
        seen = {**settings, "SECRETS": str(secrets)}
        return [*host.prefix, *_entered(self._stage, "ro", command, **seen)]


class Container(Server):
    """An image that serves on a host, with these settings and secrets."""

    alive = "/healthz"

    def __init__(
        self, image: Image, host: Namespace, secrets: Path, settings: Mapping[str, str]
    ) -> None:
        """Start nothing yet."""
        super().__init__({})
        self.url = f"http://{host.address}:{PORT}"
        self._image, self._host = image, host
        self._secrets, self._settings = secrets, settings

    def command(self) -> list[str]:
        """Return how it is called."""
        return self._called(self._image.command, self._settings)

    def run(self, *command: str, **more: str) -> str:
        """Return what a command beside the server prints; it has to succeed."""
        return _run(self._called(command, {**self._settings, **more}))

    def _called(self, command: Sequence[str], settings: Mapping[str, str]) -> list[str]:
        return self._image.called(command, settings, self._secrets, self._host)


def instructions() -> Iterator[tuple[str, str]]:
    """Yield the Dockerfile's instructions, each with what stands behind its name."""
    lines = [
        line
        for line in DOCKERFILE.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = line.partition(" ")
        yield name, rest.strip()


def _copy_context(context: Path) -> None:
    """Copy what `.dockerignore` lets the builder see."""
    ignored, *kept = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert ignored == "*"
    context.mkdir(parents=True)
    for name in (line.removeprefix("!") for line in kept if line.startswith("!")):
        _copy(ROOT / name, context / name)


def _base() -> dict[str, str]:
    """Return the environment of the base image; pip asks whom it asks on this machine."""
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return {"PATH": f"{_BASE}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **pip}


def _furnish(root: Path) -> None:
    """Put into an empty folder what every base image has: users, names of hosts, certificates."""
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\n")
    for name in ("login.defs", "hosts", "resolv.conf", "ssl", "pip.conf", "ld.so.cache"):
        if Path("/etc", name).exists():
            _copy(Path("/etc", name), root / "etc" / name)
    if (ours := Path("~/.config/pip").expanduser()).exists():
        _copy(ours, root / "root" / ".config" / "pip")
    for name in ("tmp", "opt", "var/lib"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, symlinks=True, ignore=ignore, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)


def _step_run(stage: _Stage, rest: str, _context: Path, _stages: Mapping[str, _Stage]) -> None:
    _run(_entered(stage, "rw", ["sh", "-c", rest]))


def _step_copy(stage: _Stage, rest: str, context: Path, stages: Mapping[str, _Stage]) -> None:
    *sources, target = rest.split()
    if sources[0].startswith("--from="):
        context = stages[sources.pop(0).removeprefix("--from=")].root
    there = stage.root / stage.folder.lstrip("/") / target
    for source in sources:
        found = context / source.lstrip("/")
        whole = target.endswith("/") or found.is_dir()
        _copy(found, there / found.name if target.endswith("/") else there)
        assert whole or len(sources) == 1


def _step_workdir(stage: _Stage, rest: str, _context: Path, _stages: Mapping[str, _Stage]) -> None:
    stage.folder = rest
    (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)


def _step_env(stage: _Stage, rest: str, _context: Path, _stages: Mapping[str, _Stage]) -> None:
    for pair in shlex.split(rest):
        name, _, value = pair.partition("=")
        stage.environment[name] = value.replace("$PATH", stage.environment["PATH"])


def _step_user(stage: _Stage, rest: str, _context: Path, _stages: Mapping[str, _Stage]) -> None:
    stage.user = rest


def _step_healthcheck(
    stage: _Stage, rest: str, _context: Path, _stages: Mapping[str, _Stage]
) -> None:
    stage.healthcheck = json.loads(rest.partition(" CMD ")[2])


def _step_cmd(stage: _Stage, rest: str, _context: Path, _stages: Mapping[str, _Stage]) -> None:
    stage.command = json.loads(rest)


def _step_stopsignal(
    stage: _Stage, rest: str, _context: Path, _stages: Mapping[str, _Stage]
) -> None:
    stage.stop_signal = rest


def _step_expose(_stage: _Stage, rest: str, _context: Path, _stages: Mapping[str, _Stage]) -> None:
    assert rest == str(PORT)


_STEPS: Final[Mapping[str, Callable[[_Stage, str, Path, Mapping[str, _Stage]], None]]] = {
    "RUN": _step_run,
    "COPY": _step_copy,
    "WORKDIR": _step_workdir,
    "ENV": _step_env,
    "USER": _step_user,
    "HEALTHCHECK": _step_healthcheck,
    "CMD": _step_cmd,
    "STOPSIGNAL": _step_stopsignal,
    "EXPOSE": _step_expose,
}


def _entered(stage: _Stage, mode: str, command: Sequence[str], **more: str) -> list[str]:
    """Return how a command is called with this stage as its root, in an environment of its own."""
    seen = {**stage.environment, "PYTHON": str(_BASE), **more}
    names = [f"{name}={value}" for name, value in seen.items()]
    inside = [str(stage.root), mode, stage.user, stage.folder]
    entering = ["unshare", "--mount", "sh", "-c", _ENTER, "enter", *inside]
    return ["env", "-i", *names, *entering, *command]


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
