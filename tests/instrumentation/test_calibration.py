"""A baseline knows how right predictions are; the worker counts, in fractions, the outcomes that it expects of them."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata  # type: ignore[import-untyped]
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, roc_auc_score

import windvane
from windvane import Baseline, DeclarationError, Outcomes, _baseline_builder, semconv
from windvane._calibration_builder import isotonic
from windvane.budget import budget
from windvane.calibration import Calibration, ClassCalibration, Knots, NumberCalibration, ScoreCalibration
from windvane.errors import BaselineError
from windvane.outcomes import SCORE_BINS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.instrumentation.conftest import Host

COUNT, CLASSIFIED = semconv.OUTCOME_EXPECTED_COUNT.name, semconv.OUTCOME_EXPECTED.name
SCORED, ABSOLUTE = semconv.OUTCOME_EXPECTED_SCORED.name, semconv.OUTCOME_EXPECTED_ABSOLUTE_ERROR.name
BINARY = Outcomes("binary", threshold=0.4)
ROWS = 6000


def scores(rows: int = ROWS, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Make scores that are far from the probabilities, and what came true."""
    rng = np.random.default_rng(seed)
    probability = 1 / (1 + np.exp(-rng.normal(-1, 1.5, rows)))
    return {"x": rng.normal(size=rows), "score": probability**0.5, "late": rng.random(rows) < probability}


def classes(rows: int = ROWS, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Make the probabilities of three classes, the most probable and the actual one."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([1, 2, 3], rows)
    actual = (rng.random((rows, 1)) > np.cumsum(probabilities, axis=1)).sum(axis=1)
    columns = {f"p{i}": probabilities[:, i] for i in range(3)}
    return {"x": rng.normal(size=rows), "class": probabilities.argmax(axis=1), "actual": actual, **columns}


def numbers(rows: int = ROWS, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Make predicted numbers whose errors grow with them."""
    rng = np.random.default_rng(seed)
    predicted = rng.exponential(10, rows)
    return {"x": rng.normal(size=rows), "delay": predicted, "actual": predicted + rng.normal(size=rows) * predicted / 4}


PROBABILITIES = ("p0", "p1", "p2")
OPTIONS: dict[str, dict[str, Any]] = {
    "binary": {"output": "score", "actual": "late", "outcomes": BINARY},
    "multiclass": {"output": "class", "actual": "actual", "outcomes": Outcomes("multiclass")},
    "regression": {"output": "delay", "actual": "actual", "outcomes": Outcomes("regression", tolerance=2)},
}
DATA = {"binary": scores, "multiclass": classes, "regression": numbers}
KINDS = [*OPTIONS, "probabilities"]


def built(kind: str, *, model: str = "m", seed: int = 0, **options: Any) -> Baseline:
    """Make a baseline with a calibration."""
    of = "multiclass" if kind == "probabilities" else kind
    if kind == "probabilities":
        options["probabilities"] = PROBABILITIES
    data = DATA[of](seed=seed)
    if kind == "multiclass":
        data = {name: column for name, column in data.items() if name not in PROBABILITIES}
    return Baseline.from_frame(data, **{"model": model, "version": "1", **OPTIONS[of], **options})


def calibration_of(kind: str, **options: Any) -> Calibration:
    """Make a calibration."""
    found = built(kind, **options).calibration
    assert found is not None
    return found


def outputs_of(kind: str, seed: int) -> NDArray[Any]:
    """Return what the worker gets of new rows."""
    if kind == "probabilities":
        data = classes(seed=seed)
        return np.array([data[name] for name in PROBABILITIES]).T
    return DATA[kind](seed=seed)[OPTIONS[kind]["output"]]


def by_cell(calibration: Calibration, outputs: Any) -> dict[tuple[str, ...], float]:
    """Return what is expected, by metric and attributes."""
    cells = [(cell.metric.name, *cell.attributes.values()) for cell in calibration.cells]
    return dict(zip(cells, calibration.expected(outputs).tolist(), strict=True))


def referred(calibration: Calibration) -> dict[tuple[str, ...], float]:
    """Return what the reference holds, by metric and attributes."""
    return {(cell.metric.name, *cell.attributes.values()): value for cell, value in calibration.reference}


# --- The calibration itself ----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 50)), min_size=1, max_size=60))
def test_isotonic_regression_is_that_of_scikit_learn(pairs: list[tuple[float, int]]) -> None:
    """Pooling adjacent violators gives the same sequence."""
    values, weights = np.array([v for v, _ in pairs]), np.array([float(w) for _, w in pairs])
    theirs = IsotonicRegression().fit_transform(np.arange(len(values)), values, sample_weight=weights)
    np.testing.assert_allclose(isotonic(values, weights), theirs, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_knots_of_scores_are_near_the_isotonic_regression_of_the_rows(seed: int) -> None:
    """Between scikit-learn's regression on every row and the knots lie 0.02 on average at most, 0.001 in their mean."""
    data = scores(20_000, seed)
    calibration = Baseline.from_frame(data, model="m", version="1", **OPTIONS["binary"]).calibration
    assert isinstance(calibration, ScoreCalibration)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(data["score"], data["late"])
    at = scores(20_000, seed + 100)["score"]
    differences = calibration.share(at) - theirs.predict(at)
    assert np.abs(differences).mean() < 0.005
    assert np.abs(differences).max() < 0.1
    assert abs(differences.mean()) < 0.001


def test_knots_of_few_different_scores_are_exactly_the_isotonic_regression() -> None:
    """A score of 50 different values is as scikit-learn has it, to the six decimals that are kept."""
    rng = np.random.default_rng(1)
    score = rng.integers(1, 50, ROWS) / 50
    late = rng.random(ROWS) < score**2
    calibration = Baseline.from_frame(
        {"score": score, "late": late, "x": score}, model="m", version="1", **OPTIONS["binary"]
    ).calibration
    assert isinstance(calibration, ScoreCalibration)
    single = score.astype(np.float32).astype(float)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(single, late)
    np.testing.assert_allclose(calibration.share(single), theirs.predict(single), atol=2e-6)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.one_of(st.floats(0, 1), st.just(0.5)), st.booleans()), min_size=100, max_size=400),
    st.floats(0.01, 0.99),
)
def test_shares_rise_and_scores_of_the_reference_are_all_counted(pairs: list[tuple[float, bool]], cut: float) -> None:
    """Whatever the rows are, the knots never fall, the cells of new scores sum to these, and the file reads the same."""
    score, late = np.array([s for s, _ in pairs]), np.array([t for _, t in pairs])
    options = {**OPTIONS["binary"], "outcomes": Outcomes("binary", threshold=cut)}
    with pytest.warns(windvane.baseline.BaselineWarning):
        baseline = Baseline.from_frame({"score": score, "late": late}, model="m", version="1", **options)
    calibration = baseline.calibration
    assert isinstance(calibration, ScoreCalibration)
    assert all(a < b for a, b in pairwise(calibration.share.at))
    assert all(a <= b for a, b in pairwise(calibration.share.values))
    assert len(calibration.share.at) <= 101
    expected = by_cell(calibration, score)
    for metric in (COUNT, CLASSIFIED, SCORED):
        assert sum(n for cell, n in expected.items() if cell[0] == metric) == pytest.approx(len(score))
    assert min(expected.values()) >= 0
    assert Baseline.from_json(baseline.to_json()) == baseline


@pytest.mark.parametrize("kind", KINDS)
def test_expectations_of_parts_sum_to_those_of_the_whole(kind: str) -> None:
    """However rows are spread over calls and processes, the sums are the same, and fall on every row once."""
    calibration = calibration_of(kind)
    outputs = outputs_of(kind, seed=9)
    parts = np.array_split(outputs, [1, 7, 500, 501, 4000])
    whole = calibration.expected(outputs)
    np.testing.assert_allclose(np.sum([calibration.expected(part) for part in parts], axis=0), whole, rtol=1e-9)
    assert sum(n for cell, n in by_cell(calibration, outputs).items() if cell[0] == COUNT) == pytest.approx(ROWS)


def test_expected_quality_of_scores_is_that_of_confidence_based_estimation() -> None:
    """Accuracy and F1 equal those computed row by row from the calibrated scores; AUC within 0.005 in twenty bins."""
    calibration = calibration_of("binary")
    assert isinstance(calibration, ScoreCalibration)
    data = scores(seed=3)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores()["score"], scores()["late"])
    share, positive = theirs.predict(data["score"]), data["score"] >= 0.4
    found = by_cell(calibration, data["score"])
    true, false = share[positive].sum(), (1 - share[positive]).sum()
    assert found[COUNT, "right"] / ROWS == pytest.approx((true + (1 - share[~positive]).sum()) / ROWS, abs=0.002)
    f1 = 2 * true / (2 * true + false + share[~positive].sum())
    hits = 2 * found[CLASSIFIED, "1", "1"]
    assert hits / (hits + found[CLASSIFIED, "1", "0"] + found[CLASSIFIED, "0", "1"]) == pytest.approx(f1, abs=0.003)
    ranks = rankdata(data["score"])
    auc = (np.sum(ranks * share) - _lowest(share)) / (share.sum() * (1 - share).sum())
    positives, negatives = (
        np.array([found[SCORED, f"{i:02d}", actual] for i in range(SCORE_BINS)]) for actual in ("1", "0")
    )
    below = np.cumsum(negatives) - negatives
    binned = (positives * (below + negatives / 2)).sum() / (positives.sum() * negatives.sum())
    assert binned == pytest.approx(_expected_auc(data["score"], share), abs=0.005)
    assert math.isfinite(auc)
    # And all of them are near what comes true, since nothing has changed since the reference.
    assert found[COUNT, "right"] / ROWS == pytest.approx(accuracy_score(data["late"], positive), abs=0.02)
    assert f1 == pytest.approx(f1_score(data["late"], positive), abs=0.03)
    assert binned == pytest.approx(roc_auc_score(data["late"], data["score"]), abs=0.02)
