"""Flask-Session with its SQLAlchemy interface."""
