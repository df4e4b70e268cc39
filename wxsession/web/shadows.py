"""Rules of a host application that hide rules of ours, and the other way round.

Werkzeug takes the rule that was added first of two that match alike, and says nothing about the
other one: its view is never called.
"""

import logging
import re
from collections.abc import Iterator
from typing import Any

from flask import Flask, request_started
from werkzeug.routing import MapAdapter, Rule

_OURS = re.compile(r"wxsession(-[a-z-]+)?\.")
"""How the endpoints in our blueprints begin."""
_VARIABLE = re.compile(r"<(?:(?P<kind>\w+)(?:\([^)]*\))?:)?\w+>")
_SAMPLES = {"int": "1", "float": "1.0", "uuid": "00000000-0000-0000-0000-000000000000"}
_UNASKED = {"HEAD", "OPTIONS"}  # Flask adds them by itself

_log = logging.getLogger(__name__)


def tell(app: Flask) -> None:
    """Log each rule that is hidden: those of now at once, those of later at the first request.

    By then a host application has added all of its own.
    """
    told: set[str] = set()
    _tell(app, told)

    def tell_the_rest(app: Flask, **_: Any) -> None:
        request_started.disconnect(tell_the_rest, app)
        _tell(app, told)

    request_started.connect(tell_the_rest, app, weak=False)


def _tell(app: Flask, told: set[str]) -> None:
    for hidden in _hidden(app):
        if hidden not in told:
            told.add(hidden)
            _log.warning("%s; set WXSESSION_URL_PREFIX to another path", hidden)


def _hidden(app: Flask) -> Iterator[str]:
    """Yield a sentence for each hidden rule: one whose own path leads to somebody else's view."""
    for rule in list(app.url_map.iter_rules()):
        hiding: dict[str, list[str]] = {}
        for method in sorted((rule.methods or {"GET"}) - _UNASKED):
            found = _found(app, rule, method)
            if found is not None and _is_ours(found) != _is_ours(rule):
                hiding.setdefault(_described(found), []).append(method)
        for described, methods in hiding.items():
            of_methods = ", ".join(methods)
            yield f"{of_methods} {described} hides {of_methods} {_described(rule)}"


def _found(app: Flask, rule: Rule, method: str) -> Rule | None:
    """Return the rule that a request for this rule's own path leads to, if there is any."""
    path = _VARIABLE.sub(lambda match: _SAMPLES.get(match["kind"], "-"), rule.rule)
    try:
        found, _ = _adapter(app, rule).match(path, method, return_rule=True)
    except Exception:  # noqa: BLE001 - none, or a redirect, or whatever a converter of the host raises
        return None
    return found


def _adapter(app: Flask, rule: Rule) -> MapAdapter:
    if app.url_map.host_matching:
        return app.url_map.bind(rule.host or "localhost")
    return app.url_map.bind("localhost", subdomain=rule.subdomain or "")


def _is_ours(rule: Rule) -> bool:
    return bool(_OURS.match(rule.endpoint))


def _described(rule: Rule) -> str:
    return f"{rule.rule} of {'wxsession' if _is_ours(rule) else rule.endpoint}"
