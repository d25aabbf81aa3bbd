"""Canaries against stable: deployments of one model side by side, told apart by version or variant.

Stable is the deployment that answered most calls of the last day; every other one that answers calls is a canary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane_dashboards.promql import (
    BIN,
    BIN_LABEL,
    CALL_RATE,
    CANARY_ERROR_EXCESS,
    CANARY_ERROR_NOISE,
    CANARY_OUTPUT_BINS_USED,
    CANARY_OUTPUT_FLOOR,
    CANARY_OUTPUT_PSI,
    CANARY_OUTPUT_ROWS,
    DEPLOYMENT,
    DEPLOYMENT_BUCKET_RATE,
    DEPLOYMENT_CALL_RATE,
    DEPLOYMENT_CALLS,
    DEPLOYMENT_ERROR_RATE,
    DEPLOYMENT_ERRORS,
    DEPLOYMENT_MEAN,
    DEPLOYMENT_P95,
    DISPERSION,
    FEATURE,
    FEATURE_LABEL,
    MODEL,
    MODEL_LABEL,
    OUTPUT_BINS,
    OWNER_REPORTING,
    ROLE_LABEL,
    STABLE,
    STABLE_OUTPUT_BINS,
    STABLE_OUTPUT_ROWS,
    STABLE_VERSION,
    VARIANT_LABEL,
    DriftSeries,
    duration,
    labels,
    lines,
    nested,
)
from windvane_dashboards.rules.alerting import (
    FEATURE_LABELS,
    FEATURE_SHOWN,
    MODEL_LABELS,
    MODEL_SHOWN,
    PERCENT,
    TICKET,
    alert_annotations,
    alert_labels,
    owned,
    queried,
)
from windvane_dashboards.rules.drift import MODERATE, TICKET_QUANTILE, chance, psi
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

_RANGE: Final = semconv.FEATURE_BIN_RANGE.label

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
        Group("windvane-canary-output", timings.slow_interval, _outputs(timings)),
    )


def _outputs(timings: Timings) -> tuple[Recording, ...]:
    """Return the rules that compare what versions answer, where their bins hold the same ranges."""
    outputs = f'{DriftSeries("1h").live}{{{ROLE_LABEL}="output"}}'
    reference = f'{semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name}{{{ROLE_LABEL}="output"}}'
    key = labels(MODEL_LABEL, FEATURE_LABEL, BIN_LABEL, _RANGE)
    canary = f"({OUTPUT_BINS} and {STABLE_OUTPUT_BINS})"
    totals = (f"({CANARY_OUTPUT_ROWS} >= {MIN_ROWS})", f"({STABLE_OUTPUT_ROWS} >= {MIN_ROWS})")
    return (
        Recording(
            STABLE_VERSION,
            lines(
                f"group by ({MODEL}) (",
                f"  topk by ({MODEL_LABEL}) (1, {sum_of_rates(CALL_RATE, timings.long, timings)})",
                ")",
            ),
            "The version that answered most calls of the last day.",
        ),
        Recording(
            OUTPUT_BINS,
            lines(
                f"{outputs} * on ({BIN}) group_left ({_RANGE}) group by ({BIN}, {_RANGE}) ({reference})",
                f"or on ({BIN}) {outputs}",
            ),
            "Answers of the last hour in each bin, with what the bin holds: bins of two versions compare only where "
            "that is the same.",
        ),
        Recording(
            STABLE_OUTPUT_BINS,
            lines(
                f"0 * ({OUTPUT_BINS} unless on ({MODEL}) {STABLE_VERSION})",
                f"+ on ({key}) group_left ()",
                f"({OUTPUT_BINS} and on ({MODEL}) {STABLE_VERSION})",
            ),
            "The stable version's answers in the bins of each canary.",
        ),
        Recording(
            CANARY_OUTPUT_ROWS,
            f"sum by ({FEATURE}) ({canary}) == sum by ({FEATURE}) ({OUTPUT_BINS})",
            "Answers of the canary, where stable has all of its bins.",
        ),
        Recording(STABLE_OUTPUT_ROWS, f"sum by ({FEATURE}) ({STABLE_OUTPUT_BINS})", "Answers of stable beside it."),
        Recording(
            CANARY_OUTPUT_BINS_USED,
            f"count by ({FEATURE}) ({OUTPUT_BINS} + {STABLE_OUTPUT_BINS} > 0)",
            "How many bins either has answers in.",
        ),
        Recording(
            CANARY_OUTPUT_PSI,
            psi(FEATURE, (OUTPUT_BINS, STABLE_OUTPUT_BINS), totals, CANARY_OUTPUT_BINS_USED),
            "Population stability index of the canary's answers against stable's.",
        ),
        Recording(
            CANARY_OUTPUT_FLOOR,
            lines(
                chance(totals, CANARY_OUTPUT_BINS_USED, TICKET_QUANTILE),
                f"* on ({FEATURE}) ({DISPERSION} or 0 * {CANARY_OUTPUT_ROWS} + 1)",
            ),
            "PSI that chance alone passes in no month, as for drift.",
        ),
    )


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    return (*_calls(timings, links), _answers(timings, links))


def _answers(timings: Timings, links: Links) -> Alert:
    name = "MLCanaryOutput"
    return Alert(
        name=name,
        expr=owned(
            lines(f"{CANARY_OUTPUT_PSI} > {MODERATE}", f"and {CANARY_OUTPUT_PSI} > {CANARY_OUTPUT_FLOOR}"),
            OWNER_REPORTING,
            severity=False,
        ),
        why="A version that runs beside the stable one answers differently from it, by more than chance: which of "
        "the two is right is not known before labels arrive, but a roll-out should not be a surprise.",
        pending=timings.ticket_for,
        keep=timings.drift_keep,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: answers differently from stable",
            f"Over the last hour {FEATURE_SHOWN} of {MODEL_SHOWN} is distributed differently from that of the stable "
            "version: "
            'PSI {{ $value | printf "%.2f" }}. See whether both get the same kind of traffic (their inputs tell), and '
            "whether the difference is what the new version was made for, before it gets more.",
            about=FEATURE_LABELS,
        ),
    )


def _calls(timings: Timings, links: Links) -> tuple[Alert, ...]:
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
