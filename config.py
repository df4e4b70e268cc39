"""The settings of this server, from the environment; the only place that reads it."""

import os
from pathlib import Path

from wxsession import DIALECTS, Settings

DATABASE_URL = f"sqlite:///{Path(__file__).resolve().parent / 'instance' / 'wxsession.db'}"


def settings() -> Settings:
    """Return the settings of this server.

    Raises:
        SettingsError: with every fault there is.
    """
    given = {name: value for name, value in os.environ.items() if value.strip()}
    return Settings.read({"WXSESSION_DATABASE_URL": DATABASE_URL, **given}, dialects=DIALECTS)
