"""How gunicorn runs the service: `gunicorn wsgi:app` in this folder reads this file."""

import resource
import sys
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from config import defaults
from config import settings as read_settings  # `config` itself is a setting of gunicorn's
from wxsession import SettingsError

bind = "127.0.0.1:8000"
workers = 2
worker_class = "gthread"  # a login waits for WeChat, and must not block a whole process
# A thread that waits costs only memory, and is not created before it is needed. Three quarters of
# them may wait: so 512 logins at once have room even if one worker gets all of them.
threads = 768
worker_connections = 2 * threads
graceful_timeout = 30
keepalive = 5
control_socket_disable = True
# No header may say which path was requested, not even from a proxy on this machine, which may pass
# on what its client sent. WXSESSION_TRUSTED_PROXIES decides whose address counts.
forwarder_headers = ""
forwarded_allow_ips = ""
logconfig_json = str(Path(__file__).with_name("logging.json"))


class AccessLogOnDemand(Logger):
    """Formats a line for each request only with --access-logfile.

    gunicorn does so for any logging configuration, even if nobody reads the line.
    """

    def access(self, *request: Any) -> None:
        """Log a request, if there is an access log."""
        if self.cfg.accesslog:
            super().access(*request)


logger_class = AccessLogOnDemand


def on_starting(server: Any) -> None:
    """Refuse a wrong configuration once, before any worker starts."""
    _allow_files(4 * server.cfg.worker_connections)
    try:
        read_settings()
    except SettingsError as error:
        sys.exit(str(error))


def pre_fork(server: Any, _worker: Any) -> None:
    """Tell the worker how many threads it has: the process that is forked inherits `defaults`."""
    defaults["WXSESSION_THREADS"] = str(server.cfg.threads)


def _allow_files(wanted: int) -> None:
    """Let the workers open this many files, as far as the system allows it.

    A request has its socket, and may have connections to WeChat and to the database. systemd and
    shells start with 1024, and allow more to a process that asks.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
