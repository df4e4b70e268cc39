"""flask-login with Flask-SQLAlchemy: the session is in the cookie, the user in the database."""
