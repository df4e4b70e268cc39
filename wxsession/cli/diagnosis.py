"""Diagnosis: ``flask doctor`` and ``flask healthcheck``."""

import http.client
import os
import sys
import urllib.error
import urllib.request

import click

from wxsession.cli.base import Command, pass_services
from wxsession.cli.output import as_text, in_terminal_language, json_option, show
from wxsession.common.wording import Sentence
from wxsession.operations.database_checks import SAMPLE
from wxsession.operations.findings import Finding
from wxsession.services import Services

_ADDRESS = "http://127.0.0.1:8000"
_WORKERS = 2


@click.command("doctor", cls=Command)
@click.option("--wechat", is_flag=True, help="Ask WeChat for an access_token of each app, too.")
@click.option("--all", "every_value", is_flag=True, help="Open every sealed value, not a sample.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=lambda: os.environ.get("WEB_CONCURRENCY", _WORKERS),
    show_default=f"WEB_CONCURRENCY, or {_WORKERS}",
    help="How many processes serve, on all machines.",
)
@json_option
@pass_services
def doctor(services: Services, workers: int, *, wechat: bool, every_value: bool) -> None:
    """Look for what is wrong with this server, and say what to do about it.

    Changes nothing. Exits with 0 if there is no fault, 1 otherwise.
    """
    sample = None if every_value else SAMPLE
    found = list(services.doctor.examine(workers=workers, sample=sample, wechat=wechat))
    healthy = all(finding.state != "fault" for finding in found)
    value = {"healthy": healthy, "findings": [finding._asdict() for finding in found]}
    show(value, "\n".join(map(_line, found)))
    if not healthy:
        sys.exit(1)


@click.command("healthcheck", cls=Command)
@click.option("--url", default=_ADDRESS, show_default=True, help="Where the service listens.")
@click.option("--ready", is_flag=True, help="Ask whether it can work, not only whether it lives.")
@click.option("--timeout", type=click.FloatRange(0.1, 60), default=3, show_default=True)
@json_option
@pass_services
def healthcheck(services: Services, url: str, timeout: float, *, ready: bool) -> None:
    """Ask the running service whether it is well, as a container does.

    Exits with 0 if it is, 1 otherwise.
    """
    path = (services.settings.url_prefix or "") + ("/readyz" if ready else "/healthz")
    address = url.rstrip("/") + path
    fault = _asked(address, timeout)
    show({"healthy": fault is None, "url": address, "fault": fault}, fault or f"{address}: ok")
    if fault:
        sys.exit(1)


def _asked(address: str, timeout: float) -> str | None:
    """Return what is wrong with what answers at an address, and what to do about it."""
    try:
        # Not through a proxy: it is this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=timeout):
            return None
    except urllib.error.HTTPError as error:
        cure = "run doctor" if error.code == 503 else "correct --url"  # noqa: PLR2004
        return f"{address} responds {error.code}; {cure}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        # It may quote what a server of another kind sent.
        reason = as_text(getattr(error, "reason", error))
        return f"{address} does not respond: {reason}; start the service, or correct --url"


def _line(finding: Finding) -> str:
    said = Sentence(
        "{subject}: {found}; {cure}" if finding.cure else "{subject}: {found}",
        subject=Sentence(finding.subject),
        found=finding.found,
        cure=finding.cure,
    )
    return f"{finding.state.ljust(7)}  {as_text(in_terminal_language(said))}"
