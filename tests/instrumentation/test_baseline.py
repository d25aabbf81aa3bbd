"""Baselines are built, saved and read; what cannot be used is refused by name."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import warnings
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2  # type: ignore[import-untyped]

from windvane import _baseline_builder as builder
from windvane import semconv
from windvane._statistics import psi
from windvane.baseline import Baseline, BaselineWarning, Feature, FeatureType, check_model_name, check_model_version
from windvane.bins import CategoryBins, DistanceBins, LengthBins, NumericBins, TimeBins
from windvane.errors import BaselineError, DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = semconv.VIOLATION_KIND.values  # noqa: PD011 - no pandas object


def built(frame: Any, **options: Any) -> Baseline:
    """Make a baseline of the model m, version 1."""
    return Baseline.from_frame(frame, **{"model": "m", "version": "1", **options})


def feature(baseline: Baseline, name: str) -> Feature:
    """Return the feature of that name."""
    return next(f for f in baseline.features if f.name == name)


def by_label(of: Feature) -> dict[str, int]:
    """Return the counts of the bins that are not empty."""
    return {label: n for label, n in zip(of.bins.labels, of.counts, strict=True) if n}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Make 3000 rows with every type of feature, missing values among them."""
    rng = np.random.default_rng(3)
    rows = 3000
    temperature = rng.normal(10, 8, rows).round(2)
    temperature[::50] = np.nan
    return pd.DataFrame(
        {
            "temperature": temperature,
            "rain": np.where(rng.random(rows) < 0.9, 0.0, rng.exponential(1, rows)),
            "hour": rng.integers(0, 24, rows),
            "holiday": rng.random(rows) < 0.03,
            "carrier": rng.choice(np.array(["UA", "B6", "EV", None]), rows, p=[0.5, 0.3, 0.15, 0.05]),
            "delay": rng.normal(5, 30, rows),
        }
    )


@pytest.fixture(scope="module")
def baseline(frame: pd.DataFrame) -> Baseline:
    """Make a baseline of that data."""
    importances = {"temperature": 3, "rain": 2, "hour": 1, "holiday": 0, "carrier": 4}
    return built(frame, output="delay", categorical=["hour"], importances=importances)


# --- What is built ---------------------------------------------------------------------------------


def test_features_have_the_roles_types_and_order_of_the_data(baseline: Baseline) -> None:
    """Every column is a feature, in the data's order."""
    assert [(f.name, f.role, f.type, type(f.bins)) for f in baseline.features] == [
        ("temperature", "input", "float", NumericBins),
        ("rain", "input", "float", NumericBins),
        ("hour", "input", "integer", CategoryBins),
        ("holiday", "input", "boolean", NumericBins),
        ("carrier", "input", "string", CategoryBins),
        ("delay", "output", "float", NumericBins),
        ("reconstruction_error", "derived", "float", NumericBins),
    ]
    assert baseline.rows == 3000
    assert baseline.inputs == baseline.features[:-2]
    assert (baseline.output, baseline.derived) == baseline.features[-2:]
    assert datetime.fromisoformat(baseline.created).utcoffset() is not None


def test_counts_equal_an_independent_histogram(frame: pd.DataFrame, baseline: Baseline) -> None:
    """Counts of numbers are pandas' counts over the same edges, counts of categories are its value counts."""
    for name in ("temperature", "rain", "delay"):
        of = feature(baseline, name)
        assert isinstance(of.bins, NumericBins)
        expected = pd.cut(frame[name], [-np.inf, *of.bins.edges, np.inf], right=True).value_counts(sort=False)
        assert list(of.counts) == [*expected.tolist(), int(frame[name].isna().sum()), 0]
        assert (of.bins.minimum, of.bins.maximum) == (frame[name].min(), frame[name].max())
    carrier = feature(baseline, "carrier")
    assert carrier.bins.ranges[:3] == ("UA", "B6", "EV")
    assert list(carrier.counts[:3]) == frame["carrier"].value_counts().tolist()
    assert carrier.missing_share == frame["carrier"].isna().mean()
    assert carrier.violations[KINDS.index("missing")] == frame["carrier"].isna().sum()
    assert by_label(feature(baseline, "holiday")) == {"00": (~frame["holiday"]).sum(), "01": frame["holiday"].sum()}


def test_bins_of_numbers_hold_about_equal_shares(baseline: Baseline) -> None:
    """Deciles hold a tenth each."""
    shares = np.array(feature(baseline, "delay").counts[:10]) / 3000
    assert shares == pytest.approx(np.full(10, 0.1), abs=0.002)


@pytest.mark.parametrize("bins", [2, 5, 100])
def test_number_of_bins_can_be_chosen(bins: int) -> None:
    """There are as many bins of numbers as were asked for."""
    of = feature(built({"x": np.arange(1000.0)}, bins=bins), "x")
    assert set(of.counts[:-2]) == {1000 // bins}


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ([0] * 95 + [1] * 5, (95, 5)),
        ([0] * 5 + [1] * 95, (5, 95)),
        ([0] * 2 + [1] * 96 + [2] * 2, (2, 96, 2)),
        ([0.0] * 93 + list(np.linspace(0.1, 5, 7)), (93, 7)),
        ([7] * 100, (100,)),
        ([1, 2, 3], (1, 1, 1)),
        ([4], (1,)),
    ],
)
def test_value_that_most_rows_share_has_a_bin_to_itself(values: list[float], counts: tuple[int, ...]) -> None:
    """A shift of rows into or out of a frequent value moves counts between bins."""
    assert feature(built({"x": values}), "x").counts[:-2] == counts


def test_single_precision_falls_into_the_bins_of_double_precision() -> None:
    """The same values in float32 have the counts of the reference and no violations."""
    values = np.random.default_rng(0).integers(-50, 50, 5000) / 10 + 0.01
    of = feature(built({"x": values}), "x")
    counts, violations = of.bins.count(values.astype(np.float32))
    assert tuple(counts) == of.counts
    assert not violations.any()


def test_rare_and_long_categories_are_not_written() -> None:
    """A category below the least count, or longer than 256 characters, does not stand in the baseline."""
    values = ["common"] * 50 + ["five"] * 5 + ["four"] * 4 + ["x" * 257] * 10
    of = feature(built({"x": values}), "x")
    assert of.bins == CategoryBins(("common", "five"), 2)
    assert by_label(of) == {"c00": 50, "c01": 5, "other": 14}
    assert of.violations[KINDS.index("category")] == 14
    assert feature(built({"x": values}, min_category_count=50), "x").bins == CategoryBins(("common",), 1)


def test_twenty_categories_have_bins_of_their_own() -> None:
    """The most frequent categories have bins, the others are listed, and ties go by text."""
    values = [f"k{i:02d}" for i in range(30) for _ in range(10)] + ["k29"]
    of = feature(built({"x": values}), "x")
    assert isinstance(of.bins, CategoryBins)
    assert of.bins.vocabulary == ("k29", *(f"k{i:02d}" for i in range(29)))
    assert of.bins.size == 20
    assert by_label(of)["other"] == 100
    assert not any(of.violations)


def test_vocabulary_is_bounded() -> None:
    """At most the 1000 most frequent categories are listed."""
    values = [f"k{i}" for i in range(1200) for _ in range(5 + (i < 700))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of = feature(built({"x": values}), "x")
    assert isinstance(of.bins, CategoryBins)
    assert len(of.bins.vocabulary) == 1000
    assert set(of.bins.vocabulary) >= {f"k{i}" for i in range(700)}


def test_importances_are_scaled_to_one(baseline: Baseline) -> None:
    """Inputs have shares that sum to 1, the output has none."""
    assert [f.importance for f in baseline.inputs] == pytest.approx([0.3, 0.2, 0.1, 0.0, 0.4])
    assert baseline.output is not None
    assert baseline.output.importance is None


def test_excluded_columns_are_not_watched(frame: pd.DataFrame) -> None:
    """An excluded column is no feature, and is named as ignored."""
    baseline = built(frame, exclude=["rain", "carrier"])
    assert baseline.ignored_columns == ("rain", "carrier")
    assert [f.name for f in baseline.features] == [
        "temperature",
        "hour",
        "holiday",
        "delay",
        "reconstruction_error",
    ]
    assert baseline.output is None


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (np.full(20, np.nan), "has no values"),
        ([None] * 20, "has no values"),
        (np.full(20, np.inf), "has no finite numbers"),
        (np.array([1] * 20, dtype="m8[ns]"), "neither numbers nor text nor times"),
        ([timedelta(1)] * 20, "neither numbers nor text nor times"),
        ([b"x"] * 20, "neither numbers nor text"),
        ([["a", "b"]] * 20, "neither numbers nor text"),
        ([np.full(5000, 0.5)] * 20, "embeddings of more than 4096 dimensions"),
        (np.array([b"x"] * 20), "neither numbers nor text"),
        (np.array([1j] * 20), "neither numbers nor text"),
    ],
)
def test_column_that_cannot_be_counted_is_left_out(column: object, says: str) -> None:
    """A column of nothing, durations or other things is named in a warning and is no feature."""
    with pytest.warns(BaselineWarning, match=f"column 'odd' .*{says}.*left out"):
        baseline = built({"x": range(20), "odd": column})
    assert [f.name for f in baseline.features] == ["x"]
    assert baseline.ignored_columns == ("odd",)


def test_of_free_text_the_length_is_watched() -> None:
    """A column of different texts has bins of lengths; a warning says how to leave it out."""
    texts = ["x" * (1 + i % 40) + f"{i:04d}" for i in range(400)]
    with pytest.warns(BaselineWarning, match="'note' holds free text or identifiers.*--exclude note"):
        of = feature(built({"note": [*texts, None]}), "note")
    assert of.type == "text"
    assert isinstance(of.bins, LengthBins)
    assert (of.bins.minimum, of.bins.maximum) == (5, 44)
    lengths = np.array(list(map(len, texts)))
    expected = np.histogram(lengths, [0, *(np.array(of.bins.edges) + 0.5), 99])[0].tolist()
    assert list(of.counts) == [*expected, 1, 0]
    counts, violations = of.bins.count(["x" * 10, "x" * 100, "", None, 7, float("nan")])
    assert dict(zip(of.bins.labels, counts.tolist(), strict=True))["null"] == 2
    assert counts[-1] == violations[KINDS.index("type")] == 1
    assert violations[KINDS.index("range")] == 2


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2013-01-01", periods=400, freq="97min"),
        pd.date_range("2013-01-01", periods=400, freq="97min", tz="UTC").tz_convert("Asia/Tokyo"),
        [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(minutes=97 * i) for i in range(400)],
        [f"{datetime(2013, 1, 1, tzinfo=UTC) + timedelta(minutes=97 * i):%Y-%m-%dT%H:%M:%SZ}" for i in range(400)],
        pa.array(pd.date_range("2013-01-01", periods=400, freq="97min")),
    ],
    ids=["numpy", "aware", "datetime", "text", "arrow"],
)
def test_of_times_the_part_of_the_week_is_watched(times: Any) -> None:
    """However written, they are counted by day and quarter of the day in UTC; that time goes on is no violation."""
    of = feature(built({"at": times}), "at")
    assert of.type == "time"
    minutes = np.arange(400) * 97 + 24 * 60  # 2013-01-01 was a Tuesday
    expected = np.bincount(minutes // 360 % 28, minlength=28).tolist()
    assert list(of.counts) == [*expected, 0, 0]
    later = pd.date_range("2033-01-03", periods=4, freq="6h")  # a Monday
    counts, violations = of.bins.count([*later, None, "soon", "2033-01-09T23:59:59+00:00"])
    assert counts[:4].tolist() == [1] * 4
    assert [counts[27], counts[-2], counts[-1]] == [1, 1, 1]
    assert violations.tolist() == [1, 0, 1, 0, 0]


@pytest.mark.parametrize(
    "make",
    [list, lambda vectors: vectors.tolist(), lambda vectors: pa.array(vectors.tolist()), lambda vectors: vectors],
    ids=["arrays", "lists", "arrow", "table"],
)
def test_of_embeddings_the_distance_to_the_centroid_is_watched(make: Any) -> None:
    """Euclidean, in deciles of the reference; other lengths, other types and NaN are violations of the type."""
    rng = np.random.default_rng(5)
    vectors = rng.normal(1, 2, (3000, 16))
    baseline = built({"embedding": make(vectors)})
    of = feature(Baseline.from_json(baseline.to_json()), "embedding")
    assert of.type == "embedding"
    assert isinstance(of.bins, DistanceBins)
    np.testing.assert_allclose(of.bins.centroid, vectors.mean(axis=0), atol=1e-5)
    distances = np.linalg.norm(vectors - np.array(of.bins.centroid), axis=1)
    expected = np.histogram(distances, [-1, *of.bins.edges, np.inf])[0]
    assert list(of.counts) == [*expected.tolist(), 0, 0]
    assert expected.min() > 200  # deciles of a sample are near those of all
    elsewhere, violations = of.bins.count(list(vectors + 3))
    assert elsewhere[:5].sum() < 100
    assert violations[KINDS.index("type")] == 0
    odd = [vectors[0], vectors[0][:5], None, "text", [float("nan")] * 16, [1e200] * 16, ["a"] * 16]
    counts, violations = of.bins.count(odd)
    assert [counts[:-2].sum(), counts[-2], counts[-1]] == [1, 1, 5]
    assert [violations[KINDS.index(kind)] for kind in ("missing", "type", "range")] == [1, 4, 1]


def test_a_baseline_of_embeddings_does_not_depend_on_the_chunks() -> None:
    """Mean, sample and counts are the same however the rows come."""
    vectors = list(np.random.default_rng(6).normal(0, 1, (5000, 4)))
    made = []
    for size in (5000, 700, 333):
        parts = [{"x": vectors[i : i + size]} for i in range(0, 5000, size)]
        made.append(builder.build(["x"], lambda parts=parts: parts, builder.Options(model="m", version="1"))[0])  # type: ignore[misc]
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("size", [150_000, 70_000])
def test_many_different_times_as_text_are_times(size: int) -> None:
    """Times are told one by one, so it does not matter how many different ones there are."""
    texts = pd.date_range("2013-01-01", periods=150_000, freq="7min").strftime("%Y-%m-%d %H:%M:%S").to_numpy(object)
    parts = [{"at": texts[i : i + size]} for i in range(0, len(texts), size)]
    made, notes = builder.build(["at"], lambda: parts, builder.Options(model="m", version="1"))
    assert made.features[0].type == "time"
    assert notes == ()


def test_texts_most_of_which_are_times_are_times() -> None:
    """A few that are none count as violations of the type, and a warning says so."""
    days = [f"2013-02-{1 + i % 28:02d}" for i in range(500)]
    with pytest.warns(BaselineWarning, match="'at' holds times, but 2 of its values are not"):
        of = feature(built({"at": [*days, "unknown", "2013-02-30", None]}), "at")
    assert of.type == "time"
    assert of.violations == (1, 0, 2, 0, 0)
    assert feature(built({"at": ["2013-02-30"] * 50}), "at").type == "string"
    assert feature(built({"at": days}, categorical=["at"]), "at").type == "string"


def kind_of_violation(of: Feature, value: Any) -> str | None:
    """Tell the violation of one value, by the reference's range and categories but by none of its counting."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "missing"
    if isinstance(of.bins, CategoryBins):
        return violation_of_category(value, of.bins.vocabulary)
    if isinstance(of.bins, TimeBins):
        return None if is_time(value) else "type"
    number = number_of(of.bins, value)
    if number is None:
        return "type"
    if not of.bins.minimum <= number <= of.bins.maximum:
        return "range"
    return "type" if of.type in {"integer", "boolean"} and number % 1 else None


def violation_of_category(value: Any, vocabulary: tuple[str, ...]) -> str | None:
    """Text, booleans and whole numbers name categories."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        return "type"
    return None if str(value) in vocabulary else "category"


def is_time(value: Any) -> bool:
    """Times, their text, and seconds within the years that Python knows."""
    try:
        if isinstance(value, str):
            datetime.fromisoformat(value)
            return True
        if isinstance(value, int | float) and not isinstance(value, bool):
            return abs(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value) - datetime.now(UTC)) > timedelta(0)
    except (ValueError, OverflowError):
        return False
    return isinstance(value, datetime)


def number_of(bins: NumericBins | LengthBins | DistanceBins, value: Any) -> float | None:
    """What of a value is compared with the range; None where it is of another type."""
    if isinstance(bins, DistanceBins):
        fits = isinstance(value, list) and len(value) == len(bins.centroid) and not any(map(math.isnan, value))
        return math.dist(value, bins.centroid) if fits else None
    if isinstance(bins, LengthBins):
        return len(value) if isinstance(value, str) else None
    return value if isinstance(value, int | float) else None


REFERENCE: dict[str, list[Any]] = {
    "float": [i / 2 for i in range(60)],
    "integer": list(range(60)),
    "boolean": [True, False] * 30,
    "string": ["a", "b", "7"] * 20,
    "text": ["x" * i for i in range(3, 63)],
    "time": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=7 * i) for i in range(60)],
    "embedding": [[math.sin(i), math.cos(i), i / 60] for i in range(60)],
}
ANY_VALUE = st.one_of(
    st.none(),
    st.floats(),
    st.sampled_from([0.0, 0.5, 2.5, 7.0, 1e12, math.inf]),
    st.integers(-(2**40), 2**40),
    st.integers(0, 9),
    st.booleans(),
    st.sampled_from(["a", "7", "true", "True", "2024-01-01", "2024-02-30", "x" * 90]),
    st.text(max_size=5).filter(lambda text: not text.isdigit()),
    st.datetimes(min_value=datetime(1, 1, 3), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.lists(st.floats(), max_size=4),
)


@pytest.mark.filterwarnings("ignore::windvane.baseline.BaselineWarning")
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values=st.lists(ANY_VALUE, max_size=12))
def test_violations_of_every_kind_equal_an_independent_count(values: list[Any]) -> None:
    """Live ones against a clean reference, and a reference's own, whatever stands among its values."""
    clean = built(REFERENCE)
    assert [f.type for f in clean.inputs] == list(REFERENCE)
    dirty = built({name: column + values for name, column in REFERENCE.items()})
    for of in clean.inputs:
        expected = Counter(kind_of_violation(of, value) for value in values)
        assert of.bins.count(values)[1].tolist() == [expected[kind] for kind in KINDS]
        assert not any(of.violations)
    for of in dirty.inputs:
        expected = Counter(kind_of_violation(of, value) for value in REFERENCE[of.name] + values)
        assert list(of.violations) == [expected[kind] for kind in KINDS]
        assert of.missing_share == expected["missing"] / (60 + len(values))


def test_what_is_told_of_columns_is_kept() -> None:
    """Unit, source and team stand in the file; a mistake is named."""
    about = {"x": {"unit": "km", "source": "schedule", "team": "data-platform"}, "n": {"unit": "1"}}
    baseline = built({"x": range(20), "n": range(20)}, about=about)
    of = feature(Baseline.from_json(baseline.to_json()), "x")
    assert (of.unit, of.source, of.team) == ("km", "schedule", "data-platform")
    assert feature(baseline, "n").source is None
    cases: list[tuple[Any, str]] = [
        ({"y": {}}, "about 'y': the data has no such column"),
        ({"x": {"units": "km"}}, "about 'x': must have any of unit, source, team"),
        ({"x": "km"}, "about 'x': must have any of unit, source, team"),
        ({"x": {"unit": ""}}, "unit: must be a non-empty text"),
        ({"x": {"unit": 5}}, "unit: must be a non-empty text"),
        ({"x": {"source": "x" * 257}}, "source: 257 characters, at most 256"),
        ({"x": {"team": "\ud800"}}, "team: is no valid Unicode"),
    ]
    for wrong, message in cases:
        with pytest.raises(BaselineError, match=message):
            built({"x": range(20)}, about=wrong)


def test_column_with_a_long_tail_is_named() -> None:
    """A column most of whose values are in no listed category gets a warning."""
    with pytest.warns(BaselineWarning, match="'tail' has 90% of its values outside its 1 listed"):
        built({"tail": [*["a"] * 10, *(f"t{i}" for i in range(90))]})


@pytest.mark.parametrize(
    ("values", "expected", "strange"),
    [([1.5] * 8 + ["x"] * 2, "float", 2), (["x"] * 8 + [1.5] * 2, "string", 2), ([1] * 8 + [b"x"], "integer", 1)],
)
def test_mixed_column_has_the_type_of_most_values(values: list[object], expected: str, strange: int) -> None:
    """Values of another type are counted as violations of the type, and a warning says so."""
    with pytest.warns(BaselineWarning, match=f"but {strange} of its values are not"):
        of = feature(built({"x": values}), "x")
    assert of.type == expected
    assert of.violations[KINDS.index("type")] == strange


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None, 3], "integer"),
        (pd.array([1, None, 3], dtype="Int64"), "integer"),
        (pa.chunked_array([[1, None], [3]]), "integer"),
        (pa.array([1, None, 3]), "integer"),
        (np.array([1, 2, 3], dtype=np.uint8), "integer"),
        (pd.Series([1, None, 3]), "float"),
        ([Decimal(1), 2], "float"),
        ([True, None, False], "boolean"),
        (pa.chunked_array([[True, None, False]]), "boolean"),
        (pd.array([True, None, False], dtype="boolean"), "boolean"),
        (pd.Series([*"aaaaa", None], dtype="category"), "string"),
        (pa.chunked_array([[*"aaaaa", None]]).dictionary_encode(), "string"),
        (np.array([*"aaaaa", "b"]), "string"),
        (np.array(["a", "b"]), "text"),
    ],
)
@pytest.mark.filterwarnings("ignore::windvane.baseline.BaselineWarning")
def test_type_is_told_from_any_kind_of_column(values: object, expected: str) -> None:
    """Missing values do not change what the other values are."""
    of = feature(built({"x": values}), "x")
    assert of.type == expected
    assert of.missing_share == pytest.approx(sum(pd.isna(v) for v in np.asarray(values, dtype=object)) / of.rows)


def test_frames_of_all_libraries_give_one_baseline(frame: pd.DataFrame) -> None:
    """A pandas frame, a pyarrow table, and dicts of arrays and lists of the same data have one identity."""
    table = pa.Table.from_pandas(frame)
    frames = [
        frame,
        table,
        {name: frame[name].to_numpy() for name in frame},
        {name: table[name].to_pylist() for name in frame},
    ]
    assert len({built(f, output="delay", categorical=["hour"]).id for f in frames}) == 1


CELLS = {
    "float": st.one_of(st.none(), st.floats(-100, 100), st.just(math.inf)),
    "integer": st.one_of(st.none(), st.integers(-5, 5)),
    "string": st.one_of(st.none(), st.sampled_from("abc"), st.text(max_size=3)),
    "mixed": st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=2), st.binary(max_size=1)
    ),
}


def objects(values: list[Any]) -> np.ndarray[Any, Any]:
    """Make an array of objects."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(st.tuples(*CELLS.values()), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    repeats=st.sampled_from([1, 17]),
)
def test_baseline_does_not_depend_on_the_chunks(rows: list[tuple[Any, ...]], cuts: list[int], repeats: int) -> None:
    """Data in one chunk and the same data cut anywhere give the same baseline, notes or error."""
    rows = rows * repeats
    columns = {name: objects([row[i] for row in rows]) for i, name in enumerate(CELLS)}
    bounds = sorted({0, len(rows), *(min(cut * repeats, len(rows)) for cut in cuts)})
    chunks = [{name: values[a:b] for name, values in columns.items()} for a, b in pairwise(bounds)]
    options = builder.Options(model="m", version="1", min_category_count=2)

    def outcome(parts: list[Any]) -> object:
        try:
            return builder.build(list(CELLS), lambda: parts, options)
        except BaselineError as error:
            return str(error)

    assert outcome(chunks) == outcome([columns])


def test_sample_of_large_data_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the sample's limit quantiles are close to the exact ones, and the same for any chunks."""
    monkeypatch.setattr(builder, "SAMPLE_LIMIT", 2000)
    values = np.random.default_rng(0).normal(size=30_000)
    options = builder.Options(model="m", version="1")
    ids = set()
    for size in (30_000, 7_001, 1999):
        parts = [{"x": values[i : i + size]} for i in range(0, len(values), size)]
        made, _ = builder.build(["x"], lambda parts=parts: parts, options)  # type: ignore[misc]
        ids.add(made.id)
        shares = np.array(made.features[0].counts[:10]) / len(values)
        assert shares == pytest.approx(np.full(10, 0.1), abs=0.03)
        assert (made.features[0].bins.minimum, made.features[0].bins.maximum) == (values.min(), values.max())  # type: ignore[union-attr]
    assert len(ids) == 1


def test_many_different_texts_do_not_hide_a_frequent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a column has more texts than are tallied, frequent ones are still found, in whatever order."""
    monkeypatch.setattr(builder, "_TALLY_LIMIT", 50)
    values = [f"id{i}" for i in range(3000)] + ["late"] * 300
    for order in (values, values[::-1]):
        parts = [{"x": order[i : i + 100]} for i in range(0, len(order), 100)]
        made, _ = builder.build(["x"], lambda parts=parts: parts, builder.Options(model="m", version="1"))  # type: ignore[misc]
        assert made.features[0].bins == CategoryBins(("late",), 1)
        assert made.features[0].counts == (300, 0, 3000)


def test_data_that_changes_between_the_passes_is_refused() -> None:
    """The second pass must see what the first saw."""
    for second in (9, 11):
        sizes = iter([10, second])

        def chunks(sizes: Iterator[int] = sizes) -> list[Any]:
            return [{"x": np.arange(next(sizes))}]

        with pytest.raises(BaselineError, match="changed while it was read"):
            builder.build(["x"], chunks, builder.Options(model="m", version="1"))


# --- Dispersion ------------------------------------------------------------------------------------


def test_psi_follows_chi_square() -> None:
    """Without drift the index is about (1/n + 1/m) times chi-square, the ground of the noise floor."""
    rng = np.random.default_rng(7)
    shares = np.full(10, 0.1)
    n, m = 2000, 30_000
    found = [psi(rng.multinomial(n, shares), rng.multinomial(m, shares)) for _ in range(2000)]
    scaled = np.array(found) / (1 / n + 1 / m)
    assert scaled.mean() == pytest.approx(9, rel=0.03)
    assert (scaled > chi2.ppf(0.99, 9)).mean() == pytest.approx(0.01, abs=0.007)


def test_psi_equals_its_definition() -> None:
    """Half an observation is added to each bin that is used, and to no other."""
    index = psi(np.array([3, 0, 0, 7]), np.array([10, 5, 0, 0]))
    p, q = np.array([3.5, 0.5, 7.5]) / 11.5, np.array([10.5, 5.5, 0.5]) / 16.5
    assert index == pytest.approx(((p - q) * np.log(p / q)).sum())
    assert psi(np.array([1, 2]), np.array([1, 2])) == 0


@pytest.mark.parametrize("cluster", [1, 4, 10])
def test_dispersion_is_the_size_of_clusters_of_equal_rows(cluster: int) -> None:
    """Independent rows have a dispersion of 1, rows in clusters of k about k."""
    rng = np.random.default_rng(11)
    rows = 60_000
    numbers = np.repeat(rng.normal(size=rows // cluster), cluster)
    texts = np.repeat(rng.choice(list("abcd"), rows // cluster, p=[0.4, 0.3, 0.2, 0.1]), cluster)
    made = built({"number": numbers, "text": texts})
    for of in made.features:
        if cluster == 1:
            assert 1 <= of.dispersion <= 1.1
        else:
            assert of.dispersion == pytest.approx(cluster, rel=0.3)
    shuffled = rng.permutation(rows)
    assert feature(built({"number": numbers[shuffled]}), "number").dispersion <= 1.1


def test_dispersion_of_few_or_equal_rows_is_one() -> None:
    """Below 400 rows, or with one bin, there is nothing to measure."""
    assert feature(built({"x": np.sort(np.arange(399.0))}), "x").dispersion == 1
    assert feature(built({"x": np.sort(np.arange(400.0))}), "x").dispersion > 10
    assert feature(built({"x": np.zeros(5000)}), "x").dispersion == 1


# --- What is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        ({"x": []}, {}, "no rows"),
        ({}, {}, "no column can be watched|no rows"),
        ([1, 2], {}, "a list is no frame"),
        (np.ones((3, 2)), {}, "a ndarray is no frame"),
        ({"x": [1, 2], "y": [1]}, {}, "column 'y': has 1 values, other columns have 2"),
        ({"x": np.ones((2, 2, 2))}, {}, "column 'x': has the shape"),
        ({"x": 5}, {}, "column 'x': cannot be read"),
        ({0: [1]}, {}, "column 0: its name is no text"),
        ({"": [1]}, {}, "number 1 has no name"),
        ({"x" * 257: [1]}, {}, "longer than 256"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, "'a' stands twice"),
        ({"x": [None]}, {}, "no column can be watched.*has no values"),
        ({"x": [1]}, {"exclude": ["x"]}, "all are excluded"),
        ({"distance": [1]}, {"exclude": ["distanse"]}, "exclude 'distanse'.*did you mean 'distance'"),
        ({"x": [1]}, {"categorical": ["hour"]}, "categorical 'hour'.*it has: x"),
        ({"x": [1]}, {"output": "y"}, "output 'y'"),
        ({"x": [1], "y": [2]}, {"output": "y", "exclude": ["y"]}, "output 'y': is excluded"),
        ({"x": [1], "y": [None]}, {"output": "y"}, "output 'y': has no values"),
        ({"x": [1]}, {"bins": 1}, "bins: 1; take 2 to 100"),
        ({"x": [1]}, {"bins": 101}, "bins: 101"),
        ({"x": [1]}, {"min_category_count": 0}, "min_category_count: 0"),
        ({"x": [1]}, {"model": "a b"}, "model name"),
        ({"x": [1]}, {"version": ""}, "model version"),
        ({"x": [1], "y": [2]}, {"importances": {"x": 1}}, "importances: 'y' have none"),
        ({"x": [1]}, {"importances": {"x": 1, "z": 1}}, "importances 'z'"),
        ({"x": [1]}, {"importances": {"x": -1}}, "importances 'x': -1"),
        ({"x": [1]}, {"importances": {"x": math.nan}}, "importances 'x': nan"),
        ({"x": [1]}, {"importances": {"x": "1"}}, "importances 'x': '1'"),
        ({"x": [1]}, {"importances": {"x": 0}}, "sum is 0"),
    ],
)
@pytest.mark.filterwarnings("ignore::windvane.baseline.BaselineWarning")
def test_data_or_option_that_cannot_be_used_is_refused(data: object, options: dict[str, Any], says: str) -> None:
    """The message names what is wrong."""
    with pytest.raises(BaselineError, match=says):
        built(data, **options)


@pytest.mark.parametrize("check", [check_model_name, check_model_version])
def test_names_of_models_are_checked(check: Any) -> None:
    """Names that labels, paths and URLs can carry are returned, others are refused."""
    for good in ("m", "flight-delay", "team/model_2.1", "3", "x" * 128):
        assert check(good) == good
    for bad in ("", " m", "-m", "m\n", "mödel", "a b", "x" * 129, None, 3, b"m"):
        with pytest.raises(DeclarationError, match=r"^model (name|version): "):
            check(bad)


# --- The file --------------------------------------------------------------------------------------


def test_saved_baseline_is_read_back(baseline: Baseline, tmp_path: Path) -> None:
    """Saving and loading keep everything, the identity and the time included."""
    path = tmp_path / "b.json"
    path.write_text("old")
    baseline.save(path)
    loaded = Baseline.load(str(path))
    assert loaded == baseline
    assert (loaded.id, loaded.created) == (baseline.id, baseline.created)
    assert path.read_text() == baseline.to_json()
    assert list(tmp_path.iterdir()) == [path]


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    columns=st.dictionaries(
        NAMES,
        st.one_of(
            st.lists(st.floats(allow_nan=False), min_size=5, max_size=5),
            st.lists(st.integers(), min_size=5, max_size=5),
            st.lists(st.text(st.characters(), max_size=3), min_size=5, max_size=5),
            st.lists(st.text(max_size=300), min_size=5, max_size=5, unique=True),
            st.lists(st.datetimes(), min_size=5, max_size=5),
            st.lists(st.lists(st.floats(), min_size=2, max_size=2), min_size=5, max_size=5),
        ),
        min_size=1,
        max_size=3,
    ),
    least=st.sampled_from([1, 5]),
)
@pytest.mark.filterwarnings("ignore::windvane.baseline.BaselineWarning")
def test_any_baseline_survives_its_text(columns: dict[str, list[Any]], least: int) -> None:
    """Whatever the data holds, what is written can be read and is the same."""
    try:
        made = built(columns, min_category_count=least)
    except BaselineError:
        return
    assert Baseline.from_json(made.to_json()) == made


def test_identity_is_of_the_content_alone(frame: pd.DataFrame, baseline: Baseline) -> None:
    """The same data gives the same id at any time, another value another."""
    assert replace(baseline, created="2001-01-01T00:00:00+00:00").id == baseline.id
    assert replace(baseline, model_version="2").id != baseline.id
    assert len(baseline.id) == 16
    changed = frame.copy()
    changed.loc[0, "delay"] = 1e6
    assert built(changed).id != built(frame).id


def corrupted(document: Any, path: tuple[Any, ...], value: object) -> Any:
    """Copy a document with one value replaced."""
    document = json.loads(json.dumps(document))
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("format",), "other", "^format: is not"),
        (("format_version",), 2, "^format_version: 2 is newer.*upgrade windvane"),
        (("format_version",), 0, "^format_version: 0"),
        (("format_version",), "1", "^format_version: '1' is not a whole number"),
        (("id",), "0" * 16, "^id: .*edited by hand"),
        (("id",), KeyError, "^id: is absent"),
        (("surprise",), 1, "^surprise: is an unknown field"),
        (("rows",), 2999, "counts: their sum is 3000, but rows is 2999"),
        (("rows",), 3000.0, "^rows: 3000.0 is not a whole number"),
        (("rows",), True, "^rows: True is not a whole number"),
        (("rows",), 10**400, "^rows: "),
        (("created",), "yesterday", "^created: 'yesterday'"),
        (("created",), "2013-01-01T00:00:00", "^created: .*time zone"),
        (("model", "name"), "a b", "^model name: "),
        (("model", "name"), None, r"^model\.name: None is not a text"),
        (("model", "version"), KeyError, r"^model\.version: is absent"),
        (("model",), [], r"^model: \[\] is not an object"),
        (("features",), [], "^features: there are 0"),
        (("features",), {}, "^features: {} is not a list"),
        (("features", 0), 1, r"^features\[0\]: must be an object"),
        (("features", 0, "name"), "rain", "'rain' stands twice"),
        (("features", 0, "name"), "", "feature '': name: must be 1 to 256"),
        (("features", 0, "name"), "\ud800", "name: .*valid Unicode"),
        (("features", 0, "role"), "label", "feature 'temperature': role: 'label'"),
        (("features", 0, "role"), "output", "more than one has the role output"),
        (("features", 0, "type"), "date", "type: 'date'"),
        (("features", 0, "type"), "string", "numeric bins do not fit"),
        (("features", 0, "bins", "kind"), "log", r"^features\[0\]\.bins\.kind: 'log'"),
        (("features", 0, "bins", "edges", 1), -1e9, r"^features\[0\]\.bins\.edges: .*increasing"),
        (("features", 0, "bins", "edges", 1), "1", r"^features\[0\]\.bins\.edges\[1\]: '1' is not a finite number"),
        (("features", 0, "bins", "edges", 1), 10**400, r"^features\[0\]\.bins\.edges\[1\]: "),
        (("features", 0, "bins", "minimum"), 1e9, r"^features\[0\]\.bins\.minimum and maximum"),
        (("features", 0, "counts", "00"), -1, "counts: must be one whole number"),
        (("features", 0, "counts", "00"), 1.5, r"^features\[0\]\.counts\.00: 1.5 is not a whole number"),
        (("features", 0, "counts", "00"), KeyError, r"^features\[0\]\.counts: must have the keys 00"),
        (("features", 0, "counts", "99"), 1, r"^features\[0\]\.counts: must have the keys 00"),
        (("features", 0, "violations", "missing"), 0, r"violations\.missing: must be the count"),
        (("features", 0, "violations", "type"), 10**6, "violations: are more than the rows"),
        (("features", 0, "violations", "odd"), 1, r"violations\.odd: is an unknown field"),
        (("features", 0, "dispersion"), 0.5, "dispersion: must be a finite number, at least 1"),
        (("features", 0, "importance"), 1.5, "importance: must be from 0 to 1"),
        (("features", 0, "importance"), KeyError, "importance: all inputs"),
        (("features", 0, "importance"), 0.9, "importance: all inputs"),
        (("features", 5, "importance"), 0.0, "'delay': importance: only inputs"),
        (("features", 4, "bins", "size"), 9, r"^features\[4\]\.bins\.size: 9"),
        (("features", 4, "bins", "vocabulary", 0), "B6", r"^features\[4\]\.bins\.vocabulary: .*twice"),
        (("features", 4, "bins", "vocabulary"), ["x"] * 10**4, r"^features\[4\]\.bins\.vocabulary: "),
        (("features", 4, "bins", "vocabulary", 0), "XX", "^id: .*edited by hand"),
        (("features", 0, "bins", "maximum"), 1e6, "^id: .*edited by hand"),
        (("ignored_columns",), ["rain"], "'rain' stands twice"),
        (("ignored_columns",), [""], "ignored_columns: each must be"),
        (("ignored_columns",), [1], r"^ignored_columns\[0\]: 1 is not a text"),
    ],
)
def test_changed_file_is_refused_with_the_name_of_the_field(
    baseline: Baseline, tmp_path: Path, path: tuple[Any, ...], value: object, says: str
) -> None:
    """Every field is checked, and the message names the file and the field."""
    text = json.dumps(corrupted(json.loads(baseline.to_json()), path, value))
    with pytest.raises(BaselineError, match=says):
        Baseline.from_json(text)
    file = tmp_path / "b.json"
    file.write_text(text)
    with pytest.raises(BaselineError) as refused:
        Baseline.load(file)
    assert str(refused.value).startswith(f"{file}: ")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no JSON"),
        (b"\x00\x01", "is no JSON"),
        (b"\xff\xfe{}", "no UTF-8"),
        (b"model: x", "is no JSON"),
        (b"[]", "format: is not"),
        (b"null", "format: is not"),
        (b'{"openapi": "3.0"}', "format: is not"),
        (b'{"format": "windvane.baseline"}', "format_version: is absent"),
        (b'{"rows": NaN}', "NaN is no number"),
        (b'{"a": 1, "a": 2}', "a key stands twice"),
        (b'{"rows": ' + b"1" * 5000 + b"}", "is no baseline"),
        (b"[" * 200_000, "is no (baseline|JSON)"),
    ],
)
def test_foreign_file_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    """What is no baseline is refused with the file's name and what to do."""
    file = tmp_path / "b.json"
    file.write_bytes(content)
    with pytest.raises(BaselineError, match=says) as refused:
        Baseline.load(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert "check the path" in str(refused.value) or "restore" in str(refused.value)


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    """A file that is absent, a directory, a name that cannot be, or far too large is refused."""
    big = tmp_path / "big.json"
    with big.open("wb") as stream:
        stream.truncate(100 * 2**20)
    for path, says in ((tmp_path / "absent.json", "No such file"), (tmp_path, "directory"), (big, "larger than")):
        with pytest.raises(BaselineError, match=says):
            Baseline.load(path)
    with pytest.raises(BaselineError, match="cannot be read"):
        Baseline.load("a\x00b")


def test_unwritable_file_is_refused(baseline: Baseline, tmp_path: Path) -> None:
    """A file that cannot be written is named, and nothing is left behind."""
    for path in (tmp_path / "absent" / "b.json", tmp_path):
        with pytest.raises(BaselineError, match="cannot be written"):
            baseline.save(path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def small() -> str:
    """Make the text of a small baseline with every kind of feature."""
    frame = {
        "x": [1.5, 2.5, None, 3.5] * 5,
        "c": ["a", "a", "b", None] * 5,
        "n": ["x" * i for i in range(20)],
        "t": [f"2024-01-{1 + i:02d}" for i in range(20)],
        "e": [[float(i), 0.5] for i in range(20)],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BaselineWarning)
        return built(frame, about={"x": {"unit": "km", "source": "schedule", "team": "data"}}).to_json()


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths of all values in a document."""
    found = [path] if path else []
    if isinstance(document, list):
        document = dict(enumerate(document))
    for key, value in document.items() if isinstance(document, dict) else ():
        found.extend(places(value, (*path, key)))
    return found


@settings(deadline=None, max_examples=500)
@given(data=st.data())
def test_mutated_file_is_refused_or_the_same(small: str, data: st.DataObject) -> None:
    """Any value replaced or removed gives a BaselineError or the same baseline, never another error."""
    document = json.loads(small)
    path = data.draw(st.sampled_from(places(document)))
    value = data.draw(st.one_of(st.just(KeyError), JSON_VALUES))
    changed = corrupted(document, path, value)
    try:
        read = Baseline.from_json(json.dumps(changed))
    except BaselineError:
        return
    assert path == ("created",) or read.to_json() == small


@settings(deadline=None, max_examples=500)
@given(data=st.data())
def test_damaged_file_is_refused_or_the_same(
    small: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A file cut short or with flipped bits gives a BaselineError or the same content, never another error."""
    content = bytearray(small.encode())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 2))]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file = tmp_path_factory.getbasetemp() / f"damaged-{threading.get_ident()}.json"
    file.write_bytes(content)
    try:
        read = Baseline.load(file)
    except BaselineError:
        return
    assert read == Baseline.from_json(small)


def test_reading_a_baseline_imports_neither_pandas_nor_the_builder(baseline: Baseline, tmp_path: Path) -> None:
    """A serving process pays for reading alone."""
    baseline.save(tmp_path / "b.json")
    code = (
        "import sys; from windvane.baseline import Baseline; Baseline.load(sys.argv[1]); "
        "print(*sorted({'pandas', 'pyarrow', 'windvane._baseline_builder'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "b.json")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_example_of_the_documentation_is_a_baseline() -> None:
    """The file that docs/baseline-format.md prints can be loaded."""
    page = Path(__file__).parents[2].joinpath("docs", "baseline-format.md").read_text(encoding="utf-8")
    text = page.split("```json\n")[1].split("```")[0]
    example = Baseline.from_json(text)
    assert json.loads(example.to_json()) == json.loads(text)
    kinds = {f["bins"]["kind"] for f in json.loads(text)["features"]}
    assert kinds == {"numeric", "category", "length", "time", "distance"}


def test_files_of_format_version_1_stay_what_they_are() -> None:
    """A file with every field that was written once is read today, and written again byte for byte."""
    text = Path(__file__).with_name("baselines").joinpath("version-1.json").read_text(encoding="utf-8")
    kept = Baseline.from_json(text)
    assert kept.to_json() == text
    assert {f.type for f in kept.features} == set(get_args(FeatureType))
    assert {f.role for f in kept.features} == {"input", "output", "derived"}
    assert kept.principal_components is not None
    assert kept.calibration is None


@pytest.mark.parametrize("kind", ["binary", "multiclass", "probabilities", "regression"])
def test_calibrations_of_format_version_1_stay_what_they_are(kind: str) -> None:
    """A file with a calibration that was written once is read today, and written again byte for byte."""
    text = Path(__file__).with_name("baselines").joinpath(f"version-1-{kind}.json").read_text(encoding="utf-8")
    kept = Baseline.from_json(text)
    assert kept.to_json() == text
    assert kept.calibration is not None
    assert kept.calibration.outcomes.kind == ("multiclass" if kind == "probabilities" else kind)


def test_file_of_a_newer_windvane_asks_for_an_upgrade(small: str) -> None:
    """A kind of bins, a field or a version that is not known yet is named with what to do."""
    for path, value in ((("features", 0, "bins", "kind"), "hexagonal"), (("features", 0, "new"), 1), (("new",), 1)):
        with pytest.raises(BaselineError, match="upgrade windvane"):
            Baseline.from_json(json.dumps(corrupted(json.loads(small), path, value)))


def test_bins_of_whole_numbers_belong_to_whole_types() -> None:
    """Bins made by hand that would count another type than the feature's are refused."""
    for feature_type, whole in (("float", True), ("integer", False), ("boolean", False)):
        with pytest.raises(BaselineError, match=f"feature 'x': bins.whole: must be {not whole} for a feature of type"):
            Feature("x", "input", feature_type, NumericBins((), 0, 1, whole), (1, 0, 0), (0,) * 5)  # type: ignore[arg-type]
