#!/usr/bin/env python3
"""Run a command on an empty PostgreSQL database; it finds its URL in WXSESSION_DATABASE_URL."""

import os
import subprocess
import sys

from tests.support.postgres import PostgresServer

with PostgresServer() as server:
    server.create_database("wxsession")
    environment = {**os.environ, "WXSESSION_DATABASE_URL": server.url("wxsession")}
    done = subprocess.run(sys.argv[1:], env=environment, check=False)  # noqa: S603 - from .ci/run
sys.exit(done.returncode)
