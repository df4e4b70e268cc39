"""What `deploy/` ships for containers: read by others' validators, and as this code has it."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import kubernetes_validate  # type: ignore[import-untyped,unused-ignore]
import pytest
from compose_spec import PyCompose
from flask import Flask
from gunicorn.config import Config

from tests.support.image import DOCKERFILE, instructions
from tests.support.packed import (
    COMPOSE,
    DEPLOY,
    MANIFESTS,
    Program,
    containers,
    of_compose,
    of_kubernetes,
    pods,
)
from tests.support.service import ROOT
from wxsession.settings import PREFIX, Settings

PROGRAMS = {
    f"{program.name} of {where}": program
    for where, programs in (("Compose", of_compose()), ("Kubernetes", of_kubernetes()))
    for program in programs
}
SETTINGS = {field.name for field in dataclasses.fields(Settings)}
FLASK = re.compile(r"\bflask (?:--app wsgi )?(.*?)(?:;|$)", re.MULTILINE)

every_program = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)


# By themselves.


def test_the_dockerfile_is_free_of_faults() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, DOCKERFILE], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_builder_sees_no_more_than_the_image_is_made_of() -> None:
    first, *rest = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"
    ]
    copied = {
        source.removeprefix("./")
        for name, words in instructions()
        if name == "COPY" and not words.startswith("--from")
        for source in words.split()[:-1]
    }
    assert first == "*"
    assert {line.removeprefix("!") for line in rest if line.startswith("!")} == copied


def test_no_package_index_and_no_registry_is_chosen_for_the_user() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert "ARG PIP_INDEX_URL\n" in text
    assert "://" not in text


def test_compose_finds_no_fault() -> None:
    PyCompose.from_json(json.dumps(COMPOSE)).validate()


@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda one: f"{one['kind']} {one['metadata']['name']}"
)
def test_kubernetes_finds_no_fault(manifest: dict[str, object]) -> None:
    newest = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifest, newest, strict=True)


# Against this code.


@every_program
def test_the_settings_of_a_program_are_ours_and_its_secrets_are_files_that_it_gets(
    program: Program,
) -> None:
    files = set()
    for name, value in program.settings.items():
        setting = name.removesuffix("_FILE")
        assert setting.removeprefix(PREFIX).lower() in SETTINGS, name
        if setting != name:
            files.add(value)
            assert Path(value).name == setting.removeprefix(PREFIX).lower()
    assert files == program.secrets or program.name == "events"
    assert files <= program.secrets
    assert not {"APPS", "SECRET_KEYS", "DATABASE_URL"} & {
        name.removeprefix(PREFIX) for name in program.settings
    }


def calls() -> list[str]:
    """Return every call of a command of ours: of containers, and of units."""
    called = [" ".join(program.command) for program in PROGRAMS.values()]
    units = (DEPLOY / "systemd").glob("*.service")
    lines = [line for unit in units for line in unit.read_text().splitlines()]
    called += [line.partition("=")[2] for line in lines if line.startswith("ExecStart")]
    lists = [re.findall(r"\[.*\]", rest) for name, rest in instructions() if name != "RUN"]
    called += [" ".join(json.loads(words)) for found in lists for words in found]
    return [found[1] for call in called for found in FLASK.finditer(call)]


def test_every_command_that_is_called_is_one_of_ours(app: Flask) -> None:
    assert len(calls()) >= 10
    for call in calls():
        command: click.Command = app.cli
        name, *words = call.split()
        assert isinstance(command, click.Group)
        command = command.commands[name]
        while isinstance(command, click.Group):
            name, *words = words
            command = command.commands[name]
        command.make_context(name, words)


def test_the_server_that_is_started_is_gunicorn_as_we_configure_it() -> None:
    (command,) = [json.loads(rest) for name, rest in instructions() if name == "CMD"]
    program, *options, module = command
    assert (program, module) == ("gunicorn", "wsgi:app")
    known = Config().parser()
    assert known.parse_args([*options, module]).bind == ["0.0.0.0:8000"]


def test_every_probe_asks_for_what_the_service_serves(app: Flask) -> None:
    served = {rule.rule for rule in app.url_map.iter_rules()}
    probed = {}
    for pod in pods():
        for container in containers(pod):
            ports = {port["name"] for port in container.get("ports", [])}
            for name, probe in container.items():
                if name.endswith("Probe"):
                    probed[name] = probe["httpGet"]["path"]
                    assert probe["httpGet"]["port"] in ports
    assert probed == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert set(probed.values()) <= served


def test_a_probe_waits_longer_than_the_service_may_take() -> None:
    default = Settings.database_timeout
    (service,) = [one for pod in pods() for one in containers(pod) if one["name"] == "service"]
    assert service["readinessProbe"]["timeoutSeconds"] >= default.total_seconds() + 1


@pytest.mark.parametrize("pod", pods(), ids=lambda pod: pod["containers"][0]["name"])
def test_a_pod_may_do_little(pod: dict[str, object]) -> None:
    (user,) = [rest for name, rest in instructions() if name == "USER"]
    security = pod["securityContext"]
    assert isinstance(security, dict)
    assert security["runAsNonRoot"]
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == user
    assert not pod["automountServiceAccountToken"]
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_a_container_of_compose_may_do_little() -> None:
    for program in of_compose():
        service = COMPOSE["services"][program.name]
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_a_container_is_given_longer_to_stop_than_the_service_takes() -> None:
    gunicorn = (ROOT / "gunicorn.conf.py").read_text(encoding="utf-8")
    (takes,) = map(int, re.findall(r"^graceful_timeout = (\d+)", gunicorn, re.MULTILINE))
    (pod,) = [one for one in pods() if "terminationGracePeriodSeconds" in one]
    before = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > takes + before
    assert int(COMPOSE["services"]["service"]["stop_grace_period"].rstrip("s")) > takes
