"""A primary that fails under load: killed, switched over, vanished, frozen.

Three machines run etcd, Patroni and PostgreSQL with the files of `deploy/patroni`, two services
stand behind a balancer, and clients use them all the time. The four mishaps share that site, and
each leaves it whole.
"""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import pytest

from tests.support.balancer import Balancer
from tests.support.clients import Answer, Clients
from tests.support.cluster import PASSWORD, Cluster, ClusterError, Machine
from tests.support.network import NetworkError
from tests.support.postgres import PostgresError
from tests.support.service import ROOT, Service, Simulator, plain_environment
from tests.support.settings import environment
from tests.support.waiting import eventually

pytestmark = [pytest.mark.long, pytest.mark.serial]

TIMEOUT: Final = 5
"""WXSESSION_DATABASE_TIMEOUT: the default."""
MOST_AFTER_PROMOTION: Final = 2
REFUSALS: Final = {"database_unavailable", "overloaded", "code_used"}
"""Send it again; the last one, for a login that was refused half way, says: call wx.login again."""


@dataclass(frozen=True)
class Site:
    """Everything that runs."""

    cluster: Cluster
    services: list[Service]
    balancer: Balancer


@dataclass(frozen=True)
class Mishap:
    """What happens to a primary, and how it is there again."""

    strike: Callable[[Cluster, Machine], object]
    mend: Callable[[Cluster, Machine], object] = lambda *_: None


MISHAPS: Final = {
    "killed": Mishap(
        lambda _, primary: primary.kill_database(),
        lambda cluster, former: cluster.start_database(former),
    ),
    "switched over": Mishap(lambda cluster, _: cluster.switch_over()),
    "vanished": Mishap(
        lambda _, primary: primary.host.vanish(), lambda _, former: former.host.come_back()
    ),
    "frozen": Mishap(lambda _, primary: primary.freeze(), lambda _, former: former.thaw()),
}


@pytest.fixture(scope="module")
def site(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return the site; without network namespaces or programs, skip the tests and say why."""
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(Cluster())
        except (ClusterError, NetworkError, PostgresError) as error:
            pytest.skip(str(error))
        with cluster.connect(cluster.primary()) as connection:
            connection.execute(f"CREATE ROLE wxsession LOGIN PASSWORD '{PASSWORD}'".encode())
            connection.execute(
                "CREATE DATABASE wxsession OWNER wxsession ENCODING UTF8 TEMPLATE template0"
            )
        upgrade_database(cluster.url())
        services = [
            stack.enter_context(
                Service(cluster.url(), wechat_url=simulator.url, database_timeout=f"{TIMEOUT}s")
            )
            for _ in range(2)
        ]
        addresses = [service.url.removeprefix("http://") for service in services]
        folder = tmp_path_factory.mktemp("nginx")
        yield Site(cluster, services, stack.enter_context(Balancer(folder, addresses)))


def upgrade_database(url: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "upgrade-database"],
        cwd=ROOT,
        env=plain_environment() | environment(url),
        check=True,
        timeout=60,
    )


@contextmanager
def watching_liveness(services: list[Service]) -> Iterator[list[tuple[int, float]]]:
    """Ask each service for /healthz, four times a second; yield the statuses and seconds."""
    seen: list[tuple[int, float]] = []
    done = threading.Event()

    def watch(service: Service) -> None:
        while not done.wait(0.25):
            sent = time.monotonic()
            seen.append((service.send("GET", "/healthz").status_code, time.monotonic() - sent))

    watchers = [threading.Thread(target=watch, args=(service,)) for service in services]
    for watcher in watchers:
        watcher.start()
    try:
        yield seen
    finally:
        done.set()
        for watcher in watchers:
            watcher.join()


def gap(answers: list[Answer]) -> tuple[float, float]:
    """Return the longest time without a success: when it began and when it was over."""
    moments = sorted(answer.at for answer in answers if answer.status < 400)
    return max(pairwise(moments), key=lambda pair: pair[1] - pair[0])


@pytest.mark.parametrize("mishap", MISHAPS)
def test_a_primary_that_fails_costs_no_acknowledged_session(
    mishap: str,
    site: Site,
    simulator: Simulator,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "urllib3")  # a line for each request takes its time
    cluster, what = site.cluster, MISHAPS[mishap]
    former = cluster.primary()
    standbys = [machine for machine in cluster.machines if machine is not former]
    with (
        watching_liveness(site.services) as liveness,
        Clients([site.balancer.url], simulator) as clients,
    ):
        eventually(lambda: len(clients.sessions) > 30)
        with cluster.watching(standbys) as promotion:
            struck = time.monotonic()
            what.strike(cluster, former)
            eventually(lambda: promotion.machine is not None)
        settled = promotion.at + MOST_AFTER_PROMOTION
        eventually(lambda: sum(answer.sent > settled for answer in clients.answers) > 50)
        what.mend(cluster, former)
        cluster.await_whole()
        whole = time.monotonic()
    without, again = gap(clients.answers)
    slowest = max(answer.seconds for answer in clients.answers)
    refused = [answer for answer in clients.answers if answer.status >= 400]
    lost = clients.lost()
    with capsys.disabled():
        print(
            f"\n{mishap}: promotion {promotion.at - struck:.1f} s after it,"
            f" gap {again - without:.1f} s, over {again - promotion.at:.1f} s after the promotion;"
            f" slowest answer {slowest:.1f} s; {len(refused)} of {len(clients.answers)} refused;"
            f" {len(lost)} of {len(clients.sessions)} acknowledged sessions lost;"
            f" whole again after {whole - struck:.0f} s"
        )
    assert not lost
    assert again < settled
    assert slowest < TIMEOUT + 1
    assert {answer.code for answer in refused} <= REFUSALS
    assert all(answer.sent < settled for answer in refused)
    assert {status for status, _ in liveness} == {200}
    assert max(seconds for _, seconds in liveness) < TIMEOUT
    assert [len(service.workers()) for service in site.services] == [2, 2]
