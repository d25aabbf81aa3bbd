"""Profiles are compared by statistics that are those of the raw rows, and say what has drifted."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from windvane.baseline import Baseline, BaselineWarning
from windvane.profiles import DatasetProfile, ProfileError
from windvane_processors.profile.comparison import ColumnComparison, compare
from windvane_processors.profile.page import html_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SHARE_ERROR = 0.005
"""Of a share from a KLL sketch of k = 1024: 0.0035 in 99 of 100 cases; the seeds are fixed, the sketch is not."""


def profile_of(columns: Mapping[str, Any], **options: Any) -> DatasetProfile:
    """Make a profile as it is after a way through a file."""
    profile = DatasetProfile(**options)
    profile.track(columns)
    return DatasetProfile.deserialize(profile.serialize())


def compare_one(reference: object, current: object, **options: Any) -> ColumnComparison:
    comparison = compare(profile_of({"x": reference}, **options), profile_of({"x": current}, **options))
    return comparison.columns[0]


def raw_counts(values: NDArray[np.float64], edges: tuple[float, ...]) -> NDArray[np.int64]:
    """Count raw rows by bins that are closed on the right, then missing ones."""
    present = values[~np.isnan(values)]
    return np.append(
        np.bincount(np.searchsorted(edges, present, side="left"), minlength=len(edges) + 1), values.size - present.size
    )


def smoothed(counts: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    used = (counts + other) > 0
    shares = counts[used] + 0.5
    return np.asarray(shares / shares.sum())


def numbers(rows: int, seed: int, factor: float = 1.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    values = rng.gamma(3, 300, rows) * factor
    values[rng.random(rows) < 0.03] = np.nan
    return values


def test_statistics_of_numbers_are_those_of_the_rows_where_the_sketch_keeps_them_all() -> None:
    """Up to 1000 rows every statistic equals numpy's and scipy's on the raw rows."""
    reference, current = numbers(1000, 0), numbers(900, 1, factor=1.1)
    column = compare_one(reference, current)
    assert column.histogram is not None
    m, n = (raw_counts(values, column.histogram.edges) for values in (reference, current))
    assert np.allclose(np.array(column.histogram.reference[:-1]) * 1000, m)
    assert np.allclose(np.array(column.histogram.current[:-1]) * 900, n)
    p, q = smoothed(n, m), smoothed(m, n)
    assert column.psi == pytest.approx(np.sum((p - q) * np.log(p / q)), rel=1e-9)
    middle = (p + q) / 2
    assert column.js_divergence == pytest.approx(
        (stats.entropy(p, middle, base=2) + stats.entropy(q, middle, base=2)) / 2, rel=1e-9
    )
    assert column.hellinger == pytest.approx(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / math.sqrt(2), rel=1e-9)
    table = stats.chi2_contingency(np.array([n, m])[:, (n + m) > 0], correction=False)
    assert column.chi_squared is not None
    assert column.chi_squared.statistic == pytest.approx(table.statistic, rel=1e-9)
    assert column.chi_squared.p_value == pytest.approx(table.pvalue, rel=1e-6)
    before, now = (values[~np.isnan(values)] for values in (reference, current))
    assert column.ks == pytest.approx(stats.ks_2samp(now, before).statistic, abs=1e-12)
    distance = stats.wasserstein_distance(now, before) / before.std(ddof=1)
    assert column.wasserstein == pytest.approx(distance, rel=1e-9)


def test_statistics_of_many_numbers_are_within_what_the_sketch_can_be_wrong() -> None:
    """Above it they differ by no more than the sketches' error in each share allows."""
    rows = 200_000
    rng = np.random.default_rng(2)
    reference, current = rng.beta(2, 5, rows), rng.beta(2.2, 5, rows // 2)
    column = compare_one(reference, current)
    assert column.histogram is not None
    m, n = (raw_counts(values, column.histogram.edges) for values in (reference, current))
    p, q = smoothed(n, m), smoothed(m, n)
    # PSI is smooth in the shares: its derivative times the error, and the second order of it.
    first = np.abs(np.log(p / q) + 1 - q / p) + np.abs(np.log(q / p) + 1 - p / q)
    allowed = SHARE_ERROR * first.sum() + SHARE_ERROR**2 * (1 / p + 1 / q).sum()
    assert column.psi == pytest.approx(np.sum((p - q) * np.log(p / q)), abs=allowed)
    # Hellinger is a metric, so each side adds what lies between it and its sketch: H^2 is about sum(e^2 / 8p).
    sides = math.sqrt((SHARE_ERROR**2 / (8 * p)).sum()) + math.sqrt((SHARE_ERROR**2 / (8 * q)).sum())
    assert column.hellinger == pytest.approx(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / math.sqrt(2), abs=sides)
    # So is the root of the Jensen-Shannon divergence, which is H^2 / ln 2 at most (Topsoe).
    middle = (p + q) / 2
    exact = (stats.entropy(p, middle, base=2) + stats.entropy(q, middle, base=2)) / 2
    assert column.js_divergence is not None
    assert math.sqrt(column.js_divergence) == pytest.approx(math.sqrt(exact), abs=sides / math.sqrt(math.log(2)))
    # Each distribution function is wrong by the error at most, and by half a rank of the 4096 that are looked at.
    error = 2 * (SHARE_ERROR + 1 / 8192)
    assert column.ks == pytest.approx(stats.ks_2samp(current, reference).statistic, abs=error)
    distance = stats.wasserstein_distance(current, reference) / reference.std(ddof=1)
    assert column.wasserstein == pytest.approx(distance, abs=error / reference.std(ddof=1))


def test_statistics_of_categories_are_those_of_the_rows() -> None:
    """The 20 most frequent categories of the reference are counted exactly, all others together."""
    rng = np.random.default_rng(3)
    names = np.array([f"c{i:02d}" for i in range(40)])
    weights = 1 / np.arange(1, 41)
    reference = rng.choice(names, 5000, p=weights / weights.sum())
    current = rng.choice(names, 3000, p=weights[::-1] / weights.sum() * 0.2 + weights / weights.sum() * 0.8)
    column = compare_one(reference.tolist(), current.tolist())
    assert column.histogram is not None
    listed = column.histogram.bins[:-2]
    assert len(listed) == 20
    m, n = (
        np.array([*(np.count_nonzero(side == name) for name in listed), np.count_nonzero(~np.isin(side, listed))])
        for side in (reference, current)
    )
    p, q = smoothed(n, m), smoothed(m, n)
    assert column.psi == pytest.approx(np.sum((p - q) * np.log(p / q)), rel=1e-9)
    table = stats.chi2_contingency([n, m], correction=False)
    assert column.chi_squared is not None
    assert column.chi_squared.statistic == pytest.approx(table.statistic, rel=1e-9)
    assert column.chi_squared.p_value == pytest.approx(table.pvalue, rel=1e-6)
    assert (column.ks, column.wasserstein) == (None, None)


def clean_columns(rows: int, rng: np.random.Generator) -> dict[str, Any]:
    """Make columns with heavy tails, atoms, slivers, rare flags, missing values and thousands of categories."""
    many = 1 / np.arange(1, 3001) ** 1.1
    return {
        "cauchy": rng.standard_cauchy(rows),
        "poisson": rng.poisson(3, rows),
        "flag": rng.random(rows) < 0.01,
        "flag as float": (rng.random(rows) < 0.004).astype(float),
        "mostly 0": np.where(rng.random(rows) < 0.6, 0.0, rng.gamma(2, 1, rows)),
        "often the greatest": np.where(rng.random(rows) < 0.35, 1.0, rng.random(rows)),
        "missing": np.where(rng.random(rows) < 0.01, np.nan, rng.normal(0, 1, rows)),
        "rare": rng.choice(["a", "b", "c"], rows, p=[0.9, 0.0995, 0.0005]).tolist(),
        "thousands": rng.choice([f"c{i}" for i in range(3000)], rows, p=many / many.sum()).tolist(),
    }


@pytest.mark.parametrize(
    ("reference_rows", "rows", "minimum", "windows", "times"),
    [(1000, 1000, 1, 1, 25), (20_000, 1000, 1, 1, 25), (50_000, 20_000, 1, 1, 10), (20_000, 10_000, 10, 20, 10)],
)
def test_clean_splits_hardly_ever_shift(reference_rows: int, rows: int, minimum: int, windows: int, times: int) -> None:
    """Of columns that have not changed at most 1 % shift, also merged from windows that left rare categories out."""
    rng = np.random.default_rng(4)
    shifted, columns = [], 0
    for time in range(times):
        if time % 5 == 0:
            reference = profile_of(clean_columns(reference_rows, rng), frequent_items_minimum=minimum)
        current = profile_of(clean_columns(rows // windows, rng), frequent_items_minimum=minimum)
        for _ in range(windows - 1):
            current += profile_of(clean_columns(rows // windows, rng), frequent_items_minimum=minimum)
        comparison = compare(reference, current)
        columns += len(comparison.columns)
        shifted += [column.name for column in comparison.columns if column.drifted]
        for column in comparison.columns:
            assert (column.unit_change, column.new_categories, column.vanished_categories) == ((), (), ())
    assert len(shifted) <= 0.01 * columns, shifted


def test_rows_of_a_million_do_not_shift_by_the_sketches_error() -> None:
    """Where chance hardly moves a share, the floor is what the sketches may be wrong."""
    rng = np.random.default_rng(5)
    column = compare_one(rng.normal(0, 1, 1_000_000), rng.normal(0, 1, 1_000_000))
    assert column.verdict == "stable"
    assert column.noise_floor == pytest.approx(0.001, rel=0.3)


def test_a_change_of_unit_is_named() -> None:
    """Kilometres where miles were are a shift with a known factor."""
    column = compare_one(numbers(20_000, 6), numbers(5000, 7, factor=1.609344))
    assert (column.verdict, column.grade) == ("shifted", "large")
    assert [str(unit) for unit in column.unit_change] == ["x 1.609: miles to kilometres or mph to km/h?"]
    assert any("a change of unit? x 1.609: miles to kilometres" in finding for finding in column.findings)


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        ([5] * 1000, [7] * 1000),
        ([5.5] * 1000, [5.6] * 1000),
        ([True] * 500 + [False] * 500, [True] * 1000),
        ([0, 1] * 500, [0, 2] * 500),
        ([0.0, 1.0] * 500, [-0.5, 1.0] * 500),
    ],
)
def test_another_value_than_a_frequent_one_is_seen(reference: list[object], current: list[object]) -> None:
    """A value that has a tenth of the reference has a bin to itself, closed to both sides."""
    column = compare_one(reference, current)
    assert (column.verdict, column.grade) == ("shifted", "large")


@given(value=st.floats(-1e30, 1e30), rows=st.integers(100, 2000))
def test_a_constant_is_as_it_was_in_single_precision(value: float, rows: int) -> None:
    """A service that works in single precision has the same values."""
    column = compare_one([value] * 1000, [float(np.float32(value))] * rows)
    assert column.verdict == "stable"


def test_integers_in_few_values_are_exact_at_any_size() -> None:
    """A flag that goes from 1 in 1000 to 2 in 1000 is seen, since frequent items count it exactly."""
    rng = np.random.default_rng(8)
    column = compare_one((rng.random(300_000) < 0.001).astype(int), (rng.random(300_000) < 0.002).astype(int))
    assert column.verdict == "shifted"


def test_missing_values_are_compared() -> None:
    """A column that loses a tenth of its values shifts, and the shares are told."""
    rng = np.random.default_rng(9)
    values = rng.normal(0, 1, 5000)
    fewer = np.where(rng.random(5000) < 0.1, np.nan, rng.normal(0, 1, 5000))
    column = compare_one(values, fewer)
    assert column.verdict == "shifted"
    assert column.missing_change == pytest.approx(0.1, abs=0.02)
    assert any(finding.startswith("missing values 0.00% before, ") for finding in column.findings)


def test_new_and_vanished_categories_are_named() -> None:
    """One that was never there, and one that is there no more."""
    column = compare_one(["a"] * 600 + ["b"] * 400, ["a"] * 600 + ["z"] * 400)
    assert [tuple(category) for category in column.new_categories] == [("z", 0.4)]
    assert [tuple(category) for category in column.vanished_categories] == [("b", 0.4)]


def test_a_category_that_vanishes_is_seen_where_rare_ones_were_left_out() -> None:
    """What was left out may explain a little, but not a fifth of the values."""
    rng = np.random.default_rng(10)
    reference = rng.choice(["a", "b", "c", "rare", "rarer"], 5000, p=[0.5, 0.25, 0.24, 0.007, 0.003]).tolist()
    current = [value if value != "b" else "c" for value in reference[:1000]]
    column = compare_one(reference, current, frequent_items_minimum=10)
    assert column.verdict == "shifted"
    assert [category.value for category in column.vanished_categories] == ["b"]


def test_what_was_left_out_for_anonymity_counts_as_the_rest_and_is_told() -> None:
    """Values of which none came often enough are no drift, whatever they are."""
    reference = [f"user {i}" for i in range(600)] + ["guest"] * 600
    current = [f"other {i}" for i in range(300)] + ["guest"] * 300
    column = compare_one(reference, current, frequent_items_minimum=5)
    assert column.verdict == "stable"
    assert column.note == "50% of the values were too rare to be named and may be of any category"


def test_a_type_that_changes_is_told() -> None:
    """Numbers that come as text are a shift, and it is said why."""
    values = np.random.default_rng(11).normal(0, 1, 1000)
    column = compare_one(values, [str(value) for value in values])
    assert (column.verdict, column.grade) == ("shifted", "large")
    assert column.note == "values were of type float and now are of type string"
    back = compare_one([str(value % 1 > 0.5) for value in values], values)
    assert (back.verdict, back.note) == ("shifted", "values were of type string and now are of type float")


def test_columns_that_one_side_lacks_are_told_with_what_they_may_have_become() -> None:
    """A missing column comes first and is drift; a new one is told."""
    values = np.arange(1000.0)
    comparison = compare(
        profile_of({"air_time": values, "x": values}), profile_of({"airtime": values, "x": values, "other": values})
    )
    found = {column.name: (column.verdict, column.note) for column in comparison.columns}
    assert comparison.columns[0].name == "air_time"
    assert found["air_time"] == ("missing", "the current profile has no such column; was it renamed to 'airtime'?")
    assert found["airtime"] == ("new", "the reference has no such column; was it 'air_time'?")
    assert found["other"] == ("new", "the reference has no such column")
    assert comparison.drifted


@pytest.mark.parametrize(
    ("reference", "current", "verdict", "note"),
    [
        ([None] * 500, [1.0] * 500, "not compared", "the reference has no values"),
        ([1.0] * 500, [None] * 500, "shifted", ""),
        ([1.0] * 500, [], "too few", "one side has no values at all"),
        ([], [1.0] * 500, "too few", "one side has no values at all"),
        ([1.0] * 99, [2.0] * 500, "too few", "less than 100 values say nothing about a distribution"),
        ([[1.0, 2.0]] * 500, [[1.0, 2.0]] * 500, "not compared", "values of type tensor are only counted"),
        ([math.inf] * 500, [1.0] * 500, "shifted", ""),
        ([1e308, -1e308] * 500, [1e308, -1e308] * 500, "stable", ""),
        ([""] * 500, [""] * 500, "stable", ""),
    ],
)
def test_odd_columns_have_a_clear_line(reference: list[object], current: list[object], verdict: str, note: str) -> None:
    """Empty, constant, infinite and other columns are told and never fail."""
    column = compare_one(reference, current)
    assert (column.verdict, column.note) == (verdict, note)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(-9, 9), min_size=1, max_size=2),
    st.datetimes(),
)


@given(
    before=st.lists(ANYTHING, max_size=6),
    after=st.lists(ANYTHING, max_size=6),
    minimum=st.integers(1, 60),
    same=st.booleans(),
)
def test_any_two_columns_can_be_compared(
    before: list[object], after: list[object], minimum: int, *, same: bool
) -> None:
    """Whatever they hold there are a report in finite numbers and a page; equal ones are stable or not compared."""
    reference = profile_of({"x": before * 40}, frequent_items_minimum=minimum)
    current = reference if same else profile_of({"x": after * 50}, frequent_items_minimum=minimum)
    comparison = compare(reference, current)
    json.dumps(comparison.to_dict(), allow_nan=False)
    assert "<article" in html_page(comparison)
    if same:
        assert not comparison.drifted


def test_texts_without_frequent_items_are_not_compared() -> None:
    """Which side lacks them does not matter."""
    texts = ["a", "b"] * 500
    with_items, without = profile_of({"x": texts}), profile_of({"x": texts}, frequent_items=False)
    for reference, current in ((with_items, without), (without, with_items)):
        (column,) = compare(reference, current).columns
        assert column.verdict == "not compared"
        assert column.note == "the profile was made without frequent items, which categories are compared by"


def test_profiles_without_a_column_in_common_are_refused() -> None:
    """They are of different models, and the columns of both are named."""
    with pytest.raises(ProfileError, match=r"no column in common \(a and b\)"):
        compare(profile_of({"a": [1]}), profile_of({"b": [1]}))


def baseline_frame(rows: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "distance": rng.gamma(3, 300, rows),
        "seats": rng.poisson(120, rows),
        "night": rng.random(rows) < 0.3,
        "carrier": rng.choice(["AA", "UA", "DL"], rows, p=[0.5, 0.3, 0.2]).astype(object),
        "score": rng.beta(2, 5, rows),
    }


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    """A baseline with importances and an output."""
    return Baseline.from_frame(
        baseline_frame(20_000, 0),
        model="flight-delay",
        version="3",
        output="score",
        importances={"distance": 8, "seats": 0.5, "night": 0.5, "carrier": 1},
    )


def test_a_baseline_is_compared_by_its_own_bins(baseline: Baseline) -> None:
    """A clean profile is stable; the bins, counts and names are the baseline's."""
    comparison = compare(baseline, profile_of(baseline_frame(5000, 1)))
    assert {column.name: column.verdict for column in comparison.columns} == dict.fromkeys(
        baseline_frame(1, 0), "stable"
    )
    features = {feature.name: feature for feature in baseline.features}
    for column in comparison.columns:
        counts = np.array(features[column.name].counts)
        assert column.histogram is not None
        assert np.allclose(column.histogram.reference, counts / counts.sum())


def test_a_baselines_bins_hold_what_they_hold_in_a_service(baseline: Baseline) -> None:
    """Counts from the sketches are those that `windvane check` would count, as far as the sketch is exact."""
    frame = baseline_frame(1000, 2)
    frame["distance"][:50] = np.nan
    frame["distance"][50:60] = np.inf
    frame["distance"][60:70] = -np.inf
    features = {feature.name: feature for feature in baseline.features}
    for column in compare(baseline, profile_of(frame)).columns:
        counts, _ = features[column.name].bins.count(frame[column.name])
        assert column.histogram is not None
        assert np.allclose(np.array(column.histogram.current) * 1000, counts)


def test_importance_weighs_the_contributions(baseline: Baseline) -> None:
    """An important input that shifts less comes before an unimportant one that shifts more; outputs have none."""
    frame = baseline_frame(5000, 3)
    frame["distance"] *= 1.3
    frame["seats"] += 8
    frame["score"] = frame["score"] ** 2
    comparison = compare(baseline, profile_of(frame))
    columns = {column.name: column for column in comparison.columns}
    psi = {name: column.psi or 0.0 for name, column in columns.items()}
    assert psi["seats"] > psi["distance"]
    assert comparison.columns[0].name == "distance"
    assert columns["score"].contribution is None
    assert columns["score"].verdict == "shifted"
    assert sum(column.contribution or 0.0 for column in comparison.columns) == pytest.approx(1)
    beyond = {
        name: (psi[name] - (columns[name].noise_floor or 0.0)) * (columns[name].importance or 0.0)
        for name in ("distance", "seats")
    }
    assert columns["distance"].contribution == pytest.approx(beyond["distance"] / sum(beyond.values()))


def test_a_change_of_unit_is_named_against_a_baseline(baseline: Baseline) -> None:
    """By the baseline's edges and counts alone."""
    frame = baseline_frame(5000, 4)
    frame["distance"] *= 1.609344
    column = compare(baseline, profile_of(frame)).columns[0]
    assert (column.name, [str(unit) for unit in column.unit_change]) == (
        "distance",
        ["x 1.609: miles to kilometres or mph to km/h?"],
    )


def test_a_category_that_a_baseline_does_not_know_is_named(baseline: Baseline) -> None:
    """The vocabulary is all that it has seen."""
    frame = baseline_frame(5000, 5)
    frame["carrier"][:500] = "ZZ"
    column = compare(baseline, profile_of(frame)).columns[0]
    assert (column.name, [tuple(category) for category in column.new_categories]) == ("carrier", [("ZZ", 0.1)])
    assert column.findings[-1] == "new: ZZ (10.00%)"


def test_an_output_that_a_profile_lacks_is_left_out(baseline: Baseline) -> None:
    """Profiles of inputs alone are compared by these; an input that is gone is drift."""
    frame = baseline_frame(5000, 6)
    del frame["score"]
    comparison = compare(baseline, profile_of(frame))
    assert {column.name for column in comparison.columns} == set(frame)
    assert not comparison.drifted
    del frame["seats"]
    assert compare(baseline, profile_of(frame)).columns[0].verdict == "missing"


def test_integers_that_are_names_are_compared_as_categories() -> None:
    """As the baseline has them; without frequent items they cannot be."""
    rng = np.random.default_rng(12)
    baseline = Baseline.from_frame({"x": rng.integers(1, 5, 5000)}, model="m", version="1", categorical=["x"])
    values = rng.integers(1, 5, 2000)
    (column,) = compare(baseline, profile_of({"x": values})).columns
    assert column.histogram is not None
    assert (column.verdict, column.histogram.kind, len(column.histogram.bins)) == ("stable", "categorical", 6)
    (column,) = compare(baseline, profile_of({"x": np.where(values == 1, 9, values)})).columns
    assert (column.verdict, [category.value for category in column.new_categories]) == ("shifted", ["9"])
    (column,) = compare(baseline, profile_of({"x": values}, frequent_items=False)).columns
    assert column.verdict == "not compared"


def test_times_and_free_text_of_a_baseline_are_told_apart() -> None:
    """What a baseline watches by lengths or by the week has no counterpart in a profile."""
    frame = {
        "when": np.datetime64("2026-01-01") + np.arange(2000).astype("m8[h]"),
        "comment": [f"comment number {i}" for i in range(2000)],
        "x": np.arange(2000.0),
    }
    with pytest.warns(BaselineWarning, match="free text"):
        baseline = Baseline.from_frame(frame, model="m", version="1")
    found = {column.name: column for column in compare(baseline, profile_of(frame)).columns}
    assert found["when"].verdict == found["comment"].verdict == "not compared"
    assert "by the part of the week" in found["when"].note
    assert "by its length" in found["comment"].note
    assert found["x"].verdict == "stable"
