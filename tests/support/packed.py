"""What `deploy/compose.yml` and `deploy/kubernetes.yaml` say of the service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml  # type: ignore[import-untyped,unused-ignore]

from tests.support.service import ROOT

DEPLOY: Final = ROOT / "deploy"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yml").read_text("utf-8"))
MANIFESTS: Final[list[dict[str, Any]]] = yaml.safe_load(
    (DEPLOY / "kubernetes.yaml").read_text("utf-8")
)["items"]


@dataclass(frozen=True)
class Program:
    """A program in a container: how it is called, and which settings it sees."""

    name: str
    command: list[str]
    """Nothing if it is that of the image."""
    settings: Mapping[str, str]
    secrets: frozenset[str]
    """The paths of the files that it is given."""


def of_compose() -> list[Program]:
    """Return the programs of ours that Compose runs."""
    services = COMPOSE["services"]
    return [
        Program(
            name,
            service.get("command", []),
            service["environment"],
            frozenset(f"/run/secrets/{secret}" for secret in service["secrets"]),
        )
        for name, service in services.items()
        if service["image"] == COMPOSE["x-wxsession"]["image"]
    ]


def of_kubernetes() -> list[Program]:
    """Return the programs of ours that Kubernetes runs."""
    (shared,) = [one["data"] for one in MANIFESTS if one["kind"] == "ConfigMap"]
    return [
        Program(
            container["name"],
            container.get("command", []),
            shared | {one["name"]: one["value"] for one in container.get("env", [])},
            frozenset(_mounted(pod, container)),
        )
        for pod in pods()
        for container in containers(pod)
    ]


def pods() -> list[dict[str, Any]]:
    """Return what Kubernetes knows of each kind of pod."""
    specs = [one["spec"] for one in MANIFESTS if "spec" in one]
    jobs = [one["jobTemplate"]["spec"] if "jobTemplate" in one else one for one in specs]
    return [one["template"]["spec"] for one in jobs if "template" in one]


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the containers of a pod, those that run before the others first."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def _mounted(pod: Mapping[str, Any], container: Mapping[str, Any]) -> set[str]:
    """Return the paths of the secrets that a container sees; without a list it sees all."""
    (volume,) = [one["secret"] for one in pod["volumes"] if "secret" in one]
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == "secrets"]
    every = ("apps", "secret_keys", "database_url", "webhooks")
    names = [one["path"] for one in volume["items"]] if "items" in volume else every
    return {f"{mount['mountPath']}/{name}" for name in names}
