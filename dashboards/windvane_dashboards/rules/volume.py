"""How much a model is asked, against the same hour of the day and of the week before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane_dashboards.promql import (
    CALLS,
    MODEL,
    MODEL_DISPERSION,
    MODEL_LABEL,
    MODEL_OWNER,
    OWNER_LABELS,
    OWNER_REPORTING,
    TRAFFIC,
    TRAFFIC_PAST_HIGH,
    TRAFFIC_PAST_LOW,
    VERSION_LABEL,
    duration,
    labels,
    lines,
)
from windvane_dashboards.rules.alerting import TICKET, alert_annotations, alert_labels, listed, owned, queried
from windvane_dashboards.rules.model import Alert, Group, Recording

if TYPE_CHECKING:
    from windvane_dashboards.rules.alerting import Links
    from windvane_dashboards.rules.timings import Timings

__all__ = ["alerts", "recording"]

_FACTOR: Final = 2
"""How many times less or more than in both hours of the past is news."""

_ROOT_DIFFERENCE: Final = 10
"""Least difference of 2 sqrt(calls), whose variance is 1 for independent calls however many they are (Anscombe 1948):
seven standard errors of the difference of two hours. Times the root of the dispersion where rows come in clusters."""

_MISSED: Final = 20
"""Calls in each hour of the past from which none at all is silence: by chance that is once in e^20 hours. As many
clusters where rows come in these."""

_MODEL_SHOWN: Final = f"{{{{ $labels.{MODEL_LABEL} }}}}"


def recording(timings: Timings) -> tuple[Group, ...]:
    """Return the rules for a model's traffic over all its versions, now and in the past."""
    day, week = (f"{TRAFFIC} offset {duration(span)}" for span in (timings.long, timings.week))
    return (
        Group(
            "windvane-traffic",
            timings.interval,
            (
                Recording(TRAFFIC, f"sum by ({MODEL_LABEL}) ({CALLS})", "Calls of the model in the last hour."),
                Recording(
                    TRAFFIC_PAST_LOW,
                    lines(f"{week} <= {day}", f"or {day}", f"or {week}"),
                    "The same hour a day or a week ago, whichever had fewer calls.",
                ),
                Recording(
                    TRAFFIC_PAST_HIGH,
                    lines(f"{week} >= {day}", f"or {day}", f"or {week}"),
                    "The same hour a day or a week ago, whichever had more calls.",
                ),
                Recording(
                    MODEL_OWNER,
                    lines(
                        f"group by ({MODEL_LABEL}, {labels(*OWNER_LABELS)}) (",
                        f"  topk by ({MODEL_LABEL}) (1,",
                        f"    {OWNER_REPORTING} * on ({MODEL}) group_left () (1 + {CALLS})",
                        f"    or {OWNER_REPORTING}",
                        "  )",
                        ")",
                    ),
                    "The owner of the version that is asked most: who is told of the model as a whole.",
                ),
            ),
        ),
    )


def _changed(timings: Timings, links: Links, name: str, expr: str, *, why: str, summary: str, first: str) -> Alert:
    past = TRAFFIC_PAST_HIGH if name == _SURGE else TRAFFIC_PAST_LOW
    against = ", against VALUE in the same hour of the past"
    usual = queried(f"{past}{{MATCHERS}}", (MODEL_LABEL,), "humanize", sentence=against)
    versions = listed(f"{CALLS}{{MATCHERS}}", (MODEL_LABEL,), VERSION_LABEL, sentence=" Versions: NAMES.")
    return Alert(
        name=name,
        expr=owned(expr, MODEL_OWNER, severity=False, on=MODEL_LABEL),
        why=why,
        pending=timings.ticket_for,
        keep=timings.drift_keep,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{_MODEL_SHOWN}: {summary}",
            f"{{{{ $value | humanize }}}} calls in the last hour{usual}.{versions} {first}",
            about=(MODEL_LABEL,),
        ),
    )


_DROP: Final = "MLTrafficDrop"
_SURGE: Final = "MLTrafficSurge"
_SILENT: Final = "MLModelSilent"


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    # Of a model younger than a week nobody knows whether its weekends are quiet; and the first hour after its start
    # is none in full.
    together = f"({MODEL_DISPERSION} or 0 * {TRAFFIC} + 1)"
    known = f"and {TRAFFIC} offset {duration(timings.week + timings.short)}"
    return (
        _changed(
            timings,
            links,
            _SILENT,
            lines(f"{TRAFFIC} == 0", f"and {TRAFFIC_PAST_LOW} >= {_MISSED} * {together}"),
            why="The model runs and reports, and nobody asks it any more, though the same hour of the day and of the "
            "week before had calls.",
            summary="nobody asks it any more",
            first="The processes run and report. See whether callers are up, whether a route or a flag has changed, "
            "and whether they fall back to something else.",
        ),
        _changed(
            timings,
            links,
            _DROP,
            lines(
                f"{TRAFFIC} < {TRAFFIC_PAST_LOW} / {_FACTOR}",
                f"and 2 * (sqrt({TRAFFIC_PAST_LOW}) - sqrt({TRAFFIC})) > {_ROOT_DIFFERENCE} * sqrt({together})",
                f"and {TRAFFIC} > 0",
                known,
            ),
            why="Less than half of the calls of the same hour a day ago and a week ago, by more than chance: callers "
            "are lost, or one source of them.",
            summary="far fewer calls than usual",
            first="Find who stopped calling: compare callers, regions and versions with the same hour a day ago.",
        ),
        _changed(
            timings,
            links,
            _SURGE,
            lines(
                f"{TRAFFIC} > {TRAFFIC_PAST_HIGH} * {_FACTOR}",
                f"and 2 * (sqrt({TRAFFIC}) - sqrt({TRAFFIC_PAST_HIGH})) > {_ROOT_DIFFERENCE} * sqrt({together})",
                known,
            ),
            why="More than twice the calls of the same hour a day ago and a week ago, by more than chance: retries, a "
            "replay, a new caller.",
            summary="far more calls than usual",
            first="Find the caller: retries after errors, a backfill or a load test are the usual reasons. Watch "
            "latency and the other callers' share meanwhile.",
        ),
    )
