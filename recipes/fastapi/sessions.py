"""Whose session is it? Asked for each request (RFC 7662), or read in a signed token (RFC 9068)."""

import os
from typing import Annotated
from uuid import UUID

import httpx
import jwt
from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

WXSESSION = os.environ["WXSESSION"]
API_KEY = (os.environ["API_KEY_NAME"], os.environ["API_KEY"])

http = httpx.AsyncClient(base_url=WXSESSION, auth=API_KEY, timeout=5)
# Kept for five minutes; an unknown key is asked for at once, and after a second again.
keys = jwt.PyJWKClient(
    f"{WXSESSION}/.well-known/jwks.json", lifespan=300, cooldown_duration=1, timeout=5
)


class Session(BaseModel):
    """What wxsession says of a token that is valid."""

    sub: UUID
    sid: UUID
    appid: str | None = None  # after a login by password there is neither
    openid: str | None = None  # and in a signed token never


Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def refused() -> HTTPException:
    """Return the 401 from which the client finds back to a session."""
    return HTTPException(401, headers={"WWW-Authenticate": "Bearer"})


def ask_later() -> HTTPException:
    """Return a 503, never a 401: the client would log in, and that would not help."""
    return HTTPException(503, headers={"Retry-After": "1"})


async def introspected(credentials: Credentials) -> Session:
    """Return the session of the token that the client sends."""
    if credentials is None:
        raise refused()
    try:
        response = await http.post("/introspect", data={"token": credentials.credentials})
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise ask_later() from error
    claims = response.json()
    if not claims["active"]:
        raise refused()
    return Session(**claims)


def verified(credentials: Credentials) -> Session:
    """Return the session of a signed token; FastAPI calls this in a thread, so it may wait."""
    if credentials is None:
        raise refused()
    token = credentials.credentials
    try:
        claims = jwt.decode(
            token,
            keys.get_signing_key_from_jwt(token),
            algorithms=["ES256"],
            issuer=WXSESSION,
            audience=WXSESSION,
            options={"require": ["exp", "sub"]},
        )
        if jwt.get_unverified_header(token).get("typ") != "at+jwt":
            raise refused()
    except jwt.PyJWKClientConnectionError as error:
        raise ask_later() from error
    except jwt.PyJWTError as error:
        raise refused() from error
    return Session(**claims)
