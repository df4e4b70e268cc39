"""How gunicorn runs the service: `gunicorn wsgi:app` in this folder reads this file."""

import os
import sys
from typing import Any

from gunicorn.glogging import Logger

from config import settings as read_settings  # `config` itself is a setting of gunicorn's
from wxsession import SettingsError

bind = "127.0.0.1:8000"
workers = 2
worker_class = "gthread"  # a login waits for WeChat; it must not keep a whole process
threads = 32
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
    # Half of a worker's threads may wait for WeChat, three quarters for a password to be hashed,
    # which is soon over; the others go on checking sessions.
    os.environ.setdefault("WXSESSION_WECHAT_CONCURRENCY", str(max(1, server.cfg.threads // 2)))
    os.environ.setdefault("WXSESSION_PASSWORD_QUEUE", str(server.cfg.threads * 3 // 4))
    try:
        read_settings()
    except SettingsError as error:
        sys.exit(str(error))
