"""A shop with users, orders, a database and migrations of its own."""

import os

from flask import Flask

from .extensions import db, include_object, migrate, wxsession
from .orders import orders


def create_app() -> Flask:
    """Return the shop; its database, which it shares with wxsession, is that of the environment."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    app.config["WXSESSION_DATABASE_URL"] = os.environ["DATABASE_URL"]
    db.init_app(app)
    migrate.init_app(app, db, include_object=include_object)
    wxsession.init_app(app)
    app.register_blueprint(orders)
    return app
