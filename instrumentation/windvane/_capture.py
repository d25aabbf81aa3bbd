"""Snapshots: what a call passed and returned, taken so that later changes by the caller do not matter.

Taking a snapshot is on the caller's time, so it copies and looks at as little as it can. Turning a snapshot
into columns is the worker's. What a library's types look like is asked only where the host has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard

import numpy as np

from windvane.bins import CategoryBins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from windvane.baseline import Feature
    from windvane.outcomes import Outcomes

__all__ = ["Capture", "Column", "Snapshot", "UnsupportedError", "bytes_of"]

Column: TypeAlias = "NDArray[Any] | Sequence[object]"

Snapshot: TypeAlias = tuple[str, Any, int, int]
"""Rows of one call: their kind, the content, how many they are, and how many values have an unexpected name.

A plain tuple, since each call makes one.

- `tuples`: for each row a tuple of values, in the order of the features and then of the event times
- `array`: a 2-D array, and `sparse` a scipy matrix, with these columns as far as the data have them
- `named`: the names that are there, which the worker looks at, and what gives a column by its name
"""

_SCALARS: Final = (str, int, float, bool, np.generic, type(None), date, Decimal)
_TABLE_DIMENSIONS: Final = 2
_BINARY: Final = 2
_FIELD_LISTS: Final = ("__dataclass_fields__", "__pydantic_fields__", "__attrs_attrs__", "_fields")
"""Under these names the classes of dataclasses, pydantic and attrs, and of named tuples, list their fields."""
_ABSENT: Final = object()
_MAX_SPARSE_CELLS: Final = 10_000_000
"""Larger sparse matrices are not read: the worker makes dense columns of them."""
_VALUE_BYTES: Final = 32
"""A number and its place in a tuple."""
_PLAIN: Final = frozenset(map(id, (float, int, bool, type(None))))
"""The types of values that are counted in full by `_VALUE_BYTES`, by id: the hash of a type may be the caller's."""
_SAMPLED_VALUES: Final = 100
"""Values of an array of objects that are looked at for how large they are."""
_PROBABILITY_TOLERANCE: Final = 0.005
"""By how much the probabilities of a row may miss 1: half precision, and three decimals, do."""


class UnsupportedError(TypeError):
    """The value is of a shape that windvane cannot read; only its type is named, never its content."""


def bytes_of(values: Column) -> int:
    """Estimate what a row or a column holds; what objects refer to is not followed."""
    if isinstance(values, np.ndarray):
        if values.dtype.hasobject and values.size:
            sample = values.reshape(-1)[:: values.size // _SAMPLED_VALUES + 1].tolist()
            return bytes_of(sample) * values.size // len(sample)
        return values.nbytes
    # Numbers are the usual case, and are told from what may be large, such as texts, all at once.
    size = len(values) * _VALUE_BYTES
    if _PLAIN.issuperset(map(id, map(type, values))):
        return size
    return size + sum([sys.getsizeof(value) for value in values if id(type(value)) not in _PLAIN])


class Capture:
    """Takes snapshots of the features and the output of one model.

    Args:
        features: the features to take, in the order in which columns are given back.
        array_columns: names of the columns of data without names, in its order; holds every feature.
        output: the output of the baseline.
        event_times: columns that hold the time of a feature's event; data need not have them.
        known: further names that rows may have; None where no name is unexpected.
        vectors: features whose values are vectors, which a caller may change later.
        outcomes: what the model predicts, where that is declared.

    Attributes:
        event_times: as above.
        row_values: how many values a row holds, its output included.
        row_bytes: what the row that was measured last holds, by the queue's estimate.
        unmeasured_rows: rows until the next one is measured.
    """

    __slots__ = (
        "_classes",
        "_expected",
        "_features",
        "_getter",
        "_in_order",
        "_index",
        "_output",
        "_own",
        "_positions",
        "_ranked",
        "_rest",
        "_taken",
        "_width",
        "event_times",
        "row_bytes",
        "row_values",
        "unmeasured_rows",
    )

    def __init__(
        self,
        features: Sequence[str],
        array_columns: Sequence[str],
        output: Feature | None = None,
        *,
        event_times: Sequence[str] = (),
        known: Iterable[str] | None = None,
        vectors: Iterable[str] = (),
        outcomes: Outcomes | None = None,
    ) -> None:
        """Prepare the look-ups."""
        self._features = tuple(features)
        self.event_times = tuple(event_times)
        self._taken = tuple(dict.fromkeys([*self._features, *self.event_times]))
        self._own = _owner([self._taken.index(name) for name in vectors])
        getter = _values_of(self._taken)
        self._getter = (lambda row: self._own(getter(row))) if vectors else getter
        self._expected = None if known is None else frozenset([*self._taken, *known])
        self._rest = (self._expected or frozenset()).difference(self._taken)
        self._width = len(array_columns)
        position = {name: i for i, name in enumerate(array_columns)}
        in_arrays = [name for name in self._taken if name in position]
        self._index = {name: i for i, name in enumerate(in_arrays)}
        self._positions = [position[name] for name in in_arrays]
        self._in_order = self._positions == list(range(self._width))
        self._output = output.name if output else None
        self._classes = _numbered_classes(output)
        if self._classes is None and outcomes is not None and outcomes.kind == "multiclass":
            self._classes = 0  # as many as there are
        self._ranked = outcomes.k if outcomes is not None else None
        self.row_values = len(self._taken) + 1
        self.row_bytes = self.unmeasured_rows = 0

    def snapshot(self, rows: object) -> Snapshot:
        """Take a snapshot.

        One row has its values by name (a mapping, a pandas series, a named tuple, an object with fields such
        as a dataclass, pydantic or attrs instance) or by position (a list or 1-D array). Several are a list
        or tuple of such rows, a 2-D array, a scipy matrix, a structured array, a pandas or polars frame, or
        an Arrow table or batch.

        Values by position stand in the order of `array_columns`, and are exactly as many. A feature that is
        not among the names is missing.

        Args:
            rows: the rows.

        Raises:
            UnsupportedError: `rows` is something else, such as a lazy frame or a generator: reading it
                would compute it or use it up.
        """
        if isinstance(rows, dict):
            values, unexpected = self._by_name(rows)
            return "tuples", (values,), 1, unexpected
        if _is_sequence(rows):
            return self._sequence(rows)
        if isinstance(rows, np.ndarray):
            return self._structured(rows) if rows.dtype.names else self._array(rows)
        names = _column_names(rows)
        if names is not None:
            content = (names, _copy_frame(rows)) if self._taken else None
            return "named", content, len(rows), 0  # type: ignore[arg-type] # every frame has a length
        sparse = sys.modules.get("scipy.sparse")
        if sparse is not None and sparse.issparse(rows):
            return self._sparse(rows)
        values, unexpected = self._row(rows)
        return "tuples", (values,), 1, unexpected

    def columns(self, snapshot: Snapshot) -> Iterator[Column | None]:
        """Give the columns of a snapshot with at least one row, in the order of the features.

        A column that cannot be read (such as a name that stands over several columns) is None.
        """
        if snapshot[0] == "tuples":
            yield from islice(zip(*snapshot[1], strict=True), len(self._features))
        else:
            yield from self._columns(snapshot, self._features)

    def event_time_columns(self, snapshot: Snapshot) -> Iterator[Column | None]:
        """Give the columns of a snapshot with at least one row, in the order of the event times.

        The values of a column that is not there are missing. One that cannot be read is None.
        """
        if snapshot[0] == "tuples":
            for position in map(self._taken.index, self.event_times):
                yield [row[position] for row in snapshot[1]]
        else:
            yield from self._columns(snapshot, self.event_times)

    def unexpected(self, snapshot: Snapshot) -> int:
        """Tell how many values of a snapshot stand under names that are not known."""
        kind, content, rows, unexpected = snapshot
        if kind != "named" or content is None or self._expected is None:
            return unexpected
        return rows * sum(name not in self._expected for name in content[0])

    def output(self, result: object, rows: int | None) -> Column:
        """Take a snapshot of what a call returned.

        It is a number, a class, or a list, 1-D array, or pandas, polars or Arrow column of these, or holds
        one of them under the output's name: a mapping, an object with fields, a list of these, a frame.

        Probabilities are told by what they are: floats of at least 0, two or more for each row of the call,
        that add up to 1. Of two, the second counts: the positive class, in scikit-learn's order. Where the
        categories of the baseline's output are 0, 1, 2 ..., or the model declares classes as its outcomes, the number
        of the most probable one counts.

        Where the model declares rankings, it is a list of items for each row, best first, of which the first are kept;
        for one row also a list of items alone.

        Args:
            result: what the call returned.
            rows: rows of the call; None where they could not be read.

        Returns:
            The values, shape (n,).

        Raises:
            UnsupportedError: the result is something else.
        """
        if self._ranked is not None:
            return _rankings(result, rows, self._ranked)
        if _is_scalar(result):
            return (result,)
        if not _is_sequence(result):
            result = self._unwrapped(result)
            if _is_scalar(result):
                return (result,)
        if _is_sequence(result):
            return self._output_list(result, rows)
        if isinstance(result, np.ndarray):
            return self._output_array(result, rows)
        if _is_series(result):
            return self._output_array(_to_numpy(result), rows)
        raise UnsupportedError

    def _columns(self, snapshot: Snapshot, wanted: tuple[str, ...]) -> Iterator[Column | None]:
        kind, content, rows, _ = snapshot
        if not wanted:
            return
        absent = [None] * rows
        if kind == "named":
            names, table = content
            present = set(names)
            for name in wanted:
                yield _column(table, name) if name in present else absent
            return
        if kind == "sparse" and self._index:
            content = content.tocsc()
        for name in wanted:
            position = self._index.get(name)
            if position is None:
                yield absent
            else:
                yield content[:, [position]].toarray().reshape(-1) if kind == "sparse" else content[:, position]

    def _by_name(self, row: Mapping[str, object]) -> tuple[tuple[object, ...], int]:
        """Return a row's values, None for an absent one, and how many names are not known."""
        if type(row) is not dict:
            # Other mappings may make up and keep what they do not have, or never come to an end.
            values = self._own(map(row.get, self._taken))
            if self._expected is None:
                return values, 0
            return values, max(0, len(row) - sum(map(row.__contains__, self._expected)))
        try:
            values = self._getter(row)
        except KeyError:
            values = self._own(map(row.get, self._taken))
            if self._expected is None:
                return values, 0
            return values, len(row) - len(self._expected) + len(self._expected.difference(row))
        return values, self._further_names(row) if len(row) != len(values) else 0

    def _further_names(self, row: Mapping[str, object]) -> int:
        """Tell how many unknown names a row with all known values has, at a price that its size is no part of."""
        if self._expected is None:
            return 0
        return len(row) - len(self._taken) - len(self._rest) + len(self._rest.difference(row))

    def _row(self, row: Any) -> tuple[tuple[object, ...], int]:  # noqa: ANN401 - any object
        if isinstance(row, dict):
            return self._by_name(row)
        if _is_sequence(row):
            return self._by_position(row), 0
        if isinstance(row, np.ndarray) and row.ndim == 1:
            return self._by_position(_listed(row)), 0
        if _is(row, "pandas", "Series"):
            fields = dict(zip(row.index, row, strict=True))
            if len(fields) != len(row) or (self._features and fields.keys().isdisjoint(self._features)):
                raise UnsupportedError  # a name stands twice, or this is a column and no row
            return self._by_name(fields)
        found = _fields(row, self._taken)
        if found is None:
            raise UnsupportedError
        if isinstance(row, Mapping | np.void):
            return self._by_name(found)
        # Which fields the objects of a class have is said by code, not by data.
        return self._own(map(found.get, self._taken)), 0

    def _by_position(self, values: Sequence[object]) -> tuple[object, ...]:
        if self._features and len(values) != self._width:
            raise UnsupportedError
        taken = [values[position] for position in self._positions]
        if len(taken) == len(self._taken):
            return self._own(taken)
        return self._own(map(self._named(taken).get, self._taken))

    def _named(self, values: Sequence[object]) -> dict[str, object]:
        return dict(zip(self._index, values, strict=True))

    def _sequence(self, rows: Sequence[Any]) -> Snapshot:
        if not self._taken:
            return "array", None, len(rows), 0
        if not rows:
            return "tuples", (), 0, 0
        if _is_scalar(rows[0]):
            if not self._features:
                return "array", None, len(rows), 0
            if len(rows) != self._width or not all(map(_is_scalar, rows)):
                raise UnsupportedError
            return "tuples", (self._by_position(rows),), 1, 0
        if set(map(type, rows)) == {dict}:
            try:
                content = list(map(self._getter, rows))
            except KeyError:
                pass
            else:
                as_usual = sum(map(len, rows)) == len(rows) * len(self._taken)
                return "tuples", content, len(content), 0 if as_usual else sum(map(self._further_names, rows))
        pairs = list(map(self._row, rows))
        return "tuples", [values for values, _ in pairs], len(pairs), sum(unexpected for _, unexpected in pairs)

    def _array(self, rows: NDArray[Any]) -> Snapshot:
        rows = _plain_array(rows)
        if rows.ndim == 1 and rows.size == self._width > 0:
            return "tuples", (self._by_position(_listed(rows)),), 1, 0
        if rows.ndim != _TABLE_DIMENSIONS or (self._features and rows.shape[1] != self._width):
            raise UnsupportedError
        count = rows.shape[0]
        if not self._features:
            return "array", None, count, 0
        if count == 1:  # tuples of several calls are counted together
            return "tuples", (self._by_position(_listed(rows[0])),), 1, 0
        return "array", rows.copy() if self._in_order else rows[:, self._positions], count, 0

    def _structured(self, rows: NDArray[Any]) -> Snapshot:
        if rows.ndim == 0:
            values, unexpected = self._row(rows[()])
            return "tuples", (values,), 1, unexpected
        if rows.ndim != 1:
            raise UnsupportedError
        names: tuple[str, ...] = rows.dtype.names or ()
        columns = {name: rows[name].copy() for name in self._taken if name in names}
        return "named", (names, columns) if self._taken else None, rows.shape[0], 0

    def _sparse(self, rows: Any) -> Snapshot:  # noqa: ANN401 - scipy is not imported for its types
        if rows.ndim != _TABLE_DIMENSIONS:
            raise UnsupportedError
        count, width = rows.shape
        if not self._features:
            return "sparse", None, count, 0
        if width != self._width or count * len(self._features) > _MAX_SPARSE_CELLS:
            raise UnsupportedError
        return "sparse", rows.copy() if self._in_order else rows.tocsc()[:, self._positions], count, 0

    def _unwrapped(self, result: Any) -> Any:  # noqa: ANN401 - any object
        """Take what stands under the output's name out of what has names; give anything else back."""
        names = result.dtype.names if isinstance(result, np.ndarray) else _column_names(result)
        if names is None:
            return result if isinstance(result, np.ndarray) or _is_series(result) else self._field(result)
        column = _column(result, self._output) if self._output is not None and self._output in set(names) else None
        if column is None:
            raise UnsupportedError
        return column

    def _field(self, row: object) -> object:
        """Take the output out of a row of fields."""
        if self._output is None:
            raise UnsupportedError
        found = _fields(row, (self._output,))
        if found is None or self._output not in found:
            raise UnsupportedError
        return found[self._output]

    def _output_list(self, result: Sequence[Any], rows: int | None) -> Column:
        if not result:
            return []
        first = result[0]
        if rows == 1 and len(result) > 1 and all(isinstance(value, float) for value in result):
            return self._output_array(np.array(result), rows)
        if isinstance(first, np.ndarray) or _is_sequence(first):
            if isinstance(result, tuple):
                raise UnsupportedError  # several results and not one for each row
            try:
                table = np.array(result)
                if table.dtype.kind not in "fiub":  # numbers among texts would become texts
                    table = np.array(result, dtype=object)
            except ValueError:  # ragged
                raise UnsupportedError from None
            return self._output_array(table, rows)
        if _is_scalar(first) or self._output is None or _fields(first, (self._output,)) is None:
            return list(result)
        return [self._field(row) for row in result]

    def _output_array(self, result: NDArray[Any], rows: int | None) -> Column:
        result = _plain_array(result)
        table = result[np.newaxis] if result.ndim == 1 and rows == 1 else result
        if table.ndim == _TABLE_DIMENSIONS and table.shape[1] > 1 and rows in {None, table.shape[0]}:
            if _are_probabilities(table):
                return self._decided(table)
            if result.ndim == _TABLE_DIMENSIONS:
                raise UnsupportedError
        if result.size == 1:  # outputs of several calls are counted together
            return _listed(result.reshape(-1))
        if result.ndim == 1 or result.size == max(result.shape, default=1):
            return result.reshape(-1).copy()
        raise UnsupportedError

    def _decided(self, probabilities: NDArray[Any]) -> Column:
        """Make one value of the probabilities of each row."""
        width = probabilities.shape[1]
        if self._classes is None:
            if width != _BINARY:
                raise UnsupportedError
            positive: NDArray[Any] = probabilities[:, 1].copy()
            return positive
        if width < self._classes:
            raise UnsupportedError
        most_probable: NDArray[Any] = probabilities.argmax(axis=1).astype(np.float64)
        most_probable[np.isnan(probabilities).any(axis=1)] = np.nan
        return most_probable


def _rankings(result: Any, rows: int | None, k: int) -> list[tuple[object, ...]]:  # noqa: ANN401 - any object
    """Return the first k items for each row."""
    if _is_scalar(result):
        listed: list[Any] = [result]
    elif isinstance(result, np.ndarray):
        listed = [*_plain_array(result)] if result.ndim <= _TABLE_DIMENSIONS else []
    elif _column_names(result) is not None or _is_series(result):
        listed = [*_to_numpy(result)]
    elif _is_sequence(result):
        listed = [*result]
    else:
        raise UnsupportedError
    if rows in {1, None} and all(map(_is_scalar, listed)):
        listed = [listed]
    return [_ranking(ranked, k) for ranked in listed]


def _ranking(ranked: Any, k: int) -> tuple[object, ...]:  # noqa: ANN401 - any object
    if _is_scalar(ranked):
        return (ranked,)
    if isinstance(ranked, np.ndarray) and ranked.ndim == 1:
        return tuple(_listed(ranked[:k]))
    if _is_sequence(ranked):
        return tuple(ranked[:k])
    raise UnsupportedError


def _values_of(names: tuple[str, ...]) -> Callable[[dict[str, object]], tuple[object, ...]]:
    """Return a function from a dict to the values under these names, which raises KeyError where one is absent."""
    if not names:
        return lambda _row: ()
    getter: Callable[[dict[str, object]], Any] = itemgetter(*names)
    return getter if len(names) > 1 else lambda row: (getter(row),)


def _owner(vectors: Sequence[int]) -> Callable[[Iterable[object]], tuple[object, ...]]:
    """Return what makes a tuple of a row's values, with copies of the vectors at these positions."""
    if not vectors:
        return tuple

    def own(values: Iterable[object]) -> tuple[object, ...]:
        owned = list(values)
        for position in vectors:
            value = owned[position]
            if isinstance(value, np.ndarray):
                owned[position] = value.copy()
            elif isinstance(value, list):
                owned[position] = tuple(value)
        return tuple(owned)

    return own


def _numbered_classes(output: Feature | None) -> int | None:
    """Tell how many classes 0, 1, 2 ... an output has; None for numbers, infinitely many for named classes."""
    if output is None or not isinstance(output.bins, CategoryBins):
        return None
    categories = output.bins.vocabulary
    numbers = [int(category) for category in categories if category.isdecimal()]
    numbered = [str(number) for number in numbers] == list(categories)
    return max(numbers, default=0) + 1 if numbered else sys.maxsize


def _are_probabilities(table: NDArray[Any]) -> bool:
    if table.dtype.kind != "f":
        return False
    with np.errstate(all="ignore"):
        # Asked so that NaN passes: its rows count as missing.
        improbable = (np.abs(table.sum(axis=1) - 1) > _PROBABILITY_TOLERANCE).any() or (table < 0).any()
    return not improbable


def _is(value: object, module: str, *names: str) -> bool:
    """Tell whether a value is of one of the types of a module, which nobody can have used without importing it."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, tuple([getattr(loaded, name) for name in names]))


def _is_scalar(value: object) -> bool:
    return isinstance(value, _SCALARS) and not (isinstance(value, np.void) and value.dtype.names)


def _is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple) and not hasattr(type(value), "_fields")


def _is_series(value: object) -> bool:
    return (
        _is(value, "pandas", "Series", "Index")
        or _is(value, "pandas.api.extensions", "ExtensionArray")
        or _is(value, "polars", "Series")
        or _is(value, "pyarrow", "Array", "ChunkedArray")
    )


def _fields(row: object, names: Sequence[str]) -> Mapping[str, object] | None:
    """Return the named fields that a row has, or more of its fields; None where it has no fields."""
    if isinstance(row, Mapping):
        return row
    if isinstance(row, np.void):
        return {name: row[name] for name in row.dtype.names} if row.dtype.names else None
    if any(hasattr(type(row), fields) for fields in _FIELD_LISTS):
        found = ((name, getattr(row, name, _ABSENT)) for name in names)
        return {name: value for name, value in found if value is not _ABSENT}
    # A plain object is a row where it has one of the names: anything else has a dict too.
    own = getattr(row, "__dict__", None)
    return own if isinstance(own, dict) and not own.keys().isdisjoint(names) else None


def _plain_array(array: NDArray[Any]) -> NDArray[Any]:
    """Take off what a subclass of numpy's array adds, its masked values becoming None."""
    if type(array) is np.ndarray:
        return array
    if isinstance(array, np.ma.MaskedArray):
        return np.array(array.tolist(), dtype=object).reshape(array.shape)
    return np.asarray(array)


def _listed(array: NDArray[Any]) -> list[object]:
    """List the values of a 1-D array; numpy's times stay what they are instead of becoming integers."""
    return list(array if array.dtype.kind in "mM" else array.tolist())


def _column(table: Any, name: str) -> NDArray[Any] | None:  # noqa: ANN401 - a table of any library
    try:
        column = table[name]
        values = _to_numpy(column)
    except Exception:  # noqa: BLE001 - one column must not take the others with it
        return None
    # A column of vectors of one length is a table in polars; in pandas a table is several columns of that name.
    return values if values.ndim == 1 or (values.ndim == _TABLE_DIMENSIONS and _is_series(column)) else None


def _to_numpy(column: Any) -> NDArray[Any]:  # noqa: ANN401 - a column of any library
    if isinstance(column, np.ndarray):
        return column
    values: NDArray[Any] = (
        column.to_numpy(zero_copy_only=False) if _is(column, "pyarrow", "Array") else column.to_numpy()
    )
    return values


def _column_names(table: Any) -> Iterable[object] | None:  # noqa: ANN401 - any object
    """Return the names of a frame's columns; None for what is no frame."""
    names: Iterable[object] | None = None
    if _is(table, "pandas", "DataFrame") or _is(table, "polars", "DataFrame"):
        names = table.columns
    elif _is(table, "pyarrow", "Table", "RecordBatch"):
        names = table.column_names
    return names


def _copy_frame(frame: Any) -> Any:  # noqa: ANN401 - a frame of any library
    if _is(frame, "pandas", "DataFrame"):
        # From version 3 on pandas copies on write, so that a shallow copy is already a snapshot.
        return frame.copy(deep=int(sys.modules["pandas"].__version__.split(".", 1)[0]) < 3)  # noqa: PLR2004
    # Polars copies on write; Arrow data are immutable.
    return frame.clone() if _is(frame, "polars", "DataFrame") else frame
