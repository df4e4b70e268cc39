"""Signed access tokens, and what back ends need to verify them."""

from collections.abc import Mapping

from flask import Request

from wxsession.errors import NotReady, Overloaded, TokenError
from wxsession.services import Services
from wxsession.settings import Settings
from wxsession.web.api.endpoints import Auth, Endpoint
from wxsession.web.api.schemas import AccessTokenReply, JwkReply, JwksReply, MetadataReply
from wxsession.web.request import bearer_token, client_of, issuer_of

METADATA = "/.well-known/oauth-authorization-server"
_JWKS = "/.well-known/jwks.json"
_CACHED: Mapping[str, str] = {"Cache-Control": "public, max-age=300"}
"""Who finds an unknown `kid` asks again at once: so a new key need not wait until this is over."""
_CACHE_HEADER = {"Cache-Control": "how long the response may be kept"}


def access_token(services: Services, request: Request) -> AccessTokenReply:
    """Return a signed access token (RFC 9068) for back ends, and count that as use.

    A back end verifies it without asking: so it sees a logout only when the token has expired.
    """
    issued = services.signed_tokens.issue(
        bearer_token(request), issuer_of(request, services.settings), lambda: client_of(request)
    )
    return AccessTokenReply(access_token=issued.access_token, expires_in=issued.expires_in)


def jwks(services: Services, _request: Request) -> tuple[JwksReply, Mapping[str, str]]:
    """Return the public keys of signed access tokens: one for each secret key."""
    keys = [JwkReply.model_validate(key) for key in services.signed_tokens.keys]
    return JwksReply(keys=keys), _CACHED


def metadata(services: Services, request: Request) -> tuple[MetadataReply, Mapping[str, str]]:
    """Return where introspection and the keys are (RFC 8414)."""
    issuer = issuer_of(request, services.settings)
    found = MetadataReply(
        issuer=issuer,
        jwks_uri=issuer + _JWKS if _is_served(services.settings) else None,
        introspection_endpoint=f"{issuer}/introspect",
        introspection_endpoint_auth_methods_supported=["client_secret_basic"],
        response_types_supported=[],
    )
    return found, _CACHED


def _is_served(settings: Settings) -> bool:
    return bool(settings.access_token_lifetime)


ENDPOINTS = (
    Endpoint(
        "/access_token",
        access_token,
        methods=["POST"],
        auth=Auth.SESSION,
        raises=[TokenError, Overloaded, NotReady],
        is_served=_is_served,
    ),
    Endpoint(_JWKS, jwks, methods=["GET"], response_headers=_CACHE_HEADER, is_served=_is_served),
    Endpoint(METADATA, metadata, methods=["GET"], response_headers=_CACHE_HEADER, omits_null=True),
)
