"""What the rules record equals what numpy and scipy compute from the same counts."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from windvane import semconv
from windvane_dashboards import promql
from windvane_dashboards.cli_rules.replay import Replay
from windvane_dashboards.cli_rules.rulefile import parse_groups
from windvane_dashboards.cli_rules.scratch_prometheus import scratch_prometheus
from windvane_dashboards.promql import DriftSeries, Window
from windvane_dashboards.rules import METHODS, Timings, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

pytestmark = pytest.mark.stack

NUMERIC = tuple(f"{i:02d}" for i in range(10))
CATEGORIES = ("c00", "c01", "c02")
EDGES = (semconv.BIN_NULL, semconv.BIN_OTHER)

# Live rows per minute and reference rows, by bin; None where the bin has no series on that side.
Feature: TypeAlias = dict[str, tuple[int | None, int | None]]
FEATURES: dict[str, Feature] = {
    "even": dict.fromkeys(NUMERIC, (7, 1000)) | dict.fromkeys(EDGES, (0, 0)),
    "shifted": {label: (i * i, 800 - 20 * i) for i, label in enumerate(NUMERIC)} | {"null": (9, 31), "other": (0, 0)},
    "slight": {label: (20 + i % 2, 500) for i, label in enumerate(NUMERIC)} | {"null": (0, 3), "other": (1, 0)},
    "categories": {"c00": (30, 700), "c01": (5, 200), "c02": (0, 90), "null": (0, 0), "other": (4, 10)},
    "new bin": {"c00": (10, 500), "c01": (10, None), "null": (2, 20)},
    "lost bin": {"c00": (10, 500), "c01": (None, 400), "null": (2, 20)},
    "constant": {"c00": (10, 500), "null": (0, 0)},
}
DISPERSION = {"slight": 2.5}
ONE_INTERVAL = Timings.at_one_interval()
_HOUR = "windvane-(observations|reference|drift-1h)"


def _series(features: dict[str, Feature], *, pods: int = 2, restart: int | None = None) -> dict[str, str]:
    series = {}
    for feature, bins in features.items():
        for label, (live, reference) in bins.items():
            at = (
                f'{{ml_model_name="m",ml_model_version="1",ml_feature_name="{feature}",'
                f'ml_feature_role="input",ml_feature_bin="{label}",instance="INSTANCE"}}'
            )
            if live is not None:
                for pod in range(pods):
                    number = live * (pod + 1) // pods - live * pod // pods
                    # A restarted process counts from 0 again, and has counted a minute's rows by its first sample.
                    values = f"0+{number}x200" if restart is None else f"0+{number}x{restart} {number}+{number}x199"
                    name = semconv.FEATURE_OBSERVATIONS.prometheus_name
                    series[name + at.replace("INSTANCE", f"pod-{pod}")] = values
            if reference is not None:
                for instance in (f"pod-{pod}" for pod in range(pods)):
                    name = semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name
                    series[name + at.replace("INSTANCE", instance)] = f"{reference}x200"
    for feature, value in DISPERSION.items():
        name = semconv.FEATURE_REFERENCE_DISPERSION.prometheus_name
        series[f'{name}{{ml_model_name="m",ml_model_version="1",ml_feature_name="{feature}"}}'] = f"{value}x200"
    return series


def _counts(bins: Feature, minutes: int) -> tuple[NDArray[np.float64], ...]:
    live = np.array([minutes * (live or 0) for live, _ in bins.values()], dtype=float)
    reference = np.array([reference or 0 for _, reference in bins.values()], dtype=float)
    return live, reference


def _expected(feature: str, minutes: int) -> dict[str, float]:
    """Compute every statistic from the counts alone."""
    bins = FEATURES[feature]
    live, reference = _counts(bins, minutes)
    used = live + reference > 0
    p, q = live[used] + 0.5, reference[used] + 0.5
    p, q = p / p.sum(), q / q.sum()
    freedom = max(int(used.sum()) - 1, 1)
    chi2 = freedom * (1 - 2 / (9 * freedom) + 3.09 * np.sqrt(2 / (9 * freedom))) ** 3
    values = {
        "psi": float(np.sum((p - q) * np.log(p / q))),
        "hellinger": float(np.sqrt(max(0.0, 0.5 * np.sum((np.sqrt(p) - np.sqrt(q)) ** 2)))),
        "js_divergence": float(distance.jensenshannon(p, q, base=2) ** 2) if len(p) > 1 else 0.0,
        "floor": float((1 / live.sum() + 1 / reference.sum()) * chi2 * DISPERSION.get(feature, 1.0)),
    }
    ordered = [i for i, label in enumerate(bins) if label.isdigit()]
    if ordered:
        cumulative = np.cumsum(live[ordered] / live[ordered].sum() - reference[ordered] / reference[ordered].sum())
        values["ks"] = float(np.abs(cumulative).max())
    return values


def _expectations(window: Window, minutes: int, tolerance: float = 1e-12) -> dict[str, float]:
    series = DriftSeries(window)
    expectations: dict[str, float] = {}
    for feature, bins in FEATURES.items():
        at = f'{{ml_feature_name="{feature}",ml_feature_role="input"}}'
        expected = _expected(feature, minutes)
        names = {method: series.statistic(method) for method in METHODS} | {"floor": series.noise_floor}
        for name, value in expected.items():
            # The root magnifies the last bit of what stands under it.
            allowed = 2e-8 if name == "hellinger" and value < 1e-6 else tolerance
            expectations[f"sum(abs({names[name]}{at} - {value!r}) < bool {allowed})"] = 1
        expectations[f"sum({series.shifted}{at})"] = float(expected["psi"] > expected["floor"])
        live, _ = _counts(bins, minutes)
        expectations[f"sum(abs({series.live_total}{at} / {live.sum()} - 1) < bool {tolerance})"] = 1
        if "null" in bins and bins["null"][0] is not None:
            share = live[list(bins).index("null")] / live.sum()
            expectations[f"sum(abs({series.null_ratio}{at} - {float(share)!r}) < bool {tolerance})"] = 1
    return expectations


def test_drift_statistics_equal_numpy_over_both_windows(evaluate: Callable[..., str]) -> None:
    """PSI, Hellinger, JS, KS and the noise floor agree to 1e-12, also for bins that only one side has."""
    timings = dataclasses.replace(ONE_INTERVAL, long=timedelta(hours=2))
    evaluate(
        _series(FEATURES),
        _expectations("1h", 60) | _expectations("1d", 120),
        at="160m",
        rules=render(timings, methods=METHODS),
        only=f"{_HOUR}|windvane-drift-1d.*",
    )


@pytest.mark.parametrize(("pods", "restart"), [(1, None), (20, 2130)])
def test_at_the_intervals_of_the_shipped_rules_both_windows_equal_numpy(pods: int, restart: int | None) -> None:
    """Each group at its own interval in a real Prometheus, over an hour and a day of a day and a half of counts."""
    minutes, begin = 36 * 60, 1_767_225_600
    end = begin + 60 * minutes
    groups = [
        group
        for name, text in render(methods=METHODS).items()
        for group in parse_groups(text, name)
        if re.fullmatch(f"{_HOUR}|windvane-drift-1d.*", group["name"])
    ]
    with scratch_prometheus() as prometheus:
        prometheus.write(
            (_labels(name), [((begin + 60 * i) * 1000, value) for i, value in enumerate(_values(notation, minutes))])
            for name, notation in _series(FEATURES, pods=pods, restart=restart).items()
        )
        Replay(groups, source=prometheus, scratch=prometheus, begin=begin, end=end).run()
        for expr, value in (_expectations("1h", 60, 1e-9) | _expectations("1d", 1440, 1e-9)).items():
            assert [float(one["value"][1]) for one in prometheus.query(expr, end)] == [value], expr


def _labels(series: str) -> dict[str, str]:
    return {"__name__": series.partition("{")[0], **dict(re.findall(r'(\w+)="([^"]*)"', series))}


def _values(notation: str, minutes: int) -> list[float]:
    """Write out promtool's notation, the last part as long as it is needed."""
    values: list[float] = []
    for part in notation.split():
        start, _, number = part.partition("x")
        first, _, step = start.partition("+")
        values += [float(first) + float(step or 0) * i for i in range(int(number) + 1)]
    return [*values, *(values[-1] + float(step or 0) * (i + 1) for i in range(minutes - len(values) + 1))]


@pytest.mark.parametrize(("pods", "restart"), [(1, None), (1, 130), (20, 130)])
def test_neither_the_number_of_pods_nor_their_restarts_change_a_statistic(
    evaluate: Callable[..., str], pods: int, restart: int | None
) -> None:
    """One process or twenty, and all of them restarted within the window: the same counts, the same values."""
    series = _series(FEATURES, pods=pods, restart=restart)
    evaluate(series, _expectations("1h", 60), at="160m", rules=render(ONE_INTERVAL, methods=METHODS), only=_HOUR)


def test_a_clock_sixty_times_faster_records_the_same_values_under_the_same_names(evaluate: Callable[..., str]) -> None:
    """An hour of minutes and a minute of seconds hold the same counts."""
    evaluate(
        _series(FEATURES),
        _expectations("1h", 60),
        at="100s",
        interval="1s",
        rules=render(ONE_INTERVAL.faster(60), methods=METHODS),
        only=_HOUR,
    )


def test_without_a_baseline_the_same_window_one_week_before_is_the_reference(evaluate: Callable[..., str]) -> None:
    """There is no drift to tell in the first week, here one of eight hours; then the counts of then are compared."""
    at = '{ml_model_name="m",ml_model_version="1",ml_feature_name="f",ml_feature_role="input",ml_feature_bin="BIN"}'
    name = semconv.FEATURE_OBSERVATIONS.prometheus_name + at
    series = {name.replace("BIN", "29 0"): "0+10x620", name.replace("BIN", "40 up to 5"): "0+10x500 5030+30x119"}
    p, q = np.array([600.5, 1800.5]) / 2401, np.array([600.5, 600.5]) / 1201
    rules = render(dataclasses.replace(ONE_INTERVAL, week=timedelta(hours=8)))
    psi = DriftSeries("1h").statistic("psi")
    evaluate(series, {f"count({psi}) or vector(0)": 0}, at="460m", rules=rules, only=_HOUR)
    expected = float(np.sum((p - q) * np.log(p / q)))
    evaluate(series, {f"sum(abs({psi} - {expected!r}) < bool 1e-9)": 1}, at="580m", rules=rules, only=_HOUR)


def test_what_was_so_a_week_before_is_shifted_but_not_anew(evaluate: Callable[..., str]) -> None:
    """The drift budget counts a shift for a week, here one of eight hours."""
    hour, rules = DriftSeries("1h"), render(dataclasses.replace(ONE_INTERVAL, week=timedelta(hours=8)))
    at = '{ml_model_name="m",ml_model_version="1",ml_feature_name="f",ml_feature_role="input",ml_feature_bin="BIN"}'
    observed, expected = (
        metric.prometheus_name + at for metric in (semconv.FEATURE_OBSERVATIONS, semconv.FEATURE_REFERENCE_OBSERVATIONS)
    )
    series = {
        observed.replace("BIN", "00"): "0+10x700",
        observed.replace("BIN", "01"): "0+30x700",
        expected.replace("BIN", "00"): "1000x700",
        expected.replace("BIN", "01"): "1000x700",
    }
    for time, anew in (("300m", 1), ("640m", 0)):
        told = {f"sum({hour.shifted})": 1, f"sum({hour.shifted_anew})": anew}
        evaluate(series, told, at=time, rules=rules, only=_HOUR)


def test_a_shift_counts_for_the_drift_budget_from_four_standard_deviations_on(evaluate: Callable[..., str]) -> None:
    """Of 4,800 rows in two bins, between the chi-squared quantiles at 3.09 and 4 standard deviations and above both."""
    hour = DriftSeries("1h")
    at = '{ml_model_name="m",ml_model_version="1",ml_feature_name="NAME",ml_feature_role="input",ml_feature_bin="BIN"}'
    series = {}
    for name, minute in {"small": (42.24, 37.76), "larger": (44, 36)}.items():
        for bin_, rows in zip(("00", "01"), minute, strict=True):
            labels = at.replace("NAME", name).replace("BIN", bin_)
            series[semconv.FEATURE_OBSERVATIONS.prometheus_name + labels] = f"0+{rows}x100"
            series[semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name + labels] = "1000000x100"
    told = {
        f"sum({of}{{{promql.FEATURE_LABEL}='{name}'}})": expected
        for of, name, expected in (
            (hour.shifted, "small", 1),
            (hour.shifted_anew, "small", 0),
            (hour.shifted, "larger", 1),
            (hour.shifted_anew, "larger", 1),
        )
    }
    evaluate(series, told, at="80m", only=_HOUR)


def test_js_and_ks_are_recorded_only_when_asked_for(evaluate: Callable[..., str]) -> None:
    """By default the two statistics that cost more have no series."""
    series = DriftSeries("1h")
    evaluate(
        _series({"shifted": FEATURES["shifted"]}),
        {
            f"count({series.statistic('psi')})": 1,
            f"count({series.statistic('js_divergence')}) or vector(0)": 0,
            f"count({series.statistic('ks')}) or vector(0)": 0,
        },
        at="80m",
        only=_HOUR,
    )


@pytest.mark.parametrize("freedom", [1, 2, 5, 11, 20, 60])
def test_the_noise_floor_is_the_chi_squared_quantile(freedom: int) -> None:
    """Wilson and Hilferty's approximation is within 4 % of scipy's quantile of 0.999 for any number of bins."""
    approximate = freedom * (1 - 2 / (9 * freedom) + 3.09 * np.sqrt(2 / (9 * freedom))) ** 3
    assert approximate == pytest.approx(stats.chi2.ppf(0.999, freedom), rel=0.04)


def _close(series: str, value: float, tolerance: float = 1e-12) -> dict[str, float]:
    return {f"sum(abs({series} / {value!r} - 1) < bool {tolerance})": 1}


def test_shares_of_violations_equal_numpy(evaluate: Callable[..., str]) -> None:
    """The live share, that of the reference, and what is broken beyond."""
    at = 'ml_model_name="m",ml_model_version="1",ml_feature_name="f"'
    kind = f'{{{at},ml_violation_kind="missing"}}'
    rows, missing, reference, reference_missing = 97, 7, 5000, 50
    bins = f'{{{at},ml_feature_role="input",ml_feature_bin="BIN"}}'
    series = {
        semconv.FEATURE_OBSERVATIONS.prometheus_name + bins.replace("BIN", "00"): f"0+{rows - missing}x100",
        semconv.FEATURE_OBSERVATIONS.prometheus_name + bins.replace("BIN", "null"): f"0+{missing}x100",
        semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name + bins.replace("BIN", "00"): (
            f"{reference - reference_missing}x100"
        ),
        semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name + bins.replace("BIN", "null"): (
            f"{reference_missing}x100"
        ),
        semconv.FEATURE_VIOLATIONS.prometheus_name + kind: f"0+{missing}x100",
        semconv.FEATURE_REFERENCE_VIOLATIONS.prometheus_name + kind: f"{reference_missing}x100",
    }
    live, own = missing / rows, reference_missing / reference
    evaluate(
        series,
        _close(f"{promql.VIOLATION_RATIO}{kind}", live)
        | _close(f"{promql.REFERENCE_VIOLATION_RATIO}{kind}", own)
        | _close(f"{promql.VIOLATION_EXCESS}{kind}", (live - own) / (1 - own)),
        at="90m",
        only="windvane-(observations|reference|violations|violations-1h)",
    )


def test_shares_of_bad_calls_and_budgets_equal_numpy_over_every_window(evaluate: Callable[..., str]) -> None:
    """Windows that lie in one level are exact; one that spans both is their mean but for the edge of a rate."""
    at = 'ml_model_name="m",ml_model_version="1"'
    name = semconv.PREDICTION_DURATION.prometheus_name
    before, after, begin, end = 600, 90, 3, 9  # minutes, and failed calls in each
    failed = f"0+{begin}x{before} {before * begin + end}+{end}x{after + 10}"
    slow = f"0+{54}x{before} {before * 54 + 48}+{48}x{after + 10}"
    series = {
        f'{name}_count{{{at},error_type="E"}}': failed,
        f"{name}_count{{{at}}}": f"0+60x{before + after + 10}",
        f'{name}_bucket{{{at},le="0.25"}}': slow,
        f'{name}_bucket{{{at},le="+Inf"}}': f"0+60x{before + after + 10}",
        f"{semconv.MODEL_LATENCY_OBJECTIVE.prometheus_name}{{{at}}}": f"0.25x{before + after + 10}",
        f'{semconv.MODEL_OBJECTIVE.prometheus_name}{{{at},ml_objective="availability"}}': f"0.995x{before + after}",
    }
    expectations = _close(promql.ERROR_BUDGET, 0.005, 1e-9)
    for window, factor in (("1h", 14.4), ("6h", 6), ("1d", 3), ("3d", 1)):
        expectations |= _close(f'{promql.burn_threshold(window)}{{ml_objective="availability"}}', 0.005 * factor, 1e-9)
    minutes = {"5m": 5, "30m": 30, "1h": 60, "2h": 120, "6h": 360, "1d": before + after, "3d": before + after}
    for window, length in minutes.items():
        late = np.arange(length) < after
        bad = np.where(late, end, begin).sum() / np.where(late, 60 + end, 60 + begin).sum()
        over = np.where(late, 12, 6).sum() / (60 * length)
        tolerance = 1e-12 if length <= after else 0.02
        expectations |= _close(promql.ERRORS.ratio(window), float(bad), tolerance)
        expectations |= _close(promql.SLOW.ratio(window), float(over), tolerance)
    evaluate(series, expectations, at=f"{before + after}m", only="windvane-(calls|errors|slow)")


def test_the_share_of_a_model_on_shifted_features_is_weighted_by_importance(evaluate: Callable[..., str]) -> None:
    """Only inputs with enough rows count; without importances it is their share."""
    features = {name: FEATURES[name] for name in ("shifted", "slight", "even")}
    at = 'ml_model_name="m",ml_model_version="1",ml_feature_name="NAME"'
    shifted = [name for name in features if _expected(name, 60)["psi"] > _expected(name, 60)["floor"]]
    assert 0 < len(shifted) < len(features)
    weights = dict(zip(features, (0.5, 0.3, 0.2), strict=True))
    importance = {
        f"{semconv.FEATURE_IMPORTANCE.prometheus_name}{{{at.replace('NAME', name)}}}": f"{weight}x200"
        for name, weight in weights.items()
    }
    weighted = sum(weights[name] for name in shifted)
    share, only = len(shifted) / len(features), f"{_HOUR}|windvane-drift-budget"
    evaluate(_series(features) | importance, _close(promql.DRIFT_SHARE, weighted, 1e-9), at="160m", only=only)
    evaluate(_series(features), _close(promql.DRIFT_SHARE, share, 1e-9), at="160m", only=only)


def test_a_canary_is_compared_with_stable_as_numpy_does(evaluate: Callable[..., str]) -> None:
    """Excess and standard error of its failures, the 95th percentile, and PSI of its answers with the floor."""
    name = semconv.PREDICTION_DURATION.prometheus_name
    calls, errors = {"1": 90, "2": 10}, {"1": 1, "2": 2}
    answers = {"1": (45, 30, 15), "2": (2, 3, 5)}
    series: dict[str, str] = {}
    for version, number_of_calls in calls.items():
        at = f'ml_model_name="m",ml_model_version="{version}"'
        series[f"{name}_count{{{at}}}"] = f"0+{number_of_calls - errors[version]}x200"
        series[f'{name}_count{{{at},error_type="E"}}'] = f"0+{errors[version]}x200"
        for bound, share in (("0.1", 0.5), ("0.25", 0.9), ("0.5", 1), ("+Inf", 1)):
            series[f'{name}_bucket{{{at},le="{bound}"}}'] = f"0+{share * 10 * number_of_calls:g}x200"
        for i, number in enumerate(answers[version]):
            bin_ = f'{at},ml_feature_name="y",ml_feature_role="output",ml_feature_bin="0{i}"'
            series[f"{semconv.FEATURE_OBSERVATIONS.prometheus_name}{{{bin_}}}"] = f"0+{number}x200"
            series[
                f'{semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name}{{{bin_},ml_feature_bin_range="r{i}"}}'
            ] = "1000x200"
    shares = {version: errors[version] / calls[version] for version in calls}
    pooled = sum(errors.values()) / sum(calls.values())
    noise = 5 * np.sqrt(pooled * (1 - pooled) * sum(1 / (60 * number) for number in calls.values()))
    p, q = (np.array(answers[version]) * 60 + 0.5 for version in ("2", "1"))
    rows = 1 / (60 * sum(answers["2"])) + 1 / (60 * sum(answers["1"]))
    freedom = len(p) - 1
    floor = rows * freedom * (1 - 2 / (9 * freedom) + 6 * np.sqrt(2 / (9 * freedom))) ** 3
    p, q = p / p.sum(), q / q.sum()
    canary = '{ml_model_version="2"}'
    evaluate(
        series,
        _close(promql.CANARY_ERROR_EXCESS + canary, shares["2"] - shares["1"], 1e-9)
        | _close(promql.CANARY_ERROR_NOISE + canary, float(noise), 1e-9)
        | _close(promql.DEPLOYMENT_P95 + canary, 0.25 + 0.25 * 0.5, 1e-9)
        | _close(promql.CANARY_OUTPUT_PSI + canary, float(np.sum((p - q) * np.log(p / q))), 1e-9)
        | _close(promql.CANARY_OUTPUT_FLOOR + canary, float(floor), 1e-9),
        at="160m",
        only=f"{_HOUR}|windvane-(calls|canary|canary-output)",
    )
