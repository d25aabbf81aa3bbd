"""The panels of the Pipeline dashboard, top to bottom."""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards import grafana as g
from windvane_dashboards.boards.pipeline import queries as q
from windvane_dashboards.boards.shades import DROP_COLOURS
from windvane_dashboards.links import MODEL_UID, to
from windvane_dashboards.promql import MODEL_LABEL, VERSION_LABEL

_TO_MODEL: Final = g.link(
    "Show this model",
    to(
        MODEL_UID,
        model="${__data.fields.Model:percentencode}",
        version="${__data.fields.Version:percentencode}",
    ),
)

PANELS: Final = (
    (g.row("In the services"), 24, 1),
    (
        g.timeseries(
            "Records dropped, by reason",
            "Prediction records per second that could not be accounted for, of all models. The calls themselves were "
            "answered; drift and data health see that much less. Zero is right.",
            [g.query("A", q.DROPPED, f"{{{{{semconv.DROP_REASON.label}}}}}")],
            unit="cps",
            colours=DROP_COLOURS,
            stacked=True,
        ),
        8,
        8,
    ),
    (
        g.timeseries(
            "Rows that wait",
            "The longest queue of any process. It is bounded; what does not fit is dropped and counted.",
            [g.query("A", q.QUEUE, "rows")],
            unit="short",
            colours={"rows": g.BLUE},
        ),
        8,
        8,
    ),
    (
        g.timeseries(
            "Delay of the worker",
            "How old the oldest record was when the worker took it, in the process that is furthest behind. Seconds "
            "are fine; minutes mean that a process has no CPU left for its telemetry.",
            [g.query("A", q.LAG, "lag")],
            unit="s",
            colours={"lag": g.BLUE},
        ),
        8,
        8,
    ),
    (
        g.timeseries(
            "Exports",
            "Exports of distributions per second: those that arrived, and the others by the error that ended them. A "
            "failed export loses nothing if the next one succeeds: counts are cumulative.",
            [
                g.query("A", q.EXPORTS_SENT, "sent"),
                g.query("B", q.EXPORTS_FAILED, f"failed {{{{{semconv.ERROR_TYPE.label}}}}}"),
            ],
            unit="cps",
            colours={"sent": g.BLUE, "failed ": g.VERMILLION},
        ),
        8,
        8,
    ),
    (
        g.timeseries(
            "Models that lose most",
            "Records per second that were dropped, of the five models that lose most. Zero is right.",
            [g.query("A", q.DROPPED_MODELS, f"{{{{{MODEL_LABEL}}}}} {{{{{VERSION_LABEL}}}}}")],
            unit="cps",
            colours={},
        ),
        8,
        8,
    ),
    (
        g.table(
            "Features left out",
            "Features of the baseline that a model does not export, since its series would exceed the limit. Zero is "
            "right; `windvane budget` says what each feature costs.",
            [g.instant("A", q.LEFT_OUT, as_table=True)],
            columns={MODEL_LABEL: "Model", VERSION_LABEL: "Version", "Value": "Left out"},
            overrides=[
                g.override("Model", {"links": [_TO_MODEL]}),
                g.override("Left out", {"unit": "short", "decimals": 0}),
            ],
            sort="Left out",
        ),
        8,
        8,
    ),
    (g.row("In the Collector"), 24, 1),
    (
        g.timeseries(
            "Metric points",
            "Points per second that the Collector took, sent on and failed to send. Sent below received for long means "
            "that its queue grows.",
            [
                g.query("A", q.COLLECTOR_RECEIVED, "received"),
                g.query("B", q.COLLECTOR_SENT, "sent"),
                g.query("C", q.COLLECTOR_FAILED, "failed"),
            ],
            unit="cps",
            colours={"received": g.BLUE, "sent": g.SKY, "failed": g.VERMILLION},
        ),
        12,
        8,
    ),
    (
        g.timeseries(
            "Queues",
            "How full each exporter's queue is. A full one drops what comes.",
            [g.query("A", q.COLLECTOR_QUEUE, "{{exporter}}")],
            unit="percentunit",
            colours={},
            maximum=1,
            limits=g.thresholds((0.8, g.VERMILLION)),
        ),
        12,
        8,
    ),
    (g.row("In Prometheus"), 24, 1),
    (
        g.stat(
            "Time in rules",
            "Share of the time in which one of the rule groups of this project is evaluated. Above 1 they cannot keep "
            "up on one core.",
            g.query("A", q.RULE_SHARE, "share"),
            unit="percentunit",
            limits=g.thresholds((0.5, g.ORANGE), (1, g.VERMILLION)),
        ),
        6,
        4,
    ),
    (
        g.stat(
            "Evaluations missed",
            "Evaluations of this project's rule groups that were skipped in the time range, since the one before was "
            "not done. Zero is right.",
            g.query("A", q.RULES_MISSED, "missed"),
            unit="short",
            decimals=0,
            limits=g.thresholds((1, g.ORANGE)),
        ),
        6,
        4,
    ),
    (
        g.stat(
            "Evaluations failed",
            "Evaluations of this project's rules that ended in an error in the time range. Zero is right.",
            g.query("A", q.RULES_FAILED, "failed"),
            unit="short",
            decimals=0,
            limits=g.thresholds((1, g.VERMILLION)),
        ),
        6,
        4,
    ),
    (
        g.stat(
            "Series",
            "Series that Prometheus holds in memory, of everything that it watches.",
            g.query("A", q.SERIES, "series"),
            unit="short",
            limits=g.thresholds(),
        ),
        6,
        4,
    ),
    (
        g.timeseries(
            "Slowest rule groups",
            "How long the last evaluation of each rule group took: the ten slowest.",
            [g.query("A", q.RULE_SECONDS, "{{group}}")],
            unit="s",
            colours={},
        ),
        24,
        8,
    ),
)
