"""Errors and latency against the model's own objectives.

How fast an error budget burns, over a long window that shows that it matters and a short one that shows that it still
lasts, as chapter 5 of the Site Reliability Workbook has it: two pairs of windows page, two open a ticket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from windvane import semconv
from windvane_dashboards.promql import (
    BUCKET_RATE,
    CALL_RATE,
    CALLS,
    DEPLOYMENT,
    DEPLOYMENT_BUCKET_RATE,
    DEPLOYMENT_CALL_RATE,
    DEPLOYMENT_ERROR_RATE,
    ERROR_BUDGET,
    ERRORS,
    MODEL,
    OBJECTIVE,
    OBJECTIVE_LABEL,
    OWNER,
    ROW_RATE,
    ROWS,
    SLOW,
    BadCalls,
    BurnWindow,
    burn_threshold,
    duration,
    lines,
    nested,
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
    from datetime import timedelta

    from windvane_dashboards.rules.alerting import Links
    from windvane_dashboards.rules.timings import Timings

__all__ = ["alerts", "recording"]


class _Burn(NamedTuple):
    """A burn rate and the two windows over which it must hold."""

    factor: float
    long: BurnWindow
    short: BurnWindow


# Site Reliability Workbook, table 5-8, for a budget of 30 days: 2 % of it in an hour, 5 % in six, 10 % in a day or in
# three.
_PAGES: Final = (_Burn(14.4, "1h", "5m"), _Burn(6, "6h", "30m"))
_TICKETS: Final = (_Burn(3, "1d", "2h"), _Burn(1, "3d", "6h"))

_ERRORS_PAGE: Final = "MLModelErrors"
_SLOW_PAGE: Final = "MLModelLatency"

_DEFAULT_ERROR_THRESHOLD: Final = 0.05
"""Share of failed calls that pages for a model without an availability objective."""

_MIN_BAD_CALLS: Final = 10
"""Fewer bad calls in the long window alert nobody, however few calls there were in all."""


def _span(window: BurnWindow, timings: Timings) -> timedelta:
    return {
        "5m": timings.rate,
        "30m": timings.half_hour,
        "1h": timings.short,
        "2h": timings.two_hours,
        "6h": timings.six_hours,
        "1d": timings.long,
        "3d": timings.three_days,
    }[window]


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
        *(_threshold(burn) for burn in (*_PAGES, *_TICKETS)),
    )
    seconds = f"max by ({MODEL}) (last_over_time({semconv.MODEL_LATENCY_OBJECTIVE.prometheus_name}[{short}]))"
    calls = (
        Recording(
            DEPLOYMENT_CALL_RATE,
            f"sum by ({DEPLOYMENT}) (rate({name}_count[{rate}]))",
            "Calls per second of each deployment (version and variant), failed ones included.",
        ),
        Recording(CALL_RATE, f"sum by ({MODEL}) ({DEPLOYMENT_CALL_RATE})", "Calls per second of each version."),
        Recording(CALLS, sum_of_rates(CALL_RATE, timings.short, timings), "Calls in the last hour."),
        Recording(
            ROW_RATE,
            f"sum by ({MODEL}) (rate({semconv.PREDICTION_ROWS.prometheus_name}[{rate}]))",
            "Rows per second: predictions, where a call asks for several.",
        ),
        Recording(ROWS, sum_of_rates(ROW_RATE, timings.short, timings), "Predictions in the last hour."),
        Recording(
            DEPLOYMENT_ERROR_RATE,
            lines(
                f'sum by ({DEPLOYMENT}) (rate({name}_count{{{error}!~"|{semconv.CANCELLED}"}}[{rate}]))',
                f"or 0 * {DEPLOYMENT_CALL_RATE}",
            ),
            "Failed calls per second, without those that were cancelled; 0 where no call has failed yet.",
        ),
        Recording(ERRORS.rate, f"sum by ({MODEL}) ({DEPLOYMENT_ERROR_RATE})", "The same of each version."),
        Recording(
            DEPLOYMENT_BUCKET_RATE,
            lines(
                f"sum by ({DEPLOYMENT}, le) (",
                "  label_replace(",
                f'    rate({name}_bucket{{{error}=""}}[{rate}]),',
                '    "le", "$1", "le", "([0-9]+)\\\\.0"',
                "  )",
                ")",
            ),
            "Successful calls per second that took at most le seconds. A whole bound is 1 through remote write and "
            "1.0 where Prometheus 3 scrapes: 1 here.",
        ),
        Recording(BUCKET_RATE, f"sum by ({MODEL}, le) ({DEPLOYMENT_BUCKET_RATE})", "The same of each version."),
        Recording(
            SLOW.rate,
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
    )
    return (
        Group("windvane-calls", timings.interval, (*calls, *budgets)),
        Group("windvane-errors", timings.interval, _ratios(ERRORS, CALL_RATE, timings)),
        Group("windvane-slow", timings.interval, _ratios(SLOW, f'{BUCKET_RATE}{{le="+Inf"}}', timings)),
    )


def _threshold(burn: _Burn) -> Recording:
    rule = lines(
        f"{burn.factor:g} * {ERROR_BUDGET} < (1 + {ERROR_BUDGET}) / 2",
        f"or (1 + {ERROR_BUDGET}) / 2",
    )
    why = (
        f"Share of bad events in {burn.long} and {burn.short} that alerts: a burn rate of {burn.factor:g}, or half-way "
        "between the budget and all events where that is less (a low target could otherwise never alert)."
    )
    if burn == _PAGES[0]:
        rule = lines(
            rule,
            "or label_replace(",
            f"  0 * {CALL_RATE} + {_DEFAULT_ERROR_THRESHOLD},",
            f'  "{OBJECTIVE_LABEL}", "availability", "", ""',
            ")",
        )
        why += " Without an availability objective, 5 % of calls."
    return Recording(burn_threshold(burn.long), rule, why)


def _ratios(bad: BadCalls, of: str, timings: Timings) -> tuple[Recording, ...]:
    """Return the rules for the bad share of calls in every window, and for their number in the long ones."""
    word = {"errors": "failed", "slow": "were too slow"}[bad.kind]
    rules = [
        Recording(bad.ratio("5m"), lines(bad.rate, f"/ on ({MODEL}) ({of} > 0)"), f"Share of calls that {word} in 5m.")
    ]
    for window in dict.fromkeys(window for burn in (*_PAGES, *_TICKETS) for window in (burn.long, burn.short)):
        if window == "5m":
            continue
        span = _span(window, timings)
        rules += [
            Recording(bad.increase(window), sum_of_rates(bad.rate, span, timings), f"Calls that {word} in {window}."),
            Recording(
                bad.ratio(window),
                lines(bad.increase(window), f"/ on ({MODEL})", f"({sum_of_rates(of, span, timings)} > 0)"),
                f"Share of calls that {word} in {window}.",
            ),
        ]
    return tuple(rules)


def _burning(bad: BadCalls, burns: tuple[_Burn, ...]) -> str:
    def over(burn: _Burn) -> str:
        threshold = f'on ({MODEL}) {burn_threshold(burn.long)}{{{OBJECTIVE_LABEL}="{bad.objective}"}}'
        return lines(
            f"{bad.ratio(burn.short)} > {threshold}",
            f"and {bad.ratio(burn.long)} > {threshold}",
            f"and {bad.increase(burn.long)} >= {_MIN_BAD_CALLS}",
        )

    return "\nor\n".join(nested(over(burn)) for burn in burns)


def _unless_paged(expr: str, page: str) -> str:
    """Leave to the page what pages already; once that is over, what it cost is a ticket."""
    return lines(nested(expr), f'unless on ({MODEL}) ALERTS{{alertname="{page}"}}')


def _bad_calls(bad: BadCalls, window: BurnWindow) -> str:
    """Return a sentence on how many calls were touched."""
    return queried(
        f"{bad.increase(window)}{{MATCHERS}}",
        MODEL_LABELS,
        'printf "%.0f"',
        sentence=f" In the last {window} that were VALUE calls.",
    )


def _errors(timings: Timings, links: Links) -> Alert:
    name = _ERRORS_PAGE
    threshold = queried(
        f'{burn_threshold("1h")}{{MATCHERS,{OBJECTIVE_LABEL}="availability"}}', MODEL_LABELS, "humanizePercentage"
    )
    return Alert(
        name=name,
        expr=owned(_burning(ERRORS, _PAGES), OWNER, severity=True),
        why="Calls fail so fast that 2 % of a month's error budget goes in an hour, or 5 % in six. The long window "
        "shows that it matters, the short one that it still lasts.",
        pending=timings.burn_for,
        keep=timings.keep,
        labels=alert_labels(),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {PERCENT} of calls fail",
            f"{PERCENT} of prediction calls raise an exception; above {threshold} an hour's errors alert."
            f"{_bad_calls(ERRORS, '1h')} Open the dashboard at the alert's start, read the error types, and open a "
            "failed call's trace; if a deployment fell together with it, roll that back.",
        ),
    )


def _latency(timings: Timings, links: Links) -> Alert:
    name = _SLOW_PAGE
    return Alert(
        name=name,
        expr=owned(_burning(SLOW, _PAGES), OWNER, severity=True),
        why="Calls miss the model's own latency objective so often that 2 % of a month's budget goes in an hour, or "
        "5 % in six. Models without such an objective have no series here.",
        pending=timings.burn_for,
        keep=timings.keep,
        labels=alert_labels(),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {PERCENT} of calls are slower than the objective",
            f"{PERCENT} of successful calls take longer than {_objective()}, and that lasts.{_bad_calls(SLOW, '1h')} "
            "Open the dashboard at the alert's start, compare requests, rows per call and active calls with latency, "
            "and open a slow call's trace from the latency panel.",
        ),
    )


def _objective() -> str:
    return queried(
        f"max by ({MODEL}) ({semconv.MODEL_LATENCY_OBJECTIVE.prometheus_name}{{MATCHERS}})",
        MODEL_LABELS,
        "humanizeDuration",
    )


def _error_budget(timings: Timings, links: Links) -> Alert:
    name = "MLErrorBudgetBurn"
    return Alert(
        name=name,
        expr=owned(_unless_paged(_burning(ERRORS, _TICKETS), _ERRORS_PAGE), OWNER, severity=False),
        why="Calls fail too slowly to wake anybody, and fast enough to miss the month's objective: 10 % of its budget "
        "in a day or in three.",
        pending=timings.ticket_for,
        keep=timings.keep,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: the error budget will not last the month",
            f"{PERCENT} of prediction calls raise an exception, and have done so for hours."
            f"{_bad_calls(ERRORS, '6h')} At this rate the month ends below the availability objective. Read the error "
            "types on the dashboard: one caller, one kind of input or one replica is likely to make most of them.",
        ),
    )


def _latency_budget(timings: Timings, links: Links) -> Alert:
    name = "MLLatencyBudgetBurn"
    return Alert(
        name=name,
        expr=owned(_unless_paged(_burning(SLOW, _TICKETS), _SLOW_PAGE), OWNER, severity=False),
        why="Calls are too slow too often to hold the month's latency objective, and not so often that it pages.",
        pending=timings.ticket_for,
        keep=timings.keep,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: the latency budget will not last the month",
            f"{PERCENT} of successful calls take longer than {_objective()}, and have done so for hours."
            f"{_bad_calls(SLOW, '6h')} At this rate the month ends below the latency objective. Compare latency with "
            "rows per call and with the time of day: growth of traffic, larger batches or a slower feature lookup are "
            "the usual reasons.",
        ),
    )


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    return (
        _errors(timings, links),
        _latency(timings, links),
        _error_budget(timings, links),
        _latency_budget(timings, links),
    )
