"""The image of the Dockerfile: its steps, done in an empty folder, and what runs in it.

It runs as Compose and Kubernetes run it: as the image's user, on a root that is only to be read,
with secrets that are files, beside a PostgreSQL.
"""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.image import Container, Image
from tests.support.network import Namespace
from tests.support.packed import Program, of_compose, of_kubernetes
from tests.support.postgres import PostgresServer
from tests.support.settings import environment

pytestmark = pytest.mark.long

USER = 10001
WEBHOOK = (
    "shop:https://shop.example.com/events:whsec_" + "bWFkZSB1cCBmb3IgdGVzdHMsIGFuZCBubyBzZWNyZXQ="
)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Return the image."""
    return Image(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    """Return a host for containers."""
    with Namespace() as namespace:
        yield namespace


@pytest.fixture(scope="module")
def database(host: Namespace) -> Iterator[PostgresServer]:
    """Return a PostgreSQL on that host."""
    with PostgresServer(namespace=host) as server:
        yield server


@pytest.mark.parametrize("programs", [of_compose, of_kubernetes])
def test_every_program_of_the_shipped_files_does_its_work_in_the_image(
    programs: Callable[[], list[Program]],
    image: Image,
    host: Namespace,
    database: PostgresServer,
    tmp_path: Path,
) -> None:
    named = {program.name: program for program in programs()}
    name = programs.__name__
    database.create_database(name)
    settings = environment(database.url(name).replace("+psycopg", ""), webhooks=WEBHOOK)
    secrets = tmp_path / "secrets"
    given = frozenset().union(*(program.secrets for program in named.values()))
    for path in given:
        setting = f"WXSESSION_{Path(path).name.upper()}"
        write_secret(secrets / Path(path).relative_to("/run/secrets"), settings[setting])

    service = Container(image, host, secrets, named["service"].settings)
    assert "The database is at revision" in service.run(*named["migrate"].command)
    with service:
        assert service.http.get(f"{service.url}/readyz", timeout=30).status_code == 200
        service.run(*image.healthcheck)
        purge = " ".join(named["purge"].command).partition("flask ")[2].partition(";")[0]
        assert "sessions" in service.run("flask", *purge.split())
        *deliver, forever = named["events"].command
        assert forever == "--forever"
        assert "shop" in service.run(*deliver, **named["events"].settings)
        service.send_signal(signal.Signals[image.stop_signal])
        assert service.wait() == 0
        with pytest.raises(AssertionError, match="start the service"):
            service.run(*image.healthcheck)


def write_secret(path: Path, value: str) -> None:
    """Let the image's user alone read a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value.replace(",", "\n"))
    path.chmod(0o400)
    os.chown(path, USER, USER)
    for folder in path.parent, path.parent.parent:
        folder.chmod(0o755)
