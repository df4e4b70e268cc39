"""The apps of these tests, and what their server sends to WeChat."""

from flask.testing import FlaskClient

APPS = {"wx0000000000000001": "secret-one", "wx0000000000000002": "secret-two"}
FIRST, SECOND = APPS
HERE = "127.0.0.1"

RID = "[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"


def login_query(code: str, **changes: str | None) -> dict[str, str]:
    """Return the query of code2Session; a parameter that is None is left out."""
    query: dict[str, str | None] = {
        "appid": FIRST,
        "secret": APPS[FIRST],
        "js_code": code,
        "grant_type": "authorization_code",
        **changes,
    }
    return {name: value for name, value in query.items() if value is not None}


def token_body(**changes: object) -> dict[str, object]:
    """Return the body for stable_token; a parameter that is None is left out."""
    body: dict[str, object] = {
        "grant_type": "client_credential",
        "appid": FIRST,
        "secret": APPS[FIRST],
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


def access_token(http: FlaskClient, appid: str = FIRST) -> str:
    """Fetch an access token."""
    body = token_body(appid=appid, secret=APPS[appid])
    return str(http.post("/cgi-bin/stable_token", json=body).get_json()["access_token"])
