"""A profile of its own: what it counts, how it merges, what it writes and what it keeps to itself."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windvane.profiles import ColumnProfile, DatasetProfile, ProfileError
from windvane.profiles._murmur3 import coupons_of_texts
from windvane.profiles._values import Values

THEN = datetime(2013, 1, 1, tzinfo=UTC)


def profile_of(column: Any, **options: Any) -> ColumnProfile:
    profile = DatasetProfile(**options)
    profile.track({"x": column})
    return profile.columns["x"]


def frequent(column: ColumnProfile) -> dict[str, int]:
    assert column.frequent_items is not None
    return {item.value: item.estimate for item in column.frequent_items.items}


def distinct(column: ColumnProfile) -> float:
    assert column.cardinality is not None
    return column.cardinality.estimate


@pytest.mark.parametrize(
    "column",
    [
        [1, 2, None, 2],
        pd.Series([1, 2, None, 2], dtype="Int64"),
        pd.Series([1, 2, None, 2], dtype="int64[pyarrow]"),
        pl.Series([1, 2, None, 2]),
        pa.array([1, 2, None, 2]),
        pa.chunked_array([[1, 2], [None, 2]]),
        np.array([1, 2, None, 2], dtype=object),
    ],
)
def test_integers_with_nulls_are_integers_in_every_library(column: Any) -> None:
    """A null among integers makes no floats of them, whatever library the column is of."""
    profile = profile_of(column)
    assert (profile.counts.n, profile.counts.null, profile.counts.nan) == (4, 1, 0)
    assert (profile.types.integral, profile.types.fractional) == (3, 0)
    assert (profile.minimum, profile.maximum) == (1, 2)
    assert frequent(profile) == {"2": 2, "1": 1}


@pytest.mark.parametrize(
    "column",
    [
        ["a", None, "b", "a"],
        pd.Series(["a", None, "b", "a"]),
        pd.Series(["a", None, "b", "a"], dtype="category"),
        pl.Series(["a", None, "b", "a"]),
        pa.array(["a", None, "b", "a"]),
        pa.array(["a", None, "b", "a"]).dictionary_encode(),
    ],
)
def test_texts_are_texts_in_every_library(column: Any) -> None:
    """Texts and categories are counted as texts, whatever library the column is of."""
    profile = profile_of(column)
    assert (profile.counts.n, profile.counts.null, profile.types.string) == (4, 1, 3)
    assert frequent(profile) == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    "column",
    [
        [THEN, None],
        np.array(["2013-01-01", "NaT"], dtype="M8[ns]"),
        pd.Series([THEN, None]),
        pl.Series([THEN, None]),
        pa.array([THEN, None]),
    ],
)
def test_times_are_objects_in_every_library(column: Any) -> None:
    """Times are counted, and nothing else is told of them, as in whylogs."""
    profile = profile_of(column)
    assert (profile.counts.n, profile.counts.null, profile.types.object) == (2, 1, 1)
    assert profile.quantiles is None
    assert profile.frequent_items is None


def test_numbers_that_64_bits_cannot_hold_are_fractional() -> None:
    """Larger integers count as floats, and those that no float holds as infinite."""
    profile = profile_of([2**63, -(2**63), 10**400, Decimal("1.5")])
    assert (profile.types.integral, profile.types.fractional, profile.counts.inf) == (1, 3, 1)
    profile = profile_of(np.array([2**63, 1], dtype=np.uint64))
    assert (profile.types.integral, profile.types.fractional, profile.maximum) == (1, 1, 1)


class Hostile:
    """An object whose methods raise."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]


def test_a_value_whose_methods_raise_is_an_object() -> None:
    """A value that cannot be looked at is counted and harms no other."""
    profile = profile_of([Hostile(), 1, "\ud800", np.float32(2.5)])
    assert (profile.types.object, profile.types.integral, profile.types.string, profile.types.fractional) == (
        1,
        1,
        1,
        1,
    )
    assert "?" in frequent(profile)


def test_a_column_that_changes_its_type_has_all_that_either_type_has() -> None:
    """Integers, then floats, then texts: each is counted as what it is."""
    profile = DatasetProfile()
    for column in (np.arange(10), np.array([0.5, math.nan]), ["a", None], [True]):
        profile.track({"x": column})
    column = DatasetProfile.deserialize(profile.serialize()).columns["x"]
    types = column.types
    assert (types.integral, types.fractional, types.string, types.boolean) == (10, 1, 1, 1)
    assert (column.counts.null, column.maximum, column.moments.n) == (2, 9, 12)
    assert distinct(column) == pytest.approx(12, abs=0.01)  # 1 and True are one value
    assert frequent(column)["True"] == 1


def test_an_absent_value_of_a_row_counts_nothing() -> None:
    """Rows need not have the same names."""
    profile = DatasetProfile()
    profile.track_rows([{"a": 1}, {"a": None, "b": "x"}, {}])
    assert (profile.columns["a"].counts.n, profile.columns["a"].counts.null) == (2, 1)
    assert profile.columns["b"].counts.n == 1


values = st.one_of(
    st.none(),
    st.integers(-(2**70), 2**70),
    st.floats(width=32),
    st.booleans(),
    st.text(max_size=5),
    st.binary(max_size=2),
)


@settings(deadline=None, max_examples=60)
@given(column=st.lists(values, max_size=40), cut=st.integers(0, 40), options=st.booleans())
def test_parts_merge_to_the_whole_in_any_order(column: list[Any], cut: int, *, options: bool) -> None:
    """Counts, types and what small columns keep exactly do not depend on how rows are cut, or on the order."""
    whole = profile_of(column, frequent_items=options)
    one, other = DatasetProfile(frequent_items=options), DatasetProfile(frequent_items=options)
    one.track({"x": column[:cut]})
    other.track({"x": column[cut:]})
    for merged in (one + other, other + one, DatasetProfile.deserialize((one + other).serialize())):
        part = merged.columns["x"]
        assert (part.counts, part.types) == (whole.counts, whole.types)
        assert (part.minimum, part.maximum, part.has_integers) == (whole.minimum, whole.maximum, whole.has_integers)
        assert (part.frequent_items and part.frequent_items.items) == (
            whole.frequent_items and whole.frequent_items.items
        )
        assert (part.cardinality is None) == (whole.cardinality is None)
        if part.cardinality and whole.cardinality:
            assert part.cardinality.estimate == pytest.approx(whole.cardinality.estimate)
        if not whole.counts.inf:
            scale = max((abs(float(v)) for v in column if isinstance(v, (int, float)) and v == v), default=0)  # noqa: PLR0124 - NaN
            assert part.moments.mean == pytest.approx(whole.moments.mean, abs=1e-12 * scale)
            assert part.moments.m2 == pytest.approx(whole.moments.m2, rel=1e-9, abs=1e-12 * scale * scale)


def test_merging_leaves_both_parts_as_they_were() -> None:
    """What is tracked into a merged profile stays out of its parts, also where only one has the column."""
    one, other = DatasetProfile(), DatasetProfile()
    one.track({"x": np.arange(5000.0), "only": [1.0]})
    other.track({"x": ["a"]})
    before = one.serialize(), other.serialize()
    merged = one + other
    for name in ("x", "only"):
        merged_distinct, distinct_before = distinct(merged.columns[name]), distinct(one.columns[name])
        assert merged_distinct == pytest.approx(distinct_before + (name == "x"), rel=1e-3)
    merged.track({"x": [2.0, "b"], "only": [3.0]})
    assert (one.serialize(), other.serialize()) == before


def test_three_large_parts_merge_to_the_same_in_any_grouping() -> None:
    """Sums are exact, estimates of distinct values equal, quantiles within their error."""
    rng = np.random.default_rng(2)
    parts = []
    for _ in range(3):
        part = DatasetProfile()
        part.track({"x": rng.normal(size=20_000)})
        parts.append(part)
    left = ((parts[0] + parts[1]) + parts[2]).columns["x"]
    right = (parts[0] + (parts[2] + parts[1])).columns["x"]
    assert left.counts == right.counts
    assert left.moments.m2 == pytest.approx(right.moments.m2, rel=1e-12)
    assert distinct(left) == distinct(right) == pytest.approx(60_000, rel=0.05)
    assert left.quantiles is not None
    assert right.quantiles is not None
    assert left.quantiles.quantiles([0.1, 0.9]) == pytest.approx(right.quantiles.quantiles([0.1, 0.9]), rel=0.02)


def test_a_merged_profile_has_the_earlier_times_and_all_metadata() -> None:
    """Of two values of one name, the other's is taken."""
    later = datetime(2014, 1, 1, tzinfo=UTC)
    one = DatasetProfile(dataset_timestamp=later, creation_timestamp=later, metadata={"a": "1", "b": "1"})
    other = DatasetProfile(dataset_timestamp=THEN, creation_timestamp=later, metadata={"b": "2"})
    merged = one + other
    assert (merged.dataset_timestamp, merged.creation_timestamp) == (THEN, later)
    assert merged.metadata == {"a": "1", "b": "2"}


def test_equal_content_is_written_in_equal_bytes() -> None:
    """Neither the order of columns and metadata nor reading it back changes a byte."""
    options: dict[str, Any] = {"dataset_timestamp": THEN, "creation_timestamp": THEN}
    one = DatasetProfile(**options, metadata={"a": "1", "b": "2"})
    other = DatasetProfile(**options, metadata={"b": "2", "a": "1"})
    one.track({"x": [1, 2, 3], "y": ["a", "b"]})
    other.track({"y": ["b", "a"], "x": [1, 2, 3]})
    assert one.serialize() == one.serialize() == other.serialize()
    assert DatasetProfile.deserialize(one.serialize()).serialize() == one.serialize()


def test_no_item_is_kept_where_frequent_items_are_off() -> None:
    """With the switch off, no text stands in the profile, while it is still counted."""
    profile = DatasetProfile(frequent_items=False)
    profile.track({"x": ["canary"] * 1000})
    assert b"canary" not in profile.serialize()
    assert profile.columns["x"].types.string == 1000
    assert distinct(profile.columns["x"]) == pytest.approx(1)


def test_an_item_below_the_minimum_is_not_written() -> None:
    """What came less often than the minimum is told to nobody, what came as often is."""
    profile = DatasetProfile(frequent_items_minimum=5)
    profile.track({"x": ["common"] * 5 + ["canary"] * 4})
    written = profile.serialize()
    assert b"canary" not in written
    assert frequent(DatasetProfile.deserialize(written).columns["x"]) == {"common": 5}
    assert b"canary" not in (profile + DatasetProfile()).serialize()


def test_memory_is_bounded_whatever_comes() -> None:
    """A column of ever new texts and numbers grows to a size and no further."""
    profile = DatasetProfile()
    sizes = []
    for batch in range(12):
        numbers = np.arange(batch * 20_000, (batch + 1) * 20_000)
        profile.track({"texts": [f"text {n}" for n in numbers.tolist()], "numbers": numbers, "floats": numbers / 7})
        sizes.append(len(profile.serialize()))
    assert max(sizes) < 120_000
    assert distinct(profile.columns["texts"]) == pytest.approx(240_000, rel=0.06)


def test_frequent_items_in_small_batches_stay_within_their_error() -> None:
    """Batches of a few values each, of more values than are kept, lose no frequent one."""
    profile = DatasetProfile()
    rng = np.random.default_rng(3)
    for _ in range(300):
        profile.track({"x": np.concatenate((rng.integers(0, 10**6, 50), np.full(10, 7)))})
    found = profile.columns["x"].frequent_items
    assert found is not None
    assert found.items[0].value == "7"
    assert found.items[0].lower <= 3000 <= found.items[0].upper
    assert found.items[0].upper - found.items[0].lower <= 300 * 60 / 385


@settings(deadline=None)
@given(texts=st.lists(st.text(min_size=1, max_size=80).map(lambda text: text.encode("utf-8", "replace")), min_size=1))
def test_texts_are_hashed_as_the_library_hashes_them(texts: list[bytes]) -> None:
    """The hash of many texts at once is that of each, whatever their lengths in bytes."""
    library = pytest.importorskip("datasketches")
    expected = []
    for text in texts:
        sketch = library.hll_sketch(12)
        sketch.update(text.decode())
        expected.append(int.from_bytes(sketch.serialize_compact()[8:12], "little"))
    assert coupons_of_texts(texts).tolist() == expected


def test_distinct_values_are_estimated_as_the_library_estimates_them() -> None:
    """Fed in batches of any size, the state is that of the library fed value by value."""
    library = pytest.importorskip("datasketches")
    rng = np.random.default_rng(4)
    sketch = library.hll_sketch(12, library.tgt_hll_type.HLL_4)
    profile = DatasetProfile()
    for size in (1, 7, 300, 100, 2000, 9000, 1):
        column = rng.integers(0, 30_000, size)
        profile.track({"x": column})
        for value in column.tolist():
            sketch.update(value)
        found = profile.columns["x"].cardinality
        assert found is not None
        assert found.estimate == pytest.approx(sketch.get_estimate(), rel=1e-13)
        assert found.bounds(2) == pytest.approx((sketch.get_lower_bound(2), sketch.get_upper_bound(2)))
    assert found.to_bytes()[24:] == sketch.serialize_compact()[24:]


@pytest.mark.parametrize("spread", ["near", "far", "ties", "infinite", "constant"])
def test_quantiles_of_a_block_are_within_the_bound(spread: str) -> None:
    """However the values lie, blocks that are compacted at once keep the ranks."""
    rng = np.random.default_rng(6)
    column = rng.normal(size=100_003)
    if spread == "far":
        column[:3] = 1e300, -1e300, 1e200
    elif spread == "ties":
        column = np.floor(np.exp(column))
    elif spread == "infinite":
        column[::50] = np.inf
    elif spread == "constant":
        column[:] = 5
    sketch = profile_of(column).quantiles
    assert sketch is not None
    assert (sketch.n, sketch.minimum, sketch.maximum) == (column.size, column.min(), column.max())
    points = np.unique(np.quantile(column[np.isfinite(column)], np.linspace(0, 1, 101)))
    exact = np.searchsorted(np.sort(column), points, side="right") / column.size
    np.testing.assert_allclose(sketch.cdf(points.tolist()), exact, atol=0.006)


def test_an_empty_profile_is_read_and_merged() -> None:
    """No columns, and columns without values, are profiles too."""
    empty = DatasetProfile.deserialize(DatasetProfile().serialize())
    assert not empty.columns
    empty.track({"x": [], "y": np.empty(0), "z": [None]})
    read = (empty + DatasetProfile.deserialize(empty.serialize())).columns
    assert (read["x"].counts.n, read["z"].counts.null) == (0, 2)
    assert read["y"].quantiles is not None
    assert math.isnan(read["y"].quantiles.minimum)
    assert math.isnan(read["y"].quantiles.quantiles([0.5])[0])


@pytest.mark.parametrize(
    "options",
    [
        {"dataset_timestamp": datetime(2013, 1, 1)},  # noqa: DTZ001 - without a zone on purpose
        {"creation_timestamp": datetime(1969, 1, 1, tzinfo=UTC)},
        {"metadata": {"a": 1}},
        {"metadata": {"\ud800": "a"}},
        {"frequent_items_minimum": 0},
    ],
)
def test_a_profile_that_could_not_be_written_is_refused(options: dict[str, Any]) -> None:
    """What no file can hold is refused at once."""
    with pytest.raises(ProfileError):
        DatasetProfile(**options)


def test_columns_are_bounded_and_named_by_text() -> None:
    """A profile takes no more columns than a reader would, and no name that is no text."""
    profile = DatasetProfile()
    with pytest.raises(ProfileError, match="10000"):
        profile.track({f"x{i}": [] for i in range(10_001)})
    with pytest.raises(ProfileError, match="name"):
        DatasetProfile().track({1: [1]})  # type: ignore[dict-item]


def test_without_the_extra_the_error_names_it() -> None:
    """Where datasketches is missing, the first number says what to install; importing windvane does not need it."""
    code = (
        "import sys; sys.modules['datasketches'] = None\n"
        "import windvane.profiles as p\n"
        "try: p.DatasetProfile().track({'x': [1]})\n"
        "except p.ProfileError as error: print(error)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "windvane[profiles]" in shown.stdout


def test_windvane_does_not_import_profiles() -> None:
    """Neither the package nor its profiles import the library before a sketch is made."""
    code = (
        "import sys, windvane; before = 'windvane.profiles' in sys.modules\n"
        "import windvane.profiles; print(before, 'datasketches' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]


def test_nested_and_masked_arrays_do_not_fail() -> None:
    """Arrays of other shapes and kinds are flattened, or their values are objects."""
    assert Values.of(np.ones((3, 2))).rows == 6
    assert Values.of(np.array([1 + 2j])).objects == 1
    assert Values.of(np.array([b"a"])).objects == 1
    assert Values.of([[1.0], [], np.zeros(2), ["a"]]).tensors == 2
    assert Values.of([np.array(3), np.array("a")]).integral.tolist() == [3]
    assert Values.of(value for value in (1, "a")).rows == 2


def test_a_column_that_cannot_be_written_to_is_profiled() -> None:
    """As the columns of Arrow are; below and above the size from which blocks are compacted."""
    for rows in (100, 5000):
        values = np.arange(rows, dtype=np.float64)
        values.flags.writeable = False
        profile = DatasetProfile()
        profile.track({"x": values, "every other": values[::2]})
        assert profile.columns["x"].counts.n == rows
        assert profile.columns["every other"].counts.n == rows // 2
