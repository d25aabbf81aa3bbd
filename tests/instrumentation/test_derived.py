"""The derived feature shows drift of correlations that no single feature shows."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2  # type: ignore[import-untyped]

import windvane
from windvane import _baseline_builder as builder
from windvane import semconv
from windvane._derived import MAX_ERROR, RECONSTRUCTION_ERROR, PrincipalComponents
from windvane._statistics import psi
from windvane.baseline import Baseline, BaselineWarning, Feature
from windvane.errors import BaselineError

if TYPE_CHECKING:
    from conftest import Host


def built(frame: Any, **options: Any) -> Baseline:
    """Make a baseline of the model m, version 1."""
    return Baseline.from_frame(frame, **{"model": "m", "version": "1", **options})


def factors(rng: np.random.Generator, rows: int, columns: int) -> dict[str, Any]:
    """Make columns that a few common factors move, the same ones for every seed."""
    loadings = np.random.default_rng(5).normal(size=(max(1, columns // 4), columns))
    values = rng.normal(size=(rows, len(loadings))) @ loadings + 0.5 * rng.normal(size=(rows, columns))
    return {f"x{i}": column for i, column in enumerate(values.T * 3 + 100)}


def independent(rng: np.random.Generator, rows: int, columns: int) -> dict[str, Any]:
    """Make columns that have nothing in common."""
    return {f"x{i}": column for i, column in enumerate(rng.normal(size=(columns, rows)))}


def clustered(rng: np.random.Generator, rows: int, columns: int) -> dict[str, Any]:
    """Make rows that come five at a time."""
    return {name: np.repeat(values, 5) for name, values in factors(rng, rows // 5, columns).items()}


def errors_of(baseline: Baseline, rows: dict[str, Any]) -> Any:
    """Compute the reconstruction errors of rows."""
    components = baseline.principal_components
    assert components is not None
    return components.errors([np.asarray(rows[name], dtype=np.float64) for name in components.inputs])


def shifted(feature: Feature, values: Any) -> bool:
    """Tell whether a window's PSI is above the noise floor of the drift rules."""
    live, reference = feature.bins.count(values)[0], np.array(feature.counts)
    freedom = max(int(np.count_nonzero(live + reference)) - 1, 1)
    floor = (1 / live.sum() + 1 / reference.sum()) * chi2.ppf(0.999, freedom) * feature.dispersion
    return psi(live, reference) > floor


# --- The computation -------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [2, 7, 60])
def test_errors_equal_an_independent_computation(columns: int) -> None:
    """The error is what numpy's SVD of the rows that were fitted leaves of a row."""
    rows = factors(np.random.default_rng(0), 4000, columns)
    baseline = built(rows)
    values = np.array(list(rows.values())).T
    fitted = values.reshape(20, 200, columns)[:, :100].reshape(-1, columns)  # the first half of each of 20 blocks
    mean, scale = fitted.mean(axis=0), fitted.std(axis=0)
    _, singular, directions = np.linalg.svd((fitted - mean) / scale, full_matrices=False)
    explained = np.cumsum(singular**2) / np.sum(singular**2)
    kept = directions[: min(int(np.argmax(explained >= 0.9)) + 1, columns - 1)]
    standard = (values - mean) / scale
    expected = np.sqrt(np.mean((standard - standard @ kept.T @ kept) ** 2, axis=1))
    assert baseline.principal_components is not None
    assert len(baseline.principal_components.components) == len(kept)
    assert errors_of(baseline, rows) == pytest.approx(expected, abs=1e-4)


def test_reference_is_counted_on_the_rows_that_were_not_fitted() -> None:
    """The reference's counts are those of the second half of each block, about a tenth in each bin."""
    rows = factors(np.random.default_rng(1), 8000, 6)
    derived = built(rows).derived
    assert derived is not None
    errors = errors_of(built(rows), rows).reshape(40, 200)[:, 100:].ravel()
    counts, violations = derived.bins.count(errors)
    assert derived.counts == tuple(counts)
    assert derived.rows == 4000
    assert np.array(derived.counts[:10]) / 4000 == pytest.approx(np.full(10, 0.1), abs=0.005)
    assert not violations.any()


def test_missing_and_infinite_values_count_as_the_mean_and_huge_ones_as_ten_deviations() -> None:
    """No value makes an error that is not finite, larger than 10, or that dominates the others."""
    components = PrincipalComponents(("a", "b"), (5.0, 50.0), (1.0, 10.0), ((math.sqrt(0.5), math.sqrt(0.5)),))
    a = np.array([5.0, 6.0, np.nan, np.inf, -np.inf, 1e308, -1e308, 1e308])
    b = np.array([50.0, 60.0, 50.0, 50.0, np.nan, 50.0, 1e308, 1e308])
    assert components.errors([a, b]).tolist() == [0, 0, 0, 0, 0, 5, MAX_ERROR, 0]


def test_any_cut_of_rows_gives_the_same_errors() -> None:
    """A row's error does not depend on the rows beside it."""
    rows = factors(np.random.default_rng(2), 30_000, 9)
    baseline = built(rows)
    whole = errors_of(baseline, rows)
    for size in (1, 777, 29_999):
        last = {name: values[-size:] for name, values in rows.items()}
        assert errors_of(baseline, last).tolist() == whole[-size:].tolist()
    assert errors_of(baseline, {name: [] for name in rows}).shape == (0,)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    columns=st.lists(
        st.lists(st.one_of(st.floats(), st.floats(-2, 2)), min_size=4, max_size=4), min_size=2, max_size=5
    ),
    repeats=st.sampled_from([50, 61]),
)
@pytest.mark.filterwarnings("ignore::windvane.baseline.BaselineWarning")
def test_any_numbers_give_a_baseline_that_can_be_read(columns: list[list[float]], repeats: int) -> None:
    """Constant, huge, tiny, missing and infinite columns give errors from 0 to 10, and a file that can be read."""
    frame = {f"x{i}": values * repeats for i, values in enumerate(columns)}
    try:
        baseline = built(frame)
    except BaselineError:
        return
    assert Baseline.from_json(baseline.to_json()) == baseline
    if baseline.derived is not None:
        errors = errors_of(baseline, frame)
        assert ((errors >= 0) & (errors <= MAX_ERROR)).all()


# --- What it shows ---------------------------------------------------------------------------------


def test_turned_correlation_is_seen_by_the_derived_feature_alone() -> None:
    """Where two inputs begin to move against each other, only the reconstruction error is above the noise floor."""
    reference, live = np.random.default_rng(3), np.random.default_rng(4)

    def rows(rng: np.random.Generator, size: int, sign: float) -> dict[str, Any]:
        pair = rng.normal(size=size)
        return {**independent(rng, size, 6), "a": pair, "b": sign * pair + 0.3 * rng.normal(size=size)}

    baseline = built(rows(reference, 20_000, 1))
    assert baseline.derived is not None
    for size in (300, 2000):
        for _ in range(20):
            clean, turned = rows(live, size, 1), rows(live, size, -1)
            assert not shifted(baseline.derived, errors_of(baseline, clean))
            assert shifted(baseline.derived, errors_of(baseline, turned))
            assert sum(shifted(feature, turned[feature.name]) for feature in baseline.inputs) <= 1


def test_input_that_ceases_to_follow_another_is_seen() -> None:
    """Where one input determines the other, every error is 0, and any other is seen, in single precision too."""
    rng = np.random.default_rng(5)
    miles = rng.uniform(100, 2000, 5000)
    baseline = built({"miles": miles, "kilometres": miles * 1.609344})
    assert baseline.derived is not None
    single = np.float32(miles)
    assert not shifted(baseline.derived, errors_of(baseline, {"miles": single, "kilometres": single * 1.609344}))
    apart = {"miles": miles[:300], "kilometres": rng.permutation(miles[:300]) * 1.609344}
    assert shifted(baseline.derived, errors_of(baseline, apart))


@pytest.mark.parametrize(
    ("make", "columns", "rows"),
    [(independent, 2, 400), (independent, 30, 2000), (factors, 10, 400), (factors, 30, 5000), (clustered, 10, 20_000)],
)
def test_clean_windows_are_below_the_noise_floor(make: Any, columns: int, rows: int) -> None:
    """Hardly one clean window in a hundred is called shifted, however few rows there are for each column."""
    alarms = windows = 0
    for seed in range(10):
        rng = np.random.default_rng([seed, columns])
        baseline = built(make(rng, rows, columns))
        assert baseline.derived is not None
        for size in (500, 2000):
            for _ in range(10):
                alarms += shifted(baseline.derived, errors_of(baseline, make(rng, size, columns)))
                windows += 1
    assert alarms / windows <= 0.015


# --- The artifact ----------------------------------------------------------------------------------


def test_identity_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any cut of the data gives the same components and counts, with a sample of the rows too."""
    rows = {**factors(np.random.default_rng(6), 20_000, 8), "flag": np.random.default_rng(7).random(20_000) < 0.2}
    options = builder.Options(model="m", version="1")
    for limit in (100_000, 3000):
        monkeypatch.setattr(builder, "SAMPLE_LIMIT", limit)
        made = set()
        for size in (20_000, 7001, 999):
            chunks = [{name: v[i : i + size] for name, v in rows.items()} for i in range(0, 20_000, size)]
            made.add(builder.build(list(rows), lambda chunks=chunks: chunks, options)[0].id)  # type: ignore[misc]
        assert len(made) == 1


def test_output_texts_categories_and_constants_are_no_part_of_it() -> None:
    """It is made of the numeric inputs that vary."""
    rng = np.random.default_rng(8)
    frame = {
        **independent(rng, 400, 2),
        "flag": rng.random(400) < 0.5,
        "hour": rng.integers(0, 24, 400),
        "text": rng.choice(["a", "b"], 400),
        "constant": np.full(400, 0.1),
        "y": rng.normal(size=400),
    }
    components = built(frame, output="y", categorical=["hour"]).principal_components
    assert components is not None
    assert components.inputs == ("x0", "x1", "flag")


@pytest.mark.parametrize(("rows", "columns", "there"), [(199, 3, False), (200, 3, True), (5000, 1, False)])
def test_few_rows_or_one_column_have_none(rows: int, columns: int, there: bool) -> None:  # noqa: FBT001
    """It takes 200 rows and two columns."""
    baseline = built(independent(np.random.default_rng(9), rows, columns))
    assert (baseline.derived is not None) is (baseline.principal_components is not None) is there


def test_column_of_its_name_is_kept_and_named() -> None:
    """Where the data has such a column there is no derived feature, and a warning says so."""
    rows = {**independent(np.random.default_rng(10), 400, 2), RECONSTRUCTION_ERROR: np.arange(400.0)}
    with pytest.warns(BaselineWarning, match="'reconstruction_error' has the name.*rename"):
        baseline = built(rows)
    assert baseline.derived is None
    assert [f.role for f in baseline.features] == ["input"] * 3


def test_it_covers_a_bounded_number_of_inputs() -> None:
    """Of more than 200 numeric inputs it takes the first 200, and a warning says so."""
    with pytest.warns(BaselineWarning, match="covers the first 200 of 203 numeric inputs"):
        baseline = built(independent(np.random.default_rng(11), 400, 203))
    assert baseline.principal_components is not None
    assert baseline.principal_components.inputs == tuple(f"x{i}" for i in range(200))


PART = "principal_components"


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ((PART,), KeyError, "^principal_components: must be there"),
        ((PART,), [], r"^principal_components: \[\] is not an object"),
        ((PART, "surprise"), 1, r"^principal_components\.surprise: is an unknown field"),
        ((PART, "inputs"), ["x0", "x0", "x1"], "inputs: must be 2 to 200 different"),
        ((PART, "inputs"), ["x0"], "inputs: must be 2 to 200 different"),
        ((PART, "inputs", 0), "absent", "inputs: 'absent' is no input with numeric bins"),
        ((PART, "inputs", 0), "y", "inputs: 'y' is no input"),
        ((PART, "inputs", 0), 1, r"inputs\[0\]: 1 is not a text"),
        ((PART, "means"), [1.0], "means: must be a finite number for each of the 3"),
        ((PART, "means", 0), "1", r"means\[0\]: '1' is not a finite number"),
        ((PART, "means", 0), 10**400, r"means\[0\]: "),
        ((PART, "scales", 1), 0, "scales: must be a finite number above 0"),
        ((PART, "scales", 1), -1.0, "scales: must be a finite number above 0"),
        ((PART, "components"), [], "components: must be 1 to 2 lists of 3"),
        ((PART, "components"), [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]], "components: must be 1 to 2 lists of 3"),
        ((PART, "components"), [[1.0]] * 10**5, "components: there are 100000"),
        ((PART, "components", 0), [1.0, 0], "components: must be 1 to 2 lists of 3"),
        ((PART, "components", 0), 1, r"components\[0\]: 1 is not a list"),
        ((PART, "components", 0), [1e308, 1e308, 0], "components: must be of length 1"),
        ((PART, "components", 0), [0.5, 0, 0], "components: must be of length 1"),
        ((PART, "components"), [[1.0, 0, 0], [0.6, 0.8, 0]], "components: must be of length 1 and at right angles"),
        ((PART, "means", 0), 0.125, "^id: .*edited by hand"),
        (("features", 0, "role"), "derived", "must be there if one feature has the role derived"),
        (("features", 4, "role"), "input", "'reconstruction_error': counts: their sum is 200, but rows is 400"),
        (("features", 4, "name"), "other", "'other': the derived feature is reconstruction_error"),
        (("features", 4, "counts", "00"), 10**6, "'reconstruction_error': counts: their sum is"),
        (("features", 4, "importance"), 0.0, "'reconstruction_error': importance: only inputs"),
    ],
)
def test_changed_file_is_refused_with_the_name_of_the_field(path: tuple[Any, ...], value: object, says: str) -> None:
    """Every number of the components is checked before it is used."""
    rng = np.random.default_rng(12)
    document = json.loads(built({**factors(rng, 400, 3), "y": rng.normal(size=400)}, output="y").to_json())
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(BaselineError, match=says):
        Baseline.from_json(json.dumps(document))


# --- Live ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["frame", "dicts", "array"])
def test_live_rows_are_counted_as_the_reference_was(host: Host, model_name: str, shape: str) -> None:
    """Frames, dicts and arrays leave as the counts that the errors of their rows have, with the role derived."""
    rng = np.random.default_rng(13)
    baseline = built(factors(rng, 2000, 5), model=model_name)
    assert baseline.derived is not None
    predict = windvane.Model(model_name, version="1", baseline=baseline).predict(lambda _rows: 0.5)
    frame = pd.DataFrame(factors(rng, 300, 5))
    frame.iloc[::7, 2] = np.nan
    predict({"frame": frame, "dicts": frame.to_dict("records"), "array": frame.to_numpy()}[shape])
    expected = baseline.derived.bins.count(errors_of(baseline, {name: frame[name] for name in frame}))[0]
    live = host.measured(
        "ml.feature.observations", **{semconv.MODEL_NAME.name: model_name, semconv.FEATURE_ROLE.name: "derived"}
    )
    assert {point.attributes[semconv.FEATURE_NAME.name] for point in live} == {RECONSTRUCTION_ERROR}
    counted = {point.attributes[semconv.FEATURE_BIN.name]: point.value for point in live}
    assert counted == dict(zip(baseline.derived.bins.labels, expected.tolist(), strict=True))
    reference = host.measured(
        "ml.feature.reference.observations",
        **{semconv.MODEL_NAME.name: model_name, semconv.FEATURE_ROLE.name: "derived"},
    )
    assert sum(point.value for point in reference) == 1000


def test_values_of_other_types_count_as_the_mean(host: Host, model_name: str) -> None:
    """Text among numbers is a violation of its own feature and leaves the derived one counted."""
    rng = np.random.default_rng(14)
    baseline = built(factors(rng, 2000, 2), model=model_name)
    predict = windvane.Model(model_name, version="1", baseline=baseline).predict(lambda _rows: 0.5)
    predict([{"x0": "oops", "x1": 100.0}, {"x0": None}, {}])
    wanted = {semconv.MODEL_NAME.name: model_name, semconv.FEATURE_ROLE.name: "derived"}
    assert sum(point.value for point in host.measured("ml.feature.observations", **wanted)) == 3
    violations = {
        (point.attributes[semconv.FEATURE_NAME.name], point.attributes[semconv.VIOLATION_KIND.name]): point.value
        for point in host.measured("ml.feature.violations", **{semconv.MODEL_NAME.name: model_name})
        if point.value
    }
    assert violations == {("x0", "type"): 1, ("x0", "missing"): 2, ("x1", "missing"): 2}


def test_column_that_cannot_be_read_leaves_the_derived_feature_uncounted(host: Host, model_name: str) -> None:
    """Where a name stands over two columns of a frame, nothing is made up from the others."""
    rng = np.random.default_rng(15)
    baseline = built(factors(rng, 2000, 3), model=model_name)
    predict = windvane.Model(model_name, version="1", baseline=baseline).predict(lambda _rows: 0.5)
    frame = pd.DataFrame(factors(rng, 50, 3))
    predict(pd.concat([frame, frame[["x1"]]], axis=1))
    points = host.measured("ml.feature.observations", **{semconv.MODEL_NAME.name: model_name})
    counted: dict[str, float] = {}
    for point in points:
        name = point.attributes[semconv.FEATURE_NAME.name]
        counted[name] = counted.get(name, 0) + point.value
    assert counted == {"x0": 50, "x1": 0, "x2": 50, RECONSTRUCTION_ERROR: 0}
