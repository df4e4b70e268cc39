"""The service, for gunicorn (`gunicorn wsgi:app`) and for `flask --app wsgi …`."""

import sys

import config
from wxsession import SettingsError, create_app

try:
    app = create_app(config.settings())
except SettingsError as error:
    sys.exit(str(error))
