"""What the rules record equals what numpy and scipy compute from the same counts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from windvane import semconv
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


def _expectations(window: Window, minutes: int) -> dict[str, float]:
    series = DriftSeries(window)
    expectations: dict[str, float] = {}
    for feature, bins in FEATURES.items():
        at = f'{{ml_feature_name="{feature}",ml_feature_role="input"}}'
        expected = _expected(feature, minutes)
        names = {method: series.statistic(method) for method in METHODS} | {"floor": series.noise_floor}
        for name, value in expected.items():
            # The root magnifies the last bit of what stands under it.
            tolerance = 2e-8 if name == "hellinger" and value < 1e-6 else 1e-12
            expectations[f"sum(abs({names[name]}{at} - {value!r}) < bool {tolerance})"] = 1
        expectations[f"sum({series.shifted}{at})"] = float(expected["psi"] > expected["floor"])
        live, _ = _counts(bins, minutes)
        expectations[f"sum(abs({series.live_total}{at} / {live.sum()} - 1) < bool 1e-12)"] = 1
        if "null" in bins and bins["null"][0] is not None:
            share = live[list(bins).index("null")] / live.sum()
            expectations[f"sum(abs({series.null_ratio}{at} - {float(share)!r}) < bool 1e-12)"] = 1
    return expectations


def test_drift_statistics_equal_numpy_over_both_windows(evaluate: Callable[..., str]) -> None:
    """PSI, Hellinger, JS, KS and the noise floor agree to 1e-12, also for bins that only one side has."""
    timings = Timings(long=timedelta(hours=2))
    evaluate(
        _series(FEATURES),
        _expectations("1h", 60) | _expectations("1d", 120),
        at="160m",
        rules=render(timings, methods=METHODS),
    )


@pytest.mark.parametrize(("pods", "restart"), [(1, None), (1, 130), (20, 130)])
def test_neither_the_number_of_pods_nor_their_restarts_change_a_statistic(
    evaluate: Callable[..., str], pods: int, restart: int | None
) -> None:
    """One process or twenty, and all of them restarted within the window: the same counts, the same values."""
    series = _series(FEATURES, pods=pods, restart=restart)
    evaluate(series, _expectations("1h", 60), at="160m", rules=render(methods=METHODS))


def test_a_clock_sixty_times_faster_records_the_same_values_under_the_same_names(evaluate: Callable[..., str]) -> None:
    """An hour of minutes and a minute of seconds hold the same counts."""
    evaluate(
        _series(FEATURES),
        _expectations("1h", 60),
        at="100s",
        interval="1s",
        rules=render(Timings().faster(60), methods=METHODS),
    )


def test_without_a_baseline_the_same_window_one_week_before_is_the_reference(evaluate: Callable[..., str]) -> None:
    """There is no drift to tell in the first week, here one of eight hours; then the counts of then are compared."""
    at = '{ml_model_name="m",ml_model_version="1",ml_feature_name="f",ml_feature_role="input",ml_feature_bin="BIN"}'
    name = semconv.FEATURE_OBSERVATIONS.prometheus_name + at
    series = {name.replace("BIN", "29 0"): "0+10x620", name.replace("BIN", "40 up to 5"): "0+10x500 5030+30x119"}
    p, q = np.array([600.5, 1800.5]) / 2401, np.array([600.5, 600.5]) / 1201
    psi, rules = DriftSeries("1h").statistic("psi"), render(Timings(week=timedelta(hours=8)))
    evaluate(series, {f"count({psi}) or vector(0)": 0}, at="460m", rules=rules)
    expected = float(np.sum((p - q) * np.log(p / q)))
    evaluate(series, {f"sum(abs({psi} - {expected!r}) < bool 1e-9)": 1}, at="580m", rules=rules)


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
    )


@pytest.mark.parametrize("freedom", [1, 2, 5, 11, 20, 60])
def test_the_noise_floor_is_the_chi_squared_quantile(freedom: int) -> None:
    """Wilson and Hilferty's approximation is within 4 % of scipy's quantile of 0.999 for any number of bins."""
    approximate = freedom * (1 - 2 / (9 * freedom) + 3.09 * np.sqrt(2 / (9 * freedom))) ** 3
    assert approximate == pytest.approx(stats.chi2.ppf(0.999, freedom), rel=0.04)
