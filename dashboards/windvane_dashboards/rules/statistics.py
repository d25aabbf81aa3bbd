"""Statistics of quality: one set of expressions over outcomes that came true, that are expected, and of the reference.

All of them are computed from sums over all who count, by deployment. What can be told from counts alone is exact; AUC
and the calibration error come from score bins (docs/statistics.md has the bounds). `tests/rules` proves them equal to
scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane.outcomes import SCORE_BINS
from windvane.tokens import MAX_RANKED
from windvane_dashboards.promql import (
    MODEL,
    OUTCOME_WINDOWS,
    OutcomeSeries,
    duration,
    labels,
    lines,
)
from windvane_dashboards.rules.model import Group, Recording

if TYPE_CHECKING:
    from windvane_dashboards.promql import OutcomeSource
    from windvane_dashboards.rules.timings import Timings

__all__ = ["CONFIDENCE_QUANTILE", "recording", "wilson"]

CONFIDENCE_QUANTILE: Final = 1.959963985
"""Standard normal quantile of 0.975: intervals hold the true value 95 times in a hundred."""

_RESULT: Final = semconv.OUTCOME_RESULT.label
_RIGHT, _, _UNJUDGED = semconv.OUTCOME_RESULT.values
_PREDICTED: Final = semconv.OUTCOME_PREDICTED.label
_ACTUAL: Final = semconv.OUTCOME_ACTUAL.label
_BIN: Final = semconv.OUTCOME_SCORE_BIN.label
_DIRECTION: Final = semconv.OUTCOME_DIRECTION.label
_OVER, _UNDER = semconv.OUTCOME_DIRECTION.values
_RANK: Final = semconv.OUTCOME_RANK.label

_COUNT: Final[dict[OutcomeSource, semconv.Metric]] = {
    "realised": semconv.OUTCOME_COUNT,
    "expected": semconv.OUTCOME_EXPECTED_COUNT,
    "reference": semconv.OUTCOME_REFERENCE_COUNT,
}
_CLASSIFIED: Final[dict[OutcomeSource, semconv.Metric]] = {
    "realised": semconv.OUTCOME_CLASSIFIED,
    "expected": semconv.OUTCOME_EXPECTED,
    "reference": semconv.OUTCOME_REFERENCE,
}
_SCORED: Final[dict[OutcomeSource, semconv.Metric]] = {
    "realised": semconv.OUTCOME_SCORED,
    "expected": semconv.OUTCOME_EXPECTED_SCORED,
    "reference": semconv.OUTCOME_REFERENCE_SCORED,
}
_ABSOLUTE: Final[dict[OutcomeSource, semconv.Metric]] = {
    "realised": semconv.OUTCOME_ABSOLUTE_ERROR,
    "expected": semconv.OUTCOME_EXPECTED_ABSOLUTE_ERROR,
    "reference": semconv.OUTCOME_REFERENCE_ABSOLUTE_ERROR,
}


def recording(timings: Timings) -> tuple[Group, ...]:
    """Return the statistics of all three, in both windows."""
    groups = []
    for window in OUTCOME_WINDOWS:
        realised = OutcomeSeries("realised", window)
        groups += [
            Group(
                f"windvane-quality-{window}", timings.slow_interval, (*_common(realised, timings), *_ranks(realised))
            ),
            Group(
                f"windvane-quality-scores-{window}",
                timings.slow_interval,
                (*_scores(realised), *_loss(realised), *_errors(realised)),
            ),
            Group(
                f"windvane-quality-expected-{window}",
                timings.slow_interval,
                _estimated(OutcomeSeries("expected", window), timings),
            ),
        ]
    reference = Group(
        "windvane-quality-reference", timings.slow_interval, _estimated(OutcomeSeries("reference"), timings)
    )
    return (*groups, reference)


def _common(series: OutcomeSeries, timings: Timings) -> tuple[Recording, ...]:
    return (*_shares(series), *_classes(series), _absolute(series), _against_scale(series, timings))


def _estimated(series: OutcomeSeries, timings: Timings) -> tuple[Recording, ...]:
    return (*_common(series, timings), *_scores(series))


# --- Shares ------------------------------------------------------------------------------------------------------


def wilson(share: str, number: str, quantile: float, *, upper: bool = False) -> str:
    """Return the expression for a bound of a share's interval (Wilson 1927).

    Args:
        share: series with the share, which stands for one of `number` draws.
        number: series with the number of draws, above 0.
        quantile: of the standard normal distribution.
        upper: the upper bound in place of the lower.
    """
    z2 = f"{quantile**2:.10g}"
    root = f"{quantile:.10g} * sqrt({share} * (1 - {share}) / {number} + {z2} / (4 * {number} ^ 2))"
    return lines(
        "(",
        f"  {share} + {z2} / (2 * {number})",
        f"  {'+' if upper else '-'} {root}",
        f") / (1 + {z2} / {number})",
    )


def _shares(series: OutcomeSeries) -> tuple[Recording, ...]:
    count, key = series.count(_COUNT[series.source]), series.key
    outcomes, judged, right = (series.statistic(name) for name in ("outcomes", "judged", "right_ratio"))
    rules = [
        Recording(outcomes, f"sum by ({key}) ({count})", "Outcomes in all."),
        Recording(
            judged, f'sum by ({key}) ({count}{{{_RESULT}!="{_UNJUDGED}"}}) > 0', "Those that are right or wrong."
        ),
        Recording(
            right,
            f'(sum by ({key}) ({count}{{{_RESULT}="{_RIGHT}"}}) or 0 * {judged}) / {judged}',
            "Share of right ones: accuracy; of numbers those within the tolerance; of rankings the hit rate at k.",
        ),
    ]
    if series.source != "expected":
        rules += [
            Recording(
                series.statistic(f"right_ratio_{'high' if upper else 'low'}"),
                wilson(right, judged, CONFIDENCE_QUANTILE, upper=upper),
                f"{'Upper' if upper else 'Lower'} bound of its 95 % interval (Wilson 1927).",
            )
            for upper in (False, True)
        ]
    return tuple(rules)


# --- Classes -----------------------------------------------------------------------------------------------------


def _classes(series: OutcomeSeries) -> tuple[Recording, ...]:
    count, key = series.count(_CLASSIFIED[series.source]), series.key
    by_class = labels(key, _ACTUAL)
    hits, predicted, actual = (series.statistic(f"class_{name}") for name in ("hits", "predicted", "actual"))

    def named(expr: str) -> str:
        """Call the predicted class the actual one, so that both stand under one name."""
        return f'label_replace({expr}, "{_ACTUAL}", "$1", "{_PREDICTED}", "(.+)")'

    return (
        Recording(
            predicted,
            lines(
                f"sum by ({by_class}) ({named(f'sum by ({key}, {_PREDICTED}) ({count})')})",
                f"or 0 * sum by ({by_class}) ({count})",
            ),
            f"How often each class was predicted; it is named by {_ACTUAL}.",
        ),
        Recording(
            actual,
            lines(f"sum by ({by_class}) ({count})", f"or 0 * {predicted}"),
            "How often each class came true.",
        ),
        Recording(
            hits,
            lines(
                f"sum by ({by_class}) (",
                f"  {count}",
                f"  and on ({key}, {_PREDICTED}, {_ACTUAL}) {named(f'group by ({key}, {_PREDICTED}) ({count})')}",
                ")",
                f"or 0 * {actual}",
            ),
            "How often each class was predicted and came true.",
        ),
        Recording(
            series.statistic("precision"), f"{hits} / ({predicted} > 0)", "Of the predictions of a class those right."
        ),
        Recording(
            series.statistic("recall"), f"{hits} / ({actual} > 0)", "Of what came true of a class what was found."
        ),
        Recording(
            series.statistic("f1"),
            f"2 * {hits} / ({predicted} + {actual} > 0)",
            "Harmonic mean of precision and recall of a class.",
        ),
    )


# --- Scores ------------------------------------------------------------------------------------------------------


def _of_class(count: str, value: str, key: str) -> str:
    return f'sum by ({key}, {_BIN}) ({count}{{{_ACTUAL}="{value}"}})'


def _scores(series: OutcomeSeries) -> tuple[Recording, ...]:
    count, key = series.count(_SCORED[series.source]), series.key
    above, auc, error = (series.statistic(name) for name in ("positives_above", "auc", "auc_error"))
    negatives, positives = (
        _of_class(count, value, key) for value in (semconv.OUTCOME_NEGATIVE, semconv.OUTCOME_POSITIVE)
    )
    number_negative, number_positive = (
        f'sum by ({key}) ({count}{{{_ACTUAL}="{value}"}})'
        for value in (semconv.OUTCOME_NEGATIVE, semconv.OUTCOME_POSITIVE)
    )
    names = [f"{i:02d}" for i in range(SCORE_BINS)]
    terms = [
        f'label_replace(sum by ({key}) ({count}{{{_ACTUAL}="{semconv.OUTCOME_POSITIVE}",'
        f'{_BIN}=~"{"|".join(names[i + 1 :])}"}}), "{_BIN}", "{name}", "", "")'
        for i, name in enumerate(names[:-1])
    ]
    return (
        Recording(above, "\nor\n".join(terms), "Outcomes that came true and whose score lies above each bin."),
        Recording(
            auc,
            lines(
                f"sum by ({key}) (",
                f"  {negatives}",
                "  * (",
                f"    ({above} or 0 * {negatives})",
                f"    + ({positives} or 0 * {negatives}) / 2",
                "  )",
                ")",
                f"/ ({number_negative} * {number_positive} > 0)",
            ),
            "Area under the ROC curve by the trapezoidal rule: how often a score of what came true lies above one of "
            "what did not, ties and pairs within a bin counted half.",
        ),
        Recording(
            error,
            lines(
                "sqrt(clamp_min(",
                "  (",
                f"    {auc} * (1 - {auc})",
                f"    + ({number_positive} - 1) * ({auc} / (2 - {auc}) - {auc} ^ 2)",
                f"    + ({number_negative} - 1) * (2 * {auc} ^ 2 / (1 + {auc}) - {auc} ^ 2)",
                f"  ) / ({number_negative} * {number_positive}),",
                "  0",
                "))",
            ),
            "Its standard error (Hanley and McNeil 1982).",
        ),
    )


def _loss(series: OutcomeSeries) -> tuple[Recording, ...]:
    scored, scores = series.count(semconv.OUTCOME_SCORED), series.count(semconv.OUTCOME_SCORE)
    key, outcomes = series.key, series.statistic("outcomes")
    positives = _of_class(scored, semconv.OUTCOME_POSITIVE, key)
    by_bin = f"sum by ({key}, {_BIN}) ({scores})"
    return (
        Recording(
            series.statistic("log_loss"),
            f"{series.count(semconv.OUTCOME_LOG_LOSS)} / ({outcomes} > 0)",
            "Mean log loss of scores, in nats.",
        ),
        Recording(
            series.statistic("brier_score"),
            lines(
                f"{series.count(semconv.OUTCOME_SQUARED_ERROR)} / ({outcomes} > 0)",
                f"and on ({key}) {scores}",
            ),
            "Mean squared error of scores (Brier 1950).",
        ),
        Recording(
            series.statistic("calibration_error"),
            lines(
                f"sum by ({key}) (",
                f"  abs({by_bin} - ({positives} or 0 * {by_bin}))",
                f") / (sum by ({key}) ({scored}) > 0)",
            ),
            "Expected calibration error: how far, in the mean over outcomes, the mean score of a bin lies from the "
            "share of it that came true.",
        ),
        Recording(
            series.statistic("calibration_bias"),
            lines(
                f"(sum by ({key}) ({scores}) - (sum by ({key}) ({positives}) or 0 * {outcomes}))",
                f"/ (sum by ({key}) ({scored}) > 0)",
            ),
            "Mean score less the share that came true: above 0 where scores are too high.",
        ),
    )


# --- Numbers and rankings ----------------------------------------------------------------------------------------


def _absolute(series: OutcomeSeries) -> Recording:
    return Recording(
        series.statistic("mean_absolute_error"),
        f"sum by ({series.key}) ({series.count(_ABSOLUTE[series.source])}) / ({series.statistic('outcomes')} > 0)",
        "Mean absolute error of numbers, in the target's unit.",
    )


def _against_scale(series: OutcomeSeries, timings: Timings) -> Recording:
    scale = f"max by ({MODEL}) (last_over_time({semconv.OUTCOME_SCALE.prometheus_name}[{duration(timings.short)}]))"
    return Recording(
        series.statistic("relative_absolute_error"),
        lines(f"{series.statistic('mean_absolute_error')}", f"/ on ({MODEL}) group_left ()", f"({scale} > 0)"),
        "The same over the standard deviation of the actual numbers in the reference: comparable between models.",
    )


def _errors(series: OutcomeSeries) -> tuple[Recording, ...]:
    absolute, outcomes, key = series.count(semconv.OUTCOME_ABSOLUTE_ERROR), series.statistic("outcomes"), series.key
    over, under = (
        f'(sum by ({key}) ({absolute}{{{_DIRECTION}="{direction}"}}) or 0 * {outcomes})'
        for direction in (_OVER, _UNDER)
    )
    return (
        Recording(
            series.statistic("root_mean_squared_error"),
            lines(
                f"sqrt({series.count(semconv.OUTCOME_SQUARED_ERROR)} / ({outcomes} > 0))",
                f"and on ({key}) {absolute}",
            ),
            "Root of the mean squared error of numbers, in the target's unit.",
        ),
        Recording(
            series.statistic("bias"),
            lines(f"({over} - {under}) / ({outcomes} > 0)", f"and on ({key}) {absolute}"),
            "Mean error of numbers, in the target's unit: above 0 where predictions are too high.",
        ),
    )


def _ranks(series: OutcomeSeries) -> tuple[Recording, ...]:
    ranked, key = series.count(semconv.OUTCOME_RANKED), series.key
    terms = [f'{ranked}{{{_RANK}="{rank}"}} / {rank}' for rank in range(1, MAX_RANKED + 1)]
    return (
        Recording(
            series.statistic("mean_reciprocal_rank"),
            lines(
                f"sum by ({key}) (",
                *("  " + line for line in "\nor\n".join([*terms, f"0 * {ranked}"]).splitlines()),
                f") / (sum by ({key}) ({ranked}) > 0)",
            ),
            "Mean of 1 over the place of the best relevant item, 0 where it is not among the first k.",
        ),
    )
