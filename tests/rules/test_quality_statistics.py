"""What the rules record of outcomes equals what scikit-learn computes from the same rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from windvane import semconv
from windvane._ledger import Sums
from windvane.outcomes import SCORE_BINS, Outcomes, Series, predictions_of
from windvane.tokens import Token, single_precision
from windvane_dashboards import promql
from windvane_dashboards.promql import OutcomeSeries, OutcomeWindow
from windvane_dashboards.rules import Timings, render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

pytestmark = pytest.mark.stack

_TIMINGS: Final = Timings(
    slow_interval=timedelta(minutes=1),
    day_interval=timedelta(minutes=1),
    short=timedelta(minutes=10),
    two_hours=timedelta(minutes=15),
    six_hours=timedelta(minutes=20),
    long=timedelta(minutes=30),
    three_days=timedelta(minutes=40),
    week=timedelta(minutes=60),
)
"""A week of sixty minutes, since promtool takes its time for each."""

_MINUTES: Final[dict[OutcomeWindow, int]] = {"1d": 30, "7d": 60}
_END: Final = 97  # not at a full hour: windows of days end there
_ONLY: Final = "windvane-(outcomes|quality).*"
_METRICS: Final = {metric.name: metric for metric in semconv.METRICS}
_LAG: Final = 3600.0
_RULES: Final = render(_TIMINGS)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The predictions of one deployment whose outcomes come each minute."""

    declared: Outcomes
    output: NDArray[Any] | list[Any]
    actual: list[Any]
    version: str = "1"
    variant: str | None = None

    @property
    def at(self) -> str:
        """Matchers of its series."""
        return f'ml_model_version="{self.version}",ml_model_variant="{self.variant or ""}"'


def _counts(rows: _Rows, *, pod: int = 0, pods: int = 1) -> Counter[Series]:
    """Count as a service does."""
    sums = Sums()
    for number, predicted in enumerate(predictions_of(rows.declared, rows.output)):
        if number % pods == pod:
            assert predicted is not None
            token = Token(
                "m", rows.version, rows.variant, f"c0{number % 3}", 0, 1, 1, 0, sampled=True, predicted=predicted
            )
            sums.add(token, rows.actual[number], _LAG)
    return sums.values


def _name(series: Series, instance: str) -> str:
    metric = _METRICS[series.metric]
    labels = [(a.label, v) for a, v in zip(metric.attributes, series.values, strict=True) if v is not None]
    matchers = ",".join(f'{label}="{value}"' for label, value in [*labels, ("instance", instance)])
    return f"{metric.prometheus_name}{{{matchers}}}"


def _realised(*deployments: _Rows, pods: int = 2, restart: int | None = None) -> dict[str, str]:
    """Write what these export: the same every minute, from zero, and from zero again after a restart."""
    series = {}
    for rows in deployments:
        for pod in range(pods):
            for one, number in _counts(rows, pod=pod, pods=pods).items():
                if one.metric == semconv.OUTCOME_LAG.name:
                    continue
                step = f"{number:.20f}"
                values = f"0+{step}x{_END}" if restart is None else f"0+{step}x{restart} {step}+{step}x{_END - restart}"
                series[_name(one, f"pod-{pod}")] = values
    return series


def _constant(metric: semconv.Metric, cells: Mapping[tuple[str, ...], float], *, rising: bool) -> dict[str, str]:
    """Write a count of a version by its own attributes: rising by it each minute, or standing at it, on two pods."""
    own = [a.label for a in metric.attributes if not a.name.startswith("ml.model.")]
    series = {}
    for values, number in cells.items():
        matchers = ",".join(f'{label}="{value}"' for label, value in zip(own, values, strict=True))
        for pod in range(2):
            at = f'{{ml_model_name="m",ml_model_version="1",{matchers}{"," if own else ""}instance="pod-{pod}"}}'
            text = f"0+{number / 2:.20f}x{_END}" if rising else f"{number:.20f}x{_END}"
            series[metric.prometheus_name + at] = text
    return series


def _is(series: str, matchers: str, value: float, tolerance: float = 1e-9) -> dict[str, float]:
    if not np.isfinite(value):
        return {f"count({series}{{{matchers}}}) or vector(0)": 0}
    value, tolerance = float(value), tolerance * max(1.0, abs(float(value)))
    return {f"sum(abs({series}{{{matchers}}} - {value!r}) <= bool {tolerance!r})": 1}


def _shares(series: OutcomeSeries, at: str, right: float, judged: float) -> dict[str, float]:
    found = _is(series.statistic("right_ratio"), at, right / judged) | _is(series.statistic("judged"), at, judged)
    if series.source != "expected":
        interval = stats.binomtest(round(right), round(judged)).proportion_ci(method="wilson")
        found |= _is(series.statistic("right_ratio_low"), at, interval.low)
        found |= _is(series.statistic("right_ratio_high"), at, interval.high)
    return found


def _classes(
    series: OutcomeSeries,
    at: str,
    predicted: NDArray[Any],
    actual: NDArray[Any],
    weight: NDArray[np.float64] | None = None,
) -> dict[str, float]:
    found = {}
    classes = sorted(set(predicted) | set(actual))
    table = metrics.precision_recall_fscore_support(
        actual, predicted, labels=classes, sample_weight=weight, zero_division=np.nan
    )
    for number, label in enumerate(classes):
        cell = f'{at},ml_outcome_actual="{label}"'
        for name, values in zip(("precision", "recall", "f1"), table, strict=False):
            found |= _is(series.statistic(name), cell, float(values[number]))
    return found


def _bins(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.minimum((scores * SCORE_BINS).astype(int), SCORE_BINS - 1)


def _auc(
    series: OutcomeSeries,
    at: str,
    scores: NDArray[np.float64],
    actual: NDArray[np.int64],
    weight: NDArray[np.float64] | None = None,
    times: float = 1,
) -> dict[str, float]:
    """AUC of the bins is exact; that of the scores differs by half of the pairs within a bin at most."""
    weights = np.ones(len(scores)) if weight is None else weight
    positive, negative = (float(weights[actual == value].sum()) for value in (1, 0))
    if not positive or not negative:
        return _is(series.statistic("auc"), at, np.nan)
    bins = _bins(scores)
    binned = float(metrics.roc_auc_score(actual, bins, sample_weight=weight))
    pairs = sum(
        weights[(bins == one) & (actual == 0)].sum() * weights[(bins == one) & (actual == 1)].sum()
        for one in range(SCORE_BINS)
    )
    bound = float(pairs) / (2 * positive * negative)
    exact = float(metrics.roc_auc_score(actual, scores, sample_weight=weight))
    first, second = binned / (2 - binned) - binned**2, 2 * binned**2 / (1 + binned) - binned**2
    p, n = times * positive, times * negative
    error = np.sqrt(max(0.0, (binned * (1 - binned) + (p - 1) * first + (n - 1) * second) / (p * n)))
    return (
        _is(series.statistic("auc"), at, binned)
        | {f"sum(abs({series.statistic('auc')}{{{at}}} - {exact!r}) <= bool {bound + 1e-9!r})": 1}
        | _is(series.statistic("auc_error"), at, float(error))
    )


def _binary(rows: _Rows, window: OutcomeWindow) -> dict[str, float]:
    series, at, times = OutcomeSeries("realised", window), rows.at, _MINUTES[window]
    scores = np.array([single_precision(score) for score in rows.output])
    actual = np.array(rows.actual)
    predicted = (np.array(rows.output) >= (rows.declared.threshold or 0)).astype(int)
    bins = _bins(scores)
    error = sum(abs(scores[bins == one].sum() - actual[bins == one].sum()) for one in range(SCORE_BINS)) / len(actual)
    right = times * metrics.accuracy_score(actual, predicted, normalize=False)
    return (
        _shares(series, at, right, times * len(actual))
        | _classes(series, at, predicted.astype(str), actual.astype(str))
        | _auc(series, at, scores, actual, times=times)
        | _is(series.statistic("log_loss"), at, metrics.log_loss(actual, scores, labels=[0, 1]))
        | _is(series.statistic("brier_score"), at, metrics.brier_score_loss(actual, scores))
        | _is(series.statistic("calibration_error"), at, float(error))
        | _is(series.statistic("calibration_bias"), at, float(scores.mean() - actual.mean()))
        | _is(series.statistic("root_mean_squared_error"), at, np.nan)
        | _is(series.statistic("bias"), at, np.nan)
    )


def _made(number: int, seed: int, **names: Any) -> _Rows:
    rng = np.random.default_rng(seed)
    scores = rng.beta(1, 2, number)
    actual = (rng.random(number) < scores**1.3).astype(int)
    return _Rows(Outcomes("binary", threshold=0.4), scores, actual.tolist(), **names)


@pytest.mark.parametrize(("pods", "restart"), [(1, None), (3, None), (2, 75)])
def test_scores_are_judged_as_by_scikit_learn(evaluate: Callable[..., str], pods: int, restart: int | None) -> None:
    """All statistics of scores, for versions and variants apart, on one pod or several, through restarts."""
    deployments = (_made(47, 1), _made(31, 2, variant="canary"), _made(5, 3, version="2", variant="canary"))
    expectations: dict[str, float] = {}
    for rows in deployments:
        expectations |= _binary(rows, "1d") | _binary(rows, "7d")
    evaluate(_realised(*deployments, pods=pods, restart=restart), expectations, at=f"{_END}m", rules=_RULES, only=_ONLY)


@pytest.mark.parametrize("came_true", [0, 1])
def test_where_one_class_only_came_true_there_is_no_auc(evaluate: Callable[..., str], came_true: int) -> None:
    """What can be told of one class is told; a recall of nothing and an AUC are not."""
    rows = _Rows(Outcomes("binary"), np.array([0.1, 0.2, 0.51, 0.97, 1.0, 0.0]), [came_true] * 6)
    evaluate(_realised(rows), _binary(rows, "1d"), at=f"{_END}m", rules=_RULES, only=_ONLY)


def test_scores_that_part_the_classes_have_an_auc_of_one_and_no_error(evaluate: Callable[..., str]) -> None:
    """No root of a number below zero by rounding."""
    rows = _Rows(Outcomes("binary"), np.array([0.1, 0.2, 0.51, 0.97]), [0, 0, 1, 1])
    auc = OutcomeSeries("realised", "1d")
    evaluate(
        _realised(rows),
        _binary(rows, "1d") | _is(auc.statistic("auc"), "", 1.0) | _is(auc.statistic("auc_error"), "", 0.0),
        at=f"{_END}m",
        rules=_RULES,
        only=_ONLY,
    )


def test_without_outcomes_nothing_is_recorded(evaluate: Callable[..., str]) -> None:
    """Neither for series that stand at zero, nor where there are none: no 0 / 0."""
    rows = _made(9, 4)
    still = dict.fromkeys(_realised(rows), f"0x{_END}")
    series = OutcomeSeries("realised", "1d")
    names = ("right_ratio", "right_ratio_low", "precision", "recall", "f1", "auc", "log_loss", "brier_score", "bias")
    names = (*names, "calibration_error", "mean_absolute_error", "root_mean_squared_error", "mean_reciprocal_rank")
    expectations: dict[str, float] = {}
    for name in names:
        expectations |= _is(series.statistic(name), "", np.nan)
    for found in (still, {"up": f"1x{_END}"}):
        evaluate(found, expectations, at=f"{_END}m", rules=_RULES, only=_ONLY)


def test_classes_are_judged_as_by_scikit_learn(evaluate: Callable[..., str]) -> None:
    """Also a class that is never predicted, and one that never comes true."""
    rng = np.random.default_rng(5)
    actual = rng.choice(["a", "b", "c", "lost"], 60)
    predicted = np.where(rng.random(60) < 0.6, actual, rng.choice(["a", "b", "new"], 60))
    predicted[predicted == "lost"] = "a"
    rows = _Rows(Outcomes("multiclass"), predicted.tolist(), actual.tolist())
    expectations: dict[str, float] = {}
    for window, times in _MINUTES.items():
        series = OutcomeSeries("realised", window)
        right = times * int(metrics.accuracy_score(actual, predicted, normalize=False))
        expectations |= _shares(series, rows.at, right, times * 60) | _classes(series, rows.at, predicted, actual)
        macro = metrics.f1_score(actual, predicted, average="macro")
        expectations[f"abs(avg({series.statistic('f1')}) - {macro!r}) <= bool 1e-9"] = 1
    evaluate(_realised(rows), expectations, at=f"{_END}m", rules=_RULES, only=_ONLY)


@pytest.mark.parametrize("tolerance", [None, 0.5])
def test_numbers_are_judged_as_by_scikit_learn(evaluate: Callable[..., str], tolerance: float | None) -> None:
    """Errors, bias and errors against scale; the share of right ones only where a tolerance is declared."""
    rng = np.random.default_rng(6)
    actual = rng.normal(10, 3, 41)
    predicted = actual + rng.normal(0.2, 1, 41)
    rows = _Rows(Outcomes("regression", tolerance=tolerance), predicted, actual.tolist())
    scale = 3.25
    series = _realised(rows) | _constant(semconv.OUTCOME_SCALE, {(): scale}, rising=False)
    absolute = metrics.mean_absolute_error(actual, predicted)
    expectations: dict[str, float] = {}
    for window, times in _MINUTES.items():
        one = OutcomeSeries("realised", window)
        for name, value in {
            "mean_absolute_error": absolute,
            "relative_absolute_error": absolute / scale,
            "root_mean_squared_error": metrics.root_mean_squared_error(actual, predicted),
            "bias": float(np.mean(predicted - actual)),
            "outcomes": times * 41,
            "brier_score": np.nan,
        }.items():
            expectations |= _is(one.statistic(name), rows.at, float(value))
        if tolerance is None:
            expectations |= _is(one.statistic("right_ratio"), rows.at, np.nan)
        else:
            right = times * int((np.abs(predicted - actual) <= tolerance).sum())
            expectations |= _shares(one, rows.at, right, times * 41)
    evaluate(series, expectations, at=f"{_END}m", rules=_RULES, only=_ONLY)


def test_rankings_are_judged_by_their_reciprocal_ranks(evaluate: Callable[..., str]) -> None:
    """Hit rate and mean reciprocal rank at k, for every place that a ranking can have."""
    rng = np.random.default_rng(7)
    items = [str(i) for i in range(30)]
    output = [rng.permutation(items).tolist() for _ in range(80)]
    actual = [str(rng.integers(30)) for _ in range(80)]
    rows = _Rows(Outcomes("ranking", k=20), output, actual)
    places = np.array([one.index(item) + 1 for one, item in zip(output, actual, strict=True)])
    expectations: dict[str, float] = {}
    for window, times in _MINUTES.items():
        series = OutcomeSeries("realised", window)
        expectations |= _shares(series, rows.at, times * int((places <= 20).sum()), times * 80)
        mean = float(np.where(places <= 20, 1 / places, 0).mean())
        expectations |= _is(series.statistic("mean_reciprocal_rank"), rows.at, mean)
    evaluate(_realised(rows), expectations, at=f"{_END}m", rules=_RULES, only=_ONLY)


def test_expected_outcomes_and_those_of_the_reference_are_judged_alike(evaluate: Callable[..., str]) -> None:
    """In fractions, as by scikit-learn with weights; a gauge that is the same on two pods is not added up."""
    rng = np.random.default_rng(8)
    scores = np.array([single_precision(score) for score in rng.beta(1, 2, 53)])
    chances = 0.1 + 0.8 * scores**1.5
    labels = [f"{one:02d}" for one in _bins(scores)]
    predicted = (scores >= 0.4).astype(int)
    # Each score counts as both: as far as it is expected to come true, and as far as not.
    both, weight = np.repeat([1, 0], 53), np.concatenate([chances, 1 - chances])
    cells: Counter[tuple[str, str]] = Counter()
    scored: Counter[tuple[str, str]] = Counter()
    results: Counter[tuple[str]] = Counter()
    for actual, share, label, positive in zip(both, weight, [*labels, *labels], [*predicted, *predicted], strict=True):
        cells[str(positive), str(actual)] += share
        scored[label, str(actual)] += share
        results["right" if actual == positive else "wrong",] += share
    expectations: dict[str, float] = {}
    doubled = np.concatenate([scores, scores])
    names = (
        (semconv.OUTCOME_EXPECTED_COUNT, semconv.OUTCOME_REFERENCE_COUNT, results),
        (semconv.OUTCOME_EXPECTED, semconv.OUTCOME_REFERENCE, cells),
        (semconv.OUTCOME_EXPECTED_SCORED, semconv.OUTCOME_REFERENCE_SCORED, scored),
    )
    given: dict[str, str] = {}
    for expected, reference, counted in names:
        given |= _constant(expected, counted, rising=True) | _constant(reference, counted, rising=False)
    for series, times in (
        (OutcomeSeries("expected", "1d"), 30),
        (OutcomeSeries("expected", "7d"), 60),
        (OutcomeSeries("reference"), 1),
    ):
        at = 'ml_model_version="1"'
        expectations |= _classes(series, at, np.tile(predicted, 2).astype(str), both.astype(str), weight)
        expectations |= _auc(series, at, doubled, both, weight, times=times)
        right = times * results["right",]
        expectations |= _is(series.statistic("right_ratio"), at, right / (times * 53))
        expectations |= _is(series.statistic("judged"), at, times * 53)
    evaluate(given, expectations, at=f"{_END}m", rules=_RULES, only=_ONLY)


def test_the_share_of_wrong_outcomes_and_of_a_segment_adds_up_variants(evaluate: Callable[..., str]) -> None:
    """What objectives are held against, exact in every window, with the bounds that chance leaves."""
    deployments = (_made(47, 1), _made(31, 2, variant="canary"))
    wrong, judged = np.zeros(3), np.zeros(3)
    for rows in deployments:
        misses = (np.array(rows.output) >= 0.4) != np.array(rows.actual)
        for number, miss in enumerate(misses):
            wrong[number % 3] += miss
            judged[number % 3] += 1
    share = promql.REALISED_SHARE
    at = 'ml_model_version="1"'
    expectations: dict[str, float] = {}
    for window, minutes in (("1h", 10), ("6h", 20), ("1d", 30), ("7d", 60)):
        expectations |= _is(share.number("judged", window), at, minutes * judged.sum())  # type: ignore[arg-type]
        expectations |= _is(share.number("wrong", window), at, minutes * wrong.sum())  # type: ignore[arg-type]
        expectations |= _is(share.ratio(window), at, wrong.sum() / judged.sum())  # type: ignore[arg-type]
    level = 1 - 2 * stats.norm.sf(4)
    for one in range(3):
        interval = stats.binomtest(round(60 * wrong[one]), round(60 * judged[one])).proportion_ci(level, "wilson")
        segment = f'{at},ml_outcome_segment="c0{one}"'
        expectations |= _is(promql.SEGMENT_RATIO, segment, wrong[one] / judged[one])
        expectations |= _is(promql.SEGMENT_SURELY, segment, interval.low)
    interval = stats.binomtest(round(60 * wrong.sum()), round(60 * judged.sum())).proportion_ci(level, "wilson")
    expectations |= _is(share.surely("7d"), at, interval.low)
    evaluate(_realised(*deployments), expectations, at=f"{_END}m", rules=_RULES, only=_ONLY)


def test_lag_and_coverage_are_those_of_the_outcomes(evaluate: Callable[..., str]) -> None:
    """Quantiles within their bucket, and outcomes over the predictions made so long before, for short and long lags."""
    lag, rows = semconv.OUTCOME_LAG.prometheus_name, semconv.PREDICTION_ROWS.prometheus_name
    given, expectations = {}, {}
    # Hours of ten minutes: a lag of eight minutes is below three of them, one of forty is four.
    for version, bounds, median in (("1", (0, 10, 10), 450), ("2", (0, 0, 10), 2250)):
        at = f'ml_model_name="m",ml_model_version="{version}"'
        for bound, number in zip(("0", "900", "3600.0"), bounds, strict=True):
            given[f'{lag}_bucket{{{at},le="{bound}"}}'] = f"0+{number}x{_END}"
        given[f'{lag}_bucket{{{at},le="+Inf"}}'] = f"0+10x{_END}"
        given[f'{semconv.OUTCOME_COUNT.prometheus_name}{{{at},ml_outcome_result="unjudged"}}'] = f"0+10x{_END}"
        # Predictions double half an hour before the end; those that outcomes of a lag of forty minutes are of did not.
        given[f"{rows}{{{at}}}"] = f"0+20x{_END - 30} {20 * (_END - 30) + 40}+40x30"
        own = f'ml_model_version="{version}"'
        expectations |= _is(promql.LAG_MEDIAN, own, median)
        made = 30 * 40 if version == "1" else 10 * 40 + 20 * 20
        expectations |= _is(promql.COVERAGE, own, 300 / made, 2e-2)
    evaluate(given, expectations, at=f"{_END}m", rules=_RULES, only=f"{_ONLY}|windvane-calls")
