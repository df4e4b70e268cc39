"""The service as systemd runs it with `wxsession.socket`: somebody else holds the socket."""

import shlex
import signal
import sys
from typing import Final

from tests.support.service import Service

# Holds the socket, and starts the service with it as sd_listen_fds(3) has it. SIGUSR1 is
# `systemctl restart`: the service is stopped, the environment file read again, the service started.
_SYSTEMD: Final = """
import os, shlex, signal, socket, subprocess, sys, threading
port, file, *command = sys.argv[1:]
listening = socket.create_server(("127.0.0.1", int(port)), backlog=4096)
os.dup2(listening.fileno(), 3, inheritable=True)
activate = ("sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"')
before = (sys.executable, "-m", "flask", "--app", "wsgi", "upgrade-database")
stop, restart = threading.Event(), threading.Event()
def on(number, *wanted):
    signal.signal(number, lambda *_: [one.set() for one in wanted])
on(signal.SIGUSR1, restart)
on(signal.SIGTERM, stop, restart)
while not stop.is_set():
    restart.clear()
    settings = dict(pair.split("=", 1) for pair in shlex.split(open(file).read()))
    subprocess.run(before, env=os.environ | settings, check=True)
    service = subprocess.Popen((*activate, *command), env=os.environ | settings, pass_fds=(3,))
    while service.poll() is None and not restart.wait(0.05):
        pass
    service.send_signal(signal.SIGTERM)
    if service.wait() != 0:
        sys.exit(service.returncode)
"""


class ActivatedService(Service):
    """wxsession behind a socket that stays while it is restarted."""

    def command(self) -> list[str]:
        """Return how the stand-in for systemd is called, with what the unit starts."""
        file = self.directory / "env"
        file.touch()
        gunicorn = (sys.executable, "-m", "gunicorn", "wsgi:app")
        return [sys.executable, "-c", _SYSTEMD, str(self.port), str(file), *gunicorn]

    def restart(self, **settings: object) -> None:
        """Begin a restart with other settings."""
        new = {f"WXSESSION_{name.upper()}={value}" for name, value in settings.items()}
        (self.directory / "env").write_text(shlex.join(new))
        self.send_signal(signal.SIGUSR1)
