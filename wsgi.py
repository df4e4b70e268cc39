"""The service, for gunicorn (`gunicorn wsgi:app`) and for `flask --app wsgi …`."""

import click

import config
from wxsession import SettingsError, create_app

try:
    app = create_app(config.settings())
except SettingsError as error:
    raise click.ClickException(str(error)) from None
