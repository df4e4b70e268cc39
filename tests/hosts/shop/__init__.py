"""A shop with users, orders, a database and migrations of its own."""

import os

from flask import Flask

from .customers import customers
from .extensions import db, include_object, migrate, sock, wxsession
from .jobs import jobs
from .live import live
from .orders import orders
from .welcome import welcome


def create_app() -> Flask:
    """Return the shop; its database, which it shares with wxsession, is that of the environment."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    app.config["WXSESSION_DATABASE_URL"] = os.environ["DATABASE_URL"]
    db.init_app(app)
    migrate.init_app(app, db, include_object=include_object)
    sock.init_app(app)
    wxsession.init_app(app)
    for part in (customers, orders, welcome, live, jobs):
        app.register_blueprint(part)
    return app
