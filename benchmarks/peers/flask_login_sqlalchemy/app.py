"""Flask-Login with a user of Flask-SQLAlchemy."""

import os

from flask import Flask
from flask_login import LoginManager, UserMixin, current_user, login_required
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__, static_folder=None)
app.secret_key = os.environ["SECRET_KEY"]
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
db = SQLAlchemy(app)
login_manager = LoginManager(app)


class User(UserMixin, db.Model):
    __tablename__ = "users"
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(64))


@login_manager.user_loader
def load_user(user_id: str) -> User | None:
    return db.session.get(User, int(user_id))


@app.get("/alive")
def alive() -> dict[str, bool]:
    return {"alive": True}


@app.get("/check")
@login_required
def check() -> dict[str, object]:
    return {"active": True, "user": {"id": current_user.id, "name": current_user.name}}
