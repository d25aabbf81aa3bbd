"""Canaries against stable: deployments of one model side by side, told apart by version or variant.

Stable is the deployment that answered most calls of the last day; every other one that answers calls is a canary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane_dashboards.promql import (
    CANARY_ERROR_EXCESS,
    CANARY_ERROR_NOISE,
    DEPLOYMENT,
    DEPLOYMENT_BUCKET_RATE,
    DEPLOYMENT_CALL_RATE,
    DEPLOYMENT_CALLS,
    DEPLOYMENT_ERROR_RATE,
    DEPLOYMENT_ERRORS,
    DEPLOYMENT_MEAN,
    DEPLOYMENT_P95,
    MODEL_LABEL,
    OWNER_REPORTING,
    STABLE,
    VARIANT_LABEL,
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
from windvane_dashboards.rules.timings import MIN_ROWS, sum_of_rates

if TYPE_CHECKING:
    from windvane_dashboards.rules.alerting import Links
    from windvane_dashboards.rules.timings import Timings

__all__ = ["alerts", "recording"]

_SIGMAS: Final = 5
"""Standard errors of the difference of two shares: a canary is looked at every minute."""

_WORSE_BY: Final = 0.01
"""Share of failed calls more than stable's below which nobody is bothered, however sure it is."""

_MIN_ERRORS: Final = 10
"""Fewer failed calls of the canary say nothing."""

_SLOWER: Final = 1.5
"""Times slower than stable, in the mean and at the 95th percentile: the mean is exact where buckets are wide, the
percentile is not moved by one call that hung."""

_MIN_CALLS: Final = 200
"""Fewer calls of either say nothing of a 95th percentile."""

_SHOWN: Final = f"{MODEL_SHOWN}{{{{ with $labels.{VARIANT_LABEL} }}}} ({{{{ . }}}}){{{{ end }}}}"


def recording(timings: Timings) -> tuple[Group, ...]:
    """Return the rules that compare the deployments of a model."""
    name, rate = semconv.PREDICTION_DURATION.prometheus_name, duration(timings.rate)
    error = semconv.ERROR_TYPE.label
    errors, calls = DEPLOYMENT_ERRORS, f"({DEPLOYMENT_CALLS} >= {MIN_ROWS})"

    def stable(series: str) -> str:
        return f"on ({MODEL_LABEL}) group_left () ({series} and on ({DEPLOYMENT}) {STABLE})"

    pooled = nested(lines(f"({errors} + {stable(errors)})", f"/ ({calls} + {stable(calls)})"))
    return (
        Group(
            "windvane-canary",
            timings.interval,
            (
                Recording(
                    DEPLOYMENT_CALLS,
                    sum_of_rates(DEPLOYMENT_CALL_RATE, timings.short, timings),
                    "Calls of each deployment in the last hour.",
                ),
                Recording(
                    DEPLOYMENT_ERRORS,
                    sum_of_rates(DEPLOYMENT_ERROR_RATE, timings.short, timings),
                    "Failed calls of each deployment in the last hour.",
                ),
                Recording(
                    STABLE,
                    lines(
                        f"group by ({DEPLOYMENT}) (",
                        f"  topk by ({MODEL_LABEL}) (1, {sum_of_rates(DEPLOYMENT_CALL_RATE, timings.long, timings)})",
                        ")",
                    ),
                    "The deployment that answered most calls of the last day; others of the model are canaries.",
                ),
                Recording(
                    DEPLOYMENT_P95,
                    lines(
                        f"histogram_quantile(0.95, {sum_of_rates(DEPLOYMENT_BUCKET_RATE, timings.short, timings)})",
                        f"and on ({DEPLOYMENT}) ({DEPLOYMENT_CALLS} >= {_MIN_CALLS})",
                    ),
                    "95th percentile of the duration of successful calls in the last hour, in seconds.",
                ),
                Recording(
                    DEPLOYMENT_MEAN,
                    lines(
                        f'sum by ({DEPLOYMENT}) (rate({name}_sum{{{error}=""}}[{rate}]))',
                        f'/ (sum by ({DEPLOYMENT}) (rate({name}_count{{{error}=""}}[{rate}])) > 0)',
                    ),
                    "Mean duration of successful calls in seconds.",
                ),
                Recording(
                    CANARY_ERROR_EXCESS,
                    lines(f"({errors} / {calls} unless {STABLE})", f"- {stable(f'{errors} / {calls}')}"),
                    "Share of a canary's calls that failed in the last hour, less stable's.",
                ),
                Recording(
                    CANARY_ERROR_NOISE,
                    lines(
                        f"{_SIGMAS} * sqrt(",
                        f"  {pooled} * (1 - {pooled})",
                        f"  * (1 / {calls} + {stable(f'1 / {calls}')})",
                        ") unless",
                        f"  {STABLE}",
                    ),
                    "How much the two differ by chance: five standard errors of the difference of two shares.",
                ),
            ),
        ),
    )


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    errors, latency = "MLCanaryErrors", "MLCanaryLatency"
    calls = queried(
        f"{DEPLOYMENT_CALLS}{{MATCHERS}}",
        (*MODEL_LABELS, VARIANT_LABEL),
        "humanize",
        sentence=" It answered VALUE calls in that hour.",
    )
    canary_mean = f"({DEPLOYMENT_MEAN} unless {STABLE})"
    stable = f"on ({MODEL_LABEL}) group_left ()"
    return (
        Alert(
            name=errors,
            expr=owned(
                lines(
                    f"{CANARY_ERROR_EXCESS} > {_WORSE_BY}",
                    f"and {CANARY_ERROR_EXCESS} > {CANARY_ERROR_NOISE}",
                    f"and {DEPLOYMENT_ERRORS} >= {_MIN_ERRORS}",
                ),
                OWNER_REPORTING,
                severity=False,
            ),
            why="A version or variant that runs beside the stable one fails more often than it, by more than chance. "
            "It is seen here while it has few calls and pages nobody yet.",
            pending=timings.burn_for,
            keep=timings.keep,
            labels=alert_labels(severity=TICKET),
            annotations=alert_annotations(
                errors,
                links,
                f"{_SHOWN}: fails more often than stable",
                f"Of its calls in the last hour {PERCENT} more fail than of the stable deployment's.{calls} Do not "
                "give it more traffic; compare the error types of the two on the dashboard, and roll it back if they "
                "are its own.",
            ),
        ),
        Alert(
            name=latency,
            expr=owned(
                lines(
                    f"{canary_mean} / {stable} ({DEPLOYMENT_MEAN} and {STABLE}) > {_SLOWER}",
                    f"and (({DEPLOYMENT_P95} unless {STABLE}) / {stable} ({DEPLOYMENT_P95} and {STABLE}) > {_SLOWER})",
                ),
                OWNER_REPORTING,
                severity=False,
            ),
            why="A version or variant that runs beside the stable one is half as slow again as it, in the mean and "
            "at the 95th percentile.",
            pending=timings.ticket_for,
            keep=timings.keep,
            labels=alert_labels(severity=TICKET),
            annotations=alert_annotations(
                latency,
                links,
                f"{_SHOWN}: slower than stable",
                "Its calls take {{ $value | humanize }} times as long as those of the stable deployment, in the "
                f"mean and at the 95th percentile.{calls} Compare rows per call of the two, and warm caches, before "
                "it gets more traffic.",
            ),
        ),
    )
