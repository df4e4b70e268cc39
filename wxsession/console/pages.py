"""Pages: templates become HTML, in the language of whoever asks.

The templates are our own alone: a host application's, with the same names, are never taken. All
that is put into them is escaped, and a name that is missing is an error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

from flask import Response, redirect, request, url_for
from jinja2 import Environment, PackageLoader, StrictUndefined

from wxsession.common.wording import CHINESE, ENGLISH
from wxsession.console import wording

BLUEPRINT: Final = "wxsession-console"
LANGUAGE: Final = "wxsession_console_language"
"""The cookie that has the language, once somebody has chosen one."""
DONE: Final = "done"
COUNT: Final = "count"
"""In the address of a page that is shown after an act: which one, and how many it concerned."""
_LONGEST_COUNT = 9

_environment = Environment(
    loader=PackageLoader("wxsession.console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


@dataclass
class Menu:
    """The screens that there are, as the pages link them, and what acts say when they are done."""

    entries: list[tuple[str, str, str]] = field(default_factory=list)
    """The endpoint of each screen, its title, and for which role it is."""
    says: dict[str, str] = field(default_factory=dict)
    """By the endpoint of an act: what it has done."""


def language() -> str:
    """Return the language of this request: the chosen one, or the one that its browser prefers."""
    chosen = request.cookies.get(LANGUAGE)
    if chosen in {CHINESE, ENGLISH}:
        return str(chosen)
    return request.accept_languages.best_match([ENGLISH, CHINESE], default=ENGLISH)


def render(template: str, *, status: int = 200, **values: Any) -> Response:
    """Return the page of a template, in the language of this request.

    `again`, if it is given, is where the same page is shown in another language. What answers a
    form may have been shown this once, so that there is no such place.
    """
    spoken = language()
    values.setdefault("again", here() if request.method == "GET" else None)
    say = partial(wording.say, spoken)
    html = _environment.get_template(template).render(
        language=spoken,
        say=say,
        reason=partial(wording.reason, spoken),
        refusal=partial(wording.refusal, spoken),
        happened=partial(wording.happened, spoken),
        url=url,
        file=lambda name: url("static", filename=name),
        here=here(),
        **values,
    )
    response = Response(html, status=status)
    response.headers["Content-Language"] = spoken
    return response


def done(menu: Menu) -> Callable[[], str | None]:
    """Return a function that says what was done just now, if the address of this page says it."""

    def tell() -> str | None:
        text = menu.says.get(request.args.get(DONE, ""))
        count = request.args.get(COUNT, "0")
        is_number = count.isdecimal() and len(count) <= _LONGEST_COUNT
        return text and wording.say(language(), text, count=int(count) if is_number else 0)

    return tell


def url(endpoint: str, **values: Any) -> str:
    """Return the path of an endpoint of the console, wherever it is mounted."""
    return url_for(f"{BLUEPRINT}.{endpoint}", **values)


def here() -> str:
    """Return the path and the query of this request, wherever the application is mounted."""
    return request.script_root + request.full_path.rstrip("?")


def go(endpoint: str, **values: Any) -> Response:
    """Return the redirect to an endpoint, after an act or in place of a page."""
    return go_to(url(endpoint, **values))


def go_to(path: str) -> Response:
    """Return the redirect to a path of our own."""
    return cast("Response", redirect(path, HTTPStatus.SEE_OTHER))


def moment(value: datetime) -> Mapping[str, str]:
    """Return a moment for machines and for people, to the second in UTC."""
    utc = value.astimezone(UTC)
    return {"iso": utc.isoformat(timespec="seconds"), "text": f"{utc:%Y-%m-%d %H:%M:%S} UTC"}


_environment.filters["moment"] = moment
