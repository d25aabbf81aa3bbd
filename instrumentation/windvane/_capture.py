"""Snapshots: what a call passed and returned, taken so that later changes by the caller do not matter.

Taking a snapshot is on the caller's time, so it copies and looks at nothing. Turning a snapshot into
columns is the worker's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["Capture", "Snapshot", "UnsupportedError", "capture_output"]

Column: TypeAlias = "NDArray[Any] | Sequence[object]"

Snapshot: TypeAlias = tuple[str, Any, int]
"""Rows of one call: their kind (`tuples`, `array` or `frame`), the content, and how many they are.

Tuples have the values in the order of the features. A plain tuple, since one is made in every call.
"""

_SCALARS: Final = (str, int, float, bool, np.generic, type(None))
_TABLE_DIMENSIONS: Final = 2


class UnsupportedError(TypeError):
    """The value is of a shape that windvane cannot read; only its type is named, never its content."""


class Capture:
    """Takes snapshots of the features of one model.

    Args:
        features: the features to take, in the order in which columns are given back.
        array_columns: names of the columns of a 2-D array, in its order; holds every feature.

    Attributes:
        row_values: how many values a row holds, its output included.
    """

    __slots__ = ("_features", "_positions", "_values", "row_values")

    def __init__(self, features: Sequence[str], array_columns: Sequence[str]) -> None:
        """Prepare the look-ups."""
        self._features = tuple(features)
        position = {name: i for i, name in enumerate(array_columns)}
        self._positions = tuple(position[name] for name in self._features)
        self._values = _values_of(self._features)
        self.row_values = len(self._features) + 1

    def snapshot(self, rows: object) -> Snapshot:
        """Take a snapshot.

        Args:
            rows: a dict, a list of dicts, a 2-D numpy array or a pandas frame.

        Raises:
            UnsupportedError: `rows` is something else, or an array with too few columns.
        """
        if isinstance(rows, dict):
            return "tuples", (self._values(rows),), 1
        if isinstance(rows, list | tuple):
            return "tuples", list(map(self._values, rows)), len(rows)
        if isinstance(rows, np.ndarray):
            if rows.ndim != _TABLE_DIMENSIONS or (self._positions and rows.shape[1] <= max(self._positions)):
                raise UnsupportedError
            return "array", rows.copy() if self._features else None, rows.shape[0]
        if _is_frame(rows):
            return "frame", _copy_frame(rows) if self._features else None, len(rows)  # type: ignore[arg-type]
        if isinstance(rows, Mapping):
            return "tuples", (self._values(rows),), 1
        raise UnsupportedError

    def columns(self, snapshot: Snapshot) -> Iterator[Column | None]:
        """Give the columns of a snapshot with at least one row, in the order of the features.

        A column that cannot be read (a name that stands over several columns of a frame) is None.
        """
        kind, content, rows = snapshot
        if kind == "tuples":
            yield from zip(*content, strict=True)
        elif kind == "array":
            for position in self._positions:
                yield content[:, position]
        else:
            present = set(content.columns)
            for name in self._features:
                if name not in present:
                    yield [None] * rows
                    continue
                column = content[name]
                yield column.to_numpy() if column.ndim == 1 else None


def capture_output(result: object) -> Column:
    """Take a snapshot of what a call returned.

    Args:
        result: a number, a class, or a list, 1-D array or pandas series of these.

    Returns:
        The values, shape (rows,).

    Raises:
        UnsupportedError: the result is something else.
    """
    if isinstance(result, _SCALARS):
        return (result,)
    if isinstance(result, np.ndarray):
        if result.ndim == 1 or result.size == max(result.shape, default=1):
            return result.reshape(-1).copy()
        raise UnsupportedError
    if isinstance(result, list | tuple):
        return list(result)
    if hasattr(result, "to_numpy") and getattr(result, "ndim", None) == 1:
        values: NDArray[Any] = np.array(result.to_numpy())
        return values
    raise UnsupportedError


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


def _is_frame(rows: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(rows, pandas.DataFrame)


def _copy_frame(frame: Any) -> Any:  # noqa: ANN401 - pandas is not imported for its types
    # From version 3 on pandas copies on write, so that a shallow copy is already a snapshot.
    return frame.copy(deep=int(sys.modules["pandas"].__version__.split(".", 1)[0]) < 3)  # noqa: PLR2004
