"""Recording rules for owners, calls and violations."""

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
    FEATURE,
    FEATURE_RATE,
    KIND,
    KIND_LABEL,
    MODEL,
    OBJECTIVE,
    OBJECTIVE_LABEL,
    OBSERVATION_RATE,
    OWNER,
    OWNER_LABELS,
    OWNER_LAST_SEEN,
    OWNER_REPLICAS,
    OWNER_REPORTING,
    REFERENCE,
    REFERENCE_VIOLATION_RATIO,
    SLOW_INCREASE,
    SLOW_RATE,
    SLOW_RATIO_5M,
    SLOW_RATIO_SHORT,
    VIOLATION_EXCESS,
    VIOLATION_RATE,
    duration,
    labels,
    lines,
    nested,
)
from windvane_dashboards.rules.drift import MIN_ROWS, sum_of_rates
from windvane_dashboards.rules.model import Group, Recording

if TYPE_CHECKING:
    from windvane_dashboards.rules.timings import Timings

__all__ = ["DEFAULT_SEVERITY", "calls_group", "owners_group", "violations_group"]

DEFAULT_SEVERITY: Final = "page"
"""Severity of what pages where the owner declared none."""

_BURN: Final = 14.4
"""Burn rate that spends 2 % of a 30-day error budget in an hour (Site Reliability Workbook, chapter 5)."""

_DEFAULT_ERROR_THRESHOLD: Final = 0.05
"""Share of failed calls that pages for a model without an availability objective."""

_OWNED: Final = f"{MODEL}, {labels(*OWNER_LABELS)}"
_SEVERITY: Final = semconv.SEVERITY.label


def _with_severity(expr: str) -> str:
    return f'label_replace({expr}, "{_SEVERITY}", "{DEFAULT_SEVERITY}", "{_SEVERITY}", "")'


def owners_group(timings: Timings) -> Group:
    """Return the rules that give each model version exactly one owner, so that no join can fail."""
    rate, long = duration(timings.rate), duration(timings.long)
    info = f"last_over_time({semconv.MODEL_INFO.prometheus_name}[{duration(timings.absent)}])"
    return Group(
        "windvane-owners",
        timings.interval,
        (
            Recording(
                OWNER_REPLICAS,
                lines(
                    "label_replace(",
                    f"  count by ({_OWNED}) ({info}),",
                    f'  "{_SEVERITY}", "{DEFAULT_SEVERITY}", "{_SEVERITY}", ""',
                    ")",
                ),
                "Processes that report the model version, by the owner they declare. More than one owner per "
                "version is a mistake, but must not break the alerts.",
            ),
            Recording(
                OWNER_REPORTING,
                lines(
                    f"group by ({_OWNED}) (",
                    f"  topk by ({MODEL}) (1,",
                    f"    {OWNER_REPLICAS} + 0.5 * {OWNER_REPORTING}",
                    f"    or {OWNER_REPLICAS}",
                    "  )",
                    ")",
                ),
                "The owner whom most processes declare. Among equals the one chosen before wins (its own last "
                "value is the half vote), so the choice does not flip between evaluations. Only versions that "
                "report now.",
            ),
            Recording(
                OWNER_LAST_SEEN,
                lines(
                    f"topk by ({MODEL}) (1,",
                    f"  max_over_time(timestamp({OWNER_REPORTING})[{long}:{rate}])",
                    ")",
                ),
                "When a version last reported, in Unix seconds, and to whom it belonged then.",
            ),
            Recording(
                OWNER,
                lines(
                    f"group by ({_OWNED}) (",
                    f"  {OWNER_REPORTING}",
                    f"  or on ({MODEL}) {OWNER_LAST_SEEN}",
                    f"  or on ({MODEL}) {_with_severity(CALL_RATE)}",
                    ")",
                ),
                "One owner for every model version there is: the present one, else the last known, else nobody "
                "(the routing's own default gets it).",
            ),
        ),
    )


def calls_group(timings: Timings) -> Group:
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
    return Group("windvane-calls", timings.interval, (*errors, *budgets, *latency))


def violations_group(timings: Timings) -> Group:
    """Return the rules for values that the baseline does not allow."""
    rate, short = duration(timings.rate), duration(timings.short)
    seconds = f"{timings.rate.total_seconds():g}"
    # An unexpected column is no value of a known feature, so it has no share.
    kinds = "|".join(kind for kind in semconv.VIOLATION_KIND.values if kind != "unexpected")
    violations = f'{VIOLATION_RATE}{{{KIND_LABEL}=~"{kinds}"}}'
    hourly = sum_of_rates(FEATURE_RATE, timings.short, timings)

    def share(number: str, of: str) -> str:
        return lines(number, f"/ on ({FEATURE}) group_left ()", f"({of} >= {MIN_ROWS})")

    return Group(
        "windvane-violations",
        timings.interval,
        (
            Recording(
                VIOLATION_RATE,
                lines(f"sum by ({KIND}) (", f"  rate({semconv.FEATURE_VIOLATIONS.prometheus_name}[{rate}])", ")"),
                "Violations of each kind per second, over all replicas.",
            ),
            Recording(FEATURE_RATE, f"sum by ({FEATURE}) ({OBSERVATION_RATE})", "Values of the feature per second."),
            Recording(
                REFERENCE_VIOLATION_RATIO,
                lines(
                    f"max by ({KIND}) (",
                    f"  last_over_time({semconv.FEATURE_REFERENCE_VIOLATIONS.prometheus_name}[{short}])",
                    ")",
                    f"/ on ({FEATURE}) group_left ()",
                    f"(sum by ({FEATURE}) ({REFERENCE}) > 0)",
                    f"or 0 * {VIOLATION_RATE}",
                ),
                "The reference's own share of each kind; 0 where it names none.",
            ),
            Recording(
                VIOLATION_EXCESS,
                lines(
                    nested(
                        lines(
                            nested(
                                lines(
                                    share(f"{violations} * {seconds}", f"{FEATURE_RATE} * {seconds}"),
                                    "or",
                                    share(sum_of_rates(violations, timings.short, timings), hourly),
                                )
                            ),
                            f"- {REFERENCE_VIOLATION_RATIO}",
                        )
                    ),
                    f"/ (1 - {REFERENCE_VIOLATION_RATIO})",
                ),
                "Of the values that the reference would have in order, the share that is not: 0 is as the reference, "
                "1 is all broken. From the last five minutes; where they hold fewer than 100 values, from the last "
                "hour.",
            ),
        ),
    )
