"""The mini-programs of this server, and the choice of one for a request."""

from collections.abc import Iterator, Mapping

from wxsession.errors import InvalidRequest


class Apps:
    """The mini-programs that log in here, with their secrets; the first is the default."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets

    @property
    def default(self) -> str:
        """The appid of the first app."""
        return next(iter(self._secrets))

    def __contains__(self, appid: str) -> bool:
        """Return whether an app is configured."""
        return appid in self._secrets

    def __iter__(self) -> Iterator[str]:
        """Yield the appids, that of the default app first."""
        return iter(self._secrets)

    def __repr__(self) -> str:
        """Return the appids, and no secret."""
        return f"<Apps: {', '.join(self._secrets)}>"

    def secret(self, appid: str) -> str:
        """Return the secret of an app.

        Raises:
            KeyError: the app is not configured.
        """
        return self._secrets[appid]

    def ensure_known(self, appid: str | None) -> str:
        """Return the appid, if that app is configured.

        Raises:
            InvalidRequest: the app is not configured, or the appid is None.
        """
        if appid is None or appid not in self:
            raise InvalidRequest.of("appid", "not an app of this server")
        return appid

    def choose(self, named: str | None, hinted: str | None) -> str:
        """Return the app of a login: the named one, otherwise the hinted one, or the default.

        Raises:
            InvalidRequest: the named app is not configured; an unknown hint is ignored.
        """
        if named is not None:
            return self.ensure_known(named)
        return hinted if hinted is not None and hinted in self else self.default
