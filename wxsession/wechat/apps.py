"""The apps of this server: which one a request means."""

from collections.abc import Mapping

from wxsession.errors import InvalidRequest


class Apps:
    """The mini-programs that log in here, with their secrets; the first one is the default."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets

    @property
    def default(self) -> str:
        """The appid of the first one."""
        return next(iter(self._secrets))

    def __contains__(self, appid: str) -> bool:
        """Return whether an app is one of ours."""
        return appid in self._secrets

    def __repr__(self) -> str:
        """Return the appids, and no secret."""
        return f"<Apps: {', '.join(self._secrets)}>"

    def secret(self, appid: str) -> str:
        """Return the secret of one of our apps.

        Raises:
            KeyError: it is not one of ours.
        """
        return self._secrets[appid]

    def ensure_known(self, appid: str | None) -> str:
        """Return the appid, if it is that of one of our apps.

        Raises:
            InvalidRequest: it is not, or there is none.
        """
        if appid is None or appid not in self:
            raise InvalidRequest.of("appid", "not an app of this server")
        return appid

    def choose(self, named: str | None, hinted: str | None) -> str:
        """Return which app a login is for: the named one, otherwise the hinted one, or the default.

        Raises:
            InvalidRequest: the named one is not one of ours; a hint may be anything.
        """
        if named is not None:
            return self.ensure_known(named)
        return hinted if hinted is not None and hinted in self else self.default
