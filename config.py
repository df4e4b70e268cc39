"""The settings of this server, from the environment; the only place that reads it."""

import os
from pathlib import Path

from wxsession import DIALECTS, Settings

DATABASE_URL = f"sqlite:///{Path(__file__).resolve().parent / 'instance' / 'wxsession.db'}"

defaults = {"WXSESSION_DATABASE_URL": DATABASE_URL}
"""What holds where the environment says nothing; `gunicorn.conf.py` adds its number of threads."""


def settings() -> Settings:
    """Return the settings of this server.

    Raises:
        SettingsError: with every fault there is.
    """
    given = {name: value for name, value in os.environ.items() if value.strip()}
    return Settings.read({**defaults, **given}, dialects=DIALECTS)
