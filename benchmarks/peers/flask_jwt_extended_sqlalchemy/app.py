"""Flask-JWT-Extended: a refresh gives both tokens again, and puts the old one on the blocklist."""

import os
from datetime import UTC, datetime

from flask import Flask
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    get_jwt,
    get_jwt_identity,
    jwt_required,
)
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__, static_folder=None)
app.config["JWT_SECRET_KEY"] = os.environ["SECRET_KEY"]
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
jwt = JWTManager(app)
db = SQLAlchemy(app)


class TokenBlocklist(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    jti = db.Column(db.String(36), nullable=False, index=True)
    created_at = db.Column(db.DateTime, nullable=False)


@jwt.token_in_blocklist_loader
def is_blocked(_header: dict[str, str], payload: dict[str, str]) -> bool:
    found = db.session.query(TokenBlocklist.id).filter_by(jti=payload["jti"]).scalar()
    return found is not None


@app.get("/alive")
def alive() -> dict[str, bool]:
    return {"alive": True}


@app.post("/refresh")
@jwt_required(refresh=True)
def refresh() -> dict[str, str]:
    db.session.add(TokenBlocklist(jti=get_jwt()["jti"], created_at=datetime.now(UTC)))
    db.session.commit()
    identity = get_jwt_identity()
    return {
        "access_token": create_access_token(identity=identity),
        "refresh_token": create_refresh_token(identity=identity),
    }
