"""The apps of this world: who may ask WeChat anything, and from where."""

from collections.abc import Collection, Mapping

from .errors import WeChatError, require


class Apps:
    """Appids, their secrets, and the addresses they may call from; the first is the default."""

    def __init__(
        self, secrets: Mapping[str, str], whitelists: Mapping[str, Collection[str]]
    ) -> None:
        """Know these apps.

        Raises:
            ValueError: there is none, or a whitelist is that of an unknown one.
        """
        if not secrets:
            raise ValueError("a WeChat without a single app has nobody to talk to")
        self._secrets = dict(secrets)
        self._whitelists = {self.known(appid): frozenset(ips) for appid, ips in whitelists.items()}

    def known(self, appid: str | None) -> str:
        """Return the appid, or that of the first app for None.

        Raises:
            ValueError: there is no such app.
        """
        if appid is None:
            return next(iter(self._secrets))
        if appid not in self._secrets:
            raise ValueError("no such app in this world")
        return appid

    def allow(self, ips: Collection[str] | None, appid: str) -> None:
        """Let an app call from these addresses alone; None: from all of them."""
        self._whitelists.pop(appid, None)
        if ips is not None:
            self._whitelists[appid] = frozenset(ips)

    def authenticate(self, asked: Mapping[str, object], grant_type: str, client_ip: str) -> str:
        """Return the appid of the caller, whose appid and secret are there, right or wrong.

        That 40013 comes before 40125 has been observed. Where 40002 and 40164 stand is a choice.

        Raises:
            WeChatError: 40013, 40002, 40164 or 40125.
        """
        appid = asked["appid"]
        if not (isinstance(appid, str) and appid in self._secrets):
            raise WeChatError.of(40013)
        require(asked.get("grant_type") == grant_type, 40002)
        if client_ip not in self._whitelists.get(appid, {client_ip}):
            raise WeChatError.of(40164, client_ip)
        require(asked["secret"] == self._secrets[appid], 40125)
        return appid
