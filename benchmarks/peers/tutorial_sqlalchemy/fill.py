"""Fill the table of users."""

import sys

from sqlalchemy import text

from benchmarks.peers.tutorial_sqlalchemy.app import app, db

users, _presented = map(int, sys.argv[1:])
with app.app_context():
    db.create_all()
    db.session.execute(
        text(
            "INSERT INTO users (openid)"
            " SELECT 'o' || lpad((i - 1)\\:\\:text, 27, '0') FROM generate_series(1, :n) AS i"
        ),
        {"n": users},
    )
    db.session.commit()
