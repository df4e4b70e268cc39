"""Reading the data of a request into a model: one limit, one form for what is wrong.

The models that several dialects use are here too.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import parse_qs

from flask import Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from werkzeug.exceptions import RequestEntityTooLarge

from wxsession.accounts.authenticator import Credentials
from wxsession.errors import ContentTooLarge, InvalidRequest
from wxsession.wechat.open_data import OpenData

M = TypeVar("M", bound=BaseModel)

LONGEST_BODY = 64 * 1024
LONGEST_OPEN_DATA = 32 * 1024
MOST_FIELDS = 100

# A client that sends more has to put the token in a header: no megabytes are parsed for a client
# that is not known yet.
_LONGEST_OF_A_VIEW = 1024 * 1024


def _no_nul(text: str) -> str:
    if "\0" in text:  # pydantic accepts it, PostgreSQL does not
        raise ValueError("must not contain a NUL character")
    return text


Text = Annotated[str, AfterValidator(_no_nul)]
Code = Annotated[Text, Field(min_length=1, max_length=128, description="the code of wx.login")]
OpenDataText = Annotated[Text, Field(max_length=LONGEST_OPEN_DATA)]
Iv = Annotated[Text, Field(max_length=64, description="base64 of 16 bytes")]
Username = Annotated[
    Text, Field(min_length=1, max_length=256, description="compared after NFKC and case folding")
]
Password = Annotated[Text, Field(min_length=1, max_length=128)]


class Body(BaseModel):
    """A request body: a misspelt field is an error and is not silently ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class LooseBody(Body):
    """A body of clients that send more fields than are used; the others are ignored."""

    model_config = ConfigDict(extra="ignore")


class Query(BaseModel):
    """What stands in a URL after the question mark: a misspelt name would ask for too much."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class OptionalCredentials(Body):
    """A username and its password, or neither."""

    username: Username | None = None
    password: Password | None = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("send username and password together")
        return self

    def credentials(self) -> Credentials | None:
        """Return them in the form that the services take."""
        if self.username is None or self.password is None:
            return None
        return Credentials(self.username, self.password)


class CodeBody(LooseBody):
    """A code of wx.login, and anything else that a client sends with it."""

    code: Code


class UserInfoBody(LooseBody):
    """What wx.getUserInfo or wx.getUserProfile returned, whole or in part; the rest is ignored.

    Those results also have errMsg, userInfo and more; a mini-program may send all of it.
    """

    raw_data: OpenDataText | None = Field(default=None, alias="rawData")
    signature: Text | None = Field(default=None, max_length=64)
    encrypted_data: OpenDataText | None = Field(default=None, alias="encryptedData")
    iv: Iv | None = None

    def open_data(self) -> OpenData:
        """Return it in the form that the services take."""
        return OpenData(self.raw_data, self.signature, self.encrypted_data, self.iv)


def raw(request: Request) -> bytes:
    """Return the bytes of the body.

    Raises:
        ContentTooLarge: it is longer than `LONGEST_BODY` bytes.
        InvalidRequest: it is incomplete, or a chunk of it is broken.
    """
    # Werkzeug cuts a body without Content-Length at the limit and does not say so: reading one
    # byte more than is allowed shows it.
    request.max_content_length = LONGEST_BODY + 1
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise _too_large() from None
    except Exception:  # noqa: BLE001 - each server has its own for a broken chunk; no code of ours runs
        raise _broken() from None
    if len(body) > LONGEST_BODY:
        raise _too_large()
    if len(body) < (request.content_length or 0):  # no server says that a client broke off
        raise _broken()
    return body


def json_field(request: Request, name: str) -> str | None:
    """Return a text in the JSON body of a request; the view can still read the body.

    A GET has no body, whatever its content type says: wx.request sends application/json there too.

    Raises:
        InvalidRequest: the body has it more than once.
    """
    if request.method in {"GET", "HEAD"} or not request.is_json:
        return None
    if not 0 < (request.content_length or 0) <= _LONGEST_OF_A_VIEW:
        return None
    try:
        body = request.get_json(silent=True)
        value = body.get(name) if isinstance(body, dict) else None
        if not isinstance(value, str) or not value:
            return None
        repeated = name in _repeated_keys(request.get_data())
    except (RecursionError, ValueError):  # a thousand lists in lists, or an application's own JSON
        return None
    if repeated:
        raise _sent_more_than_once([name])
    return value


def read(model: type[M], values: Mapping[str, object]) -> M:
    """Return the model of these values, from headers or a query.

    Raises:
        InvalidRequest: with every field that is wrong, and no value that was sent.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _invalid(error) from None


def read_query(model: type[M], request: Request) -> M:
    """Return the model of the URL's query.

    Raises:
        InvalidRequest: as for `read`; or it has a name twice.
    """
    sent = request.args.to_dict(flat=False)
    if repeated := [name for name, values in sent.items() if len(values) > 1]:
        raise _sent_more_than_once(repeated)
    return read(model, {name: value for name, [value] in sent.items()})


def read_json(model: type[M], text: bytes) -> M:
    """Return the model of this JSON text.

    Raises:
        InvalidRequest: as for `read`; or an object in it, at any depth, has a key twice.
    """
    try:
        found = model.model_validate_json(text or b"null")
    except ValidationError as error:
        raise _invalid(error) from None
    # After the validation, which refuses what is nested too deeply for the json module.
    if repeated := _repeated_keys(text):
        raise _sent_more_than_once(repeated)
    return found


def read_form(model: type[M], text: bytes) -> M:
    """Return the model of this form; an empty field counts as missing (RFC 6749, 3.2).

    Raises:
        InvalidRequest: as for `read`; or it is not a form, or has a known field twice.
    """
    try:
        sent = parse_qs(
            text.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
        )
    except ValueError:
        raise InvalidRequest.of("body", "not a form in UTF-8") from None
    fields = {name: sent[name] for name in model.model_fields if name in sent}
    if repeated := [name for name, values in fields.items() if len(values) > 1]:
        raise _sent_more_than_once(repeated)
    return read(model, {name: value for name, [value] in fields.items() if value})


def _repeated_keys(text: bytes) -> list[str]:
    """Return the keys that an object in this JSON text has more than once."""
    repeated: list[str] = []

    def look(pairs: Sequence[tuple[str, object]]) -> None:
        if len(dict(pairs)) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            repeated.extend(key for key, count in counts.items() if count > 1)

    json.loads(text, object_pairs_hook=look)
    return repeated


def _sent_more_than_once(names: Sequence[str]) -> InvalidRequest:
    # Two readers of one body might each take another value.
    return InvalidRequest([{"field": name, "message": "sent more than once"} for name in names])


def _broken() -> InvalidRequest:
    return InvalidRequest.of("body", "is incomplete or broken")


def _too_large() -> ContentTooLarge:
    return ContentTooLarge.of("body", f"longer than {LONGEST_BODY} bytes")


def _invalid(error: ValidationError) -> InvalidRequest:
    found = error.errors(include_input=False, include_context=False, include_url=False)
    return InvalidRequest([_fault(fault) for fault in found])


def _fault(fault: Mapping[str, Any]) -> dict[str, str]:
    field = ".".join(str(part) for part in fault["loc"])
    return {"field": field or "body", "message": str(fault["msg"])}
