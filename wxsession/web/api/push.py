"""What WeChat sends to this server, and what of that an operator's other server passes on."""

from flask import Request
from pydantic import Field

from wxsession.accounts.api_keys import BackEnd
from wxsession.errors import NotReady, Overloaded, PushRefused
from wxsession.services import Services
from wxsession.web import bodies
from wxsession.web.api.endpoints import Auth, Endpoint
from wxsession.web.api.schemas import TakenReply, WeChatEventBody
from wxsession.web.request import client_of
from wxsession.wechat.push import SignedQuery

TAKEN = "success"

_PATH = "/wechat/push/<appid>"
_QUERY = {
    "timestamp": "when WeChat sent this: seconds since 1970",
    "nonce": "chosen by WeChat",
    "signature": "SHA-1 over the token, the timestamp and the nonce",
}


class _Query(bodies.LooseBody):
    """What WeChat signs a request with."""

    timestamp: bodies.Text = Field(max_length=32)
    nonce: bodies.Text = Field(max_length=128)
    signature: bodies.Text | None = Field(default=None, max_length=128)
    msg_signature: bodies.Text | None = Field(default=None, max_length=128)

    def signed(self) -> SignedQuery:
        """Return it in the form that the services take."""
        return SignedQuery(self.timestamp, self.nonce, self.signature, self.msg_signature)


class _EchoQuery(_Query):
    """The same, and what WeChat wants to read again."""

    echostr: bodies.Text = Field(max_length=1024)


def verify_push(services: Services, request: Request, appid: str) -> str:
    """Return `echostr` to WeChat, which asks whether this is where to send an app's messages."""
    with services.pushes.counting_refusals(appid, client_of(request)):
        query = bodies.read(_EchoQuery, request.args.to_dict())
        services.pushes.verify(appid, query.signed())
    return query.echostr


def push(services: Services, request: Request, appid: str) -> str:
    """Take a message from WeChat, in JSON or XML; it is encrypted if the app has a key.

    When a user takes back a permission, or WeChat cleans a profile, the data are removed; when a
    user closes the WeChat account, the WeChat user is deleted, and the user if nothing else leads
    to it. Any other message goes to `WXSESSION_PUSH_FORWARD`.
    """
    with services.pushes.counting_refusals(appid, client_of(request)):
        body = bodies.raw(request)
        query = bodies.read(_Query, request.args.to_dict())
        services.pushes.take(appid, query.signed(), body)
    return TAKEN


def wechat_event(
    services: Services, _request: Request, body: WeChatEventBody, back_end: BackEnd
) -> TakenReply:
    """Take a message from WeChat that a server of the operator's received and verified.

    `taken` is false for a message that is not about a user: that remains the sender's.
    """
    members = body.model_dump(by_alias=True, exclude_none=True)
    return TakenReply(taken=services.user_events.take(body.app_id, members, actor=back_end.name))


ENDPOINTS = (
    Endpoint(
        _PATH,
        verify_push,
        methods=["GET"],
        raises=[PushRefused],
        query={**_QUERY, "echostr": "what is to be returned"},
    ),
    Endpoint(
        _PATH,
        push,
        methods=["POST"],
        raises=[PushRefused, Overloaded, NotReady],
        query={
            **_QUERY,
            "msg_signature": "SHA-1 over the token, the timestamp, the nonce and Encrypt",
        },
        accepts=["application/json", "text/xml"],
    ),
    Endpoint(
        "/wechat/events",
        wechat_event,
        methods=["POST"],
        auth=Auth.API_KEY,
        scope="manage",
        raises=[Overloaded, NotReady],
    ),
)
