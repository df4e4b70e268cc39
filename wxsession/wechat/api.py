"""WeChat for the services: requests with the app's access token, within the budget of places."""

from collections.abc import Callable
from typing import TypeVar

from wxsession.common.limits import Places
from wxsession.users.phone_numbers import PhoneNumber
from wxsession.users.user import Identity
from wxsession.wechat.access_tokens import AccessTokens
from wxsession.wechat.apps import Apps
from wxsession.wechat.client import WeChatClient, WeChatIdentity

T = TypeVar("T")


class WeChatApi:
    """Asks WeChat about users of our apps; each request holds one of the `places` while it runs."""

    def __init__(
        self, client: WeChatClient, *, access_tokens: AccessTokens, apps: Apps, places: Places
    ) -> None:
        self.apps = apps
        self.places = places
        self._client = client
        self._access_tokens = access_tokens

    def ensure_usable(self) -> None:
        """Return unless WeChat is known not to respond.

        Raises:
            WeChatTimeout: WeChat has not responded for a while, and another call is probing it.
        """
        self._client.ensure_usable()

    def code2session(self, appid: str, code: str) -> WeChatIdentity:
        """Return the identity that a code of wx.login stands for; the code is spent by that.

        The caller holds a place.

        Raises:
            CodeError: WeChat refuses the code or its user.
            WeChatError: WeChat did not give a usable response.
            Overloaded: too many calls are under way.
        """
        return self._client.code2session(appid, code)

    def phone_number(self, identity: Identity | None, code: str) -> PhoneNumber:
        """Return the number that a code of the button getPhoneNumber stands for; that spends it.

        Only a code of this WeChat user is accepted. Without an identity, or with one of an app
        that is not configured, a code of any user of the default app is.

        Raises:
            InvalidCode: WeChat does not accept the code, or not for this user.
            WeChatError: WeChat did not give a usable response.
            Overloaded: too many calls are under way.
        """
        appid, openid = self.apps.default, None
        if identity is not None and identity.appid in self.apps:
            appid, openid = identity.appid, identity.openid
        return self._with_token(
            appid, lambda token: self._client.phone_number(appid, token, code, openid)
        )

    def is_session_key_current(self, identity: Identity, session_key: str) -> bool:
        """Return whether this is the session_key that WeChat uses for the user now.

        Raises:
            WeChatError: WeChat did not give a usable response.
            Overloaded: too many calls are under way.
        """
        appid, openid = identity.appid, identity.openid
        ask = self._client.is_session_key_current
        return self._with_token(appid, lambda token: ask(appid, token, openid, session_key))

    def reset_session_key(self, identity: Identity, session_key: str) -> str:
        """Let WeChat replace this session_key, which is invalid from then on; return the new one.

        Raises:
            SessionKeyStale: it was not the current one.
            WeChatError: WeChat did not give a usable response.
            Overloaded: too many calls are under way.
        """
        appid, openid = identity.appid, identity.openid
        reset = self._client.reset_session_key
        return self._with_token(appid, lambda token: reset(appid, token, openid, session_key))

    def _with_token(self, appid: str, call: Callable[[str], T]) -> T:
        with self.places.one():
            return self._access_tokens.use(appid, call)
