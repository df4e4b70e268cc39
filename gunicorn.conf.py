"""How gunicorn runs the service: `gunicorn wsgi:app` in this folder reads this file."""

import resource
import sys
from typing import Any

from gunicorn.glogging import Logger

from config import defaults
from config import settings as read_settings  # `config` itself is a setting of gunicorn's
from wxsession import SettingsError

bind = "127.0.0.1:8000"
workers = 2
worker_class = "gthread"  # a login waits for WeChat; it must not keep a whole process
# A thread that waits costs memory alone, and none is made before it is needed. Three quarters of
# them may wait: so 512 logins at once have room even if one worker takes all of them.
threads = 768
worker_connections = 2 * threads
graceful_timeout = 30
keepalive = 5
control_socket_disable = True
# Nobody says by a header which path was asked for, not even a proxy on this machine, which may hand
# on what its client sent. Whose address counts is decided by WXSESSION_TRUSTED_PROXIES.
forwarder_headers = ""
forwarded_allow_ips = ""
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "wxsession.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
    "loggers": {"gunicorn.error": {"level": "INFO", "propagate": True}},
}


class OnlyWantedAccess(Logger):
    """Words a line for each request only where an access log is wanted.

    gunicorn takes any configuration of logging for a wish to have one.
    """

    def access(self, *request: Any) -> None:
        """Log a request, with --access-logfile."""
        if self.cfg.accesslog:
            super().access(*request)


logger_class = OnlyWantedAccess


def on_starting(server: Any) -> None:
    """Refuse a bad configuration once, before any worker is made."""
    _allow_files(4 * server.cfg.worker_connections)
    try:
        read_settings()
    except SettingsError as error:
        sys.exit(str(error))


def pre_fork(server: Any, _worker: Any) -> None:
    """Tell the worker, which inherits `defaults`, how many threads it will have."""
    defaults["WXSESSION_THREADS"] = str(server.cfg.threads)


def _allow_files(wanted: int) -> None:
    """Let the workers open so many files, as far as the system lets us.

    A request under way holds its socket, what waits for it, and a connection to WeChat. systemd
    and shells begin with 1024, and let whoever asks have more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
