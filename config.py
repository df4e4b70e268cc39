"""The settings of the service: the only place where it reads the environment."""

import os
from pathlib import Path

from wxsession import DIALECTS, Settings

DATABASE_URL = f"sqlite:///{Path(__file__).resolve().parent / 'instance' / 'wxsession.db'}"

defaults = {"WXSESSION_DATABASE_URL": DATABASE_URL}
"""For what is not in the environment; `gunicorn.conf.py` adds its number of threads."""


def settings() -> Settings:
    """Return the settings of this server.

    Raises:
        SettingsError: with everything that is wrong.
    """
    given = {name: value for name, value in os.environ.items() if value.strip()}
    assumed = {name: value for name, value in defaults.items() if f"{name}_FILE" not in given}
    return Settings.read({**assumed, **given}, dialects=DIALECTS)
