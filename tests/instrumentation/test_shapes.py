"""The rows and the output of a call are counted alike in every shape, as they were when they passed by."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
import types
from collections import Counter, namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest
import scipy.sparse

import windvane
from windvane import testing

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ("carrier", "distance", "seats")
VALUES: list[tuple[Any, ...]] = [("AA", 500.0, 0), ("UA", 2500.0, 180), ("ZZ", 9000.0, 0), ("AA", 1200.0, 90)]
NUMBERS: list[tuple[Any, ...]] = [values[1:] for values in VALUES]
ROWS = [dict(zip(COLUMNS, values, strict=True)) for values in VALUES]


def make_baseline(name: str, columns: Sequence[str], output: Any = None) -> windvane.Baseline:
    rng = np.random.default_rng(0)
    frame: dict[str, Any] = {
        "carrier": rng.choice(["AA", "UA", "DL"], 2000),
        "distance": rng.uniform(100, 3000, 2000),
        "seats": rng.integers(0, 200, 2000),
    }
    frame = {column: frame[column] for column in columns}
    frame["answer"] = rng.uniform(0, 1, 2000) if output is None else np.resize(output, 2000)
    return windvane.Baseline.from_frame(frame, model=name, version="1", output="answer")


@functools.cache
def make_model(columns: tuple[str, ...] = COLUMNS, output: tuple[Any, ...] | None = None) -> windvane.Model:
    """One model for all tests that need the same, since a process keeps every model that it declares."""
    name = f"shapes/{make_model.cache_info().currsize}"
    return windvane.Model(name, version="1", baseline=make_baseline(name, columns, output))


def counted(model: Callable[[Any], Any], rows: Any, features: Sequence[str] = COLUMNS) -> dict[str, Counter[str]]:
    """Counts by bin of each feature after one call of which nothing was lost."""
    with testing.capture() as signals:
        model(rows)
    assert signals.dropped == {}
    return {feature: +signals.observations(feature) for feature in features}


class Flight(NamedTuple):
    """A named tuple whose fields stand in another order than the baseline's."""

    seats: int
    distance: float
    carrier: str


@dataclasses.dataclass
class FlightData:
    """A dataclass."""

    carrier: str
    distance: float
    seats: int


@dataclasses.dataclass(slots=True)
class SlottedFlight:
    """A dataclass whose instances have no dict."""

    carrier: str
    distance: float
    seats: int


class FlightModel(pydantic.BaseModel):
    """A pydantic model."""

    carrier: str
    distance: float
    seats: int


class FlightObject:
    """A class that declares nothing."""

    def __init__(self, carrier: str, distance: float, seats: int) -> None:
        self.carrier, self.distance, self.seats = carrier, distance, seats


class AttrsFlight:
    """What attrs makes of a slotted class, without attrs."""

    __slots__ = ("carrier", "distance", "seats")
    __attrs_attrs__ = ("carrier", "distance", "seats")

    def __init__(self, carrier: str, distance: float, seats: int) -> None:
        self.carrier, self.distance, self.seats = carrier, distance, seats


class ReadOnly(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Tagged(np.ndarray):  # type: ignore[type-arg]
    """An array that keeps two dimensions in its columns, as numpy's matrix does."""

    def __getitem__(self, key: Any) -> Any:
        return np.atleast_2d(np.asarray(self)[key])


def structured() -> np.ndarray[Any, Any]:
    return np.array(
        [tuple(row.values()) for row in ROWS], dtype=[("carrier", "U2"), ("distance", "f8"), ("seats", "i4")]
    )


def arrow_by_dictionary() -> pa.Table:
    table = pa.table({column: [row[column] for row in ROWS] for column in COLUMNS})
    return table.set_column(0, "carrier", table["carrier"].dictionary_encode())


# Each makes the same four rows.
NAMED: dict[str, Callable[[], Any]] = {
    "dicts": lambda: ROWS,
    "tuple of dicts": lambda: tuple(ROWS),
    "dict subclasses": lambda: [Counter(row) for row in ROWS],
    "mappings": lambda: [ReadOnly(row) for row in ROWS],
    "named tuples": lambda: [Flight(**row) for row in ROWS],
    "named tuples by function": lambda: [namedtuple("F", COLUMNS)(**row) for row in ROWS],  # noqa: PYI024
    "dataclasses": lambda: [FlightData(**row) for row in ROWS],
    "slotted dataclasses": lambda: [SlottedFlight(**row) for row in ROWS],
    "pydantic": lambda: [FlightModel(**row) for row in ROWS],
    "plain objects": lambda: [FlightObject(**row) for row in ROWS],
    "namespaces": lambda: [types.SimpleNamespace(**row) for row in ROWS],
    "attrs": lambda: [AttrsFlight(**row) for row in ROWS],
    "mixed": lambda: [ROWS[0], FlightData(**ROWS[1]), list(VALUES[2]), pd.Series(ROWS[3])],
    "series": lambda: [row for _, row in pd.DataFrame(ROWS).iterrows()],
    "itertuples": lambda: list(pd.DataFrame(ROWS).itertuples()),
    "lists": lambda: [list(values) for values in VALUES],
    "object array": lambda: np.array(VALUES, dtype=object),
    "structured array": structured,
    "record array": lambda: structured().view(np.recarray),
    "list of records": lambda: list(structured()),
    "pandas": lambda: pd.DataFrame(ROWS)[["seats", "carrier", "distance"]],
    "pandas categorical": lambda: pd.DataFrame(ROWS).astype({"carrier": "category", "seats": "Int64"}),
    "polars": lambda: pl.DataFrame(ROWS),
    "polars categorical": lambda: pl.DataFrame(ROWS).cast({"carrier": pl.Categorical}),
    "arrow table": lambda: pa.Table.from_pylist(ROWS),
    "arrow dictionary": arrow_by_dictionary,
    "arrow batch": lambda: pa.RecordBatch.from_pylist(ROWS),
    "arrow pandas": lambda: pa.Table.from_pylist(ROWS).to_pandas(types_mapper=pd.ArrowDtype),
}

# These have numbers only, in the order of the columns.
UNNAMED: dict[str, Callable[[], Any]] = {
    "lists": lambda: [list(values) for values in NUMBERS],
    "tuples": lambda: tuple(NUMBERS),
    "list of arrays": lambda: [np.array(values) for values in NUMBERS],
    "array": lambda: np.array(NUMBERS),
    "float32": lambda: np.array(NUMBERS, dtype=np.float32),
    "Fortran order": lambda: np.asfortranarray(NUMBERS),
    "view": lambda: np.array(NUMBERS)[::-1][::-1],
    "subclass": lambda: np.array(NUMBERS).view(Tagged),
    "masked": lambda: np.ma.masked_array(NUMBERS, mask=False),
    "csr_matrix": lambda: scipy.sparse.csr_matrix(np.array(NUMBERS)),
    "csc_matrix": lambda: scipy.sparse.csc_matrix(np.array(NUMBERS)),
    "coo_matrix": lambda: scipy.sparse.coo_matrix(np.array(NUMBERS)),
    "csr_array": lambda: scipy.sparse.csr_array(np.array(NUMBERS)),
    "csc_array": lambda: scipy.sparse.csc_array(np.array(NUMBERS)),
    "coo_array": lambda: scipy.sparse.coo_array(np.array(NUMBERS)),
    "lil_array": lambda: scipy.sparse.lil_array(np.array(NUMBERS)),
}

# Each makes the second row.
ONE_ROW: dict[str, Callable[[], Any]] = {
    "dict": lambda: ROWS[1],
    "mapping": lambda: types.MappingProxyType(ROWS[1]),
    "named tuple": lambda: Flight(**ROWS[1]),
    "dataclass": lambda: FlightData(**ROWS[1]),
    "slotted dataclass": lambda: SlottedFlight(**ROWS[1]),
    "pydantic": lambda: FlightModel(**ROWS[1]),
    "plain object": lambda: FlightObject(**ROWS[1]),
    "series": lambda: pd.Series(ROWS[1]),
    "flat list": lambda: list(VALUES[1]),
    "flat tuple": lambda: VALUES[1],
    "flat array": lambda: np.array(VALUES[1], dtype=object),
    "array of one row": lambda: np.array([VALUES[1]], dtype=object),
    "void": lambda: structured()[1],
    "structured array without dimensions": lambda: np.array(VALUES[1], dtype=structured().dtype),
}


@pytest.mark.parametrize("shape", NAMED)
def test_the_same_rows_are_counted_alike_in_every_shape(shape: str) -> None:
    """Four rows by name, or in the order of the columns, fall into the bins that their values are in."""
    model = make_model()
    expected = {
        feature.name: dict(
            zip(feature.bins.labels, feature.bins.count([row[feature.name] for row in ROWS])[0].tolist(), strict=True)
        )
        for feature in make_baseline("shapes", COLUMNS).inputs
    }
    assert counted(model.predict(lambda rows: 0.5), NAMED[shape]()) == {
        feature: +Counter(counts) for feature, counts in expected.items()
    }


@pytest.mark.parametrize("shape", UNNAMED)
def test_numbers_without_names_are_taken_in_the_order_of_the_columns(shape: str) -> None:
    """Arrays, sparse matrices and lists of lists count as dicts of the same numbers do."""
    predict = make_model(COLUMNS[1:]).predict(lambda rows: 0.5)
    expected = counted(predict, ROWS, COLUMNS[1:])
    assert sum(expected["seats"].values()) == 4
    assert counted(predict, UNNAMED[shape](), COLUMNS[1:]) == expected


@pytest.mark.parametrize("shape", ONE_ROW)
def test_one_row_is_counted_alike_in_every_shape(shape: str) -> None:
    """One row, without a list around it, is one row."""
    predict = make_model().predict(lambda rows: 0.5)
    expected = counted(predict, [ROWS[1]])
    assert sum(expected["carrier"].values()) == 1
    assert counted(predict, ONE_ROW[shape]()) == expected


@pytest.mark.parametrize("shape", ["array", "one row", "sparse", "lists"])
def test_declared_columns_tell_where_the_features_are(model_name: str, shape: str) -> None:
    """`features` may name more columns than the baseline has, in another order."""
    model = windvane.Model(
        model_name,
        version="1",
        baseline=make_baseline(model_name, COLUMNS[1:]),
        features=["id", "seats", "gate", "distance"],
    )
    predict = model.predict(lambda rows: 0.5)
    array = np.array([[7, 180, 3, 2500.0], [8, 90, 4, 1200.0]])
    rows: Any = {
        "array": array,
        "one row": array[0],
        "sparse": scipy.sparse.coo_array(array),
        "lists": array.tolist(),
    }[shape]
    expected = counted(predict, [ROWS[1]] if shape == "one row" else [ROWS[1], ROWS[3]], COLUMNS[1:])
    assert counted(predict, rows, COLUMNS[1:]) == expected


MISSING: dict[str, Callable[[], Any]] = {
    "dicts": lambda: [{"carrier": None, "seats": float("nan")}],
    "namespace": lambda: types.SimpleNamespace(carrier=None),
    "series": lambda: pd.Series({"carrier": None, "seats": pd.NA}),
    "masked": lambda: np.ma.masked_array([[0, 1.0, 2.0]], mask=True),
    "pandas": lambda: pd.DataFrame(
        {"carrier": pd.array([None], dtype="string"), "seats": pd.array([None], dtype="Int64")}
    ),
    "polars": lambda: pl.DataFrame({"carrier": [None], "seats": pl.Series([None], dtype=pl.Int64)}),
    "arrow": lambda: pa.table({"carrier": pa.nulls(1, pa.string()), "seats": pa.nulls(1, pa.int64())}),
    "structured": lambda: np.array([(np.nan,)], dtype=[("seats", "f8")]),
}


@pytest.mark.parametrize("shape", MISSING)
def test_what_is_missing_is_missing_in_every_shape(shape: str) -> None:
    """Missing values and features that are not there fall into the null bin."""
    predict = make_model().predict(lambda rows: 0.5)
    assert counted(predict, MISSING[shape]()) == {feature: {"null": 1} for feature in COLUMNS}


def test_a_column_that_cannot_be_read_costs_itself_only() -> None:
    """A name over two columns is a counted loss; the other features count."""
    predict = make_model().predict(lambda rows: 0.5)
    twice = [*COLUMNS, "seats"]
    pandas = pd.DataFrame([[*values, 1] for values in VALUES], columns=twice)
    arrow = pa.table([pa.array(list(column)) for column in zip(*VALUES, strict=True)] + [pa.array([1] * 4)], twice)
    with testing.capture() as signals:
        predict(pandas)
        predict(arrow)
        predict(arrow.to_batches()[0])
    assert signals.dropped == {"unsupported_input": 3}
    assert {feature: sum(signals.observations(feature).values()) for feature in COLUMNS} == {
        "carrier": 12,
        "distance": 12,
        "seats": 0,
    }


class Computed:
    """Stands for a frame that computes its columns when it is asked for them."""

    @property
    def distance(self) -> float:
        raise AssertionError

    def __array__(self) -> Any:
        raise AssertionError


UNREADABLE: dict[str, Callable[[], Any]] = {
    "lazy frame": lambda: pl.DataFrame(ROWS).lazy(),
    "generator": lambda: (row for row in ROWS),
    "computed": Computed,
    "iterator": lambda: iter(ROWS),
    "three dimensions": lambda: np.zeros((2, 3, 1)),
    "too many columns": lambda: np.zeros((2, 4)),
    "too few columns": lambda: np.zeros((2, 2)),
    "too many columns of one row": lambda: [1, 2, 3, 4],
    "ragged": lambda: [[1, 2, 3], [1, 2]],
    "sparse with too many columns": lambda: scipy.sparse.csr_array((2, 4)),
    "sparse with too many rows": lambda: scipy.sparse.csr_array((10**8, 3)),
    "sparse with one dimension": lambda: scipy.sparse.coo_array(np.ones(3)),
    "series that is a column": lambda: pd.Series([1.0, 2.0, 3.0]),
    "series with a name twice": lambda: pd.Series([1.0, 2.0], index=["seats", "seats"]),
    "polars series": lambda: pl.Series([1.0, 2.0, 3.0]),
    "text": lambda: "abc",
    "texts": lambda: ["abc", "def"],
    "set": lambda: {1, 2, 3},
    "class": lambda: FlightData,
    "plain void": lambda: np.void(b"abc"),
    "two-dimensional structured array": lambda: structured().reshape(2, 2),
}


@pytest.mark.parametrize("shape", UNREADABLE)
def test_what_is_no_row_is_left_alone_and_counted_as_lost(shape: str) -> None:
    """Nothing is computed, used up or guessed at."""
    rows = UNREADABLE[shape]()
    predict = make_model().predict(lambda batch: batch)
    with testing.capture() as signals:
        assert predict(rows) is rows
    assert signals.dropped["unsupported_input"] == 1
    assert signals.rows == 0
    assert not any(signals.observations(feature).total() for feature in COLUMNS)
    if shape == "generator":
        assert list(rows) == ROWS


def test_without_a_baseline_rows_are_counted_in_every_shape(model_name: str) -> None:
    """A model without features counts rows and loses nothing."""
    predict = windvane.Model(model_name, version="1").predict(lambda rows: 0.5)
    shapes = [make() for make in (*NAMED.values(), *UNNAMED.values())]
    with testing.capture() as signals:
        for rows in [*shapes, ["a text", "another"], ROWS[0], FlightModel(**ROWS[0])]:
            predict(rows)
    assert signals.rows == 4 * len(shapes) + 4
    assert signals.dropped == {}


def test_libraries_of_the_host_are_not_imported() -> None:
    """What reads frames asks for no library that the host has not imported."""
    code = (
        "import sys, numpy, windvane\n"
        "predict = windvane.Model('m', version='1').predict(lambda rows: [0.5])\n"
        "for rows in ({'x': 1}, [{'x': 1}], numpy.zeros((2, 2)), object()): predict(rows)\n"
        "windvane.flush(10)\n"
        "assert not {'pandas', 'polars', 'pyarrow', 'pydantic', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- Changes after the call -------------------------------------------------------------------------


def change_dicts(rows: Any) -> None:
    for row in rows:
        row["distance"] = 1e9


def empty(rows: Any) -> None:
    rows.clear()


def change_attributes(rows: Any) -> None:
    for row in rows:
        row.distance = 1e9


def change_array(rows: Any) -> None:
    rows[:, 1] = 1e9


def change_pandas(rows: Any) -> None:
    rows.loc[:, "distance"] = 1e9
    del rows["seats"]
    rows.columns = ["a", "b"]


def change_polars(rows: Any) -> None:
    for i in range(4):
        rows[i, "distance"] = 1e9
    rows.drop_in_place("seats")


def change_sparse(rows: Any) -> None:
    rows.data[:] = 1e9


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {
    "dicts": (lambda: [dict(row) for row in ROWS], change_dicts),
    "emptied list": (lambda: [dict(row) for row in ROWS], empty),
    "emptied dicts": (lambda: [dict(row) for row in ROWS], lambda rows: [row.clear() for row in rows]),  # type: ignore[misc]
    "lists": (
        lambda: [list(values) for values in VALUES],
        lambda rows: [row.__setitem__(1, 1e9) for row in rows],  # type: ignore[misc]
    ),
    "dataclasses": (lambda: [FlightData(**row) for row in ROWS], change_attributes),
    "slotted dataclasses": (lambda: [SlottedFlight(**row) for row in ROWS], change_attributes),
    "pydantic": (lambda: [FlightModel(**row) for row in ROWS], change_attributes),
    "plain objects": (lambda: [FlightObject(**row) for row in ROWS], change_attributes),
    "series": (lambda: [pd.Series(row) for row in ROWS], change_dicts),
    "array": (lambda: np.array(VALUES, dtype=object), change_array),
    "list of arrays": (
        lambda: list(np.array(VALUES, dtype=object)),
        lambda rows: [change_array(r[None]) for r in rows],
    ),  # type: ignore[misc]
    "structured array": (structured, lambda rows: rows["distance"].fill(1e9)),
    "list of records": (lambda: list(structured()), change_dicts),
    "pandas": (lambda: pd.DataFrame(ROWS), change_pandas),
    "pandas object": (lambda: pd.DataFrame(ROWS, dtype=object), change_pandas),
    "polars": (lambda: pl.DataFrame(ROWS), change_polars),
}


@pytest.mark.parametrize("shape", CHANGES)
def test_rows_that_are_changed_later_count_as_they_were(shape: str) -> None:
    """What the function itself or its caller does to the rows is not seen."""
    make, change = CHANGES[shape]
    model = make_model()
    expected = counted(model.predict(lambda rows: 0.5), ROWS)
    assert counted(model.predict(change), make()) == expected


@pytest.mark.parametrize("kind", ["csr_array", "csc_matrix", "coo_array"])
def test_sparse_values_that_are_changed_later_count_as_they_were(model_name: str, kind: str) -> None:
    """A snapshot of a sparse matrix has data of its own, with all columns and with some."""
    for columns in (["distance", "seats"], ["seats", "gate", "distance"]):
        name = f"{model_name}/{len(columns)}"
        baseline = make_baseline(name, ["distance", "seats"])
        model = windvane.Model(name, version="1", baseline=baseline, features=columns)
        rows = getattr(scipy.sparse, kind)(np.array([[row.get(column, 1.0) for column in columns] for row in ROWS]))
        with testing.capture() as signals:
            model.predict(change_sparse)(rows)
        expected = baseline.inputs[0].bins.count([row["distance"] for row in ROWS])[0]
        assert signals.of(name).observations("distance") == +Counter(
            dict(zip(baseline.inputs[0].bins.labels, expected.tolist(), strict=True))
        )


def test_one_row_that_is_changed_later_counts_as_it_was() -> None:
    """So do rows without a list around them."""
    model = make_model()
    expected = counted(model.predict(lambda rows: 0.5), ROWS[0])

    def change(row: Any) -> None:
        if isinstance(row, np.ndarray):
            row[...] = row.dtype.type(0) if row.dtype.names is None else np.zeros((), row.dtype)
        elif isinstance(row, dict | pd.Series):
            row["distance"] = 1e9
        else:
            row.distance = 1e9

    flat = np.array(VALUES[0], dtype=object)
    record = np.array(VALUES[0], dtype=structured().dtype)
    for row in (dict(ROWS[0]), pd.Series(ROWS[0]), flat, flat[None].copy(), record, FlightModel(**ROWS[0])):
        assert counted(model.predict(change), row) == expected


# --- Outputs ----------------------------------------------------------------------------------------


@pydantic.dataclasses.dataclass
class Answer:
    """What a service answers for a row."""

    answer: Any
    reason: str = "because"


OUTPUTS: dict[str, Callable[[], Any]] = {
    "list": lambda: [0.1, 0.9],
    "tuple": lambda: (0.1, 0.9),
    "array": lambda: np.array([0.1, 0.9]),
    "float16": lambda: np.array([0.1, 0.9], dtype=np.float16),
    "numpy scalars": lambda: list(np.array([0.1, 0.9])),
    "arrays without dimensions": lambda: [np.array(0.1), np.array(0.9)],
    "column": lambda: np.array([[0.1], [0.9]]),
    "row": lambda: np.array([[0.1, 0.9]]),
    "lists of one": lambda: [[0.1], [0.9]],
    "series": lambda: pd.Series([0.1, 0.9], index=[7, 8]),
    "index": lambda: pd.Index([0.1, 0.9]),
    "extension array": lambda: pd.array([0.1, 0.9], dtype="Float64"),
    "polars series": lambda: pl.Series([0.1, 0.9]),
    "arrow array": lambda: pa.array([0.1, 0.9]),
    "arrow chunks": lambda: pa.chunked_array([[0.1], [0.9]]),
    "probabilities": lambda: np.array([[0.9, 0.1], [0.1, 0.9]]),
    "lists of probabilities": lambda: [[0.9, 0.1], [0.1, 0.9]],
    "arrays of probabilities": lambda: [np.array([0.9, 0.1]), np.array([0.1, 0.9])],
    "float32 probabilities": lambda: np.array([[0.9, 0.1], [0.1, 0.9]], dtype=np.float32),
    "dict": lambda: {"answer": [0.1, 0.9], "took": 3},
    "dict of probabilities": lambda: {"answer": np.array([[0.9, 0.1], [0.1, 0.9]])},
    "dicts": lambda: [{"answer": 0.1}, {"answer": 0.9}],
    "objects": lambda: [Answer(0.1), Answer(0.9)],
    "object": lambda: Answer([0.1, 0.9]),
    "structured array": lambda: np.array([(0.1,), (0.9,)], dtype=[("answer", "f8")]),
    "pandas": lambda: pd.DataFrame({"id": [1, 2], "answer": [0.1, 0.9]}),
    "polars": lambda: pl.DataFrame({"id": [1, 2], "answer": [0.1, 0.9]}),
    "arrow table": lambda: pa.table({"id": [1, 2], "answer": [0.1, 0.9]}),
    "arrow batch": lambda: pa.RecordBatch.from_pydict({"id": [1, 2], "answer": [0.1, 0.9]}),
}


def answered(model: windvane.Model, rows: Any, output: Any) -> Counter[str]:
    """Counts by bin of an output."""
    return counted(model.predict(lambda _: output), rows, ["answer"])["answer"]


@pytest.mark.parametrize("shape", OUTPUTS)
def test_the_same_numbers_are_counted_alike_in_every_shape(shape: str) -> None:
    """Two rows, two outputs."""
    model = make_model()
    assert answered(model, ROWS[:2], OUTPUTS[shape]()) == answered(model, ROWS[:2], [0.1]) + answered(
        model, ROWS[:2], [0.9]
    )


ONE_OUTPUT: dict[str, Callable[[], Any]] = {
    "float": lambda: 0.9,
    "numpy": lambda: np.float32(0.9),
    "no dimensions": lambda: np.array(0.9),
    "one": lambda: np.array([0.9]),
    "probabilities": lambda: [0.1, 0.9],
    "array of probabilities": lambda: np.array([0.1, 0.9]),
    "matrix of probabilities": lambda: np.array([[0.1, 0.9]]),
    "lists of probabilities": lambda: [[0.1, 0.9]],
    "dict": lambda: {"answer": 0.9},
    "dict of probabilities": lambda: {"answer": [0.1, 0.9]},
    "object": lambda: Answer(0.9),
    "namespace": lambda: types.SimpleNamespace(answer=0.9),
    "void": lambda: np.array([(0.9,)], dtype=[("answer", "f8")])[0],
}


@pytest.mark.parametrize("shape", ONE_OUTPUT)
def test_the_output_of_one_row_is_counted_alike_in_every_shape(shape: str) -> None:
    """The probabilities of one row are one output, whether or not there is a list around the row."""
    model = make_model()
    expected = answered(model, ROWS[0], [0.9])
    assert expected.total() == 1
    for rows in (ROWS[0], ROWS[:1]):
        assert answered(model, rows, ONE_OUTPUT[shape]()) == expected


def test_several_outputs_of_one_row_that_are_no_probabilities_all_count() -> None:
    """A ranking of one row is as many outputs as it has scores."""
    model = make_model()
    assert answered(model, ROWS[0], [0.9, 0.8, 0.7]).total() == 3
    assert answered(model, ROWS[0], np.array([0.9, 0.8])).total() == 2


@pytest.mark.parametrize("output", [["late", "early"], [True, False], [3, 7]], ids=["texts", "bools", "integers"])
@pytest.mark.parametrize("make", [list, np.array, pd.Series, pl.Series, pa.array, pd.Categorical])
def test_classes_are_counted_in_every_shape(output: list[Any], make: Any) -> None:
    """Class labels of any type that names a category."""
    model = make_model(output=tuple(map(str, output)))
    assert answered(model, ROWS[:2], make(output)) == {"c00": 1, "c01": 1}
    assert answered(model, ROWS[0], output[0]).total() == 1


def test_probabilities_of_numbered_classes_count_the_most_probable() -> None:
    """Column 2 is class 2 where the baseline's categories are numbers; a row of NaN is missing."""
    model = make_model(output=("0", "0", "0", "1", "1", "2"))
    table = np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1], [np.nan] * 3, [0.1, 0.8, 0.1]])
    assert answered(model, ROWS, table) == {"c00": 1, "c01": 1, "c02": 1, "null": 1}
    assert answered(model, ROWS[0], table[0].tolist()) == {"c02": 1}
    assert answered(model, ROWS[:2], table[:2].astype(np.float32)) == {"c00": 1, "c02": 1}


def test_probabilities_that_are_missing_count_as_missing() -> None:
    """A model that begins to answer NaN is seen."""
    table = np.array([[0.1, 0.9], [np.nan, np.nan]])
    counts = answered(make_model(), ROWS[:2], table)
    assert counts["null"] == 1
    assert counts.total() == 2


NO_OUTPUT: dict[str, Callable[[], Any]] = {
    "three classes for numbers": lambda: np.array([[0.1, 0.2, 0.7], [0.1, 0.2, 0.7]]),
    "no probabilities": lambda: np.array([[0.5, 0.9], [0.5, 0.9]]),
    "negative": lambda: np.array([[-1.0, 2.0], [-1.0, 2.0]]),
    "integers": lambda: np.array([[0, 1], [1, 0]]),
    "three dimensions": lambda: np.zeros((2, 2, 2)),
    "several results": lambda: (np.array([0.1, 0.2]), np.array([0.1, 0.2])),
    "ragged": lambda: [[0.1], [0.1, 0.9]],
    "dict without the output": lambda: {"label": 0.5},
    "dict of a dict": lambda: {"answer": {"answer": 0.5}},
    "dicts without the output": lambda: [{"answer": 0.5}, {"label": 0.5}],
    "frame without the output": lambda: pd.DataFrame({"label": [0.5, 0.5]}),
    "frame with the output twice": lambda: pd.DataFrame([[0.5, 0.5]] * 2, columns=["answer", "answer"]),
    "polars without the output": lambda: pl.DataFrame({"label": [0.5, 0.5]}),
    "lazy frame": lambda: pl.LazyFrame({"answer": [0.5, 0.5]}),
    "generator": lambda: (x for x in [0.5, 0.5]),
    "bytes": lambda: b"abc",
    "object": object,
}


@pytest.mark.parametrize("shape", NO_OUTPUT)
def test_an_output_of_no_known_shape_is_lost_and_the_inputs_count(shape: str) -> None:
    """Nothing is guessed: the loss has its reason."""
    output = NO_OUTPUT[shape]()
    predict = make_model().predict(lambda _: output)
    with testing.capture() as signals:
        assert predict(ROWS[:2]) is output
    assert signals.dropped == {"unsupported_output": 1}
    assert signals.observations("answer").total() == 0
    assert signals.observations("distance").total() == 2


def test_probabilities_of_named_classes_are_lost() -> None:
    """Which column is which class is not known; neither where there are more classes than columns."""
    for categories in (("late", "early"), ("0", "1", "2"), ("0", "late"), ("00", "01")):
        model = make_model(output=categories)
        with testing.capture() as signals:
            model.predict(lambda _: np.array([[0.1, 0.9], [0.9, 0.1]]))(ROWS[:2])
        assert signals.dropped == {"unsupported_output": 1}


OUTPUT_CHANGES: dict[str, Callable[[Any], None]] = {
    "list": list.clear,
    "arrays without dimensions": lambda output: output[0].fill(1e9),
    "array": lambda output: output.fill(1e9),
    "column": lambda output: output.fill(1e9),
    "series": lambda output: output.__setitem__(7, 1e9),
    "extension array": lambda output: output.__setitem__(0, 1e9),
    "polars series": lambda output: output.__setitem__(0, 1e9),
    "probabilities": lambda output: output.fill(1e9),
    "arrays of probabilities": lambda output: output[0].fill(1e9),
    "dict": lambda output: output["answer"].clear(),
    "dicts": lambda output: output[0].clear(),
    "objects": lambda output: setattr(output[0], "answer", 1e9),
    "structured array": lambda output: output["answer"].fill(1e9),
    "pandas": lambda output: output.__setitem__("answer", 1e9),
    "polars": lambda output: output.__setitem__((0, "answer"), 1e9),
}


@pytest.mark.parametrize("shape", OUTPUT_CHANGES)
def test_an_output_that_is_changed_later_counts_as_it_was(shape: str) -> None:
    """The caller may reuse what it got at once."""
    model = make_model()
    output = OUTPUTS[shape]()
    expected = answered(model, ROWS[:2], [0.1, 0.9])
    with testing.capture() as signals:
        model.predict(lambda _: output)(ROWS[:2])
        OUTPUT_CHANGES[shape](output)
    assert +signals.observations("answer") == expected
