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
| fraction in that range, among whole numbers    | its numeric bin         | `type`     |
| category that is not in the vocabulary         | `other`                 | `category` |
| category of the vocabulary without its own bin | `other`                 |            |
| text whose length is outside the reference's   | the bin of its length   | `range`    |
| embedding, and its distance is outside         | the bin of its distance | `range`    |
| any other                                      | its bin                 |            |

Counting never raises, whatever the values are: a value that fails when it is looked at is of no type
the feature could have.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard

import numpy as np

from windvane import semconv
from windvane.errors import BaselineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = [
    "MAX_CATEGORY_LENGTH",
    "MAX_DIMENSIONS",
    "Bins",
    "CategoryBins",
    "Counts",
    "DistanceBins",
    "LengthBins",
    "NumericBins",
    "TimeBins",
    "lengths_of",
    "numbers_of",
    "tally_categories",
    "vector_of",
    "vectors_of",
]

Counts: TypeAlias = "NDArray[np.int64]"

MAX_CATEGORY_LENGTH: Final = 256
"""Longer text, in characters, is no category."""

_KINDS: Final = semconv.VIOLATION_KIND.values
_MISSING: Final = _KINDS.index("missing")
_TYPE: Final = _KINDS.index("type")
_RANGE: Final = _KINDS.index("range")
_CATEGORY: Final = _KINDS.index("category")

_MAX_EDGES: Final = 99  # two digits label the bins
_MAX_LABELLED_CATEGORIES: Final = 100

# Told by name so that pandas need not be imported to know its missing values.
_NULL_TYPE_NAMES: Final = frozenset({"NAType", "NaTType"})
_NUMBER_TYPES: Final = (int, float, np.bool_, np.integer, np.floating, Decimal)
# numpy converts a list of these in one step, to the same numbers as one by one.
_PLAIN_NUMBERS: Final = frozenset({int, float, bool, np.bool_, np.float64, np.float32, np.int64, np.int32})
_PLAIN_CATEGORIES: Final = frozenset({str, int, float, bool})
_NONE_TYPE: Final = type(None)


def no_violations() -> Counts:
    """Return zeros, one for each kind in `semconv.VIOLATION_KIND.values`."""
    return np.zeros(len(_KINDS), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class NumericBins:
    """Ordered bins of a numeric feature; bin i holds `edges[i-1] < x <= edges[i]`.

    The bins at both ends are open, so every finite number has a bin. They are closed on the right, as the
    buckets of a Prometheus histogram are.

    Attributes:
        edges: inner edges, finite and strictly increasing; n edges make n + 1 bins.
        minimum: smallest finite value of the reference.
        maximum: largest finite value of the reference.
        whole: whether the reference holds whole numbers alone, so that a fraction is of another type; 3.0 is
            whole, since integers with missing values among them become floats on their way.

    Raises:
        BaselineError: the edges are not finite and strictly increasing, are more than 99, or the range
            is empty or not finite.
    """

    edges: tuple[float, ...]
    minimum: float
    maximum: float
    whole: bool = False
    _edges: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _lower: float = field(init=False, repr=False, compare=False)
    _upper: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check what the counting relies on."""
        if len(self.edges) > _MAX_EDGES:
            msg = f"edges: {len(self.edges)} edges, at most {_MAX_EDGES} can be labelled"
            raise BaselineError(msg)
        if not all(map(math.isfinite, self.edges)) or any(a >= b for a, b in pairwise(self.edges)):
            msg = "edges: must be finite and strictly increasing"
            raise BaselineError(msg)
        if not (math.isfinite(self.minimum) and math.isfinite(self.maximum) and self.minimum <= self.maximum):
            msg = f"minimum and maximum: {self.minimum!r} to {self.maximum!r} is not a finite range"
            raise BaselineError(msg)
        # A service that works in single precision rounds the reference's own extremes, perhaps outwards.
        with np.errstate(over="ignore"):
            lower, upper = float(np.float32(self.minimum)), float(np.float32(self.maximum))
        object.__setattr__(self, "_edges", np.array(self.edges, dtype=np.float64))
        object.__setattr__(self, "_lower", min(self.minimum, lower))
        object.__setattr__(self, "_upper", max(self.maximum, upper))

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
            between = [f"{a} to {b}" for a, b in pairwise(numbers)]
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
        return self.count_numbers(*numbers_of(values))

    def positions(self, numbers: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the position in `labels` of the bin of each number; NaN is missing.

        Args:
            numbers: shape (n,).
        """
        positions = np.searchsorted(self._edges, numbers, side="left")
        positions[np.isnan(numbers)] = len(self.edges) + 1
        positions[np.isinf(numbers)] = len(self.edges) + 2
        return positions

    def count_numbers(self, numbers: NDArray[np.float64], wrong_type: int) -> tuple[Counts, Counts]:
        """Count a column of numbers.

        Args:
            numbers: shape (n,), NaN where a value is missing or of another type.
            wrong_type: how many are of another type.

        Returns:
            As `count`.
        """
        size = numbers.size
        finite = np.isfinite(numbers)
        nulls = infinite = 0
        if not finite.all():
            not_numbers = int(np.count_nonzero(np.isnan(numbers)))
            nulls = not_numbers - wrong_type
            numbers = numbers[finite]
            infinite = size - not_numbers - numbers.size
        counts = np.zeros(len(self.edges) + 3, dtype=np.int64)
        violations = no_violations()
        if numbers.size:
            counts[:-2] = np.bincount(np.searchsorted(self._edges, numbers, side="left"), minlength=len(self.edges) + 1)
            if numbers.min() < self._lower or numbers.max() > self._upper:
                outside = (numbers < self._lower) | (numbers > self._upper)
                violations[_RANGE] = np.count_nonzero(outside)
                numbers = numbers[~outside]
            if self.whole:
                violations[_TYPE] = np.count_nonzero(numbers != np.trunc(numbers))
        counts[-2] = nulls
        counts[-1] = infinite + wrong_type
        violations[_MISSING] = nulls
        violations[_RANGE] += infinite
        violations[_TYPE] += wrong_type
        return counts, violations


@dataclass(frozen=True, slots=True)
class CategoryBins:
    """Bins of a categorical feature: one for each of the most frequent categories.

    Attributes:
        vocabulary: every category of the reference that was frequent enough to be listed, most frequent
            first.
        size: how many of them, from the first, have a bin of their own; the others share `other`.

    Raises:
        BaselineError: a category stands twice, is too long or no valid text, or `size` does not fit.
    """

    vocabulary: tuple[str, ...]
    size: int
    _position: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check what the counting relies on."""
        if len(set(self.vocabulary)) != len(self.vocabulary):
            msg = "vocabulary: a category stands in it twice"
            raise BaselineError(msg)
        if not all(map(is_category, self.vocabulary)):
            msg = f"vocabulary: a category is longer than {MAX_CATEGORY_LENGTH} characters or no valid Unicode"
            raise BaselineError(msg)
        if not 0 <= self.size <= min(len(self.vocabulary), _MAX_LABELLED_CATEGORIES):
            msg = (
                f"size: {self.size} bins for {len(self.vocabulary)} categories "
                f"(at most {_MAX_LABELLED_CATEGORIES} can be labelled)"
            )
            raise BaselineError(msg)
        other = self.size + 1
        position = {category: i if i < self.size else other for i, category in enumerate(self.vocabulary)}
        object.__setattr__(self, "_position", position)

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
        categories, nulls, wrong_type = _tally(values)
        for category, number in categories.items():
            position = self._position.get(category)
            if position is None:
                counts[-1] += number
                violations[_CATEGORY] += number
            else:
                counts[position] += number
        counts[-2] = nulls
        counts[-1] += wrong_type
        violations[_MISSING] = nulls
        violations[_TYPE] = wrong_type
        return counts, violations


@dataclass(frozen=True, slots=True)
class LengthBins:
    """Ordered bins of a feature of free text, by the length of its values in characters.

    Texts of which each is another one have no categories; their lengths still show a field that is cut, a
    template that changes, or an encoding that breaks.

    Attributes:
        edges: as of `NumericBins`, of lengths.
        minimum: smallest length of the reference.
        maximum: largest length of the reference.

    Raises:
        BaselineError: as `NumericBins`.
    """

    edges: tuple[float, ...]
    minimum: float
    maximum: float
    _lengths: NumericBins = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check what the counting relies on."""
        object.__setattr__(self, "_lengths", NumericBins(self.edges, self.minimum, self.maximum))

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each bin, in the order of the counts."""
        return self._lengths.labels

    @property
    def ranges(self) -> tuple[str, ...]:
        """What each bin holds, for display."""
        inner = [f"{text} characters" for text in self._lengths.ranges[:-2]]
        return (*(["all lengths"] if len(inner) == 1 else inner), "missing", "no text")

    def count(self, values: NDArray[Any] | Sequence[object]) -> tuple[Counts, Counts]:
        """Count a column of values.

        Args:
            values: shape (n,), of any type.

        Returns:
            Counts by bin, in the order of `labels`, and violations, in the order of
            `semconv.VIOLATION_KIND.values`.
        """
        return self._lengths.count_numbers(*lengths_of(values))


_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PARTS: Final = 4
_PART_SECONDS: Final = 86_400 // _PARTS
# The years 1 to 9999, those of ISO 8601 and of Python. Beyond them lie seconds that are milliseconds.
_FIRST_SECOND: Final = -62_135_596_800
_END_SECOND: Final = 253_402_300_800


@dataclass(frozen=True, slots=True)
class TimeBins:
    """Bins of a feature that holds times, by the day of the week and the quarter of the day, in UTC.

    Time itself goes on, so live times lie behind all of the reference's. Where in the week they lie has a
    distribution that stays, and that a wrong time zone, a batch that is late or a default value disturbs.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each bin, in the order of the counts."""
        return (*(f"t{i:02d}" for i in range(len(_DAYS) * _PARTS)), semconv.BIN_NULL, semconv.BIN_OTHER)

    @property
    def ranges(self) -> tuple[str, ...]:
        """What each bin holds, for display."""
        hours = 24 // _PARTS
        parts = [f"{day} {i * hours:02d}-{(i + 1) * hours:02d}" for day in _DAYS for i in range(_PARTS)]
        return (*parts, "missing", "no time")

    def count(self, values: NDArray[Any] | Sequence[object]) -> tuple[Counts, Counts]:
        """Count a column of values: times of any library, dates, ISO 8601 texts, seconds since 1970.

        Times lie in the years 1 to 9999; any other is of another type, such as 1970 counted in milliseconds.

        Args:
            values: shape (n,), of any type.

        Returns:
            Counts by bin, in the order of `labels`, and violations, in the order of
            `semconv.VIOLATION_KIND.values`.
        """
        from windvane._ages import epoch_seconds  # noqa: PLC0415 - which reads values by what stands here

        seconds, wrong_type = epoch_seconds(values)
        missing = int(np.count_nonzero(np.isnan(seconds))) - wrong_type
        times = seconds[(seconds >= _FIRST_SECOND) & (seconds < _END_SECOND)]
        # 1970-01-01 was a Thursday.
        days = (np.floor(times / 86_400) + 3) % len(_DAYS)
        # The remainder of a tiny negative number is rounded to the divisor itself.
        parts = np.minimum(np.floor(times % 86_400 / _PART_SECONDS), _PARTS - 1)
        bins = (days * _PARTS + parts).astype(np.intp)
        counts = np.zeros(len(self.labels), dtype=np.int64)
        counts[:-2] = np.bincount(bins, minlength=len(counts) - 2)
        counts[-2] = missing
        counts[-1] = len(seconds) - missing - times.size
        violations = no_violations()
        violations[_MISSING] = missing
        violations[_TYPE] = counts[-1]
        return counts, violations


MAX_DIMENSIONS: Final = 4096
"""Embeddings of more dimensions are not watched."""

# Small enough for a processor's cache, and a bound of what a column of vectors takes beside itself.
_BLOCK_VALUES: Final = 2**17


@dataclass(frozen=True, slots=True)
class DistanceBins:
    """Ordered bins of a feature of embeddings, by their Euclidean distance to the centroid of the reference.

    A single dimension of an embedding means nothing. Vectors of another model, another language or another
    subject lie elsewhere, and so at other distances from where the reference lay. The distance is Euclidean, since
    the cosine does not see that vectors grow longer; of vectors of length 1 it tells the same.

    Attributes:
        centroid: mean of the reference's vectors, 1 to 4096 numbers.
        edges: as of `NumericBins`, of distances.
        minimum: distance below which a vector is out of range.
        maximum: distance above which it is.

    Raises:
        BaselineError: as `NumericBins`, or the centroid has no or too many dimensions.
    """

    centroid: tuple[float, ...]
    edges: tuple[float, ...]
    minimum: float
    maximum: float
    _distances: NumericBins = field(init=False, repr=False, compare=False)
    _centroid: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check what the counting relies on."""
        if not 0 < len(self.centroid) <= MAX_DIMENSIONS or not all(map(math.isfinite, self.centroid)):
            msg = f"centroid: must be 1 to {MAX_DIMENSIONS} finite numbers"
            raise BaselineError(msg)
        object.__setattr__(self, "_distances", NumericBins(self.edges, self.minimum, self.maximum))
        object.__setattr__(self, "_centroid", np.array(self.centroid, dtype=np.float64))

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each bin, in the order of the counts."""
        return self._distances.labels

    @property
    def ranges(self) -> tuple[str, ...]:
        """What each bin holds, for display."""
        return (*self._distances.ranges[:-1], "not finite or no such vector")

    def count(self, values: NDArray[Any] | Sequence[object]) -> tuple[Counts, Counts]:
        """Count a column of values.

        Args:
            values: vectors of as many numbers as the centroid has, shape (n,) or (n, dimensions).

        Returns:
            Counts by bin, in the order of `labels`, and violations, in the order of
            `semconv.VIOLATION_KIND.values`.
        """
        return self._distances.count_numbers(*self.distances(values))

    def distances(self, values: NDArray[Any] | Sequence[object]) -> tuple[NDArray[np.float64], int]:
        """Return the distances to the centroid.

        Args:
            values: as of `count`.

        Returns:
            Shape (n,), NaN where a value is missing or no such vector, and how many are no such vector.
        """
        column = values if _is_table(values) else _as_list(values)
        distances = np.empty(len(column))
        wrong_type = 0
        step = max(1, _BLOCK_VALUES // len(self.centroid))
        for start in range(0, len(column), step):
            vectors, wrong = vectors_of(column[start : start + step], len(self.centroid))
            wrong_type += wrong
            with np.errstate(all="ignore"):  # the squares of huge numbers are infinite
                apart = vectors - self._centroid
                distances[start : start + step] = np.sqrt(np.einsum("ij,ij->i", apart, apart))
        return distances, wrong_type


Bins: TypeAlias = NumericBins | CategoryBins | LengthBins | TimeBins | DistanceBins


def is_category(text: str) -> bool:
    """Tell whether a text can be listed as a category: short enough, and valid Unicode."""
    if len(text) > MAX_CATEGORY_LENGTH:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: no exporter can send it
        return False
    return True


def category_of(value: object) -> str | None:
    """Return the category that a value names, None where it is missing or names none."""
    try:
        plain = _plain(value)
        return None if _is_null(plain) else _category(plain)
    except Exception:  # noqa: BLE001 - a value's own methods may raise anything
        return None


def tally_categories(values: NDArray[Any] | Sequence[object]) -> Counter[str]:
    """Count the categories that a column's values name; missing values and other types are left out.

    Args:
        values: shape (n,), of any type.

    Returns:
        The categories in the order of their first appearance, with their counts.
    """
    return _tally(values)[0]


def vectors_of(values: NDArray[Any] | Sequence[object], dimensions: int) -> tuple[NDArray[np.float64], int]:
    """Convert a column of embeddings to a table.

    Args:
        values: shape (n,) of lists, tuples or arrays of numbers, or shape (n, dimensions).
        dimensions: how many numbers each has.

    Returns:
        Shape (n, dimensions), NaN in the rows of values that are missing or no such vector, and how many are
        no such vector. A vector that holds NaN is none.
    """
    joined = _joined(values, dimensions)
    if joined is not None:
        wrong = np.asarray(np.isnan(joined).any(axis=1))
        if wrong.any():
            joined = np.where(wrong[:, np.newaxis], np.nan, joined)
        return joined, int(np.count_nonzero(wrong))
    column = _as_list(values)
    vectors = np.full((len(column), dimensions), np.nan)
    wrong_type = 0
    for i, value in enumerate(column):
        try:
            vector = vector_of(value)
            if vector is not None and vector.shape == (dimensions,) and not np.isnan(vector).any():
                vectors[i] = vector
            else:
                wrong_type += vector is not None or not _is_null(_plain(value))
        except Exception:  # noqa: BLE001 - a value's own methods may raise anything
            wrong_type += 1
    return vectors, wrong_type


def _joined(values: NDArray[Any] | Sequence[object], dimensions: int) -> NDArray[np.float64] | None:
    """Join vectors that are rows of one array, or plain arrays of one length each, in one step; None for any others."""
    if _is_table(values):
        return _as_floats(values) if values.shape[1] == dimensions else None
    column = _as_list(values)
    if _types(column) != {np.ndarray} or not all(v.shape == (dimensions,) and v.dtype.kind in "fiu" for v in column):
        return None
    return _as_floats(np.concatenate(column)).reshape(len(column), dimensions)


def _is_table(values: object) -> TypeGuard[NDArray[Any]]:
    return type(values) is np.ndarray and values.ndim == 2 and values.dtype.kind in "fiu"  # noqa: PLR2004 - rows, columns


def vector_of(value: object) -> NDArray[np.float64] | None:
    """Return a vector of numbers as an array, shape (dimensions,); None for anything else.

    Raises:
        Exception: whatever the value's own methods raise.
    """
    if isinstance(value, np.ndarray):
        array = value
    elif isinstance(value, list | tuple) and value and frozenset(map(type, value)) <= _PLAIN_NUMBERS:
        array = np.array(value)
    else:
        return None
    return _as_floats(array) if array.ndim == 1 and array.size and array.dtype.kind in "fiu" else None


def lengths_of(values: NDArray[Any] | Sequence[object]) -> tuple[NDArray[np.float64], int]:
    """Return the lengths of a column's texts in characters.

    Args:
        values: shape (n,), of any type.

    Returns:
        Shape (n,), NaN where a value is missing or no text, and how many are no text.
    """
    column = _as_list(values)
    if _types(column) == {str}:
        return np.array(list(map(len, column)), dtype=np.float64), 0
    lengths = np.full(len(column), np.nan)
    wrong_type = 0
    for i, value in enumerate(column):
        try:
            plain = _plain(value)
            if issubclass(type(plain), str):
                lengths[i] = str.__len__(plain)
            else:
                wrong_type += not _is_null(plain)
        except Exception:  # noqa: BLE001 - a value's own methods may raise anything
            wrong_type += 1
    return lengths, wrong_type


def numbers_of(values: NDArray[Any] | Sequence[object]) -> tuple[NDArray[np.float64], int]:
    """Convert a column to numbers.

    Args:
        values: shape (n,), of any type.

    Returns:
        Shape (n,), NaN where a value is missing or of another type, and how many were of another type.
    """
    if type(values) is np.ndarray and values.ndim == 1 and values.dtype.kind in "fiub":
        return _as_floats(values), 0
    column = _as_list(values)
    types = _types(column)
    if types - {_NONE_TYPE} <= _PLAIN_NUMBERS:
        if _NONE_TYPE in types:
            column = [math.nan if value is None else value for value in column]
        try:
            array = np.array(column)
        except OverflowError:
            array = np.array([None])
        if array.dtype.kind in "fiub":  # integers beyond 64 bits become objects
            return _as_floats(array), 0
    numbers = np.full(len(column), np.nan)
    wrong_type = 0
    for i, value in enumerate(column):
        try:
            plain = _plain(value)
            if not _is_null(plain):
                number = _number(plain)
                numbers[i] = number
                wrong_type += math.isnan(number)
        except Exception:  # noqa: BLE001 - a value's own methods may raise anything
            wrong_type += 1
    return numbers, wrong_type


def _as_floats(array: NDArray[Any]) -> NDArray[np.float64]:
    if array.dtype == np.float64:
        return array
    with np.errstate(all="ignore"):  # long doubles may overflow to infinity, which has its bin
        return array.astype(np.float64)


def _as_list(values: NDArray[Any] | Sequence[object]) -> list[Any]:
    """List a column's values; what cannot be listed is one value of no type that a feature could have."""
    try:
        # datetime64 of nanoseconds would become integers; list() leaves it what it is.
        if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind not in "mM":
            return list(values.tolist())
        return list(values)
    except Exception:  # noqa: BLE001 - a container's own methods may raise anything
        return [object()]


def _types(column: list[Any]) -> frozenset[type]:
    try:
        return frozenset(map(type, column))
    except Exception:  # noqa: BLE001 - a metaclass may define how its classes are hashed and compared
        return frozenset({object})


def _plain(value: Any) -> Any:  # noqa: ANN401 - any object
    """Take the element out of an array or tensor without dimensions; return any other value as it is."""
    kind = type(value)
    if kind in _PLAIN_CATEGORIES or issubclass(kind, str | np.generic) or getattr(value, "ndim", None) != 0:
        return value
    return value[()] if isinstance(value, np.ndarray) else value.item()


def _is_null(value: Any) -> bool:  # noqa: ANN401 - any object
    kind = type(value)
    if kind is str or kind is int:
        return False
    if value is None or kind.__name__ in _NULL_TYPE_NAMES:
        return True
    # By type(), since isinstance also believes a value's own __class__.
    if issubclass(kind, float | np.floating):
        return bool(value != value)  # noqa: PLR0124 - only NaN differs from itself
    if issubclass(kind, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return issubclass(kind, Decimal) and Decimal.is_nan(value)


def _number_types() -> tuple[type, ...]:
    # Where nobody has imported fractions there are none, and the import would be paid by every service.
    fractions = sys.modules.get("fractions")
    return (*_NUMBER_TYPES, fractions.Fraction) if fractions else _NUMBER_TYPES


def _number(value: Any) -> float:  # noqa: ANN401 - anything, TypeError where it is no number
    # numpy's timedelta64 is a subclass of its integers.
    if not issubclass(type(value), _number_types()) or issubclass(type(value), np.timedelta64):
        msg = "not a number"
        raise TypeError(msg)
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _category(value: Any) -> str | None:  # noqa: ANN401 - anything, None where it names no category
    kind = type(value)
    if kind is str:
        return str(value)
    if issubclass(kind, str):
        return str.__str__(value)  # a plain copy, whatever the subclass overrides
    if issubclass(kind, bool | np.bool_):
        return str(bool(value))
    if issubclass(kind, float | np.floating):
        # Integers with missing values among them arrive as floats.
        return _integer_text(int(value)) if float(value).is_integer() else None
    if issubclass(kind, int | np.integer) and not issubclass(kind, np.timedelta64):
        return _integer_text(int(value))
    return None


def _integer_text(number: int) -> str:
    """Write an integer; those too long for any vocabulary in hex, since Python limits long decimals."""
    return str(number) if number.bit_length() <= MAX_CATEGORY_LENGTH * 8 else hex(number)


def _tally(values: NDArray[Any] | Sequence[object]) -> tuple[Counter[str], int, int]:
    """Count categories, missing values and values of other types."""
    column = _as_list(values)
    types = _types(column) - {_NONE_TYPE}
    # Equal values are classified once, where they are of one plain type: 1, 1.0 and True are one key of a dict.
    pairs: Iterable[tuple[object, int]] = (
        Counter(column).items() if len(types) == 1 and types <= _PLAIN_CATEGORIES else ((value, 1) for value in column)
    )
    categories: Counter[str] = Counter()
    nulls = wrong_type = 0
    for value, number in pairs:
        category = None
        try:
            plain = _plain(value)
            if _is_null(plain):
                nulls += number
                continue
            category = _category(plain)
        except Exception:  # noqa: BLE001, S110 - a value's own methods may raise anything
            pass
        if category is None:
            wrong_type += number
        else:
            categories[category] += number
    return categories, nulls, wrong_type
