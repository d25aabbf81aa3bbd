"""A baseline knows how right predictions are; the worker counts, in fractions, the outcomes that it expects of them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, roc_auc_score

import windvane
from windvane import Baseline, DeclarationError, Outcomes, _baseline_builder, semconv
from windvane._calibration_builder import isotonic
from windvane.budget import budget
from windvane.calibration import Calibration, ClassCalibration, Knots, NumberCalibration, ScoreCalibration
from windvane.errors import BaselineError
from windvane.outcomes import SCORE_BINS, predictions_of, score_bin
from windvane.tokens import PredictedScore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from receivers import OtlpReceiver
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
    """From scikit-learn's regression on every row they differ by 0.005 on average, 0.1 at most, 0.001 in their mean."""
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


@pytest.mark.parametrize("bend", [1, 4])
def test_knots_of_many_corners_are_within_two_percent_of_the_rise(bend: int) -> None:
    """Where the regression has more corners than there are knots, no score is further from scikit-learn's than that."""
    steps, place = np.divmod(np.arange(201 * 200), 200)
    late = place < np.round(200 * (steps / 200) ** bend)
    score = steps / 200
    data = {"score": score, "late": late, "x": place}
    calibration = Baseline.from_frame(data, model="m", version="1", **OPTIONS["binary"]).calibration
    assert isinstance(calibration, ScoreCalibration)
    single = score.astype(np.float32).astype(float)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(single, late)
    at = np.linspace(0, 1, 5001)
    assert np.abs(calibration.share(at) - theirs.predict(at)).max() <= 0.02
    assert len(theirs.X_thresholds_) > 101 >= len(calibration.share.at)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.one_of(st.floats(0, 1), st.just(0.5)), st.booleans()), min_size=100, max_size=400),
    st.floats(0.01, 0.99),
)
def test_shares_rise_and_scores_of_the_reference_are_all_counted(pairs: list[tuple[float, bool]], cut: float) -> None:
    """Whatever the rows are, the knots never fall, the cells of scores sum to these, and the file reads the same."""
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
    positives, negatives = (
        np.array([found[SCORED, f"{i:02d}", actual] for i in range(SCORE_BINS)]) for actual in ("1", "0")
    )
    below = np.cumsum(negatives) - negatives
    binned = (positives * (below + negatives / 2)).sum() / (positives.sum() * negatives.sum())
    # Each row is partly positive and partly negative.
    both = {"y_true": np.repeat([1, 0], ROWS), "sample_weight": np.concatenate([share, 1 - share])}
    auc = roc_auc_score(y_score=np.tile(data["score"], 2), **both)
    assert binned == pytest.approx(auc, abs=0.005)
    # And all of them are near what comes true, since nothing has changed since the reference.
    assert found[COUNT, "right"] / ROWS == pytest.approx(accuracy_score(data["late"], positive), abs=0.02)
    assert f1 == pytest.approx(f1_score(data["late"], positive), abs=0.03)
    assert binned == pytest.approx(roc_auc_score(data["late"], data["score"]), abs=0.02)


def test_scores_at_the_threshold_are_as_positive_as_in_a_token() -> None:
    """Predicted classes follow from the rounded score, in the calibration as in the outcomes that come later."""
    outcomes = Outcomes("binary", threshold=0.7)
    calibration = calibration_of("binary", outcomes=outcomes)
    at = [0.7, float(np.float32(0.7)), float(np.nextafter(0.7, 0)), 0.69999, 0.70001, np.float32(0.7), 0, 1]
    for score, predicted in zip(at, predictions_of(outcomes, at), strict=True):
        assert isinstance(predicted, PredictedScore)
        label = semconv.OUTCOME_POSITIVE if predicted.positive else semconv.OUTCOME_NEGATIVE
        found = by_cell(calibration, [score])
        assert found[CLASSIFIED, label, "0"] + found[CLASSIFIED, label, "1"] == pytest.approx(1), score
        assert found[SCORED, score_bin(predicted.score), "0"] + found[SCORED, score_bin(predicted.score), "1"] == (
            pytest.approx(1)
        )


def test_expected_quality_of_classes_is_that_of_one_against_the_rest() -> None:
    """Each cell of the confusion matrix is within 0.3 % of the rows of what scikit-learn gives class by class."""
    reference, data = classes(), classes(seed=3)
    shares = np.array(
        [
            IsotonicRegression(out_of_bounds="clip").fit(reference[name], reference["actual"] == i).predict(data[name])
            for i, name in enumerate(PROBABILITIES)
        ]
    ).T
    shares /= shares.sum(axis=1, keepdims=True)
    found = by_cell(calibration_of("probabilities"), np.array([data[name] for name in PROBABILITIES]).T)
    for predicted in range(3):
        for actual in range(3):
            theirs = shares[data["class"] == predicted, actual].sum() / ROWS
            assert found[CLASSIFIED, str(predicted), str(actual)] / ROWS == pytest.approx(theirs, abs=0.003)
    right = accuracy_score(data["actual"], data["class"])
    assert found[COUNT, "right"] / ROWS == pytest.approx(right, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_expectations_of_the_references_own_rows_are_what_it_holds(kind: str) -> None:
    """What is expected of the very rows that were calibrated is what came true of them."""
    calibration = calibration_of(kind)
    expected, held = by_cell(calibration, outputs_of(kind, seed=0)), referred(calibration)
    names = {
        COUNT: semconv.OUTCOME_REFERENCE_COUNT.name,
        CLASSIFIED: semconv.OUTCOME_REFERENCE.name,
        SCORED: semconv.OUTCOME_REFERENCE_SCORED.name,
        ABSOLUTE: semconv.OUTCOME_REFERENCE_ABSOLUTE_ERROR.name,
    }
    for (metric, *attributes), value in expected.items():
        within = 1e-9 if kind == "multiclass" else 0.012 * (held[names[metric],] if metric == ABSOLUTE else ROWS)
        assert value == pytest.approx(held[names[metric], *attributes], abs=within), (metric, attributes)


def test_reference_holds_what_scikit_learn_counts() -> None:
    """Confusion, score bins, absolute errors and scale of the reference are exact."""
    data = scores()
    held = referred(calibration_of("binary"))
    confusion = confusion_matrix(data["late"], data["score"] >= 0.4)
    for actual, row in enumerate(confusion.tolist()):
        for predicted, number in enumerate(row):
            assert held[semconv.OUTCOME_REFERENCE.name, str(predicted), str(actual)] == number
    bins = np.minimum((data["score"].astype(np.float32) * 20).astype(int), 19)
    assert held[semconv.OUTCOME_REFERENCE_SCORED.name, "07", "1"] == np.count_nonzero(data["late"] & (bins == 7))
    data = numbers()
    held = referred(calibration_of("regression"))
    errors = np.abs(data["delay"] - data["actual"])
    assert held[semconv.OUTCOME_REFERENCE_COUNT.name, "right"] == np.count_nonzero(errors <= 2)
    assert held[semconv.OUTCOME_REFERENCE_ABSOLUTE_ERROR.name,] == pytest.approx(errors.sum(), rel=1e-9)
    assert held[semconv.OUTCOME_SCALE.name,] == pytest.approx(data["actual"].std(), rel=1e-9)


def test_expected_errors_follow_the_predicted_number() -> None:
    """Numbers of which the reference missed more are expected to be missed by more."""
    calibration = calibration_of("regression")
    for predicted in (2.0, 10.0, 30.0):
        error = by_cell(calibration, np.full(100, predicted))[ABSOLUTE,] / 100
        assert error == pytest.approx(predicted / 4 * math.sqrt(2 / math.pi), rel=0.3)
    without = calibration_of("regression", outcomes=Outcomes("regression"))
    assert by_cell(without, np.ones(10))[COUNT, "unjudged"] == 10


def test_what_cannot_be_a_prediction_is_not_expected() -> None:
    """Missing, infinite and impossible outputs, and classes that nobody knows, add nothing."""
    score = calibration_of("binary")
    assert score.expected([None, math.nan, math.inf, -0.1, 1.1, "0.5"]).sum() == 0
    assert by_cell(score, [0.0, 1, True, np.float32(0.5)])[COUNT, "right"] > 0
    assert calibration_of("regression").expected([None, math.nan, -math.inf, "late"]).sum() == 0
    of_class = calibration_of("multiclass")
    assert of_class.expected([None, math.nan, 7, "x", object()]).sum() == 0
    of_probabilities = calibration_of("probabilities")
    assert of_probabilities.expected(np.array([[math.nan, 0.5, 0.5]])).sum() == 0
    assert of_probabilities.expected(np.array([[0.5, 0.5]])).sum() == 0
    impossible = Knots((0.0, 1.0), (0.0, 0.0))
    never = ClassCalibration(("0", "1"), ((1, 0), (0, 1)), (1, 1), (impossible, impossible))
    assert by_cell(never, np.array([[0.25, 0.75]]))[COUNT, "right"] == 0.75


def test_rare_classes_share_one_name() -> None:
    """A class of fewer rows than are asked for is not in the file; among those of one name, right is still right."""
    rng = np.random.default_rng(0)
    predicted = rng.choice(["a", "b", "rare-1", "rare-2"], 2000, p=[0.6, 0.397, 0.0015, 0.0015])
    actual = np.where(rng.random(2000) < 0.8, predicted, "a")
    data = {"x": rng.normal(size=2000), "class": predicted, "actual": actual}
    options = {**OPTIONS["multiclass"], "min_category_count": 10}
    baseline = Baseline.from_frame(data, model="m", version="1", **options)
    assert "rare" not in baseline.to_json()
    calibration = baseline.calibration
    assert isinstance(calibration, ClassCalibration)
    assert calibration.classes == ("a", "b", semconv.OTHER_CLASS)
    held = referred(calibration)
    assert held[semconv.OUTCOME_REFERENCE_COUNT.name, "right"] == np.count_nonzero(predicted == actual)
    assert calibration.expected(["new"])[:2].sum() == pytest.approx(1)
    many = {**data, "class": np.arange(2000) % 50, "actual": np.arange(2000) % 50}
    of_many = Baseline.from_frame(many, model="m", version="1", **OPTIONS["multiclass"]).calibration
    assert isinstance(of_many, ClassCalibration)
    assert len(of_many.classes) == 31
    assert by_cell(of_many, np.arange(50))[COUNT, "right"] == pytest.approx(50)


@pytest.mark.parametrize("kind", KINDS)
def test_a_calibration_does_not_depend_on_the_chunks(kind: str) -> None:
    """Data in one piece and in several give the same baseline, whose identity covers the calibration."""
    of = "multiclass" if kind == "probabilities" else kind
    data = DATA[of]()
    probabilities = PROBABILITIES if kind == "probabilities" else ()
    options = _baseline_builder.Options(model="m", version="1", probabilities=probabilities, **OPTIONS[of])
    cuts = [0, 10, 2500, 2501, ROWS]
    chunks = [{name: column[a:b] for name, column in data.items()} for a, b in pairwise(cuts)]
    whole, _ = _baseline_builder.build(list(data), lambda: [data], options)
    parts, _ = _baseline_builder.build(list(data), lambda: chunks, options)
    assert parts == whole
    assert parts.id == whole.id
    assert built(kind, seed=1).id != built(kind).id


def test_no_row_stands_in_a_calibration() -> None:
    """Every knot is the mean of several rows, also at the ends, where scores are rare."""
    data = {name: column[:1000] for name, column in scores().items()}
    data["score"][:3], data["late"][:3] = [0.999, 0.998, 0.0001], [False, True, True]
    with_few = Baseline.from_frame(data, model="m", version="1", **OPTIONS["binary"]).calibration
    assert isinstance(with_few, ScoreCalibration)
    assert not {float(f"{np.float32(score):.6g}") for score in data["score"]} & set(with_few.share.at)
    assert 0 < with_few.share.values[-1] < 1
    of_numbers = calibration_of("regression")
    assert isinstance(of_numbers, NumberCalibration)
    smallest, *_, largest = np.sort(numbers()["delay"])[::20]
    assert smallest < of_numbers.absolute_error.at[0]
    assert of_numbers.absolute_error.at[-1] < largest


def test_texts_and_missing_actuals_are_read() -> None:
    """True and false may be texts, and rows whose actual is missing are left out."""
    data = scores()
    texts = np.array(["True" if late else "false" for late in data["late"]], dtype=object)
    texts[:1000] = None
    calibration = Baseline.from_frame({**data, "late": texts}, model="m", version="1", **OPTIONS["binary"]).calibration
    rest = {name: column[1000:] for name, column in data.items()}
    assert calibration == Baseline.from_frame(rest, model="m", version="1", **OPTIONS["binary"]).calibration


# --- Bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outcomes": None}, "say what it predicts"),
        ({"output": None}, "name the column of that as `output`"),
        ({"actual": None}, "name it as `actual`"),
        ({"actual": "lat"}, "did you mean 'late'"),
        ({"actual": "score"}, "'score': must be one of output, actual and probabilities only"),
        ({"exclude": ["late"]}, "do not exclude it"),
        ({"probabilities": ["x"]}, "for the kind 'multiclass'"),
        ({"outcomes": Outcomes("ranking")}, "no calibration of the kind 'ranking'"),
        ({"actual": "x"}, "neither true or false nor 1 or 0"),
        ({"output": "x", "actual": "late", "data": {"x": np.arange(2, 302)}}, "0 rows have both a score"),
        ({"data": {"score": np.full(300, np.nan), "x": np.arange(300)}}, "output 'score': has no values"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(options: dict[str, Any], message: str) -> None:
    """The error names the option and what to do."""
    data = {name: column[:300] for name, column in scores().items()} | options.pop("data", {})
    with pytest.raises(BaselineError, match=message):
        Baseline.from_frame(data, model="m", version="1", **{**OPTIONS["binary"], **options})


def test_classes_that_are_none_are_refused() -> None:
    """Probabilities need classes by their numbers, and keys of every row are no classes."""
    data = classes()
    with pytest.raises(BaselineError, match="another class than 0 to 1"):
        Baseline.from_frame(data, model="m", version="1", probabilities=["p0", "p1"], **OPTIONS["multiclass"])
    keys = {"class": np.arange(120_000) % 3, "actual": np.arange(120_000)}
    with pytest.raises(BaselineError, match="too many different values"):
        Baseline.from_frame(keys, model="m", version="1", **OPTIONS["multiclass"])


def test_rough_calibrations_are_told_of() -> None:
    """Few rows, and outcomes that are all the same, are warned of."""
    data = {name: column[:500] for name, column in scores().items()}
    with pytest.warns(windvane.baseline.BaselineWarning, match="500 rows only"):
        Baseline.from_frame(data, model="m", version="1", **OPTIONS["binary"])
    data = {**scores(), "late": np.zeros(ROWS)}
    with pytest.warns(windvane.baseline.BaselineWarning, match="the same in every row"):
        Baseline.from_frame(data, model="m", version="1", **OPTIONS["binary"])


@pytest.mark.parametrize(
    ("kind", "path", "value", "message"),
    [
        ("binary", ("kind",), "ranking", "calibration.kind: 'ranking' is none of"),
        ("binary", ("new",), 1, "calibration.new: is an unknown field"),
        ("binary", ("threshold",), 2, "calibration.threshold"),
        ("binary", ("knots", "at", 0), 5, "calibration.knots: must be finite and strictly increasing"),
        ("binary", ("knots", "share", 0), 0.99, "calibration.knots: the values must be shares that never fall"),
        ("binary", ("knots", "share"), [], "calibration.knots: must be 1 to 101"),
        ("binary", ("classified", 0, 0), -1, "calibration.classified: must be 2 x 2 whole numbers"),
        ("binary", ("classified", 0), 1, "calibration.classified.0.: 1 is not a list"),
        ("binary", ("scored", 0), [1], "calibration.scored: must be 2 x 20"),
        ("binary", ("scored", 0, 3), 10**9, "calibration.scored: must hold as many rows"),
        ("multiclass", ("classes",), ["0"] * 3, "calibration.classes: must be 1 to 30"),
        ("multiclass", ("classes", 0), "x" * 40, "calibration.classes: each must be a text of at most 32 bytes"),
        ("multiclass", ("right", 0), 0, "calibration.right: must be what classified holds"),
        ("multiclass", ("right", 0), 0.5, "calibration.right.0.: 0.5 is not a whole number"),
        ("probabilities", ("knots", 0), 1, "calibration.knots.0.: 1 is not an object"),
        ("probabilities", ("knots",), [], None),
        ("regression", ("tolerance",), -1, "calibration.tolerance"),
        ("regression", ("rows",), 10**9, "calibration: it was made of 1000000000 rows"),
        ("regression", ("total_right",), 10**9, "calibration.rows: must be at least 1"),
        ("regression", ("scale",), -1, "calibration.scale: must be finite"),
        ("regression", ("knots", "absolute_error", 0), -1, "calibration.knots: the values must be finite"),
        ("regression", ("knots", "right", 0), 2, "calibration.knots: the values must be shares"),
    ],
)
def test_a_file_that_was_changed_is_refused_by_the_fields_name(
    kind: str, path: tuple[Any, ...], value: object, message: str | None
) -> None:
    """Each field of a calibration is checked for its type and its meaning; else the identity tells."""
    document = json.loads(built(kind).to_json())
    part = document["calibration"]
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    with pytest.raises(BaselineError, match=message or "is not the content's"):
        Baseline.from_json(json.dumps(document))


def test_a_calibration_needs_an_output() -> None:
    """Without an output there is nothing that could be right."""
    document = json.loads(built("binary").to_json())
    document["features"] = [f for f in document["features"] if f["role"] != "output"]
    with pytest.raises(BaselineError, match="calibration: there is no output"):
        Baseline.from_json(json.dumps(document))


def test_numbers_made_by_hand_are_checked() -> None:
    """A tolerance and the shares within it come together."""
    flat = Knots((0.0,), (1.0,))
    with pytest.raises(BaselineError, match=r"knots.right: must be there with a tolerance"):
        NumberCalibration(1.0, flat, None, 100, 1.0, 0, 1.0)


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        (Outcomes("binary"), "Outcomes.threshold: 0.5 is declared, but the calibration of the baseline .* with 0.4"),
        (Outcomes("regression"), "Outcomes.kind: 'regression' is declared"),
    ],
)
def test_a_model_declares_what_its_baseline_was_calibrated_with(
    outcomes: Outcomes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another kind, threshold or tolerance would make estimated and realised quality two different things."""
    monkeypatch.setenv("WINDVANE_TOKEN_KEYS", "unsigned")
    with pytest.raises(DeclarationError, match=message):
        windvane.Model("m", version="1", baseline=built("binary"), outcomes=outcomes)


# --- The worker ----------------------------------------------------------------------------------------------------


def exported(host: Host, metric: str, model: str) -> dict[tuple[str, ...], float]:
    """Return what was exported last of a metric, by the attributes beside the model."""
    points = host.measured(metric, **{semconv.MODEL_NAME.name: model})
    own = {semconv.MODEL_NAME.name, semconv.MODEL_VERSION.name}
    return {tuple(v for k, v in sorted(p.attributes.items()) if k not in own): p.value for p in points}


@pytest.mark.parametrize("kind", KINDS)
def test_worker_counts_what_is_expected_of_every_output(kind: str, host: Host, model_name: str) -> None:
    """Batches, single rows and streams sum to what the calibration says of them all, after a first export of zero."""
    baseline = built(kind, model=model_name)
    assert baseline.calibration is not None
    outputs = outputs_of(kind, seed=5)[:300]
    model = windvane.Model(model_name, version="1", baseline=baseline)
    predict = model.predict(lambda _rows, answer: answer)
    assert set(exported(host, COUNT, model_name).values()) == {0}

    host.otlp.metrics.clear()
    predict(np.zeros((200, 1)), outputs[:200])
    predict([{"x": 0.0}] * 50, outputs[200:250].tolist())
    for output in outputs[250:275]:
        answer = output.tolist()
        predict({"x": 0.0}, answer)

    @model.predict
    def stream(_row: dict[str, float]) -> Iterator[object]:
        for output in outputs[275:]:
            yield output.tolist()

    list(stream({"x": 0.0}))
    expected = by_cell(baseline.calibration, outputs)
    for metric in {cell.metric.name for cell in baseline.calibration.cells}:
        found = exported(host, metric, model_name)
        assert sum(found.values()) == pytest.approx(sum(n for cell, n in expected.items() if cell[0] == metric))
    found = exported(host, COUNT, model_name)
    assert found == {key: pytest.approx(expected[COUNT, *key]) for key in found}
    held = referred(baseline.calibration)
    for metric in {cell[0] for cell in held}:
        values = exported(host, metric, model_name).values()
        assert sorted(values) == sorted(n for cell, n in held.items() if cell[0] == metric)
    assert not host.measured(semconv.RECORDS_DROPPED.name, **{semconv.MODEL_NAME.name: model_name})[0].value


def test_probabilities_that_are_not_there_are_counted_as_lost(host: Host, model_name: str) -> None:
    """Nothing is expected of a class alone where the baseline knows probabilities; as an output it counts."""
    predict = windvane.Model(model_name, version="1", baseline=built("probabilities", model=model_name)).predict(
        lambda _rows, answer: answer
    )
    predict({"x": 1.0}, 2)
    predict({"x": 1.0}, [0.25, 0.5, 0.25])
    predict({"x": 1.0}, [0.5, 0.5])
    lost = {"ml.model.name": model_name, semconv.DROP_REASON.name: "unsupported_output"}
    assert [point.value for point in host.measured(semconv.RECORDS_DROPPED.name, **lost)] == [2]
    assert exported(host, semconv.FEATURE_OBSERVATIONS.name, model_name)["c01", "class", "output"] == 1
    assert sum(exported(host, COUNT, model_name).values()) == pytest.approx(1)


PART = """
import sys
from pathlib import Path
import numpy as np
import windvane

windvane.configure()
for path in Path(sys.argv[1]).glob("*.json"):
    outputs = np.load(path.with_suffix(".npy"))[int(sys.argv[2]) :: 3]
    model = windvane.Model(path.stem, version="1", baseline=path)
    with model.prediction(np.zeros((len(outputs), 1))) as prediction:
        prediction.output = outputs
assert windvane.flush(30)
"""


def test_processes_sum_to_the_whole(otlp: OtlpReceiver, tmp_path: Path) -> None:
    """What three processes export of a third of the rows each is, added up, what is expected of all of them."""
    baselines = {kind: built(kind, model=kind) for kind in KINDS}
    for kind, baseline in baselines.items():
        baseline.save(tmp_path / f"{kind}.json")
        np.save(tmp_path / f"{kind}.npy", outputs_of(kind, seed=5))
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint}
    processes = [
        subprocess.Popen([sys.executable, "-c", PART, tmp_path, str(part)], env=environment) for part in range(3)
    ]
    try:
        assert [process.wait(60) for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for kind, baseline in baselines.items():
        assert baseline.calibration is not None
        whole = baseline.calibration.expected(outputs_of(kind, seed=5))
        for (metric, attributes), value in zip(baseline.calibration.cells, whole, strict=True):
            parts = otlp.points(metric.name, **{semconv.MODEL_NAME.name: kind}, **attributes)
            assert len(parts) == 3
            assert sum(part for _, part in parts) == pytest.approx(value), (kind, metric.name, attributes)


def test_a_forked_child_begins_at_zero(host: Host, model_name: str) -> None:
    """What the parent expected is not counted again by its child."""
    baseline = built("binary", model=model_name)
    model = windvane.Model(model_name, version="1", baseline=baseline)
    model.predict(lambda _rows: np.full(100, 0.7))(np.zeros((100, 1)))
    assert sum(exported(host, COUNT, model_name).values()) == pytest.approx(100)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, f"{model._counters._expected.sum():g}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"0"
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("kind", KINDS)
def test_the_budget_of_a_calibration_is_what_prometheus_gets(kind: str, host: Host, model_name: str) -> None:
    """What is exported of expected outcomes and of the reference's is in the budget of the model, series by series."""
    baseline = built(kind, model=model_name)
    assert baseline.calibration is not None
    windvane.Model(model_name, version="1", baseline=baseline)
    cells = [*baseline.calibration.cells, *(cell for cell, _ in baseline.calibration.reference)]
    exported_series = sum(len(exported(host, metric, model_name)) for metric in {cell.metric.name for cell in cells})
    bare = Baseline.from_frame(scores(), model="m", version="1", output="score", exclude=["late"])
    assert budget(baseline).model - budget(bare).model == len(cells) == exported_series
