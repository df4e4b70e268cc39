"""Flask-JWT-Extended with its blocklist in a table of Flask-SQLAlchemy."""
