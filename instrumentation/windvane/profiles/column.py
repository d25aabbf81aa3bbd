"""The profile of one column: what whylogs writes of a column of its type."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from windvane.profiles.cardinality import Cardinality
from windvane.profiles.frequent_items import FrequentItems
from windvane.profiles.quantiles import Quantiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from windvane.profiles._values import Values

__all__ = ["ColumnProfile", "Counts", "Moments", "Types"]


@dataclass(slots=True)
class Counts:
    """How many values there are.

    Attributes:
        n: all of them.
        null: the missing ones: None, NaN, NaT, pandas' NA.
        nan: those of the missing ones that are NaN.
        inf: infinite ones.
        true: booleans that are true.
    """

    n: int = 0
    null: int = 0
    nan: int = 0
    inf: int = 0
    true: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Add each count."""
        return Counts(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


@dataclass(slots=True)
class Types:
    """How many values that are not missing are of which type.

    Attributes:
        integral: integers of at most 64 bits.
        fractional: floats, decimals and longer integers.
        boolean: booleans.
        string: texts.
        object: anything else, such as a time.
        tensor: lists and arrays of numbers.
    """

    integral: int = 0
    fractional: int = 0
    boolean: int = 0
    string: int = 0
    object: int = 0
    tensor: int = 0

    def __add__(self, other: Types) -> Types:
        """Add each count."""
        return Types(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Moments:
    """The moments of numbers (a boolean is 1 or 0), which merge without loss.

    Chan, Golub, LeVeque, "Algorithms for computing the sample variance" (1983).

    Attributes:
        n: how many there are.
        mean: their mean; infinite or NaN where one of them is infinite.
        m2: the sum of squared deviations from it.
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0

    @classmethod
    def of(cls, numbers: NDArray[np.float64]) -> Moments:
        """Compute the moments of numbers, shape (n,), without NaN."""
        if not numbers.size:
            return cls()
        mean = np.add.reduce(numbers) / numbers.size
        deviations = numbers - mean
        return cls(numbers.size, float(mean), float(np.dot(deviations, deviations)))

    @classmethod
    def of_repeated(cls, numbers: NDArray[np.float64], counts: NDArray[np.int64]) -> Moments:
        """Compute the moments of distinct numbers of which each comes so often, both of shape (n,)."""
        n = int(np.add.reduce(counts))
        mean = np.dot(numbers, counts) / n
        deviations = numbers - mean
        return cls(n, float(mean), float(np.dot(deviations * deviations, counts)))

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both sets of numbers."""
        if not other.n:
            return self
        if not self.n:
            return other
        n = self.n + other.n
        delta = other.mean - self.mean
        mean = (self.mean * self.n + other.mean * other.n) / n
        try:
            m2 = self.m2 + other.m2 + delta * delta * (self.n * other.n / n)
        except OverflowError:
            m2 = math.inf
        return Moments(n, mean, m2)

    @property
    def variance(self) -> float:
        """The sample variance; 0 where there are less than two numbers."""
        return self.m2 / (self.n - 1) if self.n > 1 else 0.0

    @property
    def standard_deviation(self) -> float:
        """The square root of the sample variance."""
        return math.sqrt(self.variance)


@dataclass(slots=True)
class ColumnProfile:
    """The profile of a column.

    What a column has beside counts and types follows from the types of its values, as in whylogs, but in no
    way from their order: two parts of a column merge to what the whole column gives.

    Attributes:
        counts: values, missing values and so on.
        types: values by type.
        moments: mean and M2 of the numbers.
        quantiles: of the numbers, where the column has numbers, booleans or texts.
        cardinality: distinct values, in the same columns.
        frequent_items: of integers, booleans and texts, in columns that have them.
        minimum: the least integer.
        maximum: the greatest integer.
        has_integers: whether the column has integers or booleans, or is of such a type.
    """

    counts: Counts
    types: Types
    moments: Moments
    quantiles: Quantiles | None = None
    cardinality: Cardinality | None = None
    frequent_items: FrequentItems | None = None
    minimum: int | None = None
    maximum: int | None = None
    has_integers: bool = False

    @classmethod
    def empty(cls) -> ColumnProfile:
        """Begin without values."""
        return cls(Counts(), Types(), Moments())

    def track(self, values: Values, *, frequent_items: bool) -> None:
        """Add values.

        Args:
            values: the values of one batch.
            frequent_items: whether to count frequent items.
        """
        booleans = values.true + values.false
        self.counts.n += values.rows
        self.counts.null += values.nulls
        self.counts.nan += values.nans
        self.counts.inf += values.infinities
        self.counts.true += values.true
        self.types.integral += values.integral.size
        self.types.fractional += values.fractional.size
        self.types.boolean += booleans
        self.types.string += len(values.strings)
        self.types.object += values.objects
        self.types.tensor += values.tensors
        integers = bool(values.integral.size or booleans) or values.declared in {"integral", "boolean"}
        texts = bool(values.strings) or values.declared == "string"
        if not (integers or texts or values.fractional.size or values.declared == "fractional"):
            return
        if self.quantiles is None or self.cardinality is None:
            self.quantiles = self.quantiles or Quantiles()
            self.cardinality = self.cardinality or Cardinality()
        if frequent_items and (integers or texts) and self.frequent_items is None:
            self.frequent_items = FrequentItems()
        self.has_integers |= integers
        counted = self.frequent_items if frequent_items else None
        with np.errstate(all="ignore"):  # sums of large numbers may overflow to infinity, as they do in whylogs
            if values.fractional.size:
                self._add_numbers(values.fractional, self.quantiles)
                self.cardinality.update_numbers(values.fractional)
            if values.integral.size:
                self._add_integers(values.integral, self.quantiles, self.cardinality, counted)
            if booleans:
                found = np.array([values.false, values.true])
                self._add_repeated(np.flatnonzero(found), found[found > 0], self.quantiles)
        if booleans:
            _add_booleans(values, self.cardinality, counted)
        if values.strings:
            texts_with_counts = Counter(values.strings)
            self.cardinality.update_texts(texts_with_counts)
            if counted is not None:
                counted.update_texts(texts_with_counts)

    def __add__(self, other: ColumnProfile) -> ColumnProfile:
        """Return the profile of both sets of values; neither changes."""
        return ColumnProfile(
            self.counts + other.counts,
            self.types + other.types,
            self.moments + other.moments,
            _merged(self.quantiles, other.quantiles),
            _merged(self.cardinality, other.cardinality),
            _merged(self.frequent_items, other.frequent_items),
            min((n for n in (self.minimum, other.minimum) if n is not None), default=None),
            max((n for n in (self.maximum, other.maximum) if n is not None), default=None),
            self.has_integers or other.has_integers,
        )

    def _add_numbers(self, numbers: NDArray[np.float64], quantiles: Quantiles) -> None:
        self.moments += Moments.of(numbers)
        quantiles.update(numbers)

    def _add_repeated(self, distinct: NDArray[np.int64], counts: NDArray[np.int64], quantiles: Quantiles) -> None:
        numbers = distinct.astype(np.float64)
        self.moments += Moments.of_repeated(numbers, counts)
        quantiles.update_repeated(numbers, counts)

    def _add_integers(
        self,
        integers: NDArray[np.int64],
        quantiles: Quantiles,
        cardinality: Cardinality,
        frequent_items: FrequentItems | None,
    ) -> None:
        """Add integers; where they repeat, sketches are given each distinct one with its count."""
        least, greatest = int(integers.min()), int(integers.max())
        self.minimum = least if self.minimum is None else min(self.minimum, least)
        self.maximum = greatest if self.maximum is None else max(self.maximum, greatest)
        dense = greatest - least < 4 * integers.size
        if frequent_items is None and not dense:
            self._add_numbers(integers.astype(np.float64), quantiles)
            cardinality.update_numbers(integers)
            return
        if dense:
            tally = np.bincount(integers - least)
            distinct = np.flatnonzero(tally)
            counts = tally[distinct]
            distinct += least
        else:
            distinct, counts = np.unique(integers, return_counts=True)
        self._add_repeated(distinct, counts, quantiles)
        cardinality.update_repeated(integers, distinct)
        if frequent_items is not None:
            frequent_items.update_integers(distinct, counts)


def _add_booleans(values: Values, cardinality: Cardinality, frequent_items: FrequentItems | None) -> None:
    cardinality.update_numbers(np.array([1, 0])[[values.true > 0, values.false > 0]])
    if frequent_items is not None:
        counts = {"True": values.true, "False": values.false}
        frequent_items.update_texts({text: count for text, count in counts.items() if count})


def _merged(one: Any, other: Any) -> Any:  # noqa: ANN401 - two sketches of one kind, either or both None
    present = other if one is None else one
    if present is None:
        return None
    # Merged with an empty one where it is alone, so that the result shares nothing with its parts.
    return present.merge(type(present)() if one is None or other is None else other)
