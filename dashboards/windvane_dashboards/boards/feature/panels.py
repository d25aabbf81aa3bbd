"""The panels of the Feature dashboard, top to bottom."""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards import grafana as g
from windvane_dashboards.boards.feature import queries as q
from windvane_dashboards.boards.shades import DRIFT_GRADES, VIOLATION_COLOURS
from windvane_dashboards.promql import BIN_LABEL, KIND_LABEL, SOURCE_LABEL

_RANGE: Final = semconv.FEATURE_BIN_RANGE.label


def _glance() -> list[tuple[g.Json, int, int]]:
    return [
        (g.row("At a glance"), 24, 1),
        (
            g.stat(
                "PSI / noise",
                "PSI of the last hour over its noise floor. Above 1 the feature has shifted by more than chance "
                "explains. No data below 100 values in the hour.",
                g.query("A", q.RATIO, "ratio"),
                unit="short",
                decimals=1,
                limits=g.thresholds((1, g.ORANGE)),
            ),
            4,
            4,
        ),
        (
            g.stat(
                "PSI",
                "Population stability index of the last hour against the reference: 0.05 is small, 0.1 moderate, 0.25 "
                "large.",
                g.query("A", q.PSI_HOUR, "PSI"),
                unit="short",
                decimals=3,
                limits=DRIFT_GRADES,
            ),
            4,
            4,
        ),
        (
            g.stat(
                "Broken",
                "Of the values that the reference would have in order, the largest share of one kind that is not, in "
                "the last five minutes. Above a quarter it pages.",
                g.query("A", q.EXCESS, "broken"),
                unit="percentunit",
                limits=g.thresholds((0.05, g.ORANGE), (0.25, g.VERMILLION)),
            ),
            4,
            4,
        ),
        (
            g.stat(
                "Values",
                "Values of the last hour. Below 100 nothing is said of drift.",
                g.query("A", q.VALUES_HOUR, "values"),
                unit="short",
                decimals=0,
                limits=g.thresholds(),
            ),
            4,
            4,
        ),
        (
            g.stat(
                "Importance",
                "Share of the model's decisions that rests on the feature, as its baseline declares it. No data where "
                "none is declared.",
                g.query("A", q.IMPORTANCE, "importance"),
                unit="percentunit",
                limits=g.thresholds(),
            ),
            4,
            4,
        ),
        (
            g.stat(
                "Dispersion",
                "How many times more the reference's own blocks differ than independent rows would. The noise floor is "
                "that much higher: at 1 a small shift is seen, at 50 only a large one.",
                g.query("A", q.DISPERSION, "dispersion"),
                unit="short",
                decimals=1,
                limits=g.thresholds(),
            ),
            4,
            4,
        ),
        (
            g.table(
                "Source",
                "Where the feature comes from and who owns that: broken values are theirs to mend. Empty where no "
                "source is declared.",
                [g.instant("A", q.SOURCE, as_table=True)],
                columns={SOURCE_LABEL: "Source", semconv.TEAM.label: "Team", semconv.FEATURE_UNIT.label: "Unit"},
            ),
            12,
            4,
        ),
        (
            g.table(
                "Firing alerts",
                "Alerts of this feature that fire now, whose they are, and the owner's runbook. Empty is good.",
                [g.instant("A", q.FIRING, as_table=True)],
                columns={
                    "alertname": "Alert",
                    semconv.SEVERITY.label: "Severity",
                    semconv.TEAM.label: "Team",
                    KIND_LABEL: "Violation",
                    semconv.RUNBOOK_URL.label: "Runbook",
                },
                overrides=[
                    g.override("Runbook", {"links": [g.link("Open the runbook", "${__value.raw}", new_tab=True)]})
                ],
            ),
            12,
            4,
        ),
    ]


def _distribution() -> list[tuple[g.Json, int, int]]:
    return [
        (g.row("Distribution"), 24, 1),
        (
            g.barchart(
                "Live against reference",
                "Share of the values in each bin: the last hour and the last day beside the reference. The bins are "
                "the reference's deciles or its most frequent categories, so an undrifted number has about equal "
                "bars.",
                [
                    g.instant("A", q.LIVE_SHARES, as_table=True),
                    g.instant("B", q.DAY_SHARES, as_table=True),
                    g.instant("C", q.REFERENCE_SHARES, as_table=True),
                ],
                columns={
                    _RANGE: "Range",
                    "Value #A": "last hour",
                    "Value #B": "last day",
                    "Value #C": "reference",
                },
                sort=BIN_LABEL,
                colours={"last hour": g.ORANGE, "last day": g.SKY, "reference": g.BLUE},
            ),
            14,
            11,
        ),
        (
            g.heatmap(
                "Distribution over time",
                "One line for each bin, darker where more of the hour's values lie. A band that moves up or down is a "
                "shift; one that begins at a sharp edge came with a deployment or a change of the feed.",
                g.query("A", q.SHARES_OVER_TIME, f"{{{{{BIN_LABEL}}}}}"),
                unit="percentunit",
            ),
            10,
            11,
        ),
        (
            g.timeseries(
                "Drift",
                "PSI over the last hour and the last day. Above the noise floor the feature has shifted; above the "
                "ticket floor and twice the past (the same hour yesterday and last week) it opens a ticket.",
                [
                    g.query("A", q.PSI_HOUR, "last hour"),
                    g.query("B", q.PSI_DAY, "last day"),
                    g.query("C", q.FLOOR_HOUR, "noise floor"),
                    g.query("D", q.TICKET_FLOOR_HOUR, "ticket floor"),
                    g.query("E", q.PSI_PAST, "past"),
                ],
                unit="short",
                colours={
                    "last hour": g.ORANGE,
                    "last day": g.SKY,
                    "noise floor": g.GREY,
                    "ticket floor": g.VERMILLION,
                    "past": g.PURPLE,
                },
                dashed=["noise floor", "ticket floor"],
            ),
            14,
            9,
        ),
        (
            g.timeseries(
                "Hellinger distance",
                "Distance of the two distributions over the last hour, from 0 (the same) to 1 (no bin in common). Less "
                "moved than PSI by bins that are almost empty.",
                [g.query("A", q.HELLINGER_HOUR, "last hour")],
                unit="short",
                colours={"last hour": g.ORANGE},
            ),
            10,
            9,
        ),
    ]


def _health() -> list[tuple[g.Json, int, int]]:
    kinds = semconv.VALUE_VIOLATIONS
    return [
        (g.row("Data health"), 24, 1),
        (
            g.timeseries(
                "Missing values",
                "Share of the last hour's values that are missing, and the reference's own share (dashed).",
                [g.query("A", q.MISSING, "missing"), g.query("B", q.MISSING_REFERENCE, "reference")],
                unit="percentunit",
                colours={"missing": g.ORANGE, "reference": g.BLUE},
                dashed=["reference"],
            ),
            8,
            8,
        ),
        (
            g.timeseries(
                "Violations",
                "Share of the last hour's values that the baseline does not allow, by kind.",
                [g.query(ref, q.violations(kind), kind) for ref, kind in zip("ABCDEFGH", kinds, strict=False)],
                unit="percentunit",
                colours={kind: VIOLATION_COLOURS[kind] for kind in kinds},
            ),
            8,
            8,
        ),
        (
            g.timeseries(
                "Age",
                "Median time from the feature's event to the call over the last hour, and the limit learned from its "
                "own past (dashed). No data where the model declares no event time.",
                [g.query("A", q.AGE, "median"), g.query("B", q.AGE_LIMIT, "limit")],
                unit="s",
                colours={"median": g.BLUE, "limit": g.VERMILLION},
                dashed=["limit"],
            ),
            8,
            8,
        ),
    ]


PANELS: Final = (*_glance(), *_distribution(), *_health())
