"""Whether a model has the baseline that its drift is judged by, the right one, and one that is not too old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane_dashboards.promql import (
    BASELINE_AGE,
    BASELINE_ID_LABEL,
    BASELINE_VERSION_LABEL,
    BASELINES,
    MODEL,
    MODEL_LABEL,
    OWNER_REPORTING,
    VERSION_LABEL,
    duration,
    lines,
)
from windvane_dashboards.rules.alerting import MODEL_SHOWN, TICKET, alert_annotations, alert_labels, owned
from windvane_dashboards.rules.model import Alert, Group, Recording

if TYPE_CHECKING:
    from windvane_dashboards.rules.alerting import Links
    from windvane_dashboards.rules.timings import Timings

__all__ = ["alerts", "recording"]

_OLD: Final = 365 * 86_400
"""Seconds after which a baseline is old where its model declares no age: one round of all seasons."""


def recording(timings: Timings) -> tuple[Group, ...]:
    """Return the rules that tell which baselines are in use."""
    info = f"last_over_time({semconv.MODEL_INFO.prometheus_name}[{duration(timings.absent)}])"
    made = f"last_over_time({semconv.BASELINE_TIMESTAMP.prometheus_name}[{duration(timings.absent)}])"
    return (
        Group(
            "windvane-baselines",
            timings.interval,
            (
                Recording(
                    BASELINES,
                    f"count by ({MODEL}, {BASELINE_ID_LABEL}) ({info})",
                    "Processes that report the model version, by the baseline they compare with; an empty one is none.",
                ),
                Recording(
                    BASELINE_AGE,
                    f"time() - min by ({MODEL}) ({made})",
                    "Age in seconds of the oldest baseline that is in use.",
                ),
            ),
        ),
    )


def _missing(timings: Timings, links: Links) -> Alert:
    name = "MLBaselineMissing"
    expr = lines(
        f'{BASELINES}{{{BASELINE_ID_LABEL}=""}}',
        f"and on ({MODEL_LABEL})",
        f'  last_over_time({BASELINES}{{{BASELINE_ID_LABEL}!=""}}[{duration(timings.week)}])',
    )
    return Alert(
        name=name,
        expr=owned(expr, OWNER_REPORTING, severity=False),
        why="A version runs without a baseline, while the model has had one within the week: it was forgotten in a "
        "deployment. A model that never had one is left alone.",
        pending=timings.settle_for,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: no baseline",
            f"Of the processes that serve {MODEL_SHOWN}, {{{{ $value }}}} have no baseline, and others of the model "
            "have or had one. Drift and violations are not judged there. Pass `baseline=` to `windvane.Model` with "
            "the file that belongs to this version.",
        ),
    )


def _other_version(timings: Timings, links: Links) -> Alert:
    name = "MLBaselineOtherVersion"
    made = f"last_over_time({semconv.BASELINE_TIMESTAMP.prometheus_name}[{duration(timings.absent)}])"
    expr = lines(
        f"count by ({MODEL}, {BASELINE_VERSION_LABEL}) ({made})",
        f"unless on ({MODEL}, {BASELINE_VERSION_LABEL})",
        f'  label_replace(group by ({MODEL}) ({made}), "{BASELINE_VERSION_LABEL}", "$1", "{VERSION_LABEL}", "(.*)")',
    )
    return Alert(
        name=name,
        expr=owned(expr, OWNER_REPORTING, severity=False),
        why="A version compares with the baseline of another: what it calls drift may be the difference of the two.",
        pending=timings.settle_for,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: the baseline is that of version {{{{ $labels.{BASELINE_VERSION_LABEL} }}}}",
            f"{{{{ $value }}}} processes serve {MODEL_SHOWN} with the baseline of version {{{{ "
            f"$labels.{BASELINE_VERSION_LABEL} }}}}. If the two were trained on other data, drift is judged by the "
            "wrong measure. Build a baseline from this version's own training data, or build it anew under this "
            "version's name if the data is the same.",
        ),
    )


def _conflict(timings: Timings, links: Links) -> Alert:
    name = "MLBaselineConflict"
    return Alert(
        name=name,
        expr=owned(f'count by ({MODEL}) ({BASELINES}{{{BASELINE_ID_LABEL}!=""}}) > 1', OWNER_REPORTING, severity=False),
        why="Processes of one version compare with different baselines for longer than a deployment takes: their bins "
        "are not the same, so their sum means nothing.",
        pending=timings.settle_for,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {{{{ $value }}}} baselines at once",
            f"The processes that serve {MODEL_SHOWN} compare with {{{{ $value }}}} different baselines. Rows are "
            "counted into different bins and added up all the same, so drift of this version says nothing until one "
            f"baseline is deployed everywhere. `{BASELINES}` tells how many processes have which.",
        ),
    )


def _old(timings: Timings, links: Links) -> Alert:
    name = "MLBaselineOld"
    limit = (
        f"max by ({MODEL}) (last_over_time({semconv.BASELINE_AGE_OBJECTIVE.prometheus_name}"
        f"[{duration(timings.absent)}]))"
    )
    expr = lines(f"{BASELINE_AGE}", f"> on ({MODEL}) (", f"  {limit}", f"  or 0 * {BASELINE_AGE} + {_OLD}", ")")
    return Alert(
        name=name,
        expr=owned(expr, OWNER_REPORTING, severity=False),
        why="The world has moved on since the baseline was made: drift against it is old news, and a fresh one would "
        "show what is new. The limit is the model's own, or a year.",
        pending=timings.ticket_for,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: the baseline is {{{{ $value | humanizeDuration }}}} old",
            f"The baseline of {MODEL_SHOWN} was made {{{{ $value | humanizeDuration }}}} ago, which is more than the "
            "model allows. Compare a recent profile with the baseline; where they differ, retrain or build a new "
            "baseline from recent data that was checked.",
        ),
    )


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    return (
        _missing(timings, links),
        _other_version(timings, links),
        _conflict(timings, links),
        _old(timings, links),
    )
