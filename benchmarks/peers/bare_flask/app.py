"""A Flask route that answers a check without looking at anything."""

from flask import Flask

app = Flask(__name__, static_folder=None)


@app.get("/alive")
def alive() -> dict[str, bool]:
    return {"alive": True}


@app.get("/check")
def check() -> dict[str, object]:
    return {"active": True, "user": {"id": 1, "name": "user 1"}}
