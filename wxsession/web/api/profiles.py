"""The endpoints about the user: profile, open data, phone number, deletion, export."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Request

from wxsession.errors import (
    BadCredentials,
    CodeError,
    NotReady,
    OpenDataError,
    Overloaded,
    ReauthenticationRequired,
    TokenError,
    TooManyAttempts,
    WeChatError,
)
from wxsession.services import Services
from wxsession.users.phone_numbers import PhoneNumber
from wxsession.web.api.endpoints import Auth, Endpoint, Pieces
from wxsession.web.api.schemas import (
    DeletionBody,
    ExportReply,
    PhoneNumberBody,
    PhoneNumberReply,
    ProfileBody,
    UserInfoReply,
    UserReply,
)
from wxsession.web.bodies import UserInfoBody
from wxsession.web.request import bearer_token, client_of
from wxsession.wechat.open_data import OpenData

_NUMBERS = ("phoneNumber", "purePhoneNumber")


def get_user(services: Services, request: Request) -> UserReply:
    """Return the user."""
    return UserReply.of(services.profiles.user(bearer_token(request)))


def update_user(services: Services, request: Request, body: ProfileBody) -> UserReply:
    """Change the nickname or the URL of the avatar; null clears it.

    POST does the same as PATCH, because wx.request does not support PATCH.
    """
    changes = body.model_dump(exclude_unset=True)
    return UserReply.of(
        services.profiles.change(bearer_token(request), changes, client_of(request))
    )


def delete_user(services: Services, request: Request, body: DeletionBody) -> None:
    """Delete the user, with everything that says who it was; the next login creates a new user.

    Requires a login within the last ten minutes, or the password. Every session ends.
    """
    services.deletion.delete_own(bearer_token(request), body.password, client_of(request))


def export_user(services: Services, request: Request) -> Pieces[ExportReply]:
    """Return all that is known of the user; the phone number is whole, and openids are in it.

    There is no key, hash or token in it.
    """
    exported = services.export.own(bearer_token(request), client_of(request))
    return Pieces(exported.pieces())


def user_info(services: Services, request: Request, body: UserInfoBody) -> UserInfoReply:
    """Read what wx.getUserInfo returned, and save nickname and avatar.

    Any other open data can be sent too. An object without open data means that the user refused.
    """
    client = client_of(request)
    user, found = services.profiles.take(bearer_token(request), body.open_data(), client)
    shown = None if found is None else _masked(found)
    return UserInfoReply(user=UserReply.of(user), open_data=shown)


def phone_number(services: Services, request: Request, body: PhoneNumberBody) -> PhoneNumberReply:
    """Save the phone number of the button getPhoneNumber: by its code, or encrypted.

    The response has it masked.
    """
    token, client = bearer_token(request), client_of(request)
    if body.code is not None:
        phone = services.profiles.phone_number_by_code(token, body.code, client)
    else:
        data = OpenData(encrypted_data=body.encrypted_data, iv=body.iv)
        phone = services.profiles.phone_number_from(token, data, client)
    return PhoneNumberReply(phone_number=phone.masked(), country_code=phone.country_code)


def _masked(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return open data as a client may see them, phone numbers masked: logs need no number."""
    hidden = {
        name: PhoneNumber(data[name], "").masked()
        for name in _NUMBERS
        if isinstance(data.get(name), str)
    }
    return {**data, **hidden}


ENDPOINTS = (
    Endpoint(
        "/user",
        get_user,
        methods=["GET"],
        auth=Auth.SESSION,
        raises=[TokenError, Overloaded, NotReady],
    ),
    Endpoint(
        "/user",
        update_user,
        methods=["PATCH", "POST"],
        auth=Auth.SESSION,
        raises=[TokenError, Overloaded, NotReady],
    ),
    Endpoint(
        "/user",
        delete_user,
        methods=["DELETE"],
        auth=Auth.SESSION,
        raises=[
            TokenError,
            Overloaded,
            NotReady,
            BadCredentials,
            TooManyAttempts,
            ReauthenticationRequired,
        ],
        status=HTTPStatus.NO_CONTENT,
        body_required=False,
    ),
    Endpoint(
        "/user/export",
        export_user,
        methods=["GET"],
        auth=Auth.SESSION,
        raises=[TokenError, Overloaded, NotReady],
    ),
    Endpoint(
        "/user_info",
        user_info,
        methods=["POST"],
        auth=Auth.SESSION,
        raises=[TokenError, Overloaded, NotReady, OpenDataError],
    ),
    Endpoint(
        "/phone_number",
        phone_number,
        methods=["POST"],
        auth=Auth.SESSION,
        raises=[TokenError, Overloaded, NotReady, CodeError, OpenDataError, WeChatError],
    ),
)
