"""Values that the baseline does not allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane_dashboards.promql import (
    FEATURE,
    FEATURE_RATE,
    KIND,
    KIND_LABEL,
    OBSERVATION_RATE,
    OWNER_REPORTING,
    REFERENCE,
    REFERENCE_VIOLATION_RATIO,
    VIOLATION_EXCESS,
    VIOLATION_RATE,
    duration,
    lines,
    nested,
)
from windvane_dashboards.rules.alerting import (
    FEATURE_SHOWN,
    MODEL_SHOWN,
    PERCENT,
    alert_annotations,
    alert_labels,
    owned,
)
from windvane_dashboards.rules.model import Alert, Group, Recording
from windvane_dashboards.rules.timings import MIN_ROWS, sum_of_rates

if TYPE_CHECKING:
    from windvane_dashboards.rules.alerting import Links
    from windvane_dashboards.rules.timings import Timings

__all__ = ["BROKEN", "alerts", "recording"]

BROKEN: Final = 0.25
"""Excess share of violating values from which a feature is broken rather than noisy."""


def recording(timings: Timings) -> tuple[Group, ...]:
    """Return the rules for values that the baseline does not allow."""
    rate, short = duration(timings.rate), duration(timings.short)
    seconds = f"{timings.rate.total_seconds():g}"
    # An unexpected column is no value of a known feature, so it has no share.
    kinds = "|".join(kind for kind in semconv.VIOLATION_KIND.values if kind != "unexpected")
    violations = f'{VIOLATION_RATE}{{{KIND_LABEL}=~"{kinds}"}}'
    hourly = sum_of_rates(FEATURE_RATE, timings.short, timings)

    def share(number: str, of: str) -> str:
        return lines(number, f"/ on ({FEATURE}) group_left ()", f"({of} >= {MIN_ROWS})")

    violations_group = Group(
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
    return (violations_group,)


def _broken(timings: Timings, links: Links) -> Alert:
    name = "MLFeatureBroken"
    return Alert(
        name=name,
        expr=owned(f"{VIOLATION_EXCESS} > {BROKEN}", OWNER_REPORTING, severity=True),
        why="Far more values than in the reference are missing, of a wrong type, out of range or of an unknown "
        "category: the feed is broken, and the model answers with what it was never trained on. Waits as long as a "
        "rate's window, so one bad batch never pages.",
        pending=timings.broken_for,
        keep=timings.keep,
        labels=alert_labels(),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {FEATURE_SHOWN} is broken ({{{{ $labels.{KIND_LABEL} }}}})",
            f"{PERCENT} of the values of {FEATURE_SHOWN} that the reference would have in order are "
            f"violations of kind {{{{ $labels.{KIND_LABEL} }}}}. It has been so for {duration(timings.broken_for)} at "
            "least. Open the dashboard at the alert's start, see which features broke together, and mend or roll back "
            "their feed.",
            feature=True,
        ),
    )


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    return (_broken(timings, links),)
