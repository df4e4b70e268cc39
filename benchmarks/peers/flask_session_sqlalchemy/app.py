"""Flask-Session, with SESSION_TYPE "sqlalchemy"; the session holds the user's id."""

import os

from flask import Flask, session
from flask_session import Session
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__, static_folder=None)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
db = SQLAlchemy(app)


class User(db.Model):
    __tablename__ = "users"
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(64))


app.config["SESSION_TYPE"] = "sqlalchemy"
app.config["SESSION_SQLALCHEMY"] = db
Session(app)


@app.get("/alive")
def alive() -> dict[str, bool]:
    return {"alive": True}


@app.get("/check")
def check() -> tuple[dict[str, object], int]:
    user = db.session.get(User, session.get("user_id", 0))
    if user is None:
        return {"active": False}, 401
    return {"active": True, "user": {"id": user.id, "name": user.name}}, 200
