"""Universal bins: for features without a baseline, the same in every process, model and version.

Numbers are told apart by sign and by the 1-2-5 steps of each decade from 0.001 to 1,000,000, so what was counted
yesterday, elsewhere or under another version compares with today's.

| value                                                        | bin                                  |
|--------------------------------------------------------------|--------------------------------------|
| absent, None, NaN, pandas' NA and NaT                        | `null`                               |
| no number (text, dates, objects), infinite, beyond a double  | `other`                              |
| 0, False, and numbers nearer to 0 than 2.2e-308 (subnormal)  | the bin of 0                         |
| any other number; True is 1                                  | its step; the outermost two are open |

Nothing is a violation: there is no reference that would say what is allowed.
"""

from __future__ import annotations

import sys
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from windvane import semconv
from windvane.bins import no_violations, numbers_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from windvane.bins import Counts

__all__ = ["EDGES", "UniversalBins"]

_STEPS: Final = (*(float(f"{step}e{decade}") for decade in range(-3, 6) for step in (1, 2, 5)), 1e6)
_NEXT_TO_ZERO: Final = sys.float_info.min
_BELOW_NORMAL: Final = float(np.nextafter(_NEXT_TO_ZERO, 0))


def _outward(edge: float) -> float:
    """Return the larger of an edge in double and in single precision.

    Bins are closed on the right, so 0.1 is in the same bin whether a service keeps it in single or double
    precision. Every other number in double precision is 6e-8 of an edge away from it.
    """
    return max(edge, float(np.float32(edge)))


EDGES: Final = (
    *(_outward(-step) for step in reversed(_STEPS)),
    -_NEXT_TO_ZERO,
    _BELOW_NORMAL,
    *map(_outward, _STEPS),
)
"""Inner edges in order; bin i holds `EDGES[i-1] < x <= EDGES[i]`, as a baseline's bins and Prometheus' buckets do."""


def _ranges() -> tuple[str, ...]:
    steps = [f"{step:.7g}" for step in _STEPS]
    positive = [f"{a} to {b}" for a, b in pairwise(["0", *steps])]
    negative = [f"-{b} to {'' if a == '0' else '-'}{a}" for a, b in pairwise(["0", *steps])]
    return (f"up to -{steps[-1]}", *reversed(negative), "0", *positive, f"above {steps[-1]}")


# The first 12 bits of a double are its sign and exponent: 4096 intervals, in each of which at most one edge lies,
# since no two edges are nearer to each other than by the factor 2. So a table tells a number's bin but for one
# comparison, exactly, in a third of the time of a binary search.
_CELL_BITS: Final = 12
_CELLS: Final = 1 << _CELL_BITS
_EXPONENTS: Final = _CELLS // 2
_MANTISSA_BITS: Final = 64 - _CELL_BITS


@cache
def _tables() -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Make, for each sign and exponent, the bin of its smallest number and the edge above that."""
    first_bits = np.arange(_CELLS, dtype=np.uint64) << np.uint64(_MANTISSA_BITS)
    last_bits = first_bits | np.uint64((1 << _MANTISSA_BITS) - 1)
    smallest = np.where(np.arange(_CELLS) < _EXPONENTS, first_bits.view(np.float64), last_bits.view(np.float64))
    edges = np.array([*EDGES, np.inf])
    bins = np.searchsorted(edges[:-1], smallest, side="left")
    above = edges[bins]
    for sign in (0, _EXPONENTS):
        # Exponent 0 is that of zero and the subnormal numbers, the largest that of infinity and NaN.
        bins[sign], above[sign] = EDGES.index(_BELOW_NORMAL), np.inf
        bins[sign + _EXPONENTS - 1], above[sign + _EXPONENTS - 1] = len(EDGES) + 2, np.inf
    return bins, above


class UniversalBins:
    """Bins by sign and 1-2-5 decade, the same everywhere; see the module.

    Example:
        >>> bins = UniversalBins()
        >>> counts, _ = bins.count([0, 0.1, 0.15, -3, None, "text"])
        >>> {label: int(count) for label, count in zip(bins.labels, counts) if count}
        {'17 -5 to -2': 1, '29 0': 1, '36 0.05 to 0.1': 1, '37 0.1 to 0.2': 1, 'null': 1, 'other': 1}
    """

    __slots__ = ()

    labels: Final = (
        *(f"{i:02d} {text}" for i, text in enumerate(_ranges())),
        semconv.BIN_NULL,
        semconv.BIN_OTHER,
    )
    """The label of each bin, in the order of the counts: its number, and for display what it holds."""

    def count(self, values: NDArray[Any] | Sequence[object]) -> tuple[Counts, Counts]:
        """Count a column of values.

        Args:
            values: shape (n,), of any type.

        Returns:
            Counts by bin, in the order of `labels`, and violations, of which there are none.
        """
        numbers, wrong_type = numbers_of(values)
        bins, above = _tables()
        cells = np.ascontiguousarray(numbers).view(np.int64) >> _MANTISSA_BITS & (_CELLS - 1)
        with np.errstate(invalid="ignore"):  # a signalling NaN
            found = bins[cells] + (numbers > above[cells])
        counts = np.bincount(found, minlength=len(self.labels)).astype(np.int64, copy=False)
        if counts[-1]:
            missing = int(np.count_nonzero(np.isnan(numbers))) - wrong_type
            counts[-2] += missing
            counts[-1] -= missing
        return counts, no_violations()
