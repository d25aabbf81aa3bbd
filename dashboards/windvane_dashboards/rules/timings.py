"""How long the rules look back and wait."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Final

from windvane_dashboards.promql import duration

__all__ = ["MIN_ROWS", "Timings", "sum_of_rates"]

MIN_ROWS: Final = 100
"""Fewer rows than this in a window say nothing about a distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Windows and waits of every rule; the defaults are the real ones.

    Attributes:
        interval: between two evaluations of a rule.
        slow_interval: the same for what hardly changes from one to the next and costs most: references and drift. Less
            than the five minutes for which Prometheus takes a sample for the present. promtool knows one interval only:
            rules that it is to evaluate have all the same.
        day_interval: the same for the statistics of a day, which change still less and cost as much. Several times the
            slow interval, at which they are carried on.
        rate: window of every rate over raw counters; several times the export interval.
        half_hour: window `30m`, the short one of the slower page on a burning objective.
        short: drift window `1h`, and the long window of the fastest page.
        two_hours: window `2h`, the short one of the faster ticket on a burning objective.
        six_hours: window `6h`, the long one of the slower page and the short one of the slower ticket.
        long: drift window `1d`, and how long an absent model stays on the books.
        three_days: window `3d`, the long one of the slower ticket.
        week: after which traffic and freshness are as they were.
        drift_for: how long a shift must last before it is a ticket.
        broken_for: how long a feature must be broken before it pages. Not shorter than `rate`, so that
            a single bad batch never pages.
        burn_for: how long an objective must burn before it pages.
        ticket_for: how long what is no page must last before it is a ticket.
        settle_for: how long two processes may disagree, as they do while a deployment goes through.
        absent: age from which a process's telemetry counts as absent.
        drift_keep: how long a drift ticket stays open after the last sight of the shift.
        keep: how long a page stays open after the last sight of its reason.

    Raises:
        ValueError: the windows are not in order.
    """

    interval: timedelta = timedelta(minutes=1)
    slow_interval: timedelta = timedelta(minutes=4)
    day_interval: timedelta = timedelta(minutes=20)
    rate: timedelta = timedelta(minutes=5)
    half_hour: timedelta = timedelta(minutes=30)
    short: timedelta = timedelta(hours=1)
    two_hours: timedelta = timedelta(hours=2)
    six_hours: timedelta = timedelta(hours=6)
    long: timedelta = timedelta(days=1)
    three_days: timedelta = timedelta(days=3)
    week: timedelta = timedelta(days=7)
    drift_for: timedelta = timedelta(minutes=10)
    broken_for: timedelta = timedelta(minutes=5)
    burn_for: timedelta = timedelta(minutes=2)
    ticket_for: timedelta = timedelta(minutes=15)
    settle_for: timedelta = timedelta(minutes=30)
    absent: timedelta = timedelta(minutes=10)
    drift_keep: timedelta = timedelta(minutes=30)
    keep: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        """Check the order of the windows."""
        if not timedelta(0) < self.interval <= self.rate < self.short < self.long:
            msg = "timings: 0 < interval <= rate < short < long must hold"
            raise ValueError(msg)

    @classmethod
    def at_one_interval(cls, interval: timedelta = timedelta(minutes=1)) -> Timings:
        """Return the real ones, but with one interval for all rules, as promtool has it."""
        return cls(interval=interval, slow_interval=interval, day_interval=interval)

    @property
    def day_lookback(self) -> timedelta:
        """How far back the latest statistics of a day are looked for."""
        return self.day_interval + self.slow_interval

    @property
    def slow_rate(self) -> timedelta:
        """Window of a rate that is recorded every slow interval: so many whole ones that each row counts as often."""
        return max(self.rate // self.slow_interval, 2) * self.slow_interval

    def faster(self, factor: float) -> Timings:
        """Return the timings of a clock that runs `factor` times faster, to the millisecond.

        Raises:
            ValueError: the factor is not positive, or makes a window shorter than PromQL can tell.

        Example:
            >>> Timings().faster(60).short
            datetime.timedelta(seconds=60)
        """
        if not factor > 0:
            msg = f"factor: {factor!r} must be above 0"
            raise ValueError(msg)
        millisecond = timedelta(milliseconds=1)
        scaled = {field.name: round(getattr(self, field.name) / factor / millisecond) for field in fields(self)}
        if min(scaled.values()) < 2:  # noqa: PLR2004 - half an interval must be a millisecond
            msg = f"factor: {factor!r} makes a window shorter than PromQL can tell"
            raise ValueError(msg)
        return Timings(**{name: number * millisecond for name, number in scaled.items()})


def sum_of_rates(series: str, window: timedelta, timings: Timings, *, slow: bool = False) -> str:
    """Return the increase over a window, from a rate that is recorded every interval, or every slow one.

    Half an interval is left off the window: it then holds the same number of samples whether its start
    counts (Prometheus 2) or not (3).
    """
    interval = timings.slow_interval if slow else timings.interval
    return f"sum_over_time({series}[{duration(window - interval / 2)}]) * {interval.total_seconds():g}"
