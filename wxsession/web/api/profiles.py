"""The calls about the user: profile, open data, phone number."""

from collections.abc import Mapping
from typing import Any

from flask import request

from wxsession.profiles import ProfileService
from wxsession.users.phone_numbers import PhoneNumber
from wxsession.web.api.endpoint import Endpoints
from wxsession.web.api.errors import CODE_ERRORS, OPEN_DATA_ERRORS, TOKEN_ERRORS, WECHAT_ERRORS
from wxsession.web.api.schemas import (
    PhoneNumberBody,
    PhoneNumberReply,
    ProfileBody,
    UserInfoReply,
    UserReply,
)
from wxsession.web.bodies import UserInfoBody
from wxsession.web.request import bearer_token
from wxsession.wechat.open_data import OpenData

_NUMBERS = ("phoneNumber", "purePhoneNumber")


def add_profiles(calls: Endpoints, profiles: ProfileService) -> None:
    """Add the calls by which a user is seen and changed."""

    @calls.add("GET", path="/user", reply=UserReply, errors=TOKEN_ERRORS, needs_token=True)
    def get_user() -> UserReply:
        """Show the user."""
        return UserReply.of(profiles.user(bearer_token(request)))

    @calls.add(
        *("PATCH", "POST"),
        path="/user",
        body=ProfileBody,
        reply=UserReply,
        errors=("invalid_request", *TOKEN_ERRORS),
        needs_token=True,
    )
    def update_user(body: ProfileBody) -> UserReply:
        """Change the nickname or the address of the picture; null clears it.

        POST does the same as PATCH, because wx.request knows no PATCH.
        """
        changes = body.model_dump(exclude_unset=True)
        return UserReply.of(profiles.change(bearer_token(request), changes))

    @calls.add(
        "POST",
        path="/user_info",
        body=UserInfoBody,
        reply=UserInfoReply,
        errors=("invalid_request", *TOKEN_ERRORS, *OPEN_DATA_ERRORS),
        needs_token=True,
    )
    def user_info(body: UserInfoBody) -> UserInfoReply:
        """Take what wx.getUserInfo gave, and keep nickname and picture.

        Takes any other open data too. An object that holds none says that the user refused.
        """
        user, found = profiles.take(bearer_token(request), body.open_data())
        shown = None if found is None else _masked(found)
        return UserInfoReply(user=UserReply.of(user), open_data=shown)

    @calls.add(
        "POST",
        path="/phone_number",
        body=PhoneNumberBody,
        reply=PhoneNumberReply,
        errors=(
            "invalid_request",
            *TOKEN_ERRORS,
            *CODE_ERRORS,
            *OPEN_DATA_ERRORS,
            *WECHAT_ERRORS,
        ),
        needs_token=True,
    )
    def phone_number(body: PhoneNumberBody) -> PhoneNumberReply:
        """Keep the number that the button getPhoneNumber gave: by its code, or encrypted.

        The answer shows it masked: the phone knows its number, and nobody else has to.
        """
        token = bearer_token(request)
        if body.code is not None:
            phone = profiles.phone_number_by_code(token, body.code)
        else:
            data = OpenData(encrypted_data=body.encrypted_data, iv=body.iv)
            phone = profiles.phone_number_from(token, data)
        return PhoneNumberReply(phone_number=phone.masked(), country_code=phone.country_code)


def _masked(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return open data as a client may see them: the phone knows its number, a log need not."""
    hidden = {
        name: PhoneNumber(data[name], "").masked()
        for name in _NUMBERS
        if isinstance(data.get(name), str)
    }
    return {**data, **hidden}
