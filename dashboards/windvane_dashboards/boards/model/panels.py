"""The panels of the Model dashboard, top to bottom."""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards import grafana as g
from windvane_dashboards.boards.frame import feature_link
from windvane_dashboards.boards.model import quality
from windvane_dashboards.boards.model import queries as q
from windvane_dashboards.boards.shades import DRIFT_STEPS, DROP_COLOURS, SHARE_GRADES, VIOLATION_COLOURS
from windvane_dashboards.promql import FEATURE_LABEL, KIND_LABEL, PROBE_LABEL, ROLE_LABEL


def _glance() -> list[tuple[g.Json, int, int]]:
    return [
        (g.row("At a glance"), 24, 1),
        (
            g.stat(
                "Requests",
                "Prediction calls per second over all replicas. No value means that no call's telemetry arrives.",
                g.query("A", q.CALLS, "calls"),
                unit="reqps",
                limits=g.thresholds(),
            ),
            4,
            4,
        ),
        (
            g.stat(
                "Errors",
                "Share of calls that raised an exception in the last five minutes. Coloured from 1 % and 5 %; what "
                "pages depends on the model's own objective (see the panel below).",
                g.query("A", q.ERROR_RATIO, "errors"),
                unit="percentunit",
                limits=SHARE_GRADES,
            ),
            4,
            4,
        ),
        (
            g.stat(
                "Slow calls",
                "Share of successful calls above the model's own latency objective in the last five minutes. No data "
                "where the model has no such objective.",
                g.query("A", q.SLOW_RATIO, "slow"),
                unit="percentunit",
                limits=SHARE_GRADES,
            ),
            4,
            4,
        ),
        (
            g.stat(
                "Features that shifted",
                "Features whose last hour differs from the reference by more than chance explains. Chance alone gives "
                "about one in a thousand. No data where no feature had 100 values in the hour.",
                g.query("A", q.DRIFTED, "shifted"),
                unit="short",
                decimals=0,
                limits=g.thresholds((1, g.ORANGE)),
            ),
            4,
            4,
        ),
        (
            g.stat(
                "Alerts firing",
                "Alerts of this version that fire now; the table below names them.",
                g.query("A", q.FIRING_COUNT, "alerts"),
                unit="short",
                decimals=0,
                limits=g.thresholds((1, g.VERMILLION)),
            ),
            4,
            4,
        ),
        (
            g.table(
                "Model",
                "What the version was made with, and the baseline it is compared with.",
                [g.instant("A", q.INFO, as_table=True)],
                columns={semconv.MODEL_FRAMEWORK.label: "Made with", semconv.BASELINE_ID.label: "Baseline"},
            ),
            4,
            4,
        ),
        (
            g.table(
                "Owner",
                "Who gets this version's alerts: the team, the severity of what pages, and the team's own runbook. "
                "Without a team, the default route of the alert routing gets them.",
                [g.instant("A", q.OWNER, as_table=True)],
                columns={
                    semconv.TEAM.label: "Team",
                    semconv.SEVERITY.label: "Severity",
                    semconv.RUNBOOK_URL.label: "Runbook",
                },
                overrides=[
                    g.override("Runbook", {"links": [g.link("Open the runbook", "${__value.raw}", new_tab=True)]})
                ],
            ),
            12,
            5,
        ),
        (
            g.table(
                "Firing alerts",
                "One row for each alert of this version that fires now. Empty is good. A click on the feature opens "
                "its dashboard; the owner's runbook stands on the left.",
                [g.instant("A", q.FIRING, as_table=True)],
                columns={
                    "alertname": "Alert",
                    semconv.SEVERITY.label: "Severity",
                    FEATURE_LABEL: "Feature",
                    KIND_LABEL: "Violation",
                },
                overrides=[g.override("Feature", {"links": [feature_link("model", "version")]})],
            ),
            12,
            5,
        ),
    ]


def _service() -> list[tuple[g.Json, int, int]]:
    return [
        (g.row("Service"), 24, 1),
        (
            g.timeseries(
                "Traffic",
                "Calls and rows per second over all replicas. Rows well above calls mean batches.",
                [g.query("A", q.CALLS, "calls"), g.query("B", q.ROWS, "rows")],
                unit="cps",
                colours={"calls": g.BLUE, "rows": g.ORANGE},
            ),
            8,
            8,
        ),
        (
            g.timeseries(
                "Latency of successful calls",
                "Quantiles of the duration, and the model's objective as a dashed line. A dot is one call: open its "
                "trace from there.",
                [
                    g.query("A", q.latency(0.5), "p50"),
                    g.query("B", q.latency(0.95), "p95", exemplars=True),
                    g.query("C", q.latency(0.99), "p99"),
                    g.query("D", q.LATENCY_OBJECTIVE, "objective"),
                ],
                unit="s",
                colours={"p50": g.SKY, "p95": g.BLUE, "p99": g.PURPLE, "objective": g.VERMILLION},
                dashed=["objective"],
            ),
            8,
            8,
        ),
        (
            g.timeseries(
                "Calls under way",
                "Prediction calls being worked on at this moment, over all replicas. It climbs when calls arrive "
                "faster than they end.",
                [g.query("A", q.ACTIVE, "active")],
                unit="short",
                colours={"active": g.BLUE},
            ),
            8,
            8,
        ),
        (
            g.timeseries(
                "Share of failed calls",
                "Share of calls that raised, over five minutes. Above the dashed line it pages, if the last hour is "
                "above it too.",
                [g.query("A", q.ERROR_RATIO, "failed"), g.query("B", q.ERROR_THRESHOLD, "pages above")],
                unit="percentunit",
                colours={"failed": g.BLUE, "pages above": g.VERMILLION},
                dashed=["pages above"],
            ),
            8,
            8,
        ),
        (
            g.timeseries(
                "Share of slow calls",
                "Share of successful calls above the latency objective, over five minutes. Above the dashed line it "
                "pages, if the last hour is above it too.",
                [g.query("A", q.SLOW_RATIO, "slow"), g.query("B", q.SLOW_THRESHOLD, "pages above")],
                unit="percentunit",
                colours={"slow": g.BLUE, "pages above": g.VERMILLION},
                dashed=["pages above"],
            ),
            8,
            8,
        ),
        (
            g.table(
                "Errors by type",
                "Failed calls in the time range by the exception that ended them, most frequent first.",
                [g.instant("A", q.ERRORS_BY_TYPE, as_table=True)],
                columns={semconv.ERROR_TYPE.label: "Exception", "Value": "Calls"},
                overrides=[g.override("Calls", {"unit": "short", "decimals": 0})],
                sort="Calls",
            ),
            8,
            8,
        ),
    ]


def _drift() -> list[tuple[g.Json, int, int]]:
    gauge = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
    return [
        (g.row("Drift"), 24, 1),
        (
            g.table(
                "Features by drift",
                "The last hour of each feature against the reference. Contribution is its share of all drift beyond "
                "chance, weighted by importance: begin at the top. Above 1, PSI / noise says that the feature has "
                "shifted by more than chance explains; PSI says how far (0.05 small, 0.1 moderate, 0.25 large). Click "
                "a feature to see its distribution.",
                [
                    g.instant("A", q.DRIFT_RATIO, as_table=True),
                    g.instant("B", q.DRIFT_PSI, as_table=True),
                    g.instant("C", q.DRIFT_HELLINGER, as_table=True),
                    g.instant("D", q.DRIFT_NULLS, as_table=True),
                    g.instant("E", q.DRIFT_ROWS, as_table=True),
                    g.instant("F", q.DRIFT_CONTRIBUTION, as_table=True),
                ],
                columns={
                    FEATURE_LABEL: "Feature",
                    ROLE_LABEL: "Role",
                    "Value #F": "Contribution",
                    "Value #A": "PSI / noise",
                    "Value #B": "PSI",
                    "Value #C": "Hellinger",
                    "Value #D": "Missing",
                    "Value #E": "Values",
                },
                overrides=[
                    g.override("Feature", {"links": [feature_link("model", "version")]}),
                    g.override(
                        "PSI / noise",
                        {
                            "unit": "short",
                            "decimals": 1,
                            "min": 0,
                            "max": 10,
                            "custom.cellOptions": gauge,
                            "thresholds": g.thresholds((1, g.ORANGE)),
                            "color": {"mode": "thresholds"},
                        },
                    ),
                    g.override("PSI", g.graded("short", 3, *DRIFT_STEPS)),
                    g.override("Contribution", {"unit": "percentunit", "decimals": 0, "noValue": "-"}),
                    g.override("Hellinger", {"unit": "short", "decimals": 3}),
                    g.override("Missing", {"unit": "percentunit", "decimals": 1}),
                    g.override("Values", {"unit": "short", "decimals": 0}),
                ],
                sort="Contribution",
            ),
            24,
            10,
        ),
        (
            g.timeseries(
                "Features that shifted",
                "How many features are above their noise floor, of those with at least 100 values in the hour. A step "
                "of many features at once is a change of the population or of the feed; a single one is that "
                "feature's own.",
                [g.query("A", q.DRIFTED, "shifted"), g.query("B", q.WATCHED, "watched")],
                unit="short",
                colours={"shifted": g.ORANGE, "watched": g.GREY},
                dashed=["watched"],
            ),
            12,
            8,
        ),
        (
            g.timeseries(
                "Share of the model on shifted features",
                "How much of the model's decisions rests on inputs that have shifted, by their importance; the share "
                "of inputs where no importance is declared. This is what the drift objective counts.",
                [g.query("A", q.DRIFT_SHARE, "shifted")],
                unit="percentunit",
                colours={"shifted": g.ORANGE},
                maximum=1,
            ),
            12,
            8,
        ),
    ]


def _data_health() -> list[tuple[g.Json, int, int]]:
    kinds = semconv.VIOLATION_KIND.values
    return [
        (g.row("Data health"), 24, 1),
        (
            g.bargauge(
                "Broken features",
                "Of the values that the reference would have in order, the share that is not, by feature and kind; the "
                "ten worst. Above a quarter for five minutes it pages.",
                g.instant("A", q.BROKEN, f"{{{{{FEATURE_LABEL}}}}}: {{{{{KIND_LABEL}}}}}"),
                unit="percentunit",
                limits=g.thresholds((0.05, g.ORANGE), (0.25, g.VERMILLION)),
                maximum=1,
            ),
            8,
            8,
        ),
        (
            g.timeseries(
                "Violations by kind",
                "Values per second, of all features, that the baseline does not allow. The reference has some of its "
                "own (missing values, for one): a step matters, a level does not.",
                [
                    g.query(ref, q.violations(kind), kind)
                    for ref, kind in zip("ABCDEFGH"[: len(kinds)], kinds, strict=True)
                ],
                unit="cps",
                colours=VIOLATION_COLOURS,
            ),
            8,
            8,
        ),
        (
            g.timeseries(
                "Records that windvane dropped",
                "Prediction records per second that could not be accounted for, by reason. The calls themselves were "
                "answered; drift and data health above see that much less. Zero is right.",
                [g.query("A", q.DROPPED, f"{{{{{semconv.DROP_REASON.label}}}}}")],
                unit="cps",
                colours=DROP_COLOURS,
                stacked=True,
            ),
            8,
            8,
        ),
    ]


def _probes() -> list[tuple[g.Json, int, int]]:
    case = f"{{{{{PROBE_LABEL}}}}}"
    return [
        (g.row("Known cases"), 24, 1),
        (
            g.timeseries(
                "Known cases that do not pass",
                "Share of the runs of each known case in ten minutes that were answered wrongly or not at all. Above a "
                "half it pages. No data where no probe asks the model.",
                [g.query("A", q.PROBES_NOT_PASSED, case)],
                unit="percentunit",
                colours={},
                limits=g.thresholds((0.5, g.VERMILLION)),
                maximum=1,
            ),
            12,
            8,
        ),
        (
            g.timeseries(
                "Time that known cases take",
                "The 95th percentile by case, from asking to the answer, with the way there and back. A dot is one "
                "run: open its trace from there.",
                [g.query("A", q.PROBE_DURATION, case, exemplars=True)],
                unit="s",
                colours={},
            ),
            12,
            8,
        ),
    ]


PANELS: Final = (*_glance(), *_service(), *_probes(), *quality.PANELS, *_drift(), *_data_health())
