"""Bins: how the values of a feature are counted, the same in the reference and in every replica.

A column goes in, two small integer arrays come out: how many values fell into each bin, and how many
violated the reference in which way. Both merge by addition, so any number of rows, threads, processes
and replicas add up to the same counts.

Each value falls into exactly one bin and has at most one violation:

| value                                          | bin                     | violation  |
|------------------------------------------------|-------------------------|------------|
| absent, None, NaN, pandas' NA and NaT          | `null`                  | `missing`  |
| not of the feature's type                      | `other`                 | `type`     |
| infinite                                       | `other`                 | `range`    |
| finite number outside the reference's range    | its numeric bin         | `range`    |
| category that is not in the vocabulary         | `other`                 | `category` |
| category of the vocabulary without its own bin | `other`                 |            |
| any other                                      | its bin                 |            |
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from windvane import semconv
from windvane.errors import BaselineError

__all__ = ["Bins", "CategoryBins", "Counts", "NumericBins"]

Counts: TypeAlias = NDArray[np.int64]

_KINDS: Final = semconv.VIOLATION_KIND.values
_MISSING: Final = _KINDS.index("missing")
_TYPE: Final = _KINDS.index("type")
_RANGE: Final = _KINDS.index("range")
_CATEGORY: Final = _KINDS.index("category")

# Told by name so that pandas need not be imported to know its missing values.
_NULL_TYPE_NAMES: Final = frozenset({"NAType", "NaTType"})
_NUMBER_TYPES: Final = (int, float, np.bool_, np.integer, np.floating, Decimal, Fraction)
_MAX_CATEGORY_LENGTH: Final = 256


def no_violations() -> Counts:
    """Return zeros, one for each kind in `semconv.VIOLATION_KIND.values`."""
    return np.zeros(len(_KINDS), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class NumericBins:
    """Ordered bins of a numeric feature; bin i holds `edges[i-1] < x <= edges[i]`.

    The bins at both ends are open, so every finite number has a bin. Closed on the right, as the buckets
    of a Prometheus histogram are: a value that most rows share (a rain sensor's 0) is an edge and has a
    bin to itself where it is the smallest.

    Attributes:
        edges: inner edges, finite and strictly increasing; n edges make n + 1 bins.
        minimum: smallest finite value of the reference.
        maximum: largest finite value of the reference.

    Raises:
        BaselineError: the edges are not finite and strictly increasing, are more than 99, or the range
            is empty or not finite.
    """

    edges: tuple[float, ...]
    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        """Check what the counting relies on."""
        if len(self.edges) > 99:  # noqa: PLR2004 - two digits label the bins
            msg = f"edges: {len(self.edges)} edges, at most 99 can be labelled"
            raise BaselineError(msg)
        if not all(map(math.isfinite, self.edges)) or any(
            a >= b for a, b in zip(self.edges, self.edges[1:], strict=False)
        ):
            msg = "edges: must be finite and strictly increasing"
            raise BaselineError(msg)
        if not (math.isfinite(self.minimum) and math.isfinite(self.maximum) and self.minimum <= self.maximum):
            msg = f"minimum and maximum: {self.minimum!r} to {self.maximum!r} is not a finite range"
            raise BaselineError(msg)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each bin, in the order of the counts."""
        return (*(f"{i:02d}" for i in range(len(self.edges) + 1)), semconv.BIN_NULL, semconv.BIN_OTHER)

    @property
    def ranges(self) -> tuple[str, ...]:
        """What each bin holds, for display."""
        numbers = [f"{edge:.6g}" for edge in self.edges]
        if not numbers:
            inner = ["all numbers"]
        else:
            between = [f"{a} to {b}" for a, b in zip(numbers, numbers[1:], strict=False)]
            inner = [f"up to {numbers[0]}", *between, f"above {numbers[-1]}"]
        return (*inner, "missing", "not finite or not a number")

    def count(self, values: NDArray[Any] | Sequence[object]) -> tuple[Counts, Counts]:
        """Count a column of values.

        Args:
            values: shape (n,), of any type.

        Returns:
            Counts by bin, in the order of `labels`, and violations, in the order of
            `semconv.VIOLATION_KIND.values`.
        """
        violations = no_violations()
        column = values if isinstance(values, np.ndarray) else _array_of_numbers(values)
        wrong_type = 0
        if column is None or column.dtype.kind not in "fiub":
            numbers, wrong_type = _numbers(values)
        else:
            numbers = column.astype(np.float64, copy=False)
        size = numbers.size
        finite = np.isfinite(numbers)
        nulls = infinite = 0
        if not finite.all():
            nulls = int(np.count_nonzero(np.isnan(numbers)))
            numbers = numbers[finite]
            infinite = size - nulls - numbers.size
        counts = np.zeros(len(self.edges) + 3, dtype=np.int64)
        if numbers.size:
            inner = np.bincount(np.searchsorted(self.edges, numbers, side="left"), minlength=len(self.edges) + 1)
            counts[:-2] = inner
            if numbers.min() < self.minimum or numbers.max() > self.maximum:
                violations[_RANGE] = np.count_nonzero((numbers < self.minimum) | (numbers > self.maximum))
        counts[-2] = nulls
        counts[-1] = infinite + wrong_type
        violations[_MISSING] = nulls
        violations[_RANGE] += infinite
        violations[_TYPE] = wrong_type
        return counts, violations


@dataclass(frozen=True, slots=True)
class CategoryBins:
    """Bins of a categorical feature: one for each of the most frequent categories.

    Attributes:
        vocabulary: every category of the reference that was frequent enough to be listed, most frequent
            first.
        size: how many of them, from the first, have a bin of their own; the others share `other`.

    Raises:
        BaselineError: a category stands twice or is too long, or `size` does not fit.
    """

    vocabulary: tuple[str, ...]
    size: int

    def __post_init__(self) -> None:
        """Check what the counting relies on."""
        if len(set(self.vocabulary)) != len(self.vocabulary):
            msg = "vocabulary: a category stands in it twice"
            raise BaselineError(msg)
        if any(len(category) > _MAX_CATEGORY_LENGTH for category in self.vocabulary):
            msg = f"vocabulary: a category is longer than {_MAX_CATEGORY_LENGTH} characters"
            raise BaselineError(msg)
        if not 0 <= self.size <= min(len(self.vocabulary), 100):
            msg = f"size: {self.size} bins for {len(self.vocabulary)} categories (at most 100 can be labelled)"
            raise BaselineError(msg)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each bin, in the order of the counts."""
        return (*(f"c{i:02d}" for i in range(self.size)), semconv.BIN_NULL, semconv.BIN_OTHER)

    @property
    def ranges(self) -> tuple[str, ...]:
        """What each bin holds, for display."""
        return (*self.vocabulary[: self.size], "missing", "any other category")

    def count(self, values: NDArray[Any] | Sequence[object]) -> tuple[Counts, Counts]:
        """Count a column of values.

        Integers and booleans count as the category that their text names.

        Args:
            values: shape (n,), of any type.

        Returns:
            Counts by bin, in the order of `labels`, and violations, in the order of
            `semconv.VIOLATION_KIND.values`.
        """
        counts = np.zeros(self.size + 2, dtype=np.int64)
        violations = no_violations()
        rank = {category: i for i, category in enumerate(self.vocabulary)}
        for value, number in _tally(values):
            if _is_null(value):
                counts[-2] += number
                violations[_MISSING] += number
                continue
            text = _category(value)
            if text is None:
                counts[-1] += number
                violations[_TYPE] += number
                continue
            position = rank.get(text)
            if position is None:
                counts[-1] += number
                violations[_CATEGORY] += number
            else:
                counts[position if position < self.size else -1] += number
        return counts, violations


Bins: TypeAlias = NumericBins | CategoryBins


def category_of(value: object) -> str | None:
    """Return the category that a value names, None where it is missing or names none."""
    return None if _is_null(value) else _category(value)


def _array_of_numbers(values: Sequence[object]) -> NDArray[Any] | None:
    """Turn plain numbers into an array in one step; None where something else is among them."""
    try:
        column = np.array(values)
    except (TypeError, ValueError, OverflowError):
        return None
    return column if column.ndim == 1 and column.dtype.kind in "fiub" else None


def _numbers(values: NDArray[Any] | Sequence[object]) -> tuple[NDArray[np.float64], int]:
    """Convert value by value; also return how many were of another type (those are left out)."""
    numbers: list[float] = []
    wrong_type = 0
    for value in values:
        if _is_null(value):
            numbers.append(math.nan)
        elif isinstance(value, _NUMBER_TYPES):
            numbers.append(_to_float(value))
        else:
            wrong_type += 1
    return np.array(numbers, dtype=np.float64), wrong_type


def _to_float(value: Any) -> float:  # noqa: ANN401 - any of _NUMBER_TYPES
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):  # a signalling NaN of decimal
        return math.nan


def _is_null(value: object) -> bool:
    if value is None or type(value).__name__ in _NULL_TYPE_NAMES:
        return True
    if isinstance(value, float | np.floating):
        return bool(value != value)  # noqa: PLR0124 - only NaN differs from itself
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return isinstance(value, Decimal) and value.is_nan()


def _category(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))  # integers with missing values among them arrive as floats
    return None


def _tally(values: NDArray[Any] | Sequence[object]) -> list[tuple[object, int]]:
    """Count equal values; values that cannot be compared count singly."""
    column: list[object] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    # 1, 1.0 and True are one key of a dict but three categories' texts, so the type is told apart unless all are text.
    try:
        if set(map(type, column)) <= {str, type(None)}:
            return list(Counter(column).items())
        typed = Counter((type(value), value) for value in column)
    except Exception:  # noqa: BLE001 - a value's __hash__ or __eq__ may raise anything
        return [(value, 1) for value in column]
    return [(value, number) for (_, value), number in typed.items()]
