"""The drift budget: for how much of the time how much of the model rests on features that have shifted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane_dashboards.promql import (
    DRIFT_SHARE,
    FEATURE,
    FEATURE_LABEL,
    MODEL,
    OBJECTIVE_LABEL,
    OWNER_REPORTING,
    ROLE_LABEL,
    BurnWindow,
    DriftSeries,
    burn_threshold,
    drift_share,
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
    listed,
    owned,
)
from windvane_dashboards.rules.model import Alert, Group, Recording

if TYPE_CHECKING:
    from windvane_dashboards.rules.alerting import Links
    from windvane_dashboards.rules.timings import Timings

__all__ = ["alerts", "recording"]

_SHIFTED: Final = f'{DriftSeries("1h").shifted_anew}{{{ROLE_LABEL}!="output"}}'
_PAIRS: Final[tuple[tuple[BurnWindow, BurnWindow], ...]] = (("1d", "2h"), ("3d", "6h"))
"""Long and short windows of the burn rates 3 and 1, as for errors and latency."""

_LEAST_HOURS: Final = 1
"""Hours with enough rows to judge that the long window must hold."""


def recording(timings: Timings) -> tuple[Group, ...]:
    """Return the rules for the share of the model that rests on shifted features."""
    importance = (
        f"max by ({FEATURE}) (last_over_time({semconv.FEATURE_IMPORTANCE.prometheus_name}[{duration(timings.short)}]))"
    )
    windows = {
        "1d": timings.long,
        "2h": timings.two_hours,
        "3d": timings.three_days,
        "6h": timings.six_hours,
    }
    share = Recording(
        DRIFT_SHARE,
        lines(
            f"sum by ({MODEL}) ({_SHIFTED} * on ({FEATURE}) {importance})",
            f"/ sum by ({MODEL}) ({importance} and on ({FEATURE}) {_SHIFTED})",
            f"or avg by ({MODEL}) ({_SHIFTED})",
        ),
        "Share of the model's decisions that rests on features that have shifted in the last hour, by their "
        "importance; where none is declared, the share of features.",
    )
    means = (
        Recording(
            drift_share(window),
            f"avg_over_time({DRIFT_SHARE}[{duration(windows[window])}])",
            f"Mean of it over {window}, hours with too few rows left out.",
        )
        for pair in _PAIRS
        for window in pair
    )
    return (Group("windvane-drift-budget", timings.interval, (share, *means)),)


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    name = "MLDriftBudgetBurn"
    enough = round(_LEAST_HOURS * timings.short / timings.interval)

    def over(long: BurnWindow, short: BurnWindow) -> str:
        threshold = f'on ({MODEL}) {burn_threshold(long)}{{{OBJECTIVE_LABEL}="drift"}}'
        return lines(f"{drift_share(short)} > {threshold}", f"and {drift_share(long)} > {threshold}")

    burning = "\nor\n".join(nested(over(*pair)) for pair in _PAIRS)
    expr = lines(
        nested(burning),
        f"and count_over_time({DRIFT_SHARE}[{duration(timings.long)}]) >= {enough}",
    )
    drifted = listed(
        f'topk(5, {DriftSeries("1h").shifted_anew}{{MATCHERS,{ROLE_LABEL}!="output"}} == 1)',
        MODEL_LABELS,
        FEATURE_LABEL,
        sentence=" Shifted now: NAMES.",
    )
    return (
        Alert(
            name=name,
            expr=owned(expr, OWNER_REPORTING, severity=False),
            why="So much of the model has rested on shifted features for so long that the month's drift objective "
            "will be missed. One unimportant feature that comes and goes does not do it; many at once do within "
            "hours.",
            pending=timings.ticket_for,
            keep=timings.keep,
            labels=alert_labels(severity=TICKET),
            annotations=alert_annotations(
                name,
                links,
                f"{MODEL_SHOWN}: the drift budget will not last the month",
                f"Over the last hours {PERCENT} of the model, by the importance of its features, rested on features "
                f"that have left their reference.{drifted} See on the dashboard which shifted first and most; if they "
                "stay, retrain or recalibrate, and build a new baseline.",
            ),
        ),
    )
