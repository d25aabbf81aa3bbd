"""Errors and latency against the model's own objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane_dashboards.promql import (
    BUCKET_RATE,
    BURN_THRESHOLD,
    CALL_RATE,
    ERROR_BUDGET,
    ERROR_INCREASE,
    ERROR_RATE,
    ERROR_RATIO_5M,
    ERROR_RATIO_SHORT,
    MODEL,
    OBJECTIVE,
    OBJECTIVE_LABEL,
    OWNER,
    SLOW_INCREASE,
    SLOW_RATE,
    SLOW_RATIO_5M,
    SLOW_RATIO_SHORT,
    duration,
    lines,
)
from windvane_dashboards.rules.alerting import (
    MODEL_LABELS,
    MODEL_SHOWN,
    PERCENT,
    alert_annotations,
    alert_labels,
    owned,
    queried,
)
from windvane_dashboards.rules.model import Alert, Group, Recording
from windvane_dashboards.rules.timings import sum_of_rates

if TYPE_CHECKING:
    from windvane_dashboards.rules.alerting import Links
    from windvane_dashboards.rules.timings import Timings

__all__ = ["alerts", "recording"]

_BURN: Final = 14.4
"""Burn rate that spends 2 % of a 30-day error budget in an hour (Site Reliability Workbook, chapter 5)."""

_DEFAULT_ERROR_THRESHOLD: Final = 0.05
"""Share of failed calls that pages for a model without an availability objective."""

_MIN_BAD_CALLS: Final = 10
"""Fewer bad calls in an hour page nobody, however few calls there were in all."""


def recording(timings: Timings) -> tuple[Group, ...]:
    """Return the rules for errors and latency against the model's own objectives."""
    rate, short = duration(timings.rate), duration(timings.short)
    name = semconv.PREDICTION_DURATION.prometheus_name
    error = semconv.ERROR_TYPE.label

    budgets = (
        Recording(
            ERROR_BUDGET,
            f"1 - max by ({OBJECTIVE}) (last_over_time({semconv.MODEL_OBJECTIVE.prometheus_name}[{short}]))",
            "Share of bad events that each objective allows.",
        ),
        Recording(
            BURN_THRESHOLD,
            lines(
                f"{_BURN} * {ERROR_BUDGET} < (1 + {ERROR_BUDGET}) / 2",
                f"or (1 + {ERROR_BUDGET}) / 2",
                "or label_replace(",
                f"  0 * {CALL_RATE} + {_DEFAULT_ERROR_THRESHOLD},",
                f'  "{OBJECTIVE_LABEL}", "availability", "", ""',
                ")",
            ),
            "Share of bad events that pages: a burn rate of 14.4, or half-way between the budget and all events where "
            "that is less (a target below 93 % could otherwise never page). Without an availability objective, 5 % "
            "of calls.",
        ),
    )
    seconds = f"max by ({MODEL}) (last_over_time({semconv.MODEL_LATENCY_OBJECTIVE.prometheus_name}[{short}]))"
    errors = (
        Recording(
            CALL_RATE, f"sum by ({MODEL}) (rate({name}_count[{rate}]))", "Calls per second, failed ones included."
        ),
        Recording(
            ERROR_RATE,
            lines(
                f'sum by ({MODEL}) (rate({name}_count{{{error}!~"|{semconv.CANCELLED}"}}[{rate}]))',
                f"or 0 * {CALL_RATE}",
            ),
            "Failed calls per second, without those that were cancelled; 0 where no call has failed yet.",
        ),
        Recording(ERROR_RATIO_5M, f"{ERROR_RATE} / ({CALL_RATE} > 0)", "Share of calls that failed."),
        Recording(
            ERROR_INCREASE, sum_of_rates(ERROR_RATE, timings.short, timings), "Calls that failed in the last hour."
        ),
        Recording(
            ERROR_RATIO_SHORT,
            lines(ERROR_INCREASE, f"/ ({sum_of_rates(CALL_RATE, timings.short, timings)} > 0)"),
            "Share of calls that failed in the last hour.",
        ),
    )
    latency = (
        Recording(
            BUCKET_RATE,
            lines(
                f"sum by ({MODEL}, le) (",
                "  label_replace(",
                f'    rate({name}_bucket{{{error}=""}}[{rate}]),',
                '    "le", "$1", "le", "([0-9]+)\\\\.0"',
                "  )",
                ")",
            ),
            "Successful calls per second that took at most le seconds. A whole bound is 1 through remote write and "
            "1.0 where Prometheus 3 scrapes: 1 here.",
        ),
        Recording(
            SLOW_RATE,
            lines(
                f'{BUCKET_RATE}{{le="+Inf"}}',
                f"- on ({MODEL}) (",
                f"  {BUCKET_RATE}",
                f"  and on ({MODEL}, le)",
                f'  count_values by ({MODEL}) ("le",',
                f"    {seconds}",
                "  )",
                ")",
            ),
            "Successful calls per second that took longer than the model's own latency objective, which "
            "count_values turns into the le of its bucket.",
        ),
        Recording(
            SLOW_RATIO_5M,
            lines(SLOW_RATE, f'/ on ({MODEL}) ({BUCKET_RATE}{{le="+Inf"}} > 0)'),
            "Share of successful calls that were too slow.",
        ),
        Recording(SLOW_INCREASE, sum_of_rates(SLOW_RATE, timings.short, timings), "Slow calls in the last hour."),
        Recording(
            SLOW_RATIO_SHORT,
            lines(
                SLOW_INCREASE,
                f"/ on ({MODEL})",
                f"""({sum_of_rates(f'{BUCKET_RATE}{{le="+Inf"}}', timings.short, timings)} > 0)""",
            ),
            "Share of successful calls that were too slow in the last hour.",
        ),
    )
    return (Group("windvane-calls", timings.interval, (*errors, *budgets, *latency)),)


def _burning(ratio_5m: str, ratio_short: str, increase: str, objective: str) -> str:
    threshold = f'on ({MODEL}) {BURN_THRESHOLD}{{{OBJECTIVE_LABEL}="{objective}"}}'
    return lines(
        f"{ratio_5m} > {threshold}",
        f"and {ratio_short} > {threshold}",
        f"and {increase} >= {_MIN_BAD_CALLS}",
    )


def _errors(timings: Timings, links: Links) -> Alert:
    name = "MLModelErrors"
    threshold = queried(
        f'{BURN_THRESHOLD}{{MATCHERS,{OBJECTIVE_LABEL}="availability"}}', MODEL_LABELS, "humanizePercentage"
    )
    return Alert(
        name=name,
        expr=owned(_burning(ERROR_RATIO_5M, ERROR_RATIO_SHORT, ERROR_INCREASE, "availability"), OWNER, severity=True),
        why="Calls fail so fast that 2 % of a month's error budget goes in an hour. The long window shows that it "
        "matters, the short one that it still lasts.",
        pending=timings.burn_for,
        keep=timings.keep,
        labels=alert_labels(),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {PERCENT} of calls fail",
            f"{PERCENT} of prediction calls raised an exception in the last five minutes, and the last hour is above "
            f"{threshold} too. Open the dashboard at the alert's start, read the error types, and open a failed "
            "call's trace; if a deployment fell together with it, roll that back.",
        ),
    )


def _latency(timings: Timings, links: Links) -> Alert:
    name = "MLModelLatency"
    seconds = queried(
        f"max by ({MODEL}) ({semconv.MODEL_LATENCY_OBJECTIVE.prometheus_name}{{MATCHERS}})",
        MODEL_LABELS,
        "humanizeDuration",
    )
    return Alert(
        name=name,
        expr=owned(_burning(SLOW_RATIO_5M, SLOW_RATIO_SHORT, SLOW_INCREASE, "latency"), OWNER, severity=True),
        why="Calls miss the model's own latency objective so often that 2 % of a month's budget goes in an hour. "
        "Models without such an objective have no series here.",
        pending=timings.burn_for,
        keep=timings.keep,
        labels=alert_labels(),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {PERCENT} of calls are slower than the objective",
            f"{PERCENT} of successful calls took longer than {seconds} in the last five minutes, and the last hour "
            "burns its budget too. Open the dashboard at the alert's start, compare requests, rows per call and active "
            "calls with latency, and open a slow call's trace from the latency panel.",
        ),
    )


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    return (_errors(timings, links), _latency(timings, links))
