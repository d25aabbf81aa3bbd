"""Histograms of both sides over the same bins, from the sketches of their profiles."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from windvane._baseline_builder import quantile_edges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from windvane.profiles import ColumnProfile

__all__ = [
    "MAX_CATEGORIES",
    "Categories",
    "category_counts",
    "count_numbers",
    "dispersion_of_sketches",
    "number_edges",
    "sample_of",
    "share_error",
]

MAX_CATEGORIES: Final = 20
"""Most frequent categories that have a bin of their own, as in a baseline."""

_BINS: Final = 10
_SLIVER: Final = 0.02
_MAX_SAMPLE: Final = 4096
"""Ranks at which a sketch is asked for its values: closer to each other than its error."""

_LARGEST: Final = sys.float_info.max
_BOOLEANS: Final = {"True": "1", "False": "0"}
_DEVIATIONS: Final = 2.576
"""Standard normal quantile of 0.995: the sketch's error is that of 99 of 100 cases."""


def sample_of(column: ColumnProfile) -> NDArray[np.float64]:
    """Return the column's finite numbers at equally spaced ranks, in order; at most 4096.

    They are exact where the column has no more numbers than its sketch keeps, or its integers are all counted.
    """
    if column.quantiles is None or not column.quantiles.n:
        return np.empty(0)
    size = min(column.quantiles.n, _MAX_SAMPLE)
    ranks = (np.arange(size) + 0.5) / size
    tally = _tally(column)
    if tally is not None:
        values, counts = tally
        return np.asarray(values[np.searchsorted(np.cumsum(counts), ranks * counts.sum())])
    found: NDArray[np.float64] = np.array(column.quantiles.quantiles(ranks.tolist()))
    return found[np.isfinite(found)]


def share_error(column: ColumnProfile) -> float:
    """Return how wrong a share of the column's numbers may be, in 99 of 100 cases; 0 where it is exact."""
    return 0.0 if column.quantiles is None or _tally(column) is not None else column.quantiles.share_error


def _tally(column: ColumnProfile) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return distinct numbers in order and their counts, where the frequent items hold them all.

    So flags and small integers are known exactly. Floats are no frequent items.
    """
    types = column.types
    whole = types.integral + types.boolean
    if column.frequent_items is None or types.fractional or types.string or not whole:
        return None
    items = column.frequent_items.items
    if sum(item.lower for item in items) != whole or any(item.upper != item.lower for item in items):
        return None
    counts: dict[float, int] = {}
    try:
        for item in items:
            number = float(_BOOLEANS.get(item.value, item.value))
            counts[number] = counts.get(number, 0) + item.lower
    except ValueError:  # a foreign profile's
        return None
    values = np.array(sorted(counts))
    return values, np.array([counts[value] for value in values.tolist()], dtype=np.float64)


def number_edges(sample: NDArray[np.float64], *, whole: bool) -> tuple[float, ...]:
    """Choose inner edges: the reference's deciles, and a bin to itself for each value that has a tenth or more.

    That is how a baseline's edges are chosen. A value with such a share that is the least or the greatest of
    the reference has its bin closed to the outside, too: otherwise another value there could not be told from it.

    Args:
        sample: finite values of the reference in order, shape (n,).
        whole: whether they are whole numbers.
    """
    if not sample.size:
        return ()
    edges = _without_slivers(quantile_edges(sample, _BINS, whole=whole), sample)
    least, greatest = float(sample[0]), float(sample[-1])
    often = sample.size / _BINS
    if np.searchsorted(sample, least, side="right") >= often:
        edges.append(least - 1 if whole else float(np.nextafter(min(least, _single(least)), -np.inf)))
    if sample.size - np.searchsorted(sample, greatest, side="left") >= often:
        edges.append(max(greatest, _single(greatest)))
    return tuple(sorted({edge for edge in edges if -_LARGEST < edge < _LARGEST}))


def _without_slivers(edges: Sequence[float], sample: NDArray[np.float64]) -> list[float]:
    """Join inner bins with hardly any value, which lie between a frequent value and a decile, to the smaller neighbour.

    The sketch's error would be as large as they are.
    """
    left = list(edges)
    while len(left) > 1:
        shares = np.diff(np.searchsorted(sample, left, side="right"), prepend=0, append=sample.size) / sample.size
        smallest = int(np.argmin(shares[1:-1])) + 1
        if shares[smallest] >= _SLIVER:
            break
        del left[smallest - (shares[smallest - 1] < shares[smallest + 1])]
    return left


def _single(number: float) -> float:
    """Return what single precision makes of a number, which is still the same value."""
    with np.errstate(over="ignore"):
        return float(np.float32(number))


def count_numbers(column: ColumnProfile, edges: Sequence[float]) -> NDArray[np.float64]:
    """Count a column by bins, as `NumericBins` counts values.

    Args:
        column: the column.
        edges: finite and increasing, shape (e,).

    Returns:
        Shape (e + 3,): values of each bin, missing ones, and others, which are infinite or no numbers.
    """
    counts = np.zeros(len(edges) + 3)
    tally = _tally(column)
    if tally is not None:
        values, weights = tally
        np.add.at(counts, np.searchsorted(edges, values, side="left"), weights)
    elif column.quantiles is not None and column.quantiles.n:
        # Infinite values lie before the first and behind the last of these.
        places = [-np.inf, *(edge for edge in edges if edge < _LARGEST), _LARGEST]
        found = np.diff(column.quantiles.cdf(places)) * column.quantiles.n
        counts[: found.size] = np.rint(found)
    counts[-2] = column.counts.null
    counts[-1] = max(0.0, column.counts.n - counts.sum())
    return counts


def dispersion_of_sketches(
    reference: NDArray[np.float64], current: NDArray[np.float64], error_of_reference: float, error_of_current: float
) -> float:
    """Return how many times more counts from sketches differ by chance than exact counts.

    A share that is wrong by a variance v beside its own q(1 - q)/N adds v / q to what chance makes of PSI in
    its bin. In the mean of the bins that is here set in proportion to (1/N + 1/M)(B - 1), as the dispersion of
    `windvane_processors.statistics.noise_floor` is.

    Args:
        reference: counts by bin, shape (B,), without missing and other values, which are exact.
        current: likewise.
        error_of_reference: `share_error` of the reference.
        error_of_current: likewise.
    """
    n, m = float(current.sum()), float(reference.sum())
    used = (reference + current) > 0
    if not n or not m or np.count_nonzero(used) < 2:  # noqa: PLR2004 - one bin holds everything, without error
        return 1.0
    variance = (error_of_reference**2 + error_of_current**2) / _DEVIATIONS**2
    shares = (reference[used] + current[used]) / (n + m)
    by_chance = (1 / n + 1 / m) * (shares.size - 1)
    return 1 + variance * float(np.sum((1 - shares) / shares)) / by_chance


@dataclass(frozen=True, slots=True)
class Categories:
    """Counts of a column by category, as far as they are known.

    A sketch of frequent items knows each count within an interval once more than 768 categories have come.
    What came too rarely to leave the process (k-anonymity) is missing, and nothing is known of it.

    Attributes:
        n: values, missing ones included.
        null: missing values.
        counts: by category, how often it came at least and at most.
        absent: how often a category that is not listed may have come.
        left_out: values that may be of any category, since rare ones were left out.
    """

    n: int
    null: int
    counts: Mapping[str, tuple[int, int]]
    absent: int
    left_out: int

    @classmethod
    def of(cls, column: ColumnProfile) -> Categories:
        """Read the frequent items of a column; it must have such."""
        items = column.frequent_items.items if column.frequent_items is not None else []
        error = max((item.upper - item.lower for item in items), default=0)
        categorical = column.types.string + column.types.integral + column.types.boolean
        unlisted = max(0, categorical - sum(item.lower for item in items))
        return cls(
            n=column.counts.n,
            null=column.counts.null,
            counts={item.value: (item.lower, item.upper) for item in items},
            # A category that is not listed is one whose own counter is at most the error, or gone.
            absent=min(2 * error, unlisted) if error else unlisted,
            left_out=0 if error else unlisted,
        )

    def most_frequent(self) -> tuple[str, ...]:
        """Return the categories that get a bin of their own."""
        return tuple(list(self.counts)[:MAX_CATEGORIES])

    def bounds(self, category: str) -> tuple[int, int]:
        """Return how often a category came at least and at most, without what was left out."""
        return self.counts.get(category, (0, 0 if self.left_out else self.absent))


def category_counts(
    reference: Categories, current: Categories, names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count both sides by category: of all that their sketches allow, what is closest to each other.

    So no drift is found that the sketches' error, or what was left out, could explain. Where the counts are
    exact and complete there is nothing to choose.

    Args:
        reference: what is known of the reference.
        current: what is known of the current values.
        names: categories with a bin of their own, shape (c,).

    Returns:
        Counts of the reference and of the current values, each of shape (c + 2,): the categories, missing
        values, and all others.
    """
    p, q = np.zeros(len(names) + 2), np.zeros(len(names) + 2)
    for i, name in enumerate(names):
        low, high = (count / current.n for count in current.bounds(name))
        reference_low, reference_high = (count / reference.n for count in reference.bounds(name))
        if high < reference_low:
            p[i], q[i] = high, reference_low
        elif reference_high < low:
            p[i], q[i] = low, reference_high
        else:
            p[i] = q[i] = (max(low, reference_low) + min(high, reference_high)) / 2
    p[-2], q[-2] = current.null / current.n, reference.null / reference.n
    p[-1], q[-1] = max(0.0, 1 - p.sum()), max(0.0, 1 - q.sum())
    if current.left_out:
        _share_out(p, q, current.left_out / current.n)
    if reference.left_out:
        _share_out(q, p, reference.left_out / reference.n)
    return q * reference.n, p * current.n


def _share_out(shares: NDArray[np.float64], others: NDArray[np.float64], left_out: float) -> None:
    """Share what was left out among the rest and the categories that lack most, in proportion to the other side.

    So both sides have the same ratio in all of these, the one that is closest to 1 everywhere.

    Args:
        shares: of the side, with the rest last, shape (c + 2,); changed in place.
        others: of the other side, likewise.
        left_out: share of the values that may be of any category; it stands in the rest.
    """
    ratios = np.divide(shares[:-2], others[:-2], out=np.full(shares.size - 2, np.inf), where=others[:-2] > 0)
    own, other = shares[-1], others[-1]
    lacking: list[int] = []
    for i in np.argsort(ratios, kind="stable").tolist():
        if not others[i] or own <= ratios[i] * other:
            break
        own, other = own + shares[i], other + others[i]
        lacking.append(i)
    if not lacking:
        return
    added = others[lacking] * (own / other) - shares[lacking]
    total = float(added.sum())
    if total > 0:
        added *= min(1.0, left_out / total)
        shares[lacking] += added
        shares[-1] = max(0.0, shares[-1] - float(added.sum()))
