"""Bins count any values whatever, and their counts add up."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, NoReturn, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windvane import semconv
from windvane.bins import (
    Bins,
    CategoryBins,
    DistanceBins,
    LengthBins,
    NumericBins,
    TimeBins,
    category_of,
    tally_categories,
)
from windvane.errors import BaselineError

NUMERIC = NumericBins(edges=(0.0, 1.0, 10.0), minimum=-5.0, maximum=20.0)
WHOLE = NumericBins(edges=(0.0,), minimum=-5.0, maximum=20.0, whole=True)
LENGTH = LengthBins(edges=(3.0,), minimum=1.0, maximum=9.0)
TIME = TimeBins()
DISTANCE = DistanceBins(centroid=(0.0, 1.0), edges=(0.5,), minimum=0.0, maximum=2.0)
CATEGORY = CategoryBins(vocabulary=("a", "b", "1", "True", "rare"), size=4)


def _boom(*_: object) -> NoReturn:
    raise RuntimeError


class _Hostile:
    """Fails whatever it is asked."""

    __hash__ = _boom
    __eq__ = _boom
    __str__ = _boom
    __repr__ = _boom
    __float__ = _boom
    __bool__ = _boom
    __len__ = _boom
    __array__ = _boom
    __getattr__ = _boom
    __class__ = property(_boom)


class _HostileMeta(type):
    __hash__ = _boom
    __eq__ = _boom
    __name__ = property(_boom)


class _HostileClass(metaclass=_HostileMeta):
    pass


class _HostileInt(int):
    __float__ = _boom
    __int__ = _boom
    __hash__ = _boom
    __eq__ = _boom


class _HostileContainer:
    __iter__ = _boom
    __len__ = _boom
    __getitem__ = _boom
    __class__ = property(_boom)


class _AlwaysEqual(str):
    """Text that claims to equal everything."""

    __slots__ = ()

    def __eq__(self, _: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


@dataclass
class _Row:
    """A value of the tables by its position: hypothesis compares, hashes and prints what it draws."""

    number: int

    @property
    def value(self) -> object:
        return (NUMERIC_TABLE + CATEGORY_TABLE)[self.number][0]


class _Colour(StrEnum):
    A = "a"


def by_label(bins: Bins, values: object) -> dict[str, int]:
    """Count values; return the bins that are not empty."""
    counts, _ = bins.count(cast("Any", values))
    return {label: n for label, n in zip(bins.labels, counts.tolist(), strict=True) if n}


def by_kind(bins: Bins, values: object) -> dict[str, int]:
    """Count values; return the violations that there are."""
    _, violations = bins.count(cast("Any", values))
    return {kind: n for kind, n in zip(semconv.VIOLATION_KIND.values, violations.tolist(), strict=True) if n}


MISSING = [
    None,
    math.nan,
    np.nan,
    np.float32("nan"),
    pd.NA,
    pd.NaT,
    np.datetime64("NaT"),
    Decimal("NaN"),
    Decimal("sNaN"),
]
NO_NUMBERS = [
    "x",
    b"x",
    "1",
    1j,
    (1,),
    [],
    {},
    object(),
    datetime.now(UTC),
    np.datetime64("2013-01-01"),
    np.array([1.0]),
]
HOSTILE = [_Hostile(), _HostileClass(), _HostileInt(3), _HostileContainer()]


NUMERIC_TABLE: list[tuple[object, str, str | None]] = [
    (-1, "00", None),
    (0, "00", None),
    (0.5, "01", None),
    (1.0, "01", None),
    (np.float32(1.5), "02", None),
    (np.int8(10), "02", None),
    (10.01, "03", None),
    (True, "01", None),
    (np.True_, "01", None),
    (Decimal("0.5"), "01", None),
    (Fraction(1, 2), "01", None),
    (np.array(0.5), "01", None),
    (-5.001, "00", "range"),
    (1e300, "03", "range"),
    (math.inf, "other", "range"),
    (-np.inf, "other", "range"),
    (10**400, "other", "range"),
    *((value, "null", "missing") for value in MISSING),
    *((value, "other", "type") for value in NO_NUMBERS),
    *((value, "other", "type") for value in HOSTILE),
]


@pytest.mark.parametrize("row", range(len(NUMERIC_TABLE)))
def test_numeric_value_has_its_bin_and_violation(row: int) -> None:
    """Each value, alone or beside others, is in the bin and has the violation of the table."""
    value, label, kind = NUMERIC_TABLE[row]
    violation = {kind: 1} if kind else {}
    assert by_label(NUMERIC, [value]) == {label: 1}
    assert by_kind(NUMERIC, [value]) == violation
    beside = Counter({label: 1}) + Counter({"02": 1, "null": 1})
    assert by_label(NUMERIC, [5.0, value, None]) == beside
    assert by_kind(NUMERIC, [5.0, value, None]) == Counter(violation) + Counter({"missing": 1})


CATEGORY_TABLE: list[tuple[object, str, str | None]] = [
    ("a", "c00", None),
    (np.str_("b"), "c01", None),
    (_Colour.A, "c00", None),
    (1, "c02", None),
    (1.0, "c02", None),
    (np.int16(1), "c02", None),
    (np.array(1), "c02", None),
    (True, "c03", None),
    (np.True_, "c03", None),
    ("rare", "other", None),
    ("unseen", "other", "category"),
    ("x" * 10_000, "other", "category"),
    ("\ud800", "other", "category"),
    (_AlwaysEqual("unseen"), "other", "category"),
    (2, "other", "category"),
    (10**5000, "other", "category"),
    (False, "other", "category"),
    (1.5, "other", "type"),
    (math.inf, "other", "type"),
    (b"a", "other", "type"),
    (("a",), "other", "type"),
    (datetime.now(UTC), "other", "type"),
    *((value, "null", "missing") for value in MISSING),
    *((value, "other", "type") for value in HOSTILE),
]


@pytest.mark.parametrize("row", range(len(CATEGORY_TABLE)))
def test_category_value_has_its_bin_and_violation(row: int) -> None:
    """Each value, alone or beside others, is in the bin and has the violation of the table."""
    value, label, kind = CATEGORY_TABLE[row]
    violation = {kind: 1} if kind else {}
    assert by_label(CATEGORY, [value]) == {label: 1}
    assert by_kind(CATEGORY, [value]) == violation
    beside = Counter({label: 1}) + Counter({"c01": 2, "null": 1})
    assert by_label(CATEGORY, ["b", value, None, "b"]) == beside
    assert by_kind(CATEGORY, ["b", value, None, "b"]) == Counter(violation) + Counter({"missing": 1})


@pytest.mark.parametrize(
    ("value", "label", "kind"),
    [
        (3, "01", None),
        (3.0, "01", None),
        (True, "01", None),
        (np.True_, "01", None),
        (np.float32(-2), "00", None),
        (Decimal(4), "01", None),
        (3.5, "01", "type"),
        (-0.5, "00", "type"),
        (Fraction(1, 2), "01", "type"),
        (20.5, "01", "range"),
        (1e300, "01", "range"),
        (math.inf, "other", "range"),
        ("3", "other", "type"),
        ("true", "other", "type"),
        (None, "null", "missing"),
    ],
)
def test_fraction_among_whole_numbers_is_of_another_type(value: object, label: str, kind: str | None) -> None:
    """Integers may come as floats; a fraction counts in its bin, and as a violation of the type within the range."""
    assert by_label(WHOLE, [value, 7]) == Counter({label: 1}) + Counter({"01": 1})
    assert by_kind(WHOLE, [value, 7]) == ({kind: 1} if kind else {})
    if isinstance(value, float):
        assert by_kind(WHOLE, np.array([value, 7])) == ({kind: 1} if kind else {})


NEW_YEAR = datetime(2024, 1, 1, 13, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (NEW_YEAR, "t02"),
        (NEW_YEAR.replace(tzinfo=None), "t02"),
        (NEW_YEAR.date(), "t00"),
        (np.datetime64("2024-01-01T13"), "t02"),
        (pd.Timestamp(NEW_YEAR).tz_convert("Asia/Tokyo"), "t02"),
        ("2024-01-01T22:00:00+09:00", "t02"),
        (NEW_YEAR.timestamp(), "t02"),
        (int(NEW_YEAR.timestamp()), "t02"),
        ("0001-01-01", "t00"),
        ("9999-12-31T23:59:59", "t19"),
        (NEW_YEAR.timestamp() * 1e3, "other"),
        (np.datetime64("20000-01-01"), "other"),
        (math.inf, "other"),
        (True, "other"),
        ("13:00", "other"),
        ("tomorrow", "other"),
        (np.timedelta64(1, "s"), "other"),
        (pd.NaT, "null"),
        (math.nan, "null"),
    ],
)
def test_time_has_its_part_of_the_week(value: object, label: str) -> None:
    """Times of every kind are counted in UTC; milliseconds, and what is no time, are violations of the type."""
    assert by_label(TIME, [value, NEW_YEAR]) == Counter({label: 1}) + Counter({"t02": 1})
    assert by_kind(TIME, [value, NEW_YEAR]) == {"other": {"type": 1}, "null": {"missing": 1}}.get(label, {})


@pytest.mark.parametrize("dimensions", [1, 7, 4096])
def test_distances_equal_an_independent_computation(dimensions: int) -> None:
    """In any form, of any number type and however many at once, they are those that numpy's norm gives."""
    vectors = np.random.default_rng(dimensions).normal(size=(100, dimensions)).astype(np.float32)
    bins = DistanceBins(tuple(np.linspace(-1, 1, dimensions).tolist()), (1.0,), 0.0, 9.0)
    expected = np.linalg.norm(vectors.astype(np.float64) - np.linspace(-1, 1, dimensions), axis=1)
    column = np.empty(100, dtype=object)
    column[:] = list(vectors)
    for values in (vectors, column, list(vectors), vectors.tolist(), [*vectors[:50], *vectors[50:].astype(np.float64)]):
        distances, wrong_type = bins.distances(values)
        assert distances == pytest.approx(expected, rel=1e-12)
        assert wrong_type == 0
        assert bins.distances(values[:1])[0] == pytest.approx(expected[:1], rel=1e-12)


def test_vectors_that_do_not_fit_are_of_another_type_in_every_form() -> None:
    """Another number of dimensions and NaN are told in an array of vectors as one by one."""
    table = np.array([[0.0, 1.0], [np.nan, 1.0], [0.0, 9.0]])
    for values in (table, list(table), table.tolist()):
        assert by_kind(DISTANCE, values) == {"type": 1, "range": 1}
        assert by_label(DISTANCE, values) == {"00": 1, "01": 1, "other": 1}
    for values in (np.ones((3, 5)), list(np.ones((3, 5))), np.ones((3, 2), dtype=bool), np.ones((3, 2, 1))):
        assert by_kind(DISTANCE, values) == {"type": 3}


@pytest.mark.parametrize("bins", [NUMERIC, CATEGORY])
def test_what_is_no_column_is_one_value_of_the_wrong_type(bins: NumericBins | CategoryBins) -> None:
    """Something that cannot be listed counts as one violation of the type."""
    for values in [_HostileContainer(), 5, None, np.array(5)]:
        assert by_label(bins, values) == {"other": 1}
        assert by_kind(bins, values) == {"type": 1}


@pytest.mark.parametrize("bins", [NUMERIC, CATEGORY])
def test_rows_of_a_matrix_are_of_the_wrong_type(bins: NumericBins | CategoryBins) -> None:
    """A column of vectors has one violation per row."""
    assert by_kind(bins, np.ones((3, 2))) == {"type": 3}


@pytest.mark.parametrize("bins", [NUMERIC, CATEGORY])
def test_empty_column_has_no_counts(bins: NumericBins | CategoryBins) -> None:
    """No values, no counts."""
    columns: list[object] = [[], (), np.empty(0), np.empty(0, dtype=object)]
    for values in columns:
        assert by_label(bins, values) == {}
        assert by_kind(bins, values) == {}


@pytest.mark.parametrize(
    "column",
    [
        np.array([0.5, np.nan, 5.0], dtype=np.float64),
        np.array([0.5, np.nan, 5.0], dtype=np.float32),
        np.array([0.5, np.nan, 5.0], dtype=np.float16),
        np.array([0.5, np.nan, 5.0], dtype=np.longdouble),
        np.array([0.5, None, 5.0], dtype=object),
        np.ma.masked_array([0.5, 2.0, 5.0], mask=[False, True, False]),
        [0.5, None, 5],
        (0.5, math.nan, 5),
        pd.Series([0.5, None, 5.0]),
        pd.array([0.5, None, 5.0], dtype="Float64"),
    ],
)
def test_numeric_column_of_any_kind_counts_alike(column: object) -> None:
    """Arrays, lists and series of the same numbers give the same counts."""
    assert by_label(NUMERIC, column) == {"01": 1, "02": 1, "null": 1}


@pytest.mark.parametrize(
    "column",
    [
        np.array(["a", None, "b"], dtype=object),
        ["a", None, "b"],
        pd.Series(["a", None, "b"]),
        pd.Series(["a", None, "b"], dtype="category"),
        np.ma.masked_array(["a", "x", "b"], mask=[False, True, False]),
    ],
)
def test_category_column_of_any_kind_counts_alike(column: object) -> None:
    """Arrays, lists and series of the same text give the same counts."""
    assert by_label(CATEGORY, column) == {"c00": 1, "c01": 1, "null": 1}


def test_times_are_no_numbers_whatever_their_unit() -> None:
    """Arrays of datetime64 and timedelta64 are of the wrong type, NaT among them is missing."""
    for unit in ("ns", "s", "D"):
        for column in (np.array(["2013-01-01", "NaT"], dtype=f"M8[{unit}]"), np.array([1, "NaT"], dtype=f"m8[{unit}]")):
            for bins in (NUMERIC, CATEGORY):
                assert by_label(bins, column) == {"other": 1, "null": 1}
                assert by_kind(bins, column) == {"type": 1, "missing": 1}


def test_long_double_beyond_double_is_infinite() -> None:
    """An overflow in conversion is a value out of range and raises no warning."""
    column = np.array([1.0, 2.0], dtype=np.longdouble) * np.longdouble(1e300) * np.longdouble(1e300)
    if not np.isfinite(column).all():
        pytest.skip("long double is double here")
    assert by_label(NUMERIC, column) == {"other": 2}
    assert by_kind(NUMERIC, column) == {"range": 2}


def test_extremes_in_single_precision_are_in_range() -> None:
    """The reference's own smallest and largest values are no violations in a service that rounds to float32."""
    bins = NumericBins(edges=(), minimum=-0.1, maximum=0.7)
    assert by_kind(bins, np.array([-0.1, 0.7], dtype=np.float32)) == {}
    assert by_kind(bins, np.array([-0.1001, 0.7001], dtype=np.float32)) == {"range": 2}


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**290, max_value=10**330),
    st.floats(),
    st.floats(width=32).map(np.float32),
    st.decimals(),
    st.fractions(),
    st.sampled_from(["a", "b", "1", "True", "rare", "x"]),
    st.text(st.characters(codec=None), max_size=5),
    st.binary(max_size=3),
    st.complex_numbers(),
    st.builds(_Row, st.integers(0, len(NUMERIC_TABLE + CATEGORY_TABLE) - 1)),
    st.lists(st.integers(), max_size=2),
    st.lists(st.floats(), min_size=2, max_size=2).map(np.array),
    st.datetimes(),
    st.dates().map(str),
)


@pytest.mark.parametrize("bins", [NUMERIC, WHOLE, CATEGORY, LENGTH, TIME, DISTANCE])
@given(parts=st.lists(st.lists(VALUES, max_size=6), max_size=4))
def test_counts_merge_over_any_split(bins: Bins, parts: list[list[object]]) -> None:
    """Counts of the parts sum to the counts of the whole, and every value is counted once."""
    parts = [[value.value if type(value) is _Row else value for value in part] for part in parts]
    whole = [value for part in parts for value in part]
    counts, violations = bins.count(whole)
    assert counts.sum() == len(whole)
    assert violations.sum() <= len(whole)
    assert len(bins.labels) == len(bins.ranges) == len(counts)
    for column in (parts, [[value] for value in whole]):
        split = [bins.count(part) for part in column]
        assert sum((c for c, _ in split), np.zeros_like(counts)).tolist() == counts.tolist()
        assert sum((v for _, v in split), np.zeros_like(violations)).tolist() == violations.tolist()
    array = np.empty(len(whole), dtype=object)
    for i, value in enumerate(whole):
        array[i] = value
    assert bins.count(array)[0].tolist() == counts.tolist()


@given(
    st.lists(st.floats(-1e9, 1e9), max_size=99, unique=True),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=50),
)
def test_numeric_bins_are_closed_on_the_right(edges: list[float], values: list[float]) -> None:
    """A number's bin is the number of edges below it."""
    # 0.0 and -0.0 are different to hypothesis, but one edge.
    bins = NumericBins(edges=tuple(sorted({edge + 0.0 for edge in edges})), minimum=-1.0, maximum=1.0)
    expected = Counter(f"{sum(edge < value for edge in bins.edges):02d}" for value in values)
    assert by_label(bins, values) == expected


def test_labels_and_ranges_name_each_bin() -> None:
    """There is one label and one range for each count."""
    assert NUMERIC.labels == ("00", "01", "02", "03", "null", "other")
    assert NUMERIC.ranges == ("up to 0", "0 to 1", "1 to 10", "above 10", "missing", "not finite or not a number")
    assert NumericBins((), 1.0, 1.0).ranges[0] == "all numbers"
    assert CATEGORY.labels == ("c00", "c01", "c02", "c03", "null", "other")
    assert CATEGORY.ranges == ("a", "b", "1", "True", "missing", "any other category")


@pytest.mark.parametrize(
    ("edges", "minimum", "maximum", "field"),
    [
        ((1.0, 1.0), 0.0, 2.0, "edges"),
        ((2.0, 1.0), 0.0, 2.0, "edges"),
        ((math.nan,), 0.0, 2.0, "edges"),
        ((math.inf,), 0.0, 2.0, "edges"),
        (tuple(map(float, range(100))), 0.0, 2.0, "edges"),
        ((), 2.0, 1.0, "minimum and maximum"),
        ((), math.nan, 1.0, "minimum and maximum"),
        ((), 0.0, math.inf, "minimum and maximum"),
    ],
)
def test_unusable_numeric_bins_are_refused(
    edges: tuple[float, ...], minimum: float, maximum: float, field: str
) -> None:
    """Bins that cannot count are refused with the field's name."""
    with pytest.raises(BaselineError, match=f"^{field}"):
        NumericBins(edges=edges, minimum=minimum, maximum=maximum)


@pytest.mark.parametrize(
    ("vocabulary", "size", "field"),
    [
        (("a", "a"), 1, "vocabulary"),
        (("x" * 257,), 1, "vocabulary"),
        (("\udc00",), 1, "vocabulary"),
        (("a",), 2, "size"),
        (("a",), -1, "size"),
        (tuple(map(str, range(101))), 101, "size"),
    ],
)
def test_unusable_category_bins_are_refused(vocabulary: tuple[str, ...], size: int, field: str) -> None:
    """Bins that cannot count are refused with the field's name."""
    with pytest.raises(BaselineError, match=f"^{field}"):
        CategoryBins(vocabulary=vocabulary, size=size)


@pytest.mark.parametrize(
    ("centroid", "says"),
    [((), "1 to 4096"), ((0.0,) * 4097, "1 to 4096"), ((math.nan,), "finite"), ((0.0, math.inf), "finite")],
)
def test_unusable_centroid_is_refused(centroid: tuple[float, ...], says: str) -> None:
    """A centroid has 1 to 4096 finite coordinates."""
    with pytest.raises(BaselineError, match=f"^centroid: .*{says}"):
        DistanceBins(centroid, (), 0.0, 1.0)


@pytest.mark.parametrize("bins", [NUMERIC, WHOLE, CATEGORY, LENGTH, TIME, DISTANCE])
def test_bins_are_values(bins: Bins) -> None:
    """Bins can be compared, hashed and pickled, and a copy counts alike."""
    copy = pickle.loads(pickle.dumps(bins))  # noqa: S301 - our own bytes
    assert copy == bins
    assert hash(copy) == hash(bins)
    assert by_label(copy, ["a", 5]) == by_label(bins, ["a", 5])


def test_categories_are_named_by_text() -> None:
    """`category_of` names what `tally_categories` tallies, in the order of appearance."""
    values = ["b", "a", 3.0, 3, None, True, object(), _Hostile(), "b", 2.5]
    assert list(tally_categories(values).items()) == [("b", 2), ("a", 1), ("3", 2), ("True", 1)]
    assert [category_of(value) for value in values] == ["b", "a", "3", "3", None, "True", None, None, "b", None]
