"""The alerts: generic, with the owner joined, no model named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from windvane import semconv
from windvane_dashboards.promql import (
    BURN_THRESHOLD,
    ERROR_INCREASE,
    ERROR_RATIO_5M,
    ERROR_RATIO_SHORT,
    FEATURE,
    FEATURE_LABEL,
    KIND_LABEL,
    MODEL,
    MODEL_LABEL,
    OBJECTIVE_LABEL,
    OWNER,
    OWNER_LAST_SEEN,
    OWNER_REPLICAS,
    OWNER_REPORTING,
    ROLE_LABEL,
    SLOW_INCREASE,
    SLOW_RATIO_5M,
    SLOW_RATIO_SHORT,
    VERSION_LABEL,
    VIOLATION_EXCESS,
    DriftSeries,
    duration,
    labels,
    lines,
    nested,
)
from windvane_dashboards.rules.model import Alert, Group

if TYPE_CHECKING:
    from windvane_dashboards.rules.timings import Timings

__all__ = ["ALERT_NAMES", "MODEL_DASHBOARD_UID", "RUNBOOK_DIRECTORY", "Links", "alerts_group"]

ALERT_NAMES: Final = ("MLFeatureDrift", "MLFeatureBroken", "MLModelErrors", "MLModelLatency", "MLTelemetryAbsent")

MODEL_DASHBOARD_UID: Final = "windvane-model"
RUNBOOK_DIRECTORY: Final = "docs/runbooks"

TICKET: Final = "ticket"
"""Severity of what does not page, whatever the owner declared."""

_BROKEN: Final = 0.25
"""Excess share of violating values from which a feature is broken rather than noisy."""

_MIN_BAD_CALLS: Final = 10
"""Fewer bad calls in an hour page nobody, however few calls there were in all."""

_TEAM, _SEVERITY, _RUNBOOK = semconv.TEAM.label, semconv.SEVERITY.label, semconv.RUNBOOK_URL.label
_MODEL_LABELS: Final = (MODEL_LABEL, VERSION_LABEL)
_NAME: Final = f"{{{{ $labels.{MODEL_LABEL} }}}} {{{{ $labels.{VERSION_LABEL} }}}}"
_FEATURE: Final = f"{{{{ $labels.{FEATURE_LABEL} }}}}"
_PERCENT: Final = "{{ $value | humanizePercentage }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where alerts point to.

    Attributes:
        runbook_base: address below which this project's runbooks are published; empty names the file in
            the project's tree.
        dashboard_base: address of Grafana; empty makes links relative to it.
    """

    runbook_base: str = ""
    dashboard_base: str = ""

    def runbook(self, alert: str) -> str:
        """Return the address of an alert's page."""
        return f"{(self.runbook_base or RUNBOOK_DIRECTORY).rstrip('/')}/{alert}.md"

    def dashboard(self, *variables: tuple[str, str]) -> str:
        """Return the template of the Model dashboard's address, each variable set from a label."""
        query = "&".join(f"var-{quote(variable)}={{{{ $labels.{label} | urlquery }}}}" for variable, label in variables)
        return f"{self.dashboard_base.rstrip('/')}/d/{MODEL_DASHBOARD_UID}?{query}"


def alerts_group(timings: Timings, links: Links) -> Group:
    """Return the group of every alert."""
    return Group(
        "windvane-alerts",
        timings.interval,
        (
            _drift(timings, links),
            _broken(timings, links),
            _errors(timings, links),
            _latency(timings, links),
            _absent(timings, links),
        ),
    )


def _owned(expr: str, owner: str, *, severity: bool) -> str:
    """Join the owner's labels; the owner's value is 1, so the value stays."""
    names = labels(_TEAM, _SEVERITY, _RUNBOOK) if severity else labels(_TEAM, _RUNBOOK)
    return lines(nested(expr), f"* on ({MODEL}) group_left ({names}) {owner}")


def _labels(*, severity: str = "") -> dict[str, str]:
    # The joined runbook is an annotation, not part of the alert's identity: an empty label is removed.
    return {**({_SEVERITY: severity} if severity else {}), _RUNBOOK: ""}


def _annotations(name: str, links: Links, summary: str, description: str, *, feature: bool = False) -> dict[str, str]:
    variables = [("model", MODEL_LABEL), ("version", VERSION_LABEL)]
    if feature:
        variables.append(("feature", FEATURE_LABEL))
    page = links.runbook(name)
    return {
        "summary": summary,
        "description": description,
        "runbook_url": f"{{{{ with $labels.{_RUNBOOK} }}}}{{{{ . }}}}{{{{ else }}}}{page}{{{{ end }}}}",
        "windvane_runbook_url": page,
        "dashboard_url": links.dashboard(*variables),
    }


def _queried(query: str, matched: tuple[str, ...], formatted: str) -> str:
    """Return a template that shows the value of a query.

    Args:
        query: PromQL in which `MATCHERS` stands for matchers of the alert's own labels.
        matched: the labels to match.
        formatted: template function that formats the value.
    """
    matchers = ",".join(f"{name}=%q" for name in matched)
    text = json.dumps(query.replace("MATCHERS", matchers))
    values = " ".join(f"$labels.{name}" for name in matched)
    return f"{{{{ range query (printf {text} {values}) }}}}{{{{ . | value | {formatted} }}}}{{{{ end }}}}"


def _drift(timings: Timings, links: Links) -> Alert:
    series = DriftSeries("1h")
    psi, floor = series.statistic("psi"), series.noise_floor
    expr = lines(
        f"{psi} > {floor}",
        f"unless on ({FEATURE})",
        f"  max_over_time({VIOLATION_EXCESS}[{duration(timings.short)}]) > {_BROKEN}",
    )
    grade = (
        "{{ if gt $value 0.25 }}large{{ else if gt $value 0.1 }}moderate"
        "{{ else if gt $value 0.05 }}small{{ else }}slight{{ end }}"
    )
    shown_floor = _queried(f"{floor}{{MATCHERS}}", (*_MODEL_LABELS, FEATURE_LABEL, ROLE_LABEL), 'printf "%.3f"')
    name = "MLFeatureDrift"
    return Alert(
        name=name,
        expr=_owned(expr, OWNER_REPORTING, severity=False),
        why="The feature's distribution has left its reference further than chance can explain. Never a page: what "
        "drift does to the model's quality is not known yet. Quiet while the window holds values that MLFeatureBroken "
        "reports, and for versions that do not report, which are MLTelemetryAbsent's.",
        pending=timings.drift_for,
        keep=timings.drift_keep,
        labels=_labels(severity=TICKET),
        annotations=_annotations(
            name,
            links,
            f"{_NAME}: {{{{ $labels.{ROLE_LABEL} }}}} {_FEATURE} has shifted",
            f"The distribution of {{{{ $labels.{ROLE_LABEL} }}}} {_FEATURE} over the last hour differs from the "
            f'reference: PSI {{{{ printf "%.3f" $value }}}}, a {grade} shift; chance alone stays below {shown_floor}. '
            f"It has done so for {duration(timings.drift_for)} at least. Open the dashboard an hour before the alert's "
            "start, compare the feature's bins with the reference, and ask its source what changed then.",
            feature=True,
        ),
    )


def _broken(timings: Timings, links: Links) -> Alert:
    name = "MLFeatureBroken"
    return Alert(
        name=name,
        expr=_owned(f"{VIOLATION_EXCESS} > {_BROKEN}", OWNER_REPORTING, severity=True),
        why="Far more values than in the reference are missing, of a wrong type, out of range or of an unknown "
        "category: the feed is broken, and the model answers with what it was never trained on. Waits as long as a "
        "rate's window, so one bad batch never pages.",
        pending=timings.broken_for,
        keep=timings.keep,
        labels=_labels(),
        annotations=_annotations(
            name,
            links,
            f"{_NAME}: {_FEATURE} is broken ({{{{ $labels.{KIND_LABEL} }}}})",
            f"{_PERCENT} of the values of {_FEATURE} that the reference would have in order are "
            f"violations of kind {{{{ $labels.{KIND_LABEL} }}}}. It has been so for {duration(timings.broken_for)} at "
            "least. Open the dashboard at the alert's start, see which features broke together, and mend or roll back "
            "their feed.",
            feature=True,
        ),
    )


def _burning(ratio_5m: str, ratio_short: str, increase: str, objective: str) -> str:
    threshold = f'on ({MODEL}) {BURN_THRESHOLD}{{{OBJECTIVE_LABEL}="{objective}"}}'
    return lines(
        f"{ratio_5m} > {threshold}",
        f"and {ratio_short} > {threshold}",
        f"and {increase} >= {_MIN_BAD_CALLS}",
    )


def _errors(timings: Timings, links: Links) -> Alert:
    name = "MLModelErrors"
    threshold = _queried(
        f'{BURN_THRESHOLD}{{MATCHERS,{OBJECTIVE_LABEL}="availability"}}', _MODEL_LABELS, "humanizePercentage"
    )
    return Alert(
        name=name,
        expr=_owned(_burning(ERROR_RATIO_5M, ERROR_RATIO_SHORT, ERROR_INCREASE, "availability"), OWNER, severity=True),
        why="Calls fail so fast that 2 % of a month's error budget goes in an hour. The long window shows that it "
        "matters, the short one that it still lasts.",
        pending=timings.burn_for,
        keep=timings.keep,
        labels=_labels(),
        annotations=_annotations(
            name,
            links,
            f"{_NAME}: {_PERCENT} of calls fail",
            f"{_PERCENT} of prediction calls raised an exception in the last five minutes, and the last hour is above "
            f"{threshold} too. Open the dashboard at the alert's start, read the error types, and open a failed "
            "call's trace; if a deployment fell together with it, roll that back.",
        ),
    )


def _latency(timings: Timings, links: Links) -> Alert:
    name = "MLModelLatency"
    seconds = _queried(
        f"max by ({MODEL}) ({semconv.MODEL_LATENCY_OBJECTIVE.prometheus_name}{{MATCHERS}})",
        _MODEL_LABELS,
        "humanizeDuration",
    )
    return Alert(
        name=name,
        expr=_owned(_burning(SLOW_RATIO_5M, SLOW_RATIO_SHORT, SLOW_INCREASE, "latency"), OWNER, severity=True),
        why="Calls miss the model's own latency objective so often that 2 % of a month's budget goes in an hour. "
        "Models without such an objective have no series here.",
        pending=timings.burn_for,
        keep=timings.keep,
        labels=_labels(),
        annotations=_annotations(
            name,
            links,
            f"{_NAME}: {_PERCENT} of calls are slower than the objective",
            f"{_PERCENT} of successful calls took longer than {seconds} in the last five minutes, and the last hour "
            "burns its budget too. Open the dashboard at the alert's start, compare requests, rows per call and active "
            "calls with latency, and open a slow call's trace from the latency panel.",
        ),
    )


def _absent(timings: Timings, links: Links) -> Alert:
    name = "MLTelemetryAbsent"
    last_seen = lines(
        OWNER_LAST_SEEN,
        f">= on ({MODEL_LABEL}) group_left ()",
        f"  max by ({MODEL_LABEL}) ({OWNER_LAST_SEEN}) - {2 * timings.rate.total_seconds():g}",
        f"unless on ({MODEL_LABEL}) {OWNER_REPLICAS}",
    )
    return Alert(
        name=name,
        # An owner counts as reporting for a while after the last report, so that much earlier it came.
        expr=lines(nested(last_seen), f"- {timings.absent.total_seconds():g}"),
        why="No process reports the model any more, in any version: a version that was replaced is missed by nobody, "
        "so only those that reported last are named. "
        "After a day the model counts as retired.",
        pending=timings.interval,
        labels=_labels(severity=TICKET),
        annotations=_annotations(
            name,
            links,
            f"{_NAME}: no telemetry",
            f"Nothing has reported {_NAME} for {duration(timings.absent)} at least; the last report came at about "
            "{{ $value | humanizeTimestamp }}. Drift, broken features and quality are not watched meanwhile. See "
            "whether the service runs, then follow the telemetry: process, Collector, Prometheus. A model retired on "
            "purpose needs a silence for a day, no more.",
        ),
    )
