"""How gunicorn runs the service: `gunicorn wsgi:app` in this folder reads this file."""

import logging
import resource
import sys
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from config import defaults
from config import settings as read_settings  # `config` itself is a setting of gunicorn's
from wxsession import SettingsError
from wxsession.common.logs import ACCESS_LOG, JsonFormatter

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


class AccessLogger(Logger):
    """Leaves the access log to the service, which knows the route, the client and the session.

    gunicorn's own lines have paths and queries, in which dialects may have credentials.
    """

    def setup(self, cfg: Any) -> None:
        """Let the service's lines go where --access-logfile says."""
        super().setup(cfg)
        if cfg.accesslog:
            defaults["WXSESSION_ACCESS_LOG"] = "on"
            access = logging.getLogger(ACCESS_LOG)
            access.handlers, access.propagate = self.access_log.handlers, False
            for handler in access.handlers:
                handler.setFormatter(JsonFormatter())

    def access(self, *request: Any) -> None:
        """Log nothing."""


logger_class = AccessLogger


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


def post_worker_init(worker: Any) -> None:
    """Begin to export metrics, if they are wanted, before the first request."""
    exporter = worker.wsgi.extensions["wxsession"].exporter
    if exporter is not None:
        exporter.start()


def _allow_files(wanted: int) -> None:
    """Let the workers open this many files, as far as the system allows it.

    A request has its socket, and may have connections to WeChat and to the database. systemd and
    shells start with 1024, and allow more to a process that asks.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
