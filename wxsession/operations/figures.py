"""Figures: how logins, sessions and WeChat have been, for the screens of an operator.

Nothing here reads more rows than there are hours to show and kinds of things that happen: not the
users, not the sessions, and of the events no more than the last hours.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, func, select

from wxsession.common.clock import Clock
from wxsession.operations import event_counts, job_results, purge
from wxsession.operations.event_counts import Happened
from wxsession.operations.job_results import Run
from wxsession.operations.live_sessions import LIVE
from wxsession.operations.reseal import SEALED
from wxsession.storage.database import SCHEMA_REVISION, Database
from wxsession.storage.tables import access_tokens, wechat_counts, wechat_states
from wxsession.wechat.apps import Apps
from wxsession.wechat.call_counts import BOUNDS, OPEN_END
from wxsession.wechat.client import OK, PHONE_NUMBER, failure_of
from wxsession.wechat.failures import Failure

CHINA: Final = timezone(timedelta(hours=8))
"""Where WeChat's days and months begin, and most of its users' ones."""

PHONE_NUMBER_PRICE: Final = 0.03
"""What WeChat takes for each phone number, in yuan, beyond the first 1,000 of an app.

Source: "手机号快速验证组件" in the mini-program documentation, as of 2023-08-28.
"""

_CREATED, _ENDED, _FAILED = "session.created", "session.ended", "login.failed"
_WEB_VIEW = Happened(_CREATED, "web_view")
"""The opening of a page by somebody who is logged in, which is no login."""
_RUNS = 20


class Period(NamedTuple):
    """How far back a plot goes, and how much time each of its points stands for."""

    length: timedelta
    step: timedelta


PERIODS: Final[Mapping[str, Period]] = {
    "24h": Period(timedelta(hours=24), timedelta(hours=1)),
    "7d": Period(timedelta(days=7), timedelta(hours=4)),
    "30d": Period(timedelta(days=30), timedelta(days=1)),
}


class Line(NamedTuple):
    """One curve: a value for each point of its plot, None where there is nothing to say."""

    name: str
    values: Sequence[float | None]

    def total(self) -> float:
        """Return the sum of the values."""
        return sum(value for value in self.values if value is not None)


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves over the same points; each point is the moment at which its step begins."""

    points: Sequence[datetime]
    lines: Sequence[Line]

    def total(self) -> float:
        """Return the sum of all curves."""
        return sum(line.total() for line in self.lines)


@dataclass(frozen=True, slots=True)
class LiveSessions:
    """How many sessions were live when a purge last counted them."""

    count: int
    counted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Overview:
    """What an operator wants to see first.

    `complete_since` is None, or the moment before which events are missing, because there were too
    many since the last purge.
    """

    logins: Plot
    failures: Plot
    ends: Plot
    latency: Plot
    """How many milliseconds half of WeChat's answers took at most, and 95 % of them."""
    outcomes: Plot
    """What WeChat answered when it did not do what it was asked."""
    wechat_calls: int
    live_sessions: LiveSessions | None
    last_purge: Run | None
    complete_since: datetime | None

    def failing(self) -> float:
        """Return the part of the calls to WeChat that failed, from 0 to 1."""
        return self.outcomes.total() / self.wechat_calls if self.wechat_calls else 0.0


class AppState(NamedTuple):
    """How WeChat gets on with an app; what went wrong last is explained by `failure`."""

    appid: str
    is_default: bool
    token_expires_at: datetime | None
    """Of the access_token, if there is one that is still valid."""
    succeeded_at: datetime | None
    failed_at: datetime | None
    call: str | None
    outcome: str | None
    rid: str | None
    failure: Failure | None
    calls: int
    """In the last 24 hours."""
    failed: int
    phone_numbers: int
    """That WeChat has given in this month of China's time."""

    def cost(self) -> float:
        """Return what they cost, in yuan."""
        return round(self.phone_numbers * PHONE_NUMBER_PRICE, 2)


@dataclass(frozen=True, slots=True)
class SystemState:
    """What runs, and what its jobs have done."""

    revision: str
    values_by_key: Mapping[str, int]
    """When a purge, `keys status` or `keys reseal` last counted them."""
    purged: Mapping[str, int]
    """How many rows of each table all purges deleted."""
    purges: Sequence[Run]


class Figures:
    """Reads the figures."""

    def __init__(self, database: Database, *, apps: Apps, clock: Clock) -> None:
        self._database = database
        self._apps = apps
        self._clock = clock

    def overview(self, period: Period) -> Overview:
        """Return what happened in a period until now.

        Raises:
            Overloaded: the database did not answer in time.
        """
        now = self._clock()
        points = points_of(period, now)
        names = (_CREATED, _ENDED, _FAILED)
        with self._database.statement() as connection:
            counted = event_counts.read(connection, names, points[0], now)
            calls = _calls(connection, points[0])
        known = {one.job: one for one in job_results.results(self._database)}
        live = known.get(LIVE)
        purges = job_results.runs(self._database, purge.JOB, limit=1)

        def plot(event: str) -> Plot:
            its: dict[str, Counter[int]] = defaultdict(Counter)
            for (hour, what), count in counted.counts.items():
                if what.event == event and what != _WEB_VIEW:
                    its[what.reason][_index(points, period, hour)] += count
            return _plot(points, its)

        return Overview(
            logins=_sum(plot(_CREATED), _CREATED),
            failures=plot(_FAILED),
            ends=plot(_ENDED),
            latency=_latency(points, period, calls),
            outcomes=_outcomes(points, period, calls),
            wechat_calls=sum(row.number for row in calls),
            live_sessions=live and LiveSessions(live.total, live.succeeded_at),
            last_purge=purges[0] if purges else None,
            complete_since=counted.complete_since,
        )

    def apps(self) -> list[AppState]:
        """Return how each app of the settings does at WeChat.

        Raises:
            Overloaded: the database did not answer in time.
        """
        now = self._clock()
        month = now.astimezone(CHINA).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        c = wechat_counts.c
        of_day = select(c.appid, c.outcome, func.sum(c["count"])).group_by(c.appid, c.outcome)
        of_day = of_day.where(c.hour >= now - timedelta(hours=24))
        with self._database.statement() as connection:
            valid = connection.execute(_TOKENS.where(access_tokens.c.expires_at > now))
            tokens = {row.appid: row.expires_at for row in valid}
            states = {row.appid: row for row in connection.execute(select(wechat_states))}
            lately = connection.execute(of_day).all()
            given = select(c.appid, func.sum(c["count"])).group_by(c.appid)
            given = given.where(c.hour >= month, c.call == PHONE_NUMBER, c.outcome == OK)
            numbers = {appid: int(count) for appid, count in connection.execute(given)}
        calls: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        for appid, outcome, count in lately:
            calls[appid] += int(count)
            failed[appid] += int(count) * (outcome != OK)
        return [
            _state(
                appid,
                self._apps.default == appid,
                tokens.get(appid),
                states.get(appid),
                (calls[appid], failed[appid], numbers.get(appid, 0)),
            )
            for appid in self._apps
        ]

    def system(self) -> SystemState:
        """Return what runs, and what its jobs have done.

        Raises:
            Overloaded: the database did not answer in time.
        """
        found = job_results.results(self._database)
        return SystemState(
            revision=SCHEMA_REVISION,
            values_by_key={one.item: one.total for one in found if one.job == SEALED},
            purged={one.item: one.total for one in found if one.job == purge.JOB},
            purges=job_results.runs(self._database, purge.JOB, limit=_RUNS),
        )


_TOKENS: Final = select(access_tokens.c.appid, access_tokens.c.expires_at)


def points_of(period: Period, now: datetime) -> list[datetime]:
    """Return the points of a period, the last of which has begun; days are those of China."""
    midnight = now.astimezone(CHINA).replace(hour=0, minute=0, second=0, microsecond=0)
    last = midnight + (now - midnight) // period.step * period.step
    number = period.length // period.step
    return [last - period.step * back for back in range(number - 1, -1, -1)]


def _index(points: Sequence[datetime], period: Period, hour: datetime) -> int:
    return (hour - points[0]) // period.step


def _plot(points: Sequence[datetime], counts: Mapping[str, Mapping[int, float]]) -> Plot:
    """Return a plot of counts, the most frequent first."""
    lines = [
        Line(name, [its.get(number, 0) for number in range(len(points))])
        for name, its in counts.items()
    ]
    return Plot(points, sorted(lines, key=lambda line: (-line.total(), line.name)))


def _sum(plot: Plot, name: str) -> Plot:
    """Return a plot of one line, in which all others are added up."""
    values = [0.0] * len(plot.points)
    for line in plot.lines:
        values = [one + (other or 0) for one, other in zip(values, line.values, strict=True)]
    return Plot(plot.points, [Line(name, values)])


def _calls(connection: Connection, since: datetime) -> Sequence[Row[Any, Any, Any, Any]]:
    c = wechat_counts.c
    number = func.sum(c["count"]).label("number")
    query = select(c.hour, c.outcome, c.within_milliseconds, number).where(c.hour >= since)
    return connection.execute(query.group_by(c.hour, c.outcome, c.within_milliseconds)).all()


def _latency(
    points: Sequence[datetime], period: Period, calls: Iterable[Row[Any, Any, Any, Any]]
) -> Plot:
    buckets: dict[int, Counter[int]] = defaultdict(Counter)
    for hour, _, within, number in calls:
        buckets[_index(points, period, hour)][within] += int(number)
    lines = [
        Line(name, [quantile(buckets[number], part) for number in range(len(points))])
        for name, part in (("p50", 0.5), ("p95", 0.95))
    ]
    return Plot(points, lines)


def quantile(buckets: Mapping[int, int], part: float) -> float | None:
    """Return how many milliseconds a part of the calls took at most, None if there were none.

    Within a bucket they are taken to be evenly spread, as Prometheus does it.
    """
    total = sum(buckets.values())
    if not total:
        return None
    rank, below, lower = part * total, 0, 0
    for bound in (*BOUNDS, OPEN_END):
        count = buckets.get(bound, 0)
        if count and below + count >= rank:
            return round(lower + (bound - lower) * (rank - below) / count, 1)
        below, lower = below + count, bound
    return None


def _outcomes(
    points: Sequence[datetime], period: Period, calls: Iterable[Row[Any, Any, Any, Any]]
) -> Plot:
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for hour, outcome, _, number in calls:
        if outcome != OK:
            counts[outcome][_index(points, period, hour)] += int(number)
    return _plot(points, counts)


def _state(
    appid: str,
    is_default: bool,  # noqa: FBT001 - it is a fact, not a switch
    token_expires_at: datetime | None,
    known: Row[Any] | None,
    counts: tuple[int, int, int],
) -> AppState:
    if known is None:
        return AppState(appid, is_default, token_expires_at, *(None,) * 5, None, *counts)
    failure = None if known.outcome is None else failure_of(known.call, known.outcome)
    return AppState(
        appid,
        is_default,
        token_expires_at,
        known.succeeded_at,
        known.failed_at,
        known.call,
        known.outcome,
        known.rid,
        failure,
        *counts,
    )
