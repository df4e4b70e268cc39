"""The login of a tutorial, with requests and Flask-SQLAlchemy."""

import os
import secrets

import requests
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__, static_folder=None)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
db = SQLAlchemy(app)


class User(db.Model):
    __tablename__ = "users"
    id = db.Column(db.Integer, primary_key=True)
    openid = db.Column(db.String(64), unique=True)


class Login(db.Model):
    __tablename__ = "logins"
    token = db.Column(db.String(64), primary_key=True)
    user_id = db.Column(db.ForeignKey("users.id"))
    session_key = db.Column(db.String(32))
    user = db.relationship(User)


@app.get("/alive")
def alive() -> dict[str, bool]:
    return {"alive": True}


@app.post("/login")
def login() -> tuple[dict[str, str], int]:
    asked = {
        "appid": "wx0123456789abcdef",
        "secret": "app-secret",
        "js_code": request.json["code"],
        "grant_type": "authorization_code",
    }
    url = os.environ["WECHAT_URL"] + "/sns/jscode2session"
    answer = requests.get(url, params=asked, timeout=5).json()
    if "openid" not in answer:
        return {"error": answer["errmsg"]}, 400
    user = User.query.filter_by(openid=answer["openid"]).first()
    if user is None:
        user = User(openid=answer["openid"])
    token = secrets.token_hex(32)
    db.session.add(Login(token=token, user=user, session_key=answer["session_key"]))
    db.session.commit()
    return {"token": token}, 200
