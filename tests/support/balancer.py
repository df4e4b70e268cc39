"""The balancer of `docs/en/high-availability.md`, a real nginx, before services of a test."""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.support.documents import block_with
from tests.support.nginx import NginxProgram


class Balancer(NginxProgram):
    """Passes each request on to one of the services at these addresses."""

    alive = "/healthz"

    def __init__(self, folder: Path, addresses: Sequence[str]) -> None:
        """Start nothing yet."""
        super().__init__(folder)
        upstream = block_with("upstream wxsession", "nginx")
        for printed, meant in zip(
            re.findall(r"server ([\d.:]+)", upstream), addresses, strict=True
        ):
            upstream = upstream.replace(printed, meant)
        passing = "location / { proxy_http_version 1.1; proxy_pass http://wxsession; }"
        self.configure(upstream, f"server {{ listen 127.0.0.1:{self.port}; {passing} }}")
