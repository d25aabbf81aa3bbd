"""The panels of the Fleet dashboard, top to bottom."""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards import grafana as g
from windvane_dashboards.boards.fleet import queries as q
from windvane_dashboards.boards.frame import feature_link
from windvane_dashboards.boards.shades import LEFT, SHARE_STEPS
from windvane_dashboards.links import MODEL_UID, OBJECTIVES_UID, to
from windvane_dashboards.promql import FEATURE_LABEL, KIND_LABEL, MODEL_LABEL, VERSION_LABEL

_MODEL: Final = {"model": "${__data.fields.Model:percentencode}", "version": "${__data.fields.Version:percentencode}"}
_TO_MODEL: Final = g.link("Show this model", to(MODEL_UID, **_MODEL))
_TO_OBJECTIVES: Final = g.link("Show the budgets", to(OBJECTIVES_UID, **_MODEL))
_TO_FEATURE: Final = feature_link(**_MODEL)
_LEGEND: Final = f"{{{{{MODEL_LABEL}}}}} {{{{{VERSION_LABEL}}}}}"


def _number(title: str, description: str, query: str, limits: g.Json, unit: str = "short") -> tuple[g.Json, int, int]:
    decimals = 0 if unit == "short" else None
    return g.stat(title, description, g.query("A", query, title), unit=unit, limits=limits, decimals=decimals), 4, 4


def _count(shade: str) -> g.Json:
    return {**g.graded("short", 0, (1, shade)), "noValue": "0"}


PANELS: Final = (
    _number("Models", "Model versions that are called now.", q.MODELS, g.thresholds()),
    _number(
        "Silent",
        "Model versions that reported within the day and do not now: taken out of service, or their telemetry is lost.",
        q.SILENT,
        g.thresholds((1, g.ORANGE)),
    ),
    _number("Pages", "Alerts that fire now and wake somebody.", q.PAGES, g.thresholds((1, g.VERMILLION))),
    _number("Tickets", "Alerts that fire now and can wait for the day.", q.TICKETS, g.thresholds((1, g.ORANGE))),
    _number(
        "Shifted features",
        "Features of all models whose last hour differs from the reference by more than chance explains. Chance alone "
        "gives one in a thousand.",
        q.SHIFTED,
        g.thresholds((1, g.SKY)),
    ),
    _number("Calls", "Prediction calls per second of all models.", q.CALLS, g.thresholds(), unit="reqps"),
    (
        g.table(
            "Firing alerts",
            "What is wrong now, newest first, with who has been told and since when. A click on the model or the "
            "feature opens its dashboard, the runbook is the owner's own. Empty is good.",
            [g.instant("A", q.ALERTS, as_table=True)],
            columns={
                semconv.SEVERITY.label: "Severity",
                "alertname": "Alert",
                MODEL_LABEL: "Model",
                VERSION_LABEL: "Version",
                FEATURE_LABEL: "Feature",
                KIND_LABEL: "Violation",
                semconv.TEAM.label: "Team",
                "Value": "Since",
                semconv.RUNBOOK_URL.label: "Runbook",
            },
            overrides=[
                g.override("Runbook", {"links": [g.link("Open the runbook", "${__value.raw}", new_tab=True)]}),
                g.override("Model", {"links": [_TO_MODEL]}),
                g.override("Feature", {"links": [_TO_FEATURE]}),
                g.override("Since", {"unit": "dateTimeFromNow"}),
            ],
            sort="Since",
        ),
        24,
        7,
    ),
    (
        g.table(
            "Models",
            "One row for each model version, those with most pages first. Errors are of the last five minutes; shifted "
            "counts features of the last hour; broken is the worst feature's share of values not in order; right is "
            "the share of the last day's outcomes that say so, expected what the calibration expects of its "
            "predictions (a dash where no outcomes are reported); the budgets are what the last three days "
            "left of each objective, below 0 where they are overspent.",
            [
                g.instant("A", q.OWNERS, as_table=True),
                g.instant("B", q.MODEL_PAGES, as_table=True),
                g.instant("C", q.MODEL_TICKETS, as_table=True),
                g.instant("D", q.MODEL_CALLS, as_table=True),
                g.instant("E", q.MODEL_ERRORS, as_table=True),
                g.instant("F", q.MODEL_P95, as_table=True),
                g.instant("G", q.MODEL_SHIFTED, as_table=True),
                g.instant("H", q.MODEL_BROKEN, as_table=True),
                g.instant("I", q.MODEL_AVAILABILITY, as_table=True),
                g.instant("J", q.MODEL_DRIFT, as_table=True),
                g.instant("K", q.MODEL_RIGHT, as_table=True),
                g.instant("L", q.MODEL_RIGHT_EXPECTED, as_table=True),
            ],
            columns={
                MODEL_LABEL: "Model",
                VERSION_LABEL: "Version",
                semconv.TEAM.label: "Team",
                "Value #B": "Pages",
                "Value #C": "Tickets",
                "Value #D": "Calls",
                "Value #E": "Errors",
                "Value #F": "p95",
                "Value #G": "Shifted",
                "Value #H": "Broken",
                "Value #K": "Right",
                "Value #L": "Expected",
                "Value #I": "Error budget",
                "Value #J": "Drift budget",
            },
            overrides=[
                g.override("Model", {"links": [_TO_MODEL]}),
                g.override("Pages", _count(g.VERMILLION)),
                g.override("Tickets", _count(g.ORANGE)),
                g.override("Calls", {"unit": "reqps"}),
                g.override("Errors", g.graded("percentunit", 2, *SHARE_STEPS)),
                g.override("p95", {"unit": "s"}),
                g.override("Shifted", _count(g.ORANGE)),
                g.override("Broken", g.graded("percentunit", 1, (0.05, g.ORANGE), (0.25, g.VERMILLION))),
                g.override("Right", {"unit": "percentunit", "decimals": 1, "noValue": "-"}),
                g.override("Expected", {"unit": "percentunit", "decimals": 1, "noValue": "-"}),
                g.override("Error budget", {**LEFT, "links": [_TO_OBJECTIVES]}),
                g.override("Drift budget", {**LEFT, "links": [_TO_OBJECTIVES]}),
            ],
            sort="Pages",
        ),
        24,
        12,
    ),
    (
        g.timeseries(
            "Alerts",
            "How many alerts fire, by severity: when it began, and whether it is getting better.",
            [g.query("A", q.ALERTS_BY_SEVERITY, f"{{{{{semconv.SEVERITY.label}}}}}")],
            unit="short",
            colours={"page": g.VERMILLION, "ticket": g.ORANGE},
            stacked=True,
        ),
        12,
        8,
    ),
    (
        g.timeseries(
            "Failed calls, worst models",
            "Share of calls that raised, over five minutes: the five models that are worst at each time.",
            [g.query("A", q.WORST_ERRORS, _LEGEND)],
            unit="percentunit",
            colours={},
        ),
        12,
        8,
    ),
    (
        g.timeseries(
            "Drift, worst models",
            "Share of each model, by the importance of its features, that rests on inputs that have shifted. Several "
            "models at once share a feed or a population that changed.",
            [g.query("A", q.WORST_DRIFT, _LEGEND)],
            unit="percentunit",
            colours={},
            maximum=1,
        ),
        12,
        8,
    ),
    (
        g.timeseries(
            "Broken features, worst models",
            "Share of values of the worst feature that are not in order, beyond the reference's own share. Above a "
            "quarter it pages.",
            [g.query("A", q.WORST_BROKEN, _LEGEND)],
            unit="percentunit",
            colours={},
            limits=g.thresholds((0.25, g.VERMILLION)),
        ),
        12,
        8,
    ),
)
