"""Outcomes as they come in: counts in every window, how long they take, and of how many predictions they come.

Outcomes are counted three times over: as they came true, as the baseline's calibration expects them of each prediction
when it is made, and as they were in the reference. `rules/statistics.py` reads all three by the same expressions.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane_dashboards.promql import (
    AGED_ROWS,
    COVERAGE,
    DAY_OUTCOMES,
    DAY_ROWS,
    LAG_HOUR,
    LAG_MEDIAN,
    LAG_P95,
    LAG_RATE,
    MODEL,
    OUTCOME_DISPERSION,
    OUTCOME_WINDOWS,
    OWNER_REPORTING,
    ROW_RATE,
    duration,
    labels,
    lines,
    outcome_count,
)
from windvane_dashboards.rules.alerting import (
    MODEL_LABELS,
    MODEL_SHOWN,
    PERCENT,
    TICKET,
    alert_annotations,
    alert_labels,
    owned,
    queried,
)
from windvane_dashboards.rules.model import Alert, Group, Recording
from windvane_dashboards.rules.timings import sum_of_rates

if TYPE_CHECKING:
    from windvane_dashboards.promql import OutcomeWindow
    from windvane_dashboards.rules.alerting import Links
    from windvane_dashboards.rules.timings import Timings

__all__ = ["EXPECTED", "REALISED", "REFERENCE", "aged", "alerts", "dispersion", "recording"]

REALISED: Final = (
    semconv.OUTCOME_COUNT,
    semconv.OUTCOME_CLASSIFIED,
    semconv.OUTCOME_SCORED,
    semconv.OUTCOME_SCORE,
    semconv.OUTCOME_LOG_LOSS,
    semconv.OUTCOME_ABSOLUTE_ERROR,
    semconv.OUTCOME_SQUARED_ERROR,
    semconv.OUTCOME_RANKED,
)
EXPECTED: Final = (
    semconv.OUTCOME_EXPECTED_COUNT,
    semconv.OUTCOME_EXPECTED,
    semconv.OUTCOME_EXPECTED_SCORED,
    semconv.OUTCOME_EXPECTED_ABSOLUTE_ERROR,
)
REFERENCE: Final = (
    semconv.OUTCOME_REFERENCE_COUNT,
    semconv.OUTCOME_REFERENCE,
    semconv.OUTCOME_REFERENCE_SCORED,
    semconv.OUTCOME_REFERENCE_ABSOLUTE_ERROR,
)

_USUAL: Final = 20
"""Outcomes of a day from which none at all is silence: by chance that is once in e^20 days. As many clusters where rows
come in these."""

_HALF: Final = 0.5
"""Share of the usual below which fewer outcomes, or fewer predictions, are news."""

_ROOT_DIFFERENCE: Final = 10
"""Least difference of 2 sqrt(outcomes), as for traffic: times the root of the dispersion for rows in clusters."""


def recording(timings: Timings) -> tuple[Group, ...]:
    """Return the rules that count outcomes and tell how late and how complete they come."""
    counted = (*REALISED, *EXPECTED)
    rates = (*(_rate(metric, timings) for metric in counted), _lag_rate(timings))
    hours = (
        *(_hour(outcome_count(metric, "rate5m"), outcome_count(metric, "increase1h"), timings) for metric in counted),
        _hour(LAG_RATE, LAG_HOUR, timings),
    )
    return (
        Group("windvane-outcomes", timings.interval, rates),
        Group("windvane-outcomes-1h", timings.slow_interval, hours),
        *(
            Group(
                f"windvane-outcomes-{window}",
                timings.slow_interval,
                tuple(_window(metric, window, timings) for metric in counted),
            )
            for window in OUTCOME_WINDOWS
        ),
        Group(
            "windvane-outcomes-reference",
            timings.slow_interval,
            tuple(_reference(metric, timings) for metric in REFERENCE),
        ),
        Group("windvane-outcomes-coverage", timings.slow_interval, _coverage(timings)),
    )


def _by(metric: semconv.Metric) -> str:
    return labels(*(attribute.label for attribute in metric.attributes))


def _rate(metric: semconv.Metric, timings: Timings) -> Recording:
    return Recording(
        outcome_count(metric, "rate5m"),
        f"sum by ({_by(metric)}) (rate({metric.prometheus_name}[{duration(timings.rate)}]))",
        f"Per second, over all who count: {metric.description}",
    )


def _lag_rate(timings: Timings) -> Recording:
    return Recording(
        LAG_RATE,
        lines(
            f"sum by ({MODEL}, le) (",
            "  label_replace(",
            f"    rate({semconv.OUTCOME_LAG.prometheus_name}_bucket[{duration(timings.rate)}]),",
            '    "le", "$1", "le", "([0-9]+)\\\\.0"',
            "  )",
            ")",
        ),
        "Outcomes per second that came at most le seconds after their prediction.",
    )


def _hour(rate: str, hour: str, timings: Timings) -> Recording:
    return Recording(
        hour, sum_of_rates(rate, timings.short, timings), "The same of the last hour: what longer windows add up."
    )


def _window(metric: semconv.Metric, window: OutcomeWindow, timings: Timings) -> Recording:
    return Recording(
        outcome_count(metric, f"increase{window}"),
        _sum_of_hours(outcome_count(metric, "increase1h"), _span(window, timings), timings),
        f"The same of {window}, up to the last full hour.",
    )


def _span(window: OutcomeWindow, timings: Timings) -> timedelta:
    return {"1d": timings.long, "7d": timings.week}[window]


def _sum_of_hours(series: str, window: timedelta, timings: Timings) -> str:
    """Return the increase over a window of whole hours: a sixtieth of the samples, since labels are in no hurry.

    A millisecond is left off, so that the window never holds both of its ends, neither in Prometheus 2 nor in 3.
    """
    return f"sum_over_time({series}[{duration(window - timedelta(milliseconds=1))}:{duration(timings.short)}])"


def _reference(metric: semconv.Metric, timings: Timings) -> Recording:
    return Recording(
        outcome_count(metric, "max"),
        f"max by ({_by(metric)}) (last_over_time({metric.prometheus_name}[{duration(timings.short)}]))",
        f"{metric.description} The same gauge on every replica, hence max and never sum.",
    )


def aged(series: str, timings: Timings) -> str:
    """Return what a series by version was when the predictions were made whose outcomes come now.

    PromQL cannot look back by a number that it computes, so there are five steps for the median lag of outcomes, each
    within a factor of three; beyond two weeks there is no answer.
    """
    hour, day = timings.short, timings.long
    steps = (
        (None, 0 * hour, 3 * hour),
        (timings.six_hours, 3 * hour, 15 * hour),
        (day, 15 * hour, 2 * day),
        (timings.three_days, 2 * day, 5 * day),
        (timings.week, 5 * day, 2 * timings.week),
    )
    return "\nor\n".join(
        f"({series}{f' offset {duration(offset)}' if offset else ''} and on ({MODEL}) "
        f"({LAG_MEDIAN} >= {least.total_seconds():g} < {most.total_seconds():g}))"
        for offset, least, most in steps
    )


def dispersion(of: str) -> str:
    """Return how many times more outcomes differ than by chance, where a series is; 1 where no baseline knows it."""
    return f"({OUTCOME_DISPERSION} or 0 * {of} + 1)"


def _coverage(timings: Timings) -> tuple[Recording, ...]:
    lags = _sum_of_hours(LAG_HOUR, timings.week, timings)
    return (
        Recording(LAG_MEDIAN, f"histogram_quantile(0.5, {lags})", "Half of a week's outcomes came within so long."),
        Recording(LAG_P95, f"histogram_quantile(0.95, {lags})", "Nearly all of them did."),
        Recording(
            DAY_OUTCOMES,
            f"sum by ({MODEL}) ({outcome_count(semconv.OUTCOME_COUNT, 'increase1d')})",
            "Outcomes of the last day.",
        ),
        Recording(DAY_ROWS, sum_of_rates(ROW_RATE, timings.long, timings), "Predictions of the last day."),
        Recording(
            AGED_ROWS,
            aged(DAY_ROWS, timings),
            "Predictions of a day that are as old as most outcomes of today are when they come. Of a longer lag than "
            "two weeks none.",
        ),
        Recording(
            COVERAGE,
            lines(f"{DAY_OUTCOMES}", f"/ on ({MODEL}) ({AGED_ROWS} > 0)"),
            "Outcomes of the last day over the predictions of a day at that age. Above 1 where outcomes come in "
            "batches of several days.",
        ),
    )


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    return (_stopped(timings, links), _coverage_drop(timings, links))


def _fewer_due(timings: Timings) -> str:
    """Return where far fewer predictions were made at that age than a week before: their outcomes are not missed."""
    return f"({AGED_ROWS} < {_HALF} * {AGED_ROWS} offset {duration(timings.week)})"


def _stopped(timings: Timings, links: Links) -> Alert:
    name = "MLOutcomesStopped"
    week = duration(timings.week)
    together = dispersion(f"{DAY_OUTCOMES} offset {week}")
    usual = queried(f"{DAY_OUTCOMES}{{MATCHERS}} offset {week}", MODEL_LABELS, "humanize")
    return Alert(
        name=name,
        expr=owned(
            lines(
                f"({DAY_OUTCOMES} or 0 * {DAY_OUTCOMES} offset {week}) == 0",
                f"and {DAY_OUTCOMES} offset {week} >= {_USUAL} * {together}",
                f"and quantile_over_time(0.5, {DAY_OUTCOMES}[{week}:{duration(timings.six_hours)}])"
                f" >= {_USUAL} * {together}",
                f"unless on ({MODEL}) {_fewer_due(timings)}",
            ),
            OWNER_REPORTING,
            severity=False,
        ),
        why="No outcome was reported for a day, though the same day of last week and most days since had some, and "
        "the predictions that they are due for were made. Waits six hours more, since batches come late at times.",
        pending=timings.six_hours,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: outcomes have stopped",
            f"No outcome of {MODEL_SHOWN} was reported for more than a day; on the same day of last week there were "
            f"{usual}. Quality is not known meanwhile, and no objective of it is watched. See whether the job that "
            f"reports outcomes runs, and whether they are refused ({semconv.OUTCOMES_REFUSED.prometheus_name} tells "
            "why).",
        ),
    )


def _coverage_drop(timings: Timings, links: Links) -> Alert:
    name = "MLOutcomeCoverage"
    together = dispersion(f"{DAY_OUTCOMES} offset {duration(timings.week)}")
    pasts = [f"{COVERAGE} offset {duration(span)}" for span in (timings.long, timings.week)]
    dropped = [
        f"and {COVERAGE} < {_HALF} * ({past})\n"
        f"and 2 * (sqrt({AGED_ROWS} * on ({MODEL}) ({past})) - sqrt({DAY_OUTCOMES}))"
        f" > {_ROOT_DIFFERENCE} * sqrt({together})"
        for past in pasts
    ]
    return Alert(
        name=name,
        expr=owned(
            lines(
                f"{COVERAGE} > 0",
                *dropped,
                f"unless on ({MODEL}) {_fewer_due(timings)}",
            ),
            OWNER_REPORTING,
            severity=False,
        ),
        why="Less than half of the outcomes, by the number of predictions that they are due for, of a day ago and of a "
        "week ago: those that are missing may be other ones than those that come.",
        pending=timings.six_hours,
        keep=timings.short,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: outcomes of {PERCENT} of the predictions only",
            f"Of the predictions that outcomes are due for {PERCENT} have one, less than half as many as a day and a "
            "week ago. What is told of quality rests on these alone. Find which are missing: one caller, one region, "
            "one step of the job; and whether they are refused "
            f"({semconv.OUTCOMES_REFUSED.prometheus_name} tells why).",
        ),
    )
