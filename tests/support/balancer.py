"""The balancer of `docs/en/high-availability.md`, a real nginx, before services of a test."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.support.documents import block_with
from tests.support.service import Server

_FRAME: Final = """
daemon off;
master_process off;    # one process, which stays who started it
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {upstream}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_http_version 1.1; proxy_pass http://wxsession; }}
    }}
}}
"""


class Balancer(Server):
    """Passes each request on to one of the services at these addresses."""

    alive = "/healthz"

    def __init__(self, folder: Path, addresses: Sequence[str]) -> None:
        """Start nothing yet."""
        super().__init__({})
        upstream = block_with("upstream wxsession", "nginx")
        for printed, meant in zip(
            re.findall(r"server ([\d.:]+)", upstream), addresses, strict=True
        ):
            upstream = upstream.replace(printed, meant)
        self._folder = folder
        self._configuration = folder / "nginx.conf"
        self._configuration.write_text(_FRAME.format(upstream=upstream, port=self.port))

    def command(self) -> list[str]:
        """Return how nginx is called."""
        # Debian keeps it where only root looks for programs.
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        assert program, "nginx is missing: apt install nginx"
        return [program, "-p", str(self._folder), "-c", str(self._configuration), "-e", "stderr"]
