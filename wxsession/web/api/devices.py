"""Logins on another device, which a phone that is logged in approves (the shape of RFC 8628)."""

from http import HTTPStatus

from flask import Request

from wxsession.errors import (
    DeviceLoginError,
    ExpiredToken,
    NotReady,
    Overloaded,
    ReauthenticationRequired,
    TokenError,
    TooManyAttempts,
)
from wxsession.services import Services
from wxsession.settings import Settings
from wxsession.web.api.endpoints import Auth, Endpoint
from wxsession.web.api.schemas import (
    AskingDeviceReply,
    DecisionBody,
    DeviceCodeBody,
    DeviceLoginReply,
    GrantReply,
    UserCodeBody,
)
from wxsession.web.request import bearer_token, client_of


def begin_device_login(services: Services, request: Request) -> DeviceLoginReply:
    """Return a code for a device to show, and one to poll with."""
    begun = services.device_logins.begin(client_of(request))
    return DeviceLoginReply(
        device_code=begun.device_code,
        user_code=begun.user_code,
        expires_in=begun.expires_in,
        interval=begun.interval,
    )


def poll_device_login(services: Services, request: Request, body: DeviceCodeBody) -> GrantReply:
    """Return a session of its own for a device whose code was approved, once."""
    return GrantReply.of(services.device_logins.poll(body.device_code, client_of(request)))


def show_device_login(
    services: Services, request: Request, body: UserCodeBody
) -> AskingDeviceReply:
    """Return who shows this code, so that the user can judge it before approving."""
    token = bearer_token(request)
    return AskingDeviceReply.of(
        services.device_logins.who_asks(token, body.user_code, lambda: client_of(request))
    )


def decide_device_login(services: Services, request: Request, body: DecisionBody) -> None:
    """Let the device that shows this code in as the user of this session, or turn it away."""
    services.device_logins.decide(
        bearer_token(request),
        body.user_code,
        lambda: client_of(request),
        approve=body.approve,
    )


def _is_served(settings: Settings) -> bool:
    return settings.device_login


ENDPOINTS = (
    Endpoint(
        "/device_logins",
        begin_device_login,
        methods=["POST"],
        raises=[TooManyAttempts, Overloaded, NotReady],
        is_served=_is_served,
    ),
    Endpoint(
        "/device_logins/token",
        poll_device_login,
        methods=["POST"],
        raises=[DeviceLoginError, Overloaded, NotReady],
        is_served=_is_served,
    ),
    Endpoint(
        "/device_logins/show",
        show_device_login,
        methods=["POST"],
        auth=Auth.SESSION,
        raises=[TokenError, ExpiredToken, Overloaded, NotReady],
        is_served=_is_served,
    ),
    Endpoint(
        "/device_logins/decide",
        decide_device_login,
        methods=["POST"],
        auth=Auth.SESSION,
        raises=[TokenError, ExpiredToken, ReauthenticationRequired, Overloaded, NotReady],
        status=HTTPStatus.NO_CONTENT,
        is_served=_is_served,
    ),
)
