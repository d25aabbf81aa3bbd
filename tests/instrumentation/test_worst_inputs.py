"""Whatever goes in and comes out, the call answers as ever, and each of its rows is counted or its loss is."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections import OrderedDict, UserDict, defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import windvane
from windvane import testing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FEATURES: Final = ("distance", "carrier", "seats")
_NUMBERS: Final = itertools.count()


def make_predict() -> tuple[str, Callable[[Any, Any], Any]]:
    """A function that answers with its second argument, watched by a model of its own."""
    rng = np.random.default_rng(0)
    frame = {
        "distance": rng.uniform(100, 3000, 500),
        "carrier": rng.choice(["AA", "UA", "1"], 500),
        "seats": rng.integers(0, 200, 500),
        "score": rng.uniform(0, 1, 500),
    }
    name = f"worst-{next(_NUMBERS)}"
    baseline = windvane.Baseline.from_frame(frame, model=name, version="1", output="score")

    def predict(rows: Any, answer: Any) -> Any:
        return answer

    return name, windvane.Model(name, version="1", baseline=baseline).predict(predict)


PREDICT = make_predict()


class Liar(dict[Any, Any]):
    """A dict that tells another length, other keys and other values than it has."""

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, key: Any) -> Any:
        raise KeyError(key)

    def get(self, key: Any, default: Any = None) -> Any:
        return [key] * 3

    def keys(self) -> Any:
        return iter(int, 1)

    def __iter__(self) -> Iterator[Any]:
        return iter(int, 1)


class ListLiar(list[Any]):
    """A list that tells another length than it has."""

    def __len__(self) -> int:
        return 10**9


class ArrayLiar(np.ndarray):  # type: ignore[type-arg]
    """An array whose own methods raise."""

    def copy(self, *_: Any) -> Any:
        raise RuntimeError

    def tolist(self) -> Any:
        raise RuntimeError

    def reshape(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError


def raising(*methods: str) -> Any:
    """An object of a class whose named methods raise."""

    def fail(*_: Any, **__: Any) -> Any:
        msg = "secret 4711"
        raise RuntimeError(msg)

    return type("Raising", (), dict.fromkeys(methods, fail))()


class RaisingClass:
    """Does not even tell its class."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise RuntimeError


class RaisingMeta(type):
    """A metaclass whose classes can be neither hashed, compared nor asked."""

    def __hash__(cls) -> int:
        raise RuntimeError

    def __eq__(cls, other: object) -> bool:
        raise RuntimeError

    def __getattr__(cls, name: str) -> Any:
        raise RuntimeError


class RaisingMapping(UserDict[str, Any]):
    """A mapping that raises when it is read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


@dataclasses.dataclass
class RaisingField:
    """A row with a field that raises."""

    seats: int = 3

    @property
    def distance(self) -> float:
        raise RuntimeError


def endless() -> Any:
    """A list that holds itself."""
    rows: list[Any] = []
    rows.append(rows)
    return rows


def endless_dict() -> Any:
    row: dict[str, Any] = {}
    row["score"] = row["distance"] = row
    return row


def deep(depth: int) -> Any:
    rows: Any = 1.0
    for _ in range(depth):
        rows = [rows]
    return rows


OBJECTS: dict[str, Callable[[], Any]] = {
    **{
        f"raising {method}": lambda method=method: raising(method)  # type: ignore[misc]
        for method in (
            "__eq__",
            "__str__",
            "__repr__",
            "__len__",
            "__hash__",
            "__array__",
            "__iter__",
            "__getitem__",
            "__getattr__",
            "__getattribute__",
            "__bool__",
            "__float__",
            "keys",
            "to_numpy",
            "item",
        )
    },
    "raising everything": lambda: raising(
        "__eq__", "__ne__", "__str__", "__len__", "__hash__", "__array__", "__iter__", "__getattribute__", "__bool__"
    ),
    "raising class": RaisingClass,
    "raising metaclass": RaisingMeta("Odd", (), {}),
    "raising mapping": RaisingMapping,
    "raising field": RaisingField,
    "lying dict": lambda: Liar(distance=1.0),
    "lying list": lambda: ListLiar([1.0, "AA", 3]),
    "lying array": lambda: np.zeros((2, 3)).view(ArrayLiar),
    "endless list": endless,
    "endless dict": endless_dict,
    "deep list": lambda: deep(10_000),
    "nested dicts": lambda: {"distance": {"distance": [{}, {"carrier": ()}]}, "carrier": {}, "seats": [[[]]]},
    "huge integer": lambda: 10**5000,
    "decimal": lambda: Decimal("sNaN"),
    "fraction": lambda: Fraction(1, 3),
    "complex": lambda: 1j,
    "surrogate": lambda: "\ud800",
    "long text": lambda: "x" * 10**6,
    "bytes": lambda: b"\xff",
    "date": lambda: date(2013, 1, 1),
    "not a time": lambda: np.datetime64("NaT"),
    "nanoseconds": lambda: np.array(["2013-01-01"] * 3, dtype="datetime64[ns]"),
    "ellipsis": lambda: ...,
    "class": lambda: RaisingField,
    "function": lambda: make_predict,
    "module": lambda: np,
    "generator": lambda: (x for x in range(3)),
    "memory": lambda: memoryview(b"abc"),
    "set": lambda: {1, 2},
    "exception": lambda: ValueError("secret 4711"),
}

TABLES: dict[str, tuple[Callable[[], Any], int]] = {
    "empty list": (list, 0),
    "empty tuple": (tuple, 0),
    "empty array": (lambda: np.zeros((0, 3)), 0),
    "array without columns": (lambda: np.zeros((4, 0)), 4),
    "array without anything": (lambda: np.zeros(0), 0),
    "empty pandas": (pd.DataFrame, 0),
    "pandas without rows": (lambda: pd.DataFrame(columns=list(FEATURES)), 0),
    "pandas without columns": (lambda: pd.DataFrame(index=range(4)), 4),
    "pandas with numbered columns": (lambda: pd.DataFrame(np.zeros((4, 3))), 4),
    "pandas with duplicate columns": (lambda: pd.DataFrame(np.zeros((4, 2)), columns=["seats", "seats"]), 4),
    "pandas with all columns duplicate": (lambda: pd.DataFrame(np.zeros((4, 6)), columns=[*FEATURES, *FEATURES]), 4),
    "pandas with two levels": (
        lambda: pd.DataFrame(np.zeros((4, 2)), columns=pd.MultiIndex.from_product([["seats"], ["a", "b"]])),
        4,
    ),
    "pandas with one level of two": (
        lambda: pd.DataFrame(np.zeros((4, 1)), columns=pd.MultiIndex.from_tuples([("seats", "")])),
        4,
    ),
    "pandas with mixed names": (
        lambda: pd.DataFrame(np.zeros((4, 4)), columns=pd.Index([None, 1, np.nan, "seats"], dtype=object)),
        4,
    ),
    "pandas with junk": (
        lambda: pd.DataFrame({"seats": [None, {}, [], object()], "distance": ["1", b"", 1j, "nan"]}),
        4,
    ),
    "pandas with odd types": (
        lambda: pd.DataFrame(
            {
                "seats": pd.period_range("2013", periods=4, freq="D"),
                "distance": pd.interval_range(0, 4),
                "carrier": pd.arrays.SparseArray([0, 0, 1, 0]),
            }
        ),
        4,
    ),
    "polars without columns": (pl.DataFrame, 0),
    "polars without rows": (lambda: pl.DataFrame({"seats": []}), 0),
    "polars with odd types": (
        lambda: pl.DataFrame(
            {
                "seats": [[1], [2, 3]],
                "distance": pl.Series([{}, object()], dtype=pl.Object),
                "carrier": pl.Series([[1.0, 2.0], [3.0, 4.0]], dtype=pl.Array(pl.Float64, 2)),
            }
        ),
        2,
    ),
    "polars with times": (
        lambda: pl.DataFrame({"seats": [datetime(2013, 1, 1, tzinfo=UTC)] * 2, "distance": [Decimal(1), None]}),
        2,
    ),
    "arrow without columns": (lambda: pa.table({}), 0),
    "arrow without rows": (lambda: pa.table({"seats": pa.array([], pa.int64())}), 0),
    "arrow with odd types": (
        lambda: pa.table(
            {"seats": [{"a": 1}, None], "distance": [[1], []], "carrier": pa.array([1, 2], pa.duration("ns"))}
        ),
        2,
    ),
    "arrow with duplicate columns": (lambda: pa.table([pa.array([1]), pa.array([2])], names=["seats", "seats"]), 1),
    "structured with odd types": (
        lambda: np.zeros(2, dtype=[("seats", "f8", 3), ("distance", "M8[ns]"), ("carrier", "V4")]),
        2,
    ),
    "sparse without rows": (lambda: scipy.sparse.csr_array((0, 3)), 0),
    "sparse without columns": (lambda: scipy.sparse.csr_array((4, 0)), 4),
    "sparse with duplicates": (lambda: scipy.sparse.coo_array(([1.0, 1.0], ([0, 0], [0, 0])), shape=(2, 3)), 2),
    "ragged": (lambda: [[1], [1, 2], [1, 2, 3]], 3),
    "rows and no rows": (lambda: [{"seats": 1}, None, 3], 3),
    "no rows and rows": (lambda: [None, {"seats": 1}, 3, 4], 4),
    "one long row": (lambda: [0] * 100_000, 1),
    "very many rows": (lambda: [{"seats": 1}] * 100_000, 100_000),
    "very many columns": (lambda: {str(i): i for i in range(100_000)}, 1),
    "numbers as texts": (lambda: [{"distance": "12", "seats": "nan", "carrier": 1}] * 2, 2),
    "longest numbers": (lambda: np.full((2, 3), np.finfo(np.longdouble).max), 2),
    "strings": (lambda: np.full((2, 3), "AA"), 2),
    "objects": (lambda: np.array([[{}, [], None], [object(), 1, "x"]], dtype=object), 2),
    "complex": (lambda: np.full((2, 3), 1j), 2),
}


def accounted(signals: testing.Signals, rows: int | None, outputs: int | None) -> None:
    """Check that rows and outputs are in the counts of every feature, or their loss is counted.

    Args:
        signals: what the calls emitted.
        rows: how many rows went in; None where what went in may be no rows.
        outputs: how many outputs came out; None where what came out may be none.
    """
    lost_input = sum(number for reason, number in signals.dropped.items() if reason != "unsupported_output")
    for feature in FEATURES:
        counted = signals.observations(feature).total()
        if rows is not None and not lost_input:
            assert counted == rows
        elif rows is not None:
            assert counted in (0, rows)
        else:
            assert counted or lost_input
    lost_output = sum(number for reason, number in signals.dropped.items() if reason != "unsupported_input")
    counted = signals.observations("score").total()
    if outputs is not None:
        assert counted == outputs
    else:
        assert counted or lost_output


def check_call(rows: Any, answer: Any, sent: int | None, outputs: int | None) -> None:
    """Call with rows, and check that the answer comes back and everything is accounted for, without a warning."""
    name, predict = PREDICT
    with testing.capture() as every:
        assert predict(rows, answer) is answer
    signals = every.of(name)
    assert signals.durations == {None: 1}
    assert "internal_error" not in signals.dropped
    assert "processing_failed" not in signals.dropped
    accounted(signals, sent, outputs)


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_of_any_kind_may_stand_for_the_rows(kind: str) -> None:
    """It is counted as rows or as a loss."""
    check_call(OBJECTS[kind](), 0.5, None, 1)


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_of_any_kind_may_be_the_answer(kind: str) -> None:
    """It is counted as an output or as a loss, and costs the inputs nothing."""
    answer = OBJECTS[kind]()
    check_call({"seats": 1}, answer, 1, None)
    check_call({"seats": 1}, [answer], 1, None)
    check_call({"seats": 1}, {"score": answer}, 1, None)
    check_call({"seats": 1}, [{"score": answer}], 1, 1)


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_of_any_kind_may_be_a_value(kind: str) -> None:
    """A value that cannot be looked at is of no feature's type; its row counts."""
    value = OBJECTS[kind]()
    row = dict.fromkeys(FEATURES, value)
    check_call(row, 0.5, 1, 1)
    check_call([row, {"distance": 1.0}], 0.5, 2, 1)
    check_call(list(row.values()), 0.5, None, 1)
    check_call([list(row.values()), [1.0, "AA", 3]], 0.5, 2, 1)
    check_call([value, row], 0.5, None, 1)
    column = np.empty(2, dtype=object)
    column[0] = value
    check_call(np.stack([column] * 3, axis=1), 0.5, 2, 1)
    check_call({value: 1} if kind == "date" else {"seats": 1, "unknown": value}, 0.5, 1, 1)


@pytest.mark.parametrize("kind", TABLES)
def test_rows_of_any_content_are_accounted_for(kind: str) -> None:
    """Empty, ragged, duplicate, unnamed and odd columns: each feature counts all rows or none, and a loss says so."""
    make, rows = TABLES[kind]
    check_call(make(), 0.5, rows, 1)


@pytest.mark.parametrize("kind", TABLES)
def test_answers_of_any_content_are_accounted_for(kind: str) -> None:
    """What can be the rows can be the answer."""
    name, predict = PREDICT
    answer = TABLES[kind][0]()
    with testing.capture() as every:
        assert predict({"seats": 1}, answer) is answer
    signals = every.of(name)
    assert set(signals.dropped) <= {"unsupported_output", "capture_failed"}
    assert signals.observations("seats").total() == 1


def test_a_call_with_a_hostile_row_costs_no_other_call_anything() -> None:
    """Calls that are counted together do not share their losses."""
    name, predict = PREDICT
    with testing.capture() as every:
        for make in OBJECTS.values():
            predict([{"distance": 1.0, "carrier": "AA", "seats": make()}, {"distance": 1.0}], [make()])
            predict(make(), make())
            predict({"distance": 500.0, "carrier": "AA", "seats": 1}, 0.5)
    signals = every.of(name)
    assert set(signals.dropped) <= {"unsupported_input", "unsupported_output", "capture_failed"}
    carriers = signals.observations("carrier")
    assert carriers.total() - carriers["null"] - carriers["other"] == 2 * len(OBJECTS)
    assert signals.observations("distance").total() >= 3 * len(OBJECTS)


def object_array(values: list[Any]) -> Any:
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**300),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.complex_numbers(),
    st.decimals(),
    st.fractions(),
    st.datetimes(),
    st.sampled_from(
        ["1", "nan", "inf", "AA", "", "\ud800", np.float32("nan"), np.int64(-1), pd.NA, pd.NaT, Decimal("NaN")]
    ),
    st.floats(width=16).map(np.float16),
    st.floats().map(np.array),
)
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner, inner),
        st.dictionaries(st.sampled_from([*FEATURES, "score", "x", ""]), inner, max_size=4),
        st.dictionaries(st.one_of(st.integers(), st.none(), st.text(max_size=3)), inner, max_size=3),
        st.lists(inner, max_size=3).map(lambda values: defaultdict(int, enumerate(values))),
        st.lists(inner, min_size=1, max_size=3).map(lambda values: pd.Series(values, dtype=object)),
        st.lists(inner, min_size=1, max_size=3).map(object_array),
    ),
    max_leaves=12,
)
rows_by_name = st.lists(st.dictionaries(st.sampled_from([*FEATURES, "x"]), junk, max_size=4), max_size=5)


@settings(deadline=None, max_examples=50)
@given(rows=rows_by_name, shape=st.sampled_from([list, tuple, lambda rows: list(map(OrderedDict, rows)), pd.DataFrame]))
def test_every_row_of_any_values_is_counted(rows: list[dict[str, Any]], shape: Any) -> None:
    """Nothing is lost of rows that have names, whatever their values are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' own, when it makes a frame of junk
        shaped = shape(rows)
    name, predict = PREDICT
    with testing.capture() as every:
        predict(shaped, 0.5)
    signals = every.of(name)
    assert signals.dropped == {}
    assert signals.rows == len(shaped)
    assert {signals.observations(feature).total() for feature in FEATURES} == {len(shaped)}


@settings(deadline=None, max_examples=100)
@given(rows=junk, answer=junk)
def test_junk_is_accounted_for(rows: Any, answer: Any) -> None:
    """Any nesting of any values as rows and as answer: counted or lost, never raised."""
    name, predict = PREDICT
    with testing.capture() as every:
        assert predict(rows, answer) is answer
    signals = every.of(name)
    assert set(signals.dropped) <= {"unsupported_input", "unsupported_output", "capture_failed"}
    counts = {signals.observations(feature).total() for feature in FEATURES}
    assert len(counts) == 1
    assert counts == {signals.rows}
    empty = isinstance(rows, list | tuple) and not rows
    assert signals.rows or empty or signals.dropped


@settings(deadline=None, max_examples=50)
@given(
    values=st.lists(st.one_of(st.floats(), st.floats(width=16), st.integers(-(10**6), 10**6)), max_size=8),
    shape=st.sampled_from(["list", "array", "float32", "series", "polars", "arrow", "dicts", "column"]),
)
def test_every_output_of_any_number_is_counted(values: list[float], shape: str) -> None:
    """As many outputs as came out, NaN and infinities among them, of as many rows."""
    answer: Any = {
        "list": lambda: values,
        "array": lambda: np.array(values, dtype=float),
        "float32": lambda: np.array(values, dtype=float).astype(np.longdouble),
        "series": lambda: pd.Series(values, dtype=float),
        "polars": lambda: pl.Series(values, dtype=pl.Float64, strict=False),
        "arrow": lambda: pa.array(values, pa.float64()),
        "dicts": lambda: [{"score": value} for value in values],
        "column": lambda: np.array(values, dtype=float).reshape(-1, 1),
    }[shape]()
    check_call([{"seats": 1}] * max(len(values), 2), answer, max(len(values), 2), len(values))
