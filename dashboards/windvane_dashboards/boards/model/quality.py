"""The panels of the Model dashboard on quality: what came of the predictions."""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards import grafana as g
from windvane_dashboards.boards.frame import feature_link
from windvane_dashboards.boards.model import queries as q
from windvane_dashboards.links import COMPARE_UID, OBJECTIVES_UID, to
from windvane_dashboards.promql import FEATURE_LABEL, VARIANT_LABEL

__all__ = ["PANELS"]

_NONE: Final = "No data where no outcomes are reported."
_SHARE: Final = {"unit": "percentunit", "decimals": 1}
_NUMBER: Final = {"unit": "short", "decimals": 3}
_COUNT: Final = {"unit": "short", "decimals": 0}
_WEEK: Final = (
    ("right_ratio", "Right", _SHARE),
    ("right_ratio_low", "Right, from", _SHARE),
    ("right_ratio_high", "Right, to", _SHARE),
    ("auc", "AUC", _NUMBER),
    ("auc_error", "AUC error", _NUMBER),
    ("log_loss", "Log loss", _NUMBER),
    ("brier_score", "Brier", _NUMBER),
    ("calibration_error", "ECE", _NUMBER),
    ("mean_absolute_error", "MAE", _NUMBER),
    ("relative_absolute_error", "MAE / scale", _NUMBER),
    ("root_mean_squared_error", "RMSE", _NUMBER),
    ("bias", "Bias", _NUMBER),
    ("mean_reciprocal_rank", "MRR", _NUMBER),
    ("outcomes", "Outcomes", _COUNT),
)
_CLASSES: Final = (
    ("precision", "Precision", _SHARE),
    ("recall", "Recall", _SHARE),
    ("f1", "F1", _NUMBER),
    ("class_predicted", "Predicted", _COUNT),
    ("class_actual", "Came true", _COUNT),
)
_TO_COMPARE: Final = g.link("Compare versions and variants", to(COMPARE_UID, "model", "version"))
_TO_OBJECTIVES: Final = g.link("Show the budgets", to(OBJECTIVES_UID, "model", "version"))
_LETTERS: Final = "ABCDEFGHIJKLMN"

PANELS: Final = (
    (g.row("Quality"), 24, 1),
    (
        g.timeseries(
            "Right predictions: realised and expected",
            "Share of a day's outcomes that say that the prediction was right, with its 95 % interval; what the "
            "calibration of the baseline expects of the predictions made (before any outcome comes), and the share in "
            f"the reference. Below the dashed line the objective is missed. {_NONE}",
            [
                g.query("A", q.RIGHT, "realised"),
                g.query("B", q.RIGHT_LOW, "from"),
                g.query("C", q.RIGHT_HIGH, "to"),
                g.query("D", q.RIGHT_EXPECTED, "expected"),
                g.query("E", q.RIGHT_REFERENCE, "reference"),
                g.query("F", q.RIGHT_OBJECTIVE, "objective"),
            ],
            unit="percentunit",
            colours={
                "realised": g.BLUE,
                "from": g.SKY,
                "to": g.YELLOW,
                "expected": g.ORANGE,
                "reference": g.GREY,
                "objective": g.VERMILLION,
            },
            dashed=["objective"],
            maximum=1,
        ),
        12,
        9,
    ),
    (
        g.timeseries(
            "Errors that the inputs do not explain",
            "Share of wrong outcomes of a week (of numbers without a tolerance the mean absolute error) less what was "
            "expected of predictions of that age. Above the dashed line chance does not explain it: for equal inputs "
            f"other things happen than in the reference. {_NONE}",
            [g.query("A", q.UNEXPLAINED, "not explained"), g.query("B", q.UNEXPLAINED_NOISE, "by chance up to")],
            unit="short",
            colours={"not explained": g.ORANGE, "by chance up to": g.VERMILLION},
            dashed=["by chance up to"],
        ),
        12,
        9,
    ),
    (
        g.table(
            "Quality of a week, by variant",
            "Statistics of the outcomes of the last week; which there are depends on what the model predicts. AUC and "
            "calibration error (ECE) come from twenty bins of scores. Few outcomes make the ECE too large. "
            f"{_NONE}",
            [g.instant(ref, q.quality(name), as_table=True) for ref, (name, _, _) in zip(_LETTERS, _WEEK, strict=True)],
            columns={
                VARIANT_LABEL: "Variant",
                **{f"Value #{ref}": head for ref, (_, head, _) in zip(_LETTERS, _WEEK, strict=True)},
            },
            overrides=[
                g.override("Variant", {"links": [_TO_COMPARE], "noValue": "-"}),
                *(g.override(head, {**look, "noValue": "-"}) for _, head, look in _WEEK),
            ],
            sort="Outcomes",
        ),
        24,
        6,
    ),
    (
        g.table(
            "Realised, expected and in the reference",
            "What can be told before outcomes come, of a week, by variant. Expected is worse than the reference: the "
            "inputs have moved to harder cases. Realised is worse than expected: what follows from them has changed. A "
            "dash where the baseline has no calibration.",
            [
                g.instant("A", q.estimated("realised"), as_table=True),
                g.instant("B", q.estimated("expected"), as_table=True),
                g.instant("C", q.estimated("reference"), as_table=True),
            ],
            columns={
                "statistic": "Statistic",
                VARIANT_LABEL: "Variant",
                "Value #A": "Realised",
                "Value #B": "Expected",
                "Value #C": "Reference",
            },
            overrides=[
                g.override(head, {**_NUMBER, "noValue": "-"})
                for head in ("Variant", "Realised", "Expected", "Reference")
            ],
        ),
        16,
        9,
    ),
    (
        g.timeseries(
            "Outcomes refused",
            "Outcomes and feedback per second that were not counted, by reason, of all models: what is refused names "
            "no model that could be trusted. Zero is right.",
            [g.query("A", q.REFUSED, f"{{{{{semconv.OUTCOME_REFUSAL.label}}}}}")],
            unit="cps",
            colours={},
            stacked=True,
        ),
        8,
        9,
    ),
    (
        g.table(
            "Classes",
            "Of the predictions of a class those right (precision), of what came true of it what was found (recall), "
            f"over a week. {_NONE}",
            [
                g.instant(ref, q.of_class(name), as_table=True)
                for ref, (name, _, _) in zip(_LETTERS, _CLASSES, strict=False)
            ],
            columns={
                semconv.OUTCOME_ACTUAL.label: "Class",
                **{f"Value #{ref}": head for ref, (_, head, _) in zip(_LETTERS, _CLASSES, strict=False)},
            },
            overrides=[g.override(head, {**look, "noValue": "-"}) for _, head, look in _CLASSES],
            sort="Came true",
        ),
        12,
        9,
    ),
    (
        g.table(
            "Confusion",
            f"How often each class was predicted where each came true, over a week, most frequent first. {_NONE}",
            [g.instant("A", q.CONFUSION, as_table=True)],
            columns={
                semconv.OUTCOME_PREDICTED.label: "Predicted",
                semconv.OUTCOME_ACTUAL.label: "Actual",
                "Value": "Outcomes",
            },
            overrides=[g.override("Outcomes", _COUNT)],
            sort="Outcomes",
        ),
        12,
        9,
    ),
    (
        g.barchart(
            "Calibration",
            "Of each bin of scores the mean score and the share that came true, over a week. Where the bars are equal, "
            f"scores can be read as probabilities; a higher score than share is too sure. {_NONE}",
            [g.instant("A", q.MEAN_SCORE, as_table=True), g.instant("B", q.CAME_TRUE, as_table=True)],
            columns={
                semconv.OUTCOME_SCORE_BIN.label: "Bin",
                "Value #A": "mean score",
                "Value #B": "came true",
            },
            sort=semconv.OUTCOME_SCORE_BIN.label,
            colours={"mean score": g.ORANGE, "came true": g.BLUE},
        ),
        12,
        9,
    ),
    (
        g.table(
            "Segments",
            "Share of wrong outcomes of each bin of the feature that the model declares its segments by, over a week, "
            "worst first. At least so much is what chance does not explain. No data where no segments are declared.",
            [
                g.instant("A", q.SEGMENT_WRONG, as_table=True),
                g.instant("B", q.SEGMENT_SURELY, as_table=True),
                g.instant("C", q.SEGMENT_OUTCOMES, as_table=True),
            ],
            columns={
                FEATURE_LABEL: "Feature",
                semconv.FEATURE_BIN_RANGE.label: "Segment",
                "Value #A": "Wrong",
                "Value #B": "At least",
                "Value #C": "Outcomes",
            },
            overrides=[
                g.override("Feature", {"links": [feature_link("model", "version")]}),
                g.override("Wrong", {**_SHARE, "links": [_TO_OBJECTIVES]}),
                g.override("At least", {**_SHARE, "noValue": "-"}),
                g.override("Outcomes", _COUNT),
            ],
            sort="Wrong",
        ),
        12,
        9,
    ),
    (
        g.timeseries(
            "Coverage",
            "Outcomes of a day over the predictions that they are due for, those of a day as long before as outcomes "
            f"take. Above 1 where a batch brings several days. {_NONE}",
            [g.query("A", q.COVERAGE, "coverage")],
            unit="percentunit",
            colours={"coverage": g.BLUE},
        ),
        8,
        8,
    ),
    (
        g.timeseries(
            "Outcomes of a day",
            f"How many outcomes came in the last day. A fall to none is a job that stopped. {_NONE}",
            [g.query("A", q.DAY_OUTCOMES, "outcomes")],
            unit="short",
            colours={"outcomes": g.BLUE},
        ),
        8,
        8,
    ),
    (
        g.timeseries(
            "Lag of outcomes",
            f"How long after their prediction a week's outcomes came: half of them, and nearly all. {_NONE}",
            [g.query("A", q.LAG_MEDIAN, "median"), g.query("B", q.LAG_P95, "p95")],
            unit="s",
            colours={"median": g.BLUE, "p95": g.PURPLE},
        ),
        8,
        8,
    ),
)
