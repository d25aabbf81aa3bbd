"""Who owns a model, and whether its telemetry is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane_dashboards.promql import (
    CALL_RATE,
    CALLS,
    LOST,
    LOST_RATE,
    MODEL,
    MODEL_LABEL,
    MODEL_REPORTING,
    OWNER,
    OWNER_LABELS,
    OWNER_LAST_SEEN,
    OWNER_REPLICAS,
    OWNER_REPORTING,
    duration,
    labels,
    lines,
    nested,
)
from windvane_dashboards.rules.alerting import (
    MODEL_SHOWN,
    PERCENT,
    TICKET,
    alert_annotations,
    alert_labels,
    owned,
)
from windvane_dashboards.rules.model import Alert, Group, Recording
from windvane_dashboards.rules.timings import sum_of_rates

if TYPE_CHECKING:
    from windvane_dashboards.rules.alerting import Links
    from windvane_dashboards.rules.timings import Timings

__all__ = ["DEFAULT_SEVERITY", "alerts", "recording", "with_severity"]

DEFAULT_SEVERITY: Final = "page"
"""Severity of what pages where the owner declared none."""

_MAX_LOST: Final = 0.01
"""Share of lost records from which what is told of the model is not the whole truth."""

_MIN_LOST: Final = 10
"""Fewer lost records in an hour are no ticket, however few calls there were in all."""

_USUALLY_THERE: Final = 0.75
"""Share of the four hours around the same time of the past below which a model is no more there than now: an hour's
outage does not hide that of the next day, and a nightly job may end two hours sooner or later."""

_OWNED: Final = f"{MODEL}, {labels(*OWNER_LABELS)}"
_SEVERITY: Final = semconv.SEVERITY.label


def with_severity(expr: str) -> str:
    """Give what has no severity the one of what pages."""
    return f'label_replace({expr}, "{_SEVERITY}", "{DEFAULT_SEVERITY}", "{_SEVERITY}", "")'


def recording(timings: Timings) -> tuple[Group, ...]:
    """Return the rules that give each model version exactly one owner, so that no join can fail."""
    rate, long = duration(timings.rate), duration(timings.long)
    info = f"last_over_time({semconv.MODEL_INFO.prometheus_name}[{duration(timings.absent)}])"
    owners = Group(
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
                MODEL_REPORTING,
                lines(
                    f"group by ({MODEL_LABEL}) ({OWNER_REPLICAS})",
                    f"or 0 * group by ({MODEL_LABEL}) ({OWNER_LAST_SEEN})",
                ),
                "1 while any process reports the model, in any version; 0 in the day after.",
            ),
            Recording(
                OWNER,
                lines(
                    f"group by ({_OWNED}) (",
                    f"  {OWNER_REPORTING}",
                    f"  or on ({MODEL}) {OWNER_LAST_SEEN}",
                    f"  or on ({MODEL}) {with_severity(CALL_RATE)}",
                    ")",
                ),
                "One owner for every model version there is: the present one, else the last known, else nobody "
                "(the routing's own default gets it).",
            ),
        ),
    )
    lost = Group(
        "windvane-lost",
        timings.interval,
        (
            Recording(
                LOST_RATE,
                f"sum by ({MODEL}) (rate({semconv.RECORDS_DROPPED.prometheus_name}[{rate}]))",
                "Records of calls per second that windvane could not account for in full.",
            ),
            Recording(LOST, sum_of_rates(LOST_RATE, timings.short, timings), "Such records of the last hour."),
        ),
    )
    return (owners, lost)


def _absent(timings: Timings, links: Links) -> Alert:
    name = "MLTelemetryAbsent"
    last_seen = lines(
        OWNER_LAST_SEEN,
        f">= on ({MODEL_LABEL}) group_left ()",
        f"  max by ({MODEL_LABEL}) ({OWNER_LAST_SEEN}) - {2 * timings.rate.total_seconds():g}",
        f"unless on ({MODEL_LABEL}) {OWNER_REPLICAS}",
        f"unless on ({MODEL_LABEL}) sum_over_time({MODEL_REPORTING}[{duration(timings.long)}])"
        f" < {timings.short / timings.interval:g}",
        *(
            f"unless on ({MODEL_LABEL}) avg_over_time({MODEL_REPORTING}[{duration(timings.long / 6)}]"
            f" offset {duration(span - timings.long / 12)}) < {_USUALLY_THERE}"
            for span in (timings.long, timings.week)
        ),
    )
    return Alert(
        name=name,
        # An owner counts as reporting for a while after the last report, so that much earlier it came.
        expr=lines(nested(last_seen), f"- {timings.absent.total_seconds():g}"),
        why="No process reports the model any more, in any version: a version that was replaced is missed by nobody, "
        "so only those that reported last are named. A service that is down altogether has no errors to count, so "
        "this is what pages for it. What was there for less than an hour of the last day (a trial) is not missed, "
        "nor is what was away at this time of yesterday or a week ago (a nightly job). After a day the model counts "
        "as retired.",
        pending=timings.interval,
        labels=alert_labels(),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: no telemetry",
            f"Nothing has reported {MODEL_SHOWN} for {duration(timings.absent)} at least; the last report came at "
            "about {{ $value | humanizeTimestamp }}. Errors, drift, broken features and quality are not watched "
            "meanwhile. See whether the service runs, then follow the telemetry: process, Collector, Prometheus. A "
            "model retired on purpose needs a silence for a day, no more.",
        ),
    )


def _lost(timings: Timings, links: Links) -> Alert:
    name = "MLTelemetryLost"
    expr = lines(f"{LOST} / ({LOST} + {CALLS})", f"> {_MAX_LOST}", f"and {LOST} >= {_MIN_LOST}")
    return Alert(
        name=name,
        expr=owned(expr, OWNER, severity=False),
        why="windvane drops records so that the service is not harmed: above one in a hundred, what it tells of the "
        "model is not the whole truth.",
        pending=timings.ticket_for,
        keep=timings.keep,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {PERCENT} of the records are lost",
            f"windvane could not account in full for {PERCENT} of the calls of the last {duration(timings.short)}. "
            "The predictions themselves are not touched; counts of rows, bins and violations are too low. The label "
            f"{semconv.DROP_REASON.label} of {semconv.RECORDS_DROPPED.prometheus_name} says why: the runbook has a "
            "line for each reason.",
        ),
    )


def _owner_conflict(timings: Timings, links: Links) -> Alert:
    name = "MLOwnerConflict"
    return Alert(
        name=name,
        expr=owned(f"count by ({MODEL}) ({OWNER_REPLICAS}) > 1", OWNER_REPORTING, severity=False),
        why="Processes of one version declare different owners for longer than a deployment takes. Alerts go to the "
        "one whom most of them declare, so somebody may wait in vain.",
        pending=timings.settle_for,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {{{{ $value }}}} owners",
            f"The processes that serve {MODEL_SHOWN} declare {{{{ $value }}}} different owners (team, severity or "
            f"runbook). Alerts go to team {{{{ $labels.{semconv.TEAM.label} }}}}, whom most declare. See "
            f"`{OWNER_REPLICAS}` for who declares what, and deploy one declaration everywhere.",
        ),
    )


def _over_budget(timings: Timings, links: Links) -> Alert:
    name = "MLSeriesOverBudget"
    left_out = f"last_over_time({semconv.FEATURES_LEFT_OUT.prometheus_name}[{duration(timings.absent)}])"
    return Alert(
        name=name,
        expr=owned(f"max by ({MODEL}) ({left_out}) > 0", OWNER_REPORTING, severity=False),
        why="The model has more features than its series budget: the least important are exported by nobody and "
        "watched by nothing.",
        pending=timings.ticket_for,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {{{{ $value }}}} features are not watched",
            "{{ $value }} features of the baseline, the least important, are over the series budget of a process "
            "and not exported: no drift and no violation of theirs is seen. `windvane budget` names them; leave "
            "columns out of the baseline, or raise WINDVANE_SERIES_LIMIT if Prometheus bears it.",
        ),
    )


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    return (
        _absent(timings, links),
        _lost(timings, links),
        _owner_conflict(timings, links),
        _over_budget(timings, links),
    )
