"""The exporter: brings the numbers of all processes of a service to Prometheus.

Each process writes its numbers into a file of its own, once a second, in a folder that the address
of the metrics names. One of them listens at that address: whoever could bind it. It adds the files
up; those of processes that ended become one, so that a counter never goes back. What commands did
is read from the database.

This is not the multiprocess mode of prometheus-client: that writes through memory maps, for which a
full disk is a signal that kills the process, and keeps every dead worker's files for ever.
"""

import atexit
import json
import logging
import os
import secrets
import stat
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sqlalchemy import select

from wxsession.common.metrics import (
    BOUNDS,
    BUILD_INFO,
    LAST_SUCCESS,
    METRICS,
    NUMBERS,
    PURGED_ROWS,
    SEALED_VALUES,
    TOKEN_EXPIRY,
)
from wxsession.errors import NotReady, Overloaded
from wxsession.operations import job_results, purge
from wxsession.operations.live_sessions import LIVE
from wxsession.operations.reseal import SEALED
from wxsession.storage.database import SCHEMA_REVISION, Database
from wxsession.storage.tables import access_tokens

_WRITE_EVERY = 1.0
_TRY_EVERY = 5.0
_ASK_EVERY = 10.0
_PAST = "past.json"

_log = logging.getLogger(__name__)

Address = tuple[str, int]


class Exporter:
    """Writes the numbers of this process, and listens at `address` if no other process does."""

    def __init__(self, database: Database, address: Address, *, folder: Path | None = None) -> None:
        self._address = address
        self._folder = folder or _folder_of(address)
        self._name = ""
        self._pid = -1
        self.is_started = False
        """Whether `start` was called."""
        self._registry: Any = None
        self._is_listening = False
        self._has_told = False
        self._numbers = _Stored(database)
        self._lock = threading.Lock()
        self._files = threading.Lock()
        """Held by the thread that writes or reads the files: whoever scrapes has one as well."""

    def start(self) -> None:
        """Begin to write and to listen, in a thread; once in each process, whoever calls it."""
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
        self._files = threading.Lock()  # that of a parent may be held by a thread that is not here
        self.is_started = True
        try:
            self._registry = _registry(self)
            self._prepare_folder()
        except ImportError:
            self._tell("prometheus-client is missing: pip install 'wxsession[metrics]'")
        except OSError as error:
            self._tell(f"{self._folder} cannot be used: {error.strerror or error}; remove it")
        else:
            self._name = f"{self._pid}-{secrets.token_hex(4)}.json"
            threading.Thread(target=self._run, name="metrics", daemon=True).start()
            atexit.register(self._write_last)

    def families(self) -> Iterator[Any]:
        """Yield what Prometheus is told, family by family."""
        with suppress(OSError):
            self._write()
        from prometheus_client import core  # noqa: PLC0415 - only where metrics are wanted

        total = self._total()
        for name, metric in METRICS.items():
            if metric.kind == "counter":
                family: Any = core.CounterMetricFamily(name, metric.help, labels=metric.labels)
            elif metric.kind == "gauge":
                family = core.GaugeMetricFamily(name, metric.help, labels=metric.labels)
            else:
                family = core.HistogramMetricFamily(name, metric.help, labels=metric.labels)
            for labels, value in total.of(name):
                if metric.kind == "histogram":
                    family.add_metric(labels, *value)
                else:
                    family.add_metric(labels, value)
            yield family

    def _total(self) -> "_Total":
        total = _Total()
        with self._files:
            for path in self._folder.glob("*.json"):
                with suppress(OSError, ValueError, KeyError):
                    snapshot = json.loads(path.read_text())
                    is_alive = path.name != _PAST and _is_alive(path)
                    total.add(snapshot, with_levels=is_alive)
        for name, labels, value in self._numbers.all():
            total.set(name, labels, value)
        return total

    def _run(self) -> None:
        tried = float("-inf")
        while os.getpid() == self._pid:
            try:
                self._write()
                if not self._is_listening and time.monotonic() - tried > _TRY_EVERY:
                    tried = time.monotonic()
                    self._listen()
                if self._is_listening:
                    self._fold()
            except OSError as error:
                self._tell(f"{self._folder} cannot be written: {error.strerror}")
            except Exception:  # noqa: BLE001 - the service never fails because of its metrics
                _log.exception("metrics")
                return
            time.sleep(_WRITE_EVERY)

    def _listen(self) -> None:
        from prometheus_client import start_http_server  # noqa: PLC0415

        host, port = self._address
        try:
            start_http_server(port, host, registry=self._registry)
        except OSError as error:
            others = {path for path in self._folder.glob("*.json") if _is_alive(path)}
            if all(path.name == self._name for path in others):
                self._tell(f"{host}:{port}: {error.strerror}; let WXSESSION_METRICS be another")
        else:
            self._is_listening = True

    def _write_last(self) -> None:
        """Leave behind what was counted in the last second."""
        if self._pid == os.getpid():  # not in a child, which has inherited this
            with suppress(OSError):
                self._write()

    def _write(self) -> None:
        with self._files:
            _replace(self._folder / self._name, NUMBERS.snapshot())

    def _fold(self) -> None:
        """Make one file of those of processes that ended."""
        with self._files:
            self._fold_dead()

    def _fold_dead(self) -> None:
        dead = [p for p in self._folder.glob("*-*.json") if not _is_alive(p)]
        if not dead:
            return
        total, past = _Total(), self._folder / _PAST
        for path in (past, *dead):
            with suppress(OSError, ValueError, KeyError):
                total.add(json.loads(path.read_text()), with_levels=False)
        _replace(past, total.snapshot())
        for path in dead:
            path.unlink(missing_ok=True)

    def _prepare_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self._folder.lstat()
        is_ours = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
        if not (stat.S_ISDIR(found.st_mode) and is_ours):  # in a folder where everybody may write
            raise OSError(0, "it belongs to somebody else")
        # In a container the next processes have the pids of the last ones, whose files may be kept.
        for path in self._folder.glob(f"{self._pid}-*.json"):
            with suppress(FileNotFoundError):
                path.rename(path.with_name(f"ended-{path.name}"))

    def _tell(self, what: str) -> None:
        if not self._has_told:
            self._has_told = True
            _log.warning("no metrics: %s", what)


class _Total:
    """The sum of snapshots."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._durations: dict[tuple[str, tuple[str, ...]], tuple[list[int], float]] = {}
        self._levels: dict[tuple[str, tuple[str, ...]], float] = defaultdict(float)

    def add(self, snapshot: Mapping[str, Any], *, with_levels: bool) -> None:
        """Add what one process has counted."""
        for name, labels, count in snapshot["counts"]:
            self._counts[name, tuple(labels)] += count
        for name, labels, buckets, seconds in snapshot["durations"]:
            key = name, tuple(labels)
            before, sum_ = self._durations.get(key, ([0] * len(buckets), 0.0))
            both = [one + other for one, other in zip(before, buckets, strict=True)]
            self._durations[key] = both, sum_ + seconds
        if with_levels:
            for name, level in snapshot["levels"]:
                self._levels[name, ()] += level

    def set(self, name: str, labels: tuple[str, ...], value: float) -> None:
        """Set what no process counts."""
        self._levels[name, labels] = value

    def of(self, name: str) -> Iterator[tuple[tuple[str, ...], Any]]:
        """Yield the values of a metric with their labels; of a histogram, its buckets and sum."""
        for table in (self._counts, self._levels):
            for (one, labels), value in table.items():
                if one == name:
                    yield labels, value
        for (one, labels), (buckets, seconds) in self._durations.items():
            if one == name:
                yield labels, (_cumulative(buckets), seconds)

    def snapshot(self) -> dict[str, Any]:
        """Return it as a process would write it."""
        return {
            "counts": [[name, labels, count] for (name, labels), count in self._counts.items()],
            "durations": [[*key, *both] for key, both in self._durations.items()],
            "levels": [],
        }


class _Stored:
    """What the database says, asked at most once in ten seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked_at = float("-inf")
        self._known: list[tuple[str, tuple[str, ...], float]] = []

    def all(self) -> list[tuple[str, tuple[str, ...], float]]:
        """Return metrics with labels and values; the last known ones if the database is away."""
        if time.monotonic() - self._asked_at > _ASK_EVERY:
            self._asked_at = time.monotonic()
            with suppress(Overloaded, NotReady):
                self._known = [*self._of_jobs(), *self._of_tokens()]
        return [(BUILD_INFO, (installed_version(), SCHEMA_REVISION), 1.0), *self._known]

    def _of_jobs(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        last: dict[str, float] = {}
        for result in job_results.results(self._database):
            if result.job == SEALED:
                yield SEALED_VALUES, (result.item,), result.total
                continue
            if result.job == LIVE:  # no job of its own
                continue
            if result.job == purge.JOB:
                yield PURGED_ROWS, (result.item,), result.total
            if result.succeeded_at is not None:
                moment = result.succeeded_at.timestamp()
                last[result.job] = max(moment, last.get(result.job, moment))
        for job, moment in last.items():
            yield LAST_SUCCESS, (job,), moment

    def _of_tokens(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        query = select(access_tokens.c.appid, access_tokens.c.expires_at)
        with self._database.statement() as connection:
            rows = connection.execute(query).all()
        for appid, expires_at in rows:
            if expires_at is not None:
                yield TOKEN_EXPIRY, (appid,), expires_at.timestamp()


def _registry(exporter: Exporter) -> Any:
    """Return a registry of prometheus-client that asks the exporter.

    Raises:
        ImportError: the library is not installed.
    """
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    class Families:
        def collect(self) -> Iterator[Any]:
            return exporter.families()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families())
    return registry


def _folder_of(address: Address) -> Path:
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    host, port = address
    return Path(tempfile.gettempdir(), f"wxsession-metrics-{user}-{host}-{port}".replace(":", "_"))


def _replace(path: Path, content: object) -> None:
    """Write a file so that nobody reads a half of it."""
    new = path.with_suffix(f".{os.getpid()}.new")
    new.write_text(json.dumps(content))
    new.replace(path)


def _is_alive(path: Path) -> bool:
    """Return whether the process runs that writes this file."""
    pid = path.name.partition("-")[0]
    if os.name != "posix":  # there, signal 0 would end the process
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        return pid.isdigit()
    return True


def _cumulative(buckets: list[int]) -> list[tuple[str, int]]:
    """Return the buckets as Prometheus has them: each with all that are smaller."""
    bounds, total, found = (*map(str, BOUNDS), "+Inf"), 0, []
    for bound, count in zip(bounds, buckets, strict=True):
        total += count
        found.append((bound, total))
    return found


def installed_version() -> str:
    """Return the version of this package, as far as it is known."""
    try:
        return version("wxsession")
    except PackageNotFoundError:
        return "unknown"
