"""Prometheus learns what all workers do; the service never fails because of its metrics."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml  # type: ignore[import-untyped,unused-ignore]
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from tests.support.app import services_of
from tests.support.service import (
    ROOT,
    Service,
    Simulator,
    code_of,
    free_port,
    plain_environment,
    token_of,
)
from tests.support.settings import APPID, SECRET_KEY, environment
from tests.support.waiting import eventually
from wxsession.common.metrics import METRICS, NUMBERS, Numbers
from wxsession.events.audit import SYSTEM
from wxsession.operations.prometheus import Exporter

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

RULES = ROOT / "deploy/prometheus/alerts.yml"
BOARDS = sorted((ROOT / "deploy/grafana").glob("*.json"))
NEW_KEY = "a-newer-key-" * 4


def scrape(port: int) -> Samples:
    """Return what Prometheus gets."""
    answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30)
    answer.raise_for_status()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return the sum of the samples that have these labels."""
    wanted = set(labels.items())
    return sum(found for (one, its), found in samples.items() if one == name and wanted <= its)


class Measured(Service):
    """A service with metrics; what its commands do is done with a newer key."""

    def __init__(self, folder: Path, database_url: str, **settings: object) -> None:
        self.metrics = free_port()
        address = f"127.0.0.1:{self.metrics}"
        super().__init__(database_url, metrics=address, **settings)  # type: ignore[arg-type]
        self._environment["TMPDIR"] = str(folder)
        self.database = database_url

    def samples(self) -> Samples:
        """Return what Prometheus gets: nothing while another worker takes over."""
        with suppress(requests.ConnectionError):
            return scrape(self.metrics)
        return {}

    def run(self, *command: str) -> None:
        """Run a command of an operator."""
        keys = f"{SECRET_KEY},{NEW_KEY}"
        subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", *command],
            cwd=ROOT,
            env=plain_environment() | environment(self.database, secret_keys=keys),
            check=True,
            capture_output=True,
        )

    def checks(self) -> float:
        """Return how many checks there were."""
        name = "http_server_request_duration_seconds_count"
        return value(self.samples(), name, http_route="/check_session")


@pytest.fixture
def measured(sqlite_url: str, simulator: Simulator, tmp_path: Path) -> Iterator[Measured]:
    """Return a running service with metrics."""
    with Measured(tmp_path, sqlite_url, wechat_url=simulator.url, refresh_grace="0") as service:
        eventually(lambda: _listens(service.metrics))
        yield service


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_every_name_is_one_that_prometheus_expects() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"(wxsession|http_server)(_[a-z]+)+", name)
        assert name.endswith("_total") == (metric.kind == "counter")
        assert name.endswith("_duration_seconds") == (metric.kind == "histogram")
        assert metric.help.endswith(".")
        assert not {"user", "user_id", "session", "openid", "address"} & set(metric.labels)


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def selectors() -> set[tuple[str, str, str]]:
    """Return every metric with its matchers that an alert or a board asks for, and who does."""
    queries = [(rule["expr"], rule["alert"]) for rule in alerts()]
    for path in BOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            queries += [(target["expr"], panel["title"]) for target in panel["targets"]]
    return {
        (name, matchers, who)
        for query, who in queries
        for name, matchers in re.findall(
            r"\b((?:wxsession|http_server)_[a-z_]+)(?:\{([^}]*)\})?", query
        )
    }


def finds(samples: Samples, name: str, matchers: str) -> bool:
    """Return whether a selector finds a series, as Prometheus reads it: regexes match the whole."""
    wanted = re.findall(r"(\w+)(=~|!~|!=|=)\"([^\"]*)\"", matchers)
    kinds: dict[str, Callable[[str, str], bool]] = {
        "=": lambda found, text: found == text,
        "!=": lambda found, text: found != text,
        "=~": lambda found, text: re.fullmatch(text, found) is not None,
        "!~": lambda found, text: re.fullmatch(text, found) is None,
    }
    assert len(wanted) == len(re.findall(r"\w+[=!]", matchers))
    return any(
        one == name
        and all(kinds[kind](dict(its).get(label, ""), text) for label, kind, text in wanted)
        for one, its in samples
    )


def test_a_scrape_of_a_run_has_whatever_a_board_or_an_alert_asks_for(
    measured: Measured, simulator: Simulator
) -> None:
    token = token_of(measured.log_in(simulator.code("seen")))
    for _ in range(20):
        assert measured.check(token).ok
    for fault in (40125, 40164, 40243, 45011, "NOT_JSON", "NO_OPENID", -1):
        simulator.fail_next(fault, times=3 if fault == -1 else 1)  # that one is asked again
        measured.log_in(simulator.code("seen"))
    measured.log_in("no-such-code")
    measured.refresh(token_of(measured.refresh(token)))
    assert code_of(measured.refresh(token)) is not None  # a copy, which ends the session
    token = token_of(measured.log_in(simulator.code("seen")))
    measured.send("BREW", "/coffee")
    measured.send("GET", "/users/17/orders")
    measured.run("purge-sessions")
    measured.run("keys", "reseal")
    measured.send("POST", "/phone_number", json={"code": "no-such-code"}, token=token)
    eventually(lambda: measured.checks() == 20)
    eventually(lambda: value(measured.samples(), "wxsession_sealed_values", key="2") == 1)
    expiry = "wxsession_access_token_expires_timestamp_seconds"
    eventually(lambda: value(measured.samples(), expiry, appid=APPID) > 0)
    samples = measured.samples()
    assert sorted(one for one in selectors() if not finds(samples, *one[:2])) == []
    names = {name for name, _ in samples}
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in names} >= METRICS.keys()
    events = "wxsession_events_total"
    assert value(samples, events, event="session.created", appid=APPID) == 2
    assert value(samples, events, event="login.failed", reason="invalid_code") == 1
    errors = "wxsession_wechat_errors_total"
    assert value(samples, errors, errcode="40125", call="/sns/jscode2session", appid=APPID) == 1
    calls = "wxsession_wechat_call_duration_seconds_count"
    assert value(samples, calls, call="/sns/jscode2session", outcome="ok") == 2
    assert value(samples, calls, call="/sns/jscode2session", outcome="refused") == 5
    assert value(samples, calls, call="/sns/jscode2session", outcome="busy") == 3
    assert value(samples, calls, call="/sns/jscode2session", outcome="unintelligible") == 2
    requests_ = "http_server_request_duration_seconds_count"
    assert value(samples, requests_, http_request_method="_OTHER", http_route="") == 1
    assert "orders" not in str(samples)
    assert value(samples, "wxsession_database_connections_limit") == 2 * 16  # of two workers
    assert value(samples, "wxsession_logins_limit") == 2 * 576
    assert value(samples, "wxsession_build_info") == 1


def test_no_board_takes_a_web_view_that_is_opened_for_a_login() -> None:
    opened = {"event": "session.created", "reason": "web_view", "appid": APPID}
    samples = {("wxsession_events_total", frozenset(opened.items())): 1.0}
    assert [one for one in selectors() if finds(samples, *one[:2])] == []


def test_workers_that_are_replaced_leave_their_last_numbers(measured: Measured) -> None:
    for _ in range(10):
        measured.check("wxs_nothing")
    measured.send_signal(signal.SIGHUP)
    eventually(lambda: len(measured.workers()) >= 4)
    eventually(lambda: _listens(measured.metrics))
    eventually(lambda: measured.checks() == 10)


def test_a_worker_that_dies_takes_nothing_with_it(measured: Measured) -> None:
    for _ in range(10):
        measured.check("wxs_nothing")
    eventually(lambda: measured.checks() == 10)
    eventually(lambda: len(measured.workers()) == 2)  # the second may still be on its way
    for pid in measured.workers():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(measured.workers()) >= 4)
    eventually(lambda: _listens(measured.metrics))
    measured.check("wxs_nothing")
    eventually(lambda: measured.checks() == 11)
    limit = "wxsession_database_connections_limit"
    eventually(lambda: value(measured.samples(), limit) == 2 * 16)


def test_a_process_is_not_taken_for_a_dead_one_that_had_its_pid(
    sqlite_url: str, tmp_path: Path
) -> None:
    port = free_port()
    check = "input(); wsgi.app.test_client().get('/check_session').close(); input()"
    values = environment(sqlite_url, metrics=f"127.0.0.1:{port}")

    def checks() -> float:
        name = "http_server_request_duration_seconds_count"
        return value(scrape(port), name, http_route="/check_session")

    def limit_after(number: int) -> float:
        eventually(lambda: _listens(port) and checks() == number)
        return value(scrape(port), "wxsession_logins_limit")

    def start() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-c", f"import wsgi; {check}"],
            cwd=ROOT,
            env=plain_environment() | values | {"TMPDIR": str(tmp_path)},
            stdin=subprocess.PIPE,
            bufsize=0,
        )

    def go_on(process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        process.stdin.write(b"\n")

    with start() as first:
        go_on(first)
        before = limit_after(1)
        go_on(first)
    (left,) = tmp_path.glob("*/*.json")  # as in a container whose /tmp is kept
    with start() as second:
        left.rename(left.with_name(f"{second.pid}-left.json"))
        go_on(second)
        after = limit_after(2)
        go_on(second)
    assert after == before > 0


def test_a_scrape_sees_every_dead_worker_once(measured: Measured, tmp_path: Path) -> None:
    measured.check("wxs_nothing")
    (folder,) = tmp_path.glob("wxsession-metrics-*")
    one = {"counts": [["wxsession_events_total", ["died", "", ""], 1]]}
    content = json.dumps({"durations": [], "levels": [], **one})

    def deaths() -> float:
        return value(scrape(measured.metrics), "wxsession_events_total", event="died")

    for known in range(0, 10_000, 2000):
        for number in range(2000):
            (folder / "new").write_text(content)
            (folder / "new").rename(folder / f"dead-{number}.json")
        while any(folder.glob("dead-*.json")):  # a fold looks for them once a second
            assert deaths() == known + 2000
        assert deaths() == known + 2000


def test_an_address_in_use_is_one_line_and_no_failure(sqlite_url: str, tmp_path: Path) -> None:
    service = Measured(tmp_path, sqlite_url)
    with socket.create_server(("127.0.0.1", service.metrics)), service:
        assert service.send("GET", "/healthz").ok
        said = "no metrics: "
        eventually(lambda: any(said in line for line in service.lines()))
        (line,) = {json.loads(one)["message"] for one in service.lines() if said in one}
    assert line == (
        f"no metrics: 127.0.0.1:{service.metrics}: Address already in use;"
        " let WXSESSION_METRICS be another"
    )


def test_a_folder_of_somebody_else_is_one_line_and_no_failure(
    app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "elsewhere"
    path.symlink_to(tmp_path)
    exporter = Exporter(services_of(app).database, ("127.0.0.1", free_port()), folder=path)
    exporter.start()
    told = [text for text in caplog.messages if text.startswith("no metrics: ")]
    assert told == [f"no metrics: {path} cannot be used: it belongs to somebody else; remove it"]


def test_without_the_library_there_is_one_line_and_no_failure(sqlite_url: str) -> None:
    without = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "import wsgi; print(wsgi.app.test_client().get('/healthz').status_code)"
    )
    values = environment(sqlite_url, metrics=f"127.0.0.1:{free_port()}")
    done = subprocess.run(
        [sys.executable, "-c", without],
        cwd=ROOT,
        env=plain_environment() | values,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "200\n"
    assert "no metrics: prometheus-client is missing: pip install 'wxsession[metrics]'" in (
        done.stderr
    )


def test_nothing_is_lost_among_threads_that_come_and_go() -> None:
    numbers = Numbers()

    def work() -> None:
        for _ in range(1000):
            numbers.count("one_total", "label", None)
            numbers.observe("one_seconds", ("label",), 0.003)
        numbers.observe("one_seconds", ("label",), 60)

    for _ in range(4):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        numbers.snapshot()
        for thread in threads:
            thread.join()
    found = numbers.snapshot()
    assert found["counts"] == [["one_total", ("label", ""), 16_000]]
    ((name, labels, buckets, seconds),) = found["durations"]
    assert (name, labels) == ("one_seconds", ("label",))
    assert buckets == [0, 0, 16_000, *[0] * 10, 16]
    assert seconds == pytest.approx(16_000 * 0.003 + 16 * 60)


def test_durations_that_nobody_asks_for_do_not_fill_the_memory() -> None:
    numbers = Numbers()
    tracemalloc.start()
    try:
        for number in range(60_000):
            numbers.observe("one_seconds", ("label",), number / 1000)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 3_000_000  # all of them would take nearly twice that
    ((_, _, buckets, _),) = numbers.snapshot()["durations"]
    assert sum(buckets) == 60_000


def test_nothing_is_exported_unless_asked_for(app: Flask) -> None:
    assert services_of(app).exporter is None


def test_an_event_that_is_undone_is_not_counted(app: Flask, make_phone: Callable[..., Any]) -> None:
    def created() -> int:
        counts = NUMBERS.snapshot()["counts"]
        return sum(count for name, labels, count in counts if "session.created" in labels)

    before = created()
    make_phone("alice").log_in()
    assert created() == before + 1
    services = services_of(app)
    with pytest.raises(ZeroDivisionError), services.database.transaction() as transaction:
        services.audit.write(transaction, "session.created", SYSTEM)
        raise ZeroDivisionError
    assert created() == before + 1
