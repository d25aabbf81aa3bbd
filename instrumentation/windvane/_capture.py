"""Snapshots: what a call passed and returned, taken so that later changes by the caller do not matter.

Taking a snapshot is on the caller's time, so it copies and looks at as little as it can. Turning a snapshot
into columns is the worker's. What a library's types look like is asked only where the host has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard

import numpy as np

from windvane.bins import CategoryBins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from windvane.baseline import Feature

__all__ = ["Capture", "Snapshot", "UnsupportedError"]

Column: TypeAlias = "NDArray[Any] | Sequence[object]"

Snapshot: TypeAlias = tuple[str, Any, int]
"""Rows of one call: their kind, the content, and how many they are. A plain tuple, since each call makes one.

- `tuples`: for each row a tuple of values in the order of the features
- `array`: a 2-D array, and `sparse` a scipy matrix, whose columns are the features
- `named`: the names that are there, and what gives a column by its name
"""

_SCALARS: Final = (str, int, float, bool, np.generic, type(None), date, Decimal)
_TABLE_DIMENSIONS: Final = 2
_BINARY: Final = 2
_FIELD_LISTS: Final = ("__dataclass_fields__", "__pydantic_fields__", "__attrs_attrs__", "_fields")
"""Under these names the classes of dataclasses, pydantic and attrs, and of named tuples, list their fields."""
_ABSENT: Final = object()
_MAX_SPARSE_CELLS: Final = 10_000_000
"""Larger sparse matrices are not read: the worker makes dense columns of them."""
_PROBABILITY_TOLERANCE: Final = 0.005
"""By how much the probabilities of a row may miss 1: half precision, and three decimals, do."""


class UnsupportedError(TypeError):
    """The value is of a shape that windvane cannot read; only its type is named, never its content."""


class Capture:
    """Takes snapshots of the features and the output of one model.

    Args:
        features: the features to take, in the order in which columns are given back.
        array_columns: names of the columns of data without names, in its order; holds every feature.
        output: the output of the baseline.

    Attributes:
        row_values: how many values a row holds, its output included.
    """

    __slots__ = ("_classes", "_features", "_in_order", "_output", "_positions", "_values", "_width", "row_values")

    def __init__(self, features: Sequence[str], array_columns: Sequence[str], output: Feature | None = None) -> None:
        """Prepare the look-ups."""
        self._features = tuple(features)
        position = {name: i for i, name in enumerate(array_columns)}
        self._positions = [position[name] for name in self._features]
        self._width = len(array_columns)
        self._in_order = self._positions == list(range(self._width))
        self._values = _values_of(self._features)
        self._output = output.name if output else None
        self._classes = _numbered_classes(output)
        self.row_values = len(self._features) + 1

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
            return "tuples", (self._values(rows),), 1
        if _is_sequence(rows):
            return self._sequence(rows)
        if isinstance(rows, np.ndarray):
            return self._structured(rows) if rows.dtype.names else self._array(rows)
        names = _column_names(rows)
        if names is not None:
            return "named", (names, _copy_frame(rows)) if self._features else None, len(rows)  # type: ignore[arg-type]
        sparse = sys.modules.get("scipy.sparse")
        if sparse is not None and sparse.issparse(rows):
            return self._sparse(rows)
        return "tuples", (self._row(rows),), 1

    def columns(self, snapshot: Snapshot) -> Iterator[Column | None]:
        """Give the columns of a snapshot with at least one row, in the order of the features.

        A column that cannot be read (such as a name that stands over several columns) is None.
        """
        kind, content, rows = snapshot
        if not self._features:
            return
        if kind == "tuples":
            yield from zip(*content, strict=True)
        elif kind == "array":
            for position in range(len(self._features)):
                yield content[:, position]
        elif kind == "sparse":
            by_column = content.tocsc()
            for position in range(len(self._features)):
                yield by_column[:, [position]].toarray().reshape(-1)
        else:
            names, table = content
            present = set(names)
            for name in self._features:
                yield _column(table, name) if name in present else [None] * rows

    def output(self, result: object, rows: int | None) -> Column:
        """Take a snapshot of what a call returned.

        It is a number, a class, or a list, 1-D array, or pandas, polars or Arrow column of these, or holds
        one of them under the output's name: a mapping, an object with fields, a list of these, a frame.

        Probabilities are told by what they are: floats of at least 0, two or more for each row of the call,
        that add up to 1. Of two, the second counts: the positive class, in scikit-learn's order. Where the
        categories of the baseline's output are 0, 1, 2 ..., the number of the most probable one counts.

        Args:
            result: what the call returned.
            rows: rows of the call; None where they could not be read.

        Returns:
            The values, shape (n,).

        Raises:
            UnsupportedError: the result is something else.
        """
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

    def _row(self, row: Any) -> tuple[object, ...]:  # noqa: ANN401 - any object
        if isinstance(row, dict):
            return self._values(row)
        if _is_sequence(row):
            return self._by_position(row)
        if isinstance(row, np.ndarray) and row.ndim == 1:
            return self._by_position(_listed(row))
        if _is(row, "pandas", "Series"):
            fields = dict(zip(row.index, row, strict=True))
            if len(fields) != len(row) or (self._features and fields.keys().isdisjoint(self._features)):
                raise UnsupportedError  # a name stands twice, or this is a column and no row
            return self._values(fields)
        found = _fields(row, self._features)
        if found is None:
            raise UnsupportedError
        return self._values(found)

    def _by_position(self, values: Sequence[object]) -> tuple[object, ...]:
        if self._features and len(values) != self._width:
            raise UnsupportedError
        return tuple([values[position] for position in self._positions])

    def _sequence(self, rows: Sequence[Any]) -> Snapshot:
        if not self._features:
            return "array", None, len(rows)
        if not rows:
            return "tuples", (), 0
        if _is_scalar(rows[0]):
            if len(rows) != self._width or not all(map(_is_scalar, rows)):
                raise UnsupportedError
            return "tuples", (self._by_position(rows),), 1
        all_dicts = set(map(type, rows)) == {dict}
        content = list(map(self._values if all_dicts else self._row, rows))
        return "tuples", content, len(content)

    def _array(self, rows: NDArray[Any]) -> Snapshot:
        rows = _plain_array(rows)
        if rows.ndim == 1 and rows.size == self._width > 0:
            return "tuples", (self._by_position(_listed(rows)),), 1
        if rows.ndim != _TABLE_DIMENSIONS or (self._features and rows.shape[1] != self._width):
            raise UnsupportedError
        count = rows.shape[0]
        if not self._features:
            return "array", None, count
        if count == 1:  # tuples of several calls are counted together
            return "tuples", (self._by_position(_listed(rows[0])),), 1
        return "array", rows.copy() if self._in_order else rows[:, self._positions], count

    def _structured(self, rows: NDArray[Any]) -> Snapshot:
        if rows.ndim == 0:
            return "tuples", (self._row(rows[()]),), 1
        if rows.ndim != 1:
            raise UnsupportedError
        present = set(rows.dtype.names or ())
        columns = {name: rows[name].copy() for name in self._features if name in present}
        return "named", (columns.keys(), columns), rows.shape[0]

    def _sparse(self, rows: Any) -> Snapshot:  # noqa: ANN401 - scipy is not imported for its types
        if rows.ndim != _TABLE_DIMENSIONS:
            raise UnsupportedError
        count, width = rows.shape
        if not self._features:
            return "sparse", None, count
        if width != self._width or count * len(self._features) > _MAX_SPARSE_CELLS:
            raise UnsupportedError
        return "sparse", rows.copy() if self._in_order else rows.tocsc()[:, self._positions], count

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


def _values_of(features: tuple[str, ...]) -> Callable[[Mapping[str, object]], tuple[object, ...]]:
    """Return a function from a mapping to the features' values, None for an absent one."""
    if not features:
        return lambda _row: ()
    getter = itemgetter(*features)
    several = len(features) > 1

    def values(row: Mapping[str, object]) -> tuple[object, ...]:
        try:
            return getter(row) if several else (getter(row),)
        except KeyError:
            return tuple(map(row.get, features))

    return values


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
        return {name: row[name] for name in names if name in row.dtype.names} if row.dtype.names else None
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
        values = _to_numpy(table[name])
    except Exception:  # noqa: BLE001 - one column must not take the others with it
        return None
    return values if values.ndim == 1 else None


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

