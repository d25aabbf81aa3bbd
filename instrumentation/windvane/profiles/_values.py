"""Sorts the values of a column by their type, as whylogs does for a column of a pandas frame.

| value                                                        | counts as                       |
|--------------------------------------------------------------|---------------------------------|
| None, NaN, NaT, pandas' NA                                   | null (NaN also as nan)          |
| integer of at most 64 bits with its sign                     | integral                        |
| longer integer; float; Decimal                               | fractional (an infinite one also as inf) |
| boolean                                                      | boolean                         |
| text                                                         | string                          |
| list or array of numbers that is not empty                   | tensor                          |
| anything else, also a value whose own methods raise          | object                          |

A zero-dimensional array or tensor is the number that it holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["Values"]

_INT64: Final = np.iinfo(np.int64)
_NONE_TYPE: Final = type(None)
# Told by name so that pandas need not be imported to know its missing values.
_NULL_TYPE_NAMES: Final = frozenset({"NAType", "NaTType"})
_NO_FLOATS: Final = np.empty(0)
_NO_INTS: Final = np.empty(0, dtype=np.int64)

Numbers: TypeAlias = "NDArray[np.float64]"


@dataclass(slots=True)
class Values:
    """The values of one column of one batch, sorted by type.

    Attributes:
        rows: how many there are, with nulls.
        nulls: how many are missing.
        nans: how many of these are NaN.
        infinities: how many of the floats are infinite.
        integral: shape (n,).
        fractional: shape (n,), without NaN.
        strings: the texts.
        true: how many booleans are true.
        false: how many booleans are false.
        tensors: how many are lists or arrays of numbers.
        objects: how many are of any other type.
        declared: the kind of a column that is typed as a whole, so that it is known without a value:
            `integral`, `boolean`, `fractional` or `string`; empty otherwise.
    """

    rows: int
    nulls: int = 0
    nans: int = 0
    infinities: int = 0
    integral: NDArray[np.int64] = field(default_factory=_NO_INTS.copy)
    fractional: Numbers = field(default_factory=_NO_FLOATS.copy)
    strings: list[str] = field(default_factory=list)
    true: int = 0
    false: int = 0
    tensors: int = 0
    objects: int = 0
    declared: str = ""

    @classmethod
    def of(cls, column: Any) -> Values:  # noqa: ANN401 - a column of any library
        """Sort a column.

        Args:
            column: shape (n,): a numpy array, a pandas, polars or Arrow column, or any iterable of values.
        """
        if isinstance(column, np.ndarray):
            return _of_array(column)
        if isinstance(column, list | tuple):
            return _of_list(column)
        if hasattr(column, "to_numpy"):
            return _of_series(column)
        return _of_list(list(column))


def _of_array(array: NDArray[Any]) -> Values:  # noqa: PLR0911 - one for each kind of array
    array = np.asarray(array).reshape(-1)  # masks and matrices are not kept
    kind = array.dtype.kind
    if kind == "f":
        return _of_floats(array)
    if kind in "iu":
        if kind == "u" and array.dtype.itemsize == _INT64.dtype.itemsize and array.size and array.max() > _INT64.max:
            large = array > _INT64.max
            values = _of_floats(array[large].astype(np.float64))
            values.rows, values.integral, values.declared = array.size, array[~large].astype(np.int64), "integral"
            return values
        return Values(array.size, integral=array.astype(np.int64, copy=False), declared="integral")
    if kind == "b":
        true = int(np.count_nonzero(array))
        return Values(array.size, true=true, false=array.size - true, declared="boolean")
    if kind in "UT":
        return _of_list(array.tolist(), declared="string")
    if kind in "mM":
        nulls = int(np.count_nonzero(np.isnat(array)))
        return Values(array.size, nulls=nulls, objects=array.size - nulls)
    return _of_list(array.tolist())


def _of_floats(array: NDArray[Any]) -> Values:
    values = Values(array.size, declared="fractional")
    with np.errstate(all="ignore"):  # long doubles may overflow to infinity, which is counted
        floats = array.astype(np.float64, copy=False)
        total = floats.sum()
    if not math.isfinite(total):  # one pass where the sum is finite, as it mostly is
        is_nan = np.isnan(floats)
        values.nulls = values.nans = int(np.count_nonzero(is_nan))
        if values.nulls:
            floats = floats[~is_nan]
        values.infinities = int(np.count_nonzero(np.isinf(floats)))
    values.fractional = floats
    return values


def _of_series(series: Any) -> Values:  # noqa: ANN401 - a column of pandas, polars or Arrow
    """Take the nulls out first: as an array, integers with nulls among them become floats."""
    rows = len(series)
    if hasattr(series, "isna"):  # pandas
        if isinstance(series.dtype, np.dtype):
            return _of_array(series.to_numpy())
        present = series.dropna()
    else:
        present = series.drop_nulls() if hasattr(series, "drop_nulls") else series.drop_null()
    if hasattr(present, "to_pylist") and "time" not in str(present.type) and "date" not in str(present.type):
        plain = str(present.type) in _ARROW_NUMBERS
        values = _of_array(present.to_numpy()) if plain else _of_list(present.to_pylist())
    else:
        values = _of_array(present.to_numpy())
    values.nulls += rows - values.rows
    values.rows = rows
    return values


_ARROW_NUMBERS: Final = frozenset(
    {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)} | {"halffloat", "float", "double"}
)


def _of_list(column: Any, declared: str = "") -> Values:  # noqa: ANN401 - a list or tuple of anything
    types = _types(column)
    rows = len(column)
    nulls = 0
    if _NONE_TYPE in types and len(types) <= 2:  # noqa: PLR2004 - None and one plain type
        present = [value for value in column if value is not None]
        nulls = rows - len(present)
    else:
        present = column
    plain = types - {_NONE_TYPE}
    if plain == {float}:
        values = _of_floats(np.array(present, dtype=np.float64))
    elif plain == {str}:
        values = Values(len(present), strings=list(present))
    elif plain == {bool}:
        true = present.count(True)
        values = Values(len(present), true=true, false=len(present) - true)
    elif plain == {int} and _fits(present):
        values = Values(len(present), integral=np.array(present, dtype=np.int64))
    elif not plain:
        values = Values(0)
        nulls = rows
    else:
        values = _one_by_one(present)
    values.rows = rows
    values.nulls += nulls
    values.declared = declared
    return values


def _types(column: Iterable[object]) -> frozenset[type]:
    try:
        return frozenset(map(type, column))
    except Exception:  # noqa: BLE001 - a metaclass may define how its classes are hashed and compared
        return frozenset({object})


def _fits(integers: list[int]) -> bool:
    return min(integers) >= _INT64.min and max(integers) <= _INT64.max


def _one_by_one(column: Iterable[Any]) -> Values:
    values = Values(0)
    integral: list[int] = []
    fractional: list[float] = []
    for value in column:
        try:
            _sort_in(value, values, integral, fractional)
        except Exception:  # noqa: BLE001 - a value's own methods may raise anything
            values.objects += 1
    values.integral = np.array(integral, dtype=np.int64)
    values.fractional = np.array(fractional, dtype=np.float64)
    values.infinities = int(np.count_nonzero(np.isinf(values.fractional)))
    return values


def _sort_in(  # noqa: C901, PLR0912 - one branch for each type
    value: Any,  # noqa: ANN401 - any value
    values: Values,
    integral: list[int],
    fractional: list[float],
) -> None:
    # By type(), since isinstance also believes a value's own __class__.
    kind = type(value)
    if value is None or kind.__name__ in _NULL_TYPE_NAMES:
        values.nulls += 1
    elif issubclass(kind, str):
        values.strings.append(str.__str__(value))  # a plain copy, whatever the subclass overrides
    elif issubclass(kind, bool | np.bool_):
        values.true += bool(value)
        values.false += not value
    elif issubclass(kind, np.datetime64 | np.timedelta64):
        is_null = bool(np.isnat(value))
        values.nulls += is_null
        values.objects += not is_null
    elif issubclass(kind, int | np.integer):
        integer = int(value)
        if _INT64.min <= integer <= _INT64.max:
            integral.append(integer)
        else:
            fractional.append(_float(integer))
    elif issubclass(kind, float | np.floating | Decimal):
        number = _float(value)
        if math.isnan(number):
            values.nulls += 1
            values.nans += 1
        else:
            fractional.append(number)
    elif getattr(value, "ndim", None) == 0:
        _sort_in(value[()] if isinstance(value, np.ndarray) else value.item(), values, integral, fractional)
    elif _is_tensor(value):
        values.tensors += 1
    else:
        values.objects += 1


def _float(number: Any) -> float:  # noqa: ANN401 - any number
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _is_tensor(value: object) -> bool:
    if not isinstance(value, list | np.ndarray) or not len(value):
        return False
    array = np.asarray(value)
    return array.size > 0 and array.dtype.kind in "iufc"
