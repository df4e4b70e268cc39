"""The service and the console: `gunicorn wsgi:app`, `gunicorn wsgi:console`, `flask --app wsgi …`.

Each is built when somebody asks for it: the process of one does not load the other.
"""

import sys

from flask import Flask

import config
from wxsession import SettingsError, create_app


def __getattr__(name: str) -> Flask:
    """Build an application of this name, once."""
    try:
        match name:
            case "app":
                made = create_app(config.settings())
            case "console":
                from wxsession.console import create_console  # noqa: PLC0415 - see above

                made = create_console(config.settings())
            case _:
                raise AttributeError(name)
    except SettingsError as error:
        sys.exit(str(error))
    globals()[name] = made
    return made
