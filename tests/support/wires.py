"""How clients of the other dialects log in, and where they keep the token."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.phone import Answer, Phone


@dataclass(frozen=True)
class Wire:
    """How clients of a dialect log in, and where they keep the token."""

    log_in: Callable[[Phone, str], Answer]
    token: Callable[[Any], str | None]
    header: str | None = None
    field: str | None = None


API_KEY = "an-api-key-of-a-back-end-of-2016"


def interface(name: str, **para: object) -> dict[str, object]:
    call = {"interfaceName": name, "para": para}
    return {"version": 1, "componentName": "MA", "interface": call}


def mina_auth(phone: Phone, name: str, **para: object) -> Answer:
    return phone.send("POST", "/mina_auth/", json=interface(name, **para), token=API_KEY)


WIRES: dict[str, Wire] = {
    "wafer": Wire(
        lambda phone, code: phone.send("GET", "/weapp/login", headers={"X-WX-Code": code}),
        lambda body: body["data"]["skey"] if body.get("code") == 0 else None,
        header="X-WX-Skey",
    ),
    "wafer-session-server": Wire(
        lambda phone, code: mina_auth(phone, "qcloud.cam.id_skey", code=code),
        lambda body: body["returnData"]["skey"] if body["returnCode"] == 0 else None,
    ),
    "onlogin": Wire(
        lambda phone, code: phone.send("POST", "/onLogin", json={"code": code}),
        lambda body: body.get("3rd_session"),
        header="3rd-session",
        field="3rd_session",
    ),
    "onlogin-get": Wire(
        lambda phone, code: phone.send("GET", "/onLogin", query_string={"code": code}),
        lambda body: body.get("3rd_session"),
        header="3rd-session",
        field="3rd_session",
    ),
    "fetch-code": Wire(
        lambda phone, code: phone.send("POST", "/api/fetch_code", json={"code": code}),
        lambda body: body.get("session_id"),
        header="session-id",
        field="session_id",
    ),
    "book": Wire(
        lambda phone, code: phone.send("GET", "/login", query_string={"code": code}),
        lambda body: body.get("sessionId"),
        header="session-id",
    ),
}
