"""The search for a change of unit: does a well-known conversion map one distribution onto the other?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from windvane.snapshot import MIN_OBSERVATIONS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["CONVERSIONS", "Conversion", "unit_change", "unit_change_of_samples"]

# (from, to, factor, offset): a value in `from` times the factor plus the offset is the value in `to`.
# Factors: Thompson and Taylor, "Guide for the Use of the International System of Units", NIST Special
# Publication 811 (2008), appendix B. Those nearer to 1 than 1.25 are left out (yards and metres, for instance):
# real data changes its scale as much every season.
_PAIRS: Final = (
    ("inches", "centimetres", 2.54, 0.0),
    ("inches", "millimetres", 25.4, 0.0),
    ("metres", "feet", 1 / 0.3048, 0.0),
    ("miles", "kilometres", 1.609344, 0.0),
    ("nautical miles", "kilometres", 1.852, 0.0),
    ("metres", "centimetres", 100.0, 0.0),
    ("kilometres", "metres", 1000.0, 0.0),
    ("mph", "km/h", 1.609344, 0.0),
    ("knots", "km/h", 1.852, 0.0),
    ("m/s", "km/h", 3.6, 0.0),
    ("m/s", "mph", 3600 / 1609.344, 0.0),
    ("square metres", "square feet", 1 / 0.3048**2, 0.0),
    ("hectares", "acres", 1 / 0.40468564224, 0.0),
    ("US gallons", "litres", 3.785411784, 0.0),
    ("litres", "millilitres", 1000.0, 0.0),
    ("kilograms", "pounds", 1 / 0.45359237, 0.0),
    ("ounces", "grams", 28.349523125, 0.0),
    ("kilograms", "grams", 1000.0, 0.0),
    ("kilocalories", "kilojoules", 4.184, 0.0),
    ("psi", "kilopascals", 6.894757293168, 0.0),
    ("inches of mercury", "hectopascals", 33.86389, 0.0),
    ("days", "hours", 24.0, 0.0),
    ("days", "seconds", 86_400.0, 0.0),
    ("hours", "minutes", 60.0, 0.0),
    ("minutes", "seconds", 60.0, 0.0),
    ("hours", "seconds", 3600.0, 0.0),
    ("seconds", "milliseconds", 1e3, 0.0),
    ("seconds", "microseconds", 1e6, 0.0),
    ("seconds", "nanoseconds", 1e9, 0.0),
    ("shares", "percent", 100.0, 0.0),
    ("shares", "basis points", 10_000.0, 0.0),
    ("units of a currency", "cents", 100.0, 0.0),
    ("radians", "degrees", 180 / math.pi, 0.0),
    ("degrees Celsius", "degrees Fahrenheit", 1.8, 32.0),
    ("degrees Celsius", "kelvin", 1.0, 273.15),
    ("degrees Fahrenheit", "kelvin", 5 / 9, 273.15 - 32 * 5 / 9),
)

# What follows was chosen by simulation; docs/statistics.md has the rates.
_ROUNDED: Final = 0.005
"""Relative error of a factor that people may have rounded, such as 1.6 for 1.609."""

_FACTOR_WITHIN: Final = 0.06
"""How far the best factor may be from the known one, as a share of the latter's own logarithm."""

_FACTOR_WITHIN_AT_MOST: Final = 0.05
_SEARCHED: Final = 0.1
"""How far around the known factor the best is looked for, as a logarithm, in so many steps."""

_STEPS: Final = 81
_MISFIT: Final = 0.05
"""Kolmogorov-Smirnov distance that real drift may leave beside the change of unit."""

_BETTER_THAN_NOTHING: Final = 4.0
_BETTER_THAN_A_SHIFT: Final = 2.0
_MIN_EDGES: Final = 4
_MAX_NAMED: Final = 3
"""Where more conversions fit than this, the distribution tells nothing about its scale."""

_CHANCE: Final = 1.63
"""Over the root of the number of values: the Kolmogorov-Smirnov distance that chance passes once in a hundred times."""


class Conversion(NamedTuple):
    """A conversion between units.

    Attributes:
        factor: what a value in the old unit is multiplied by.
        offset: what is then added.
        units: the pairs of units that it converts between, old and new; never empty.
    """

    factor: float
    offset: float
    units: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """Write it as a question for people, such as `x 1.609: miles to kilometres or mph to km/h?`."""
        change = [f"x {self.factor:.4g}"] if self.factor != 1 else []
        if self.offset:
            change.append(f"{'+' if self.offset > 0 else '-'} {abs(self.offset):.5g}")
        return f"{' '.join(change)}: {' or '.join(f'{old} to {new}' for old, new in self.units)}?"


def _conversions() -> tuple[Conversion, ...]:
    """List each pair in both directions; pairs with the same factor are one conversion."""
    units: dict[tuple[float, float], list[tuple[str, str]]] = {}
    for old, new, factor, offset in _PAIRS:
        units.setdefault((factor, offset), []).append((old, new))
        units.setdefault((1 / factor, -offset / factor + 0.0), []).append((new, old))
    return tuple(Conversion(factor, offset, tuple(names)) for (factor, offset), names in units.items())


CONVERSIONS: Final = _conversions()
"""The conversions that are looked for, each in both directions."""


def unit_change(live: ArrayLike, reference: ArrayLike, edges: ArrayLike) -> tuple[Conversion, ...]:
    """Find the well-known conversions of units that map the reference onto the live values.

    A conversion is named where all of this holds:

    - Applied to the reference, it leaves little between the distribution functions at the bins' edges
      (Kolmogorov-Smirnov distance): at most 0.05 and what chance makes of so few values, and at most a quarter
      of what stands between them without it.
    - It leaves at most half of what the best plain shift by a constant leaves, unless it is itself one.
    - The factor that fits best nearby is that of the conversion, to 6 % of its logarithm (1.609: within 2.9 %)
      and 5 % at most. Changes of scale by a half are common, and by a thousand not.

    A change of scale that is real may be met by chance: docs/statistics.md gives the rates. Nothing is named
    below 100 values on either side, and where the reference has less than four edges between its values, as
    for flags and constants.

    Args:
        live: shape (N,), values in any order, those that are not finite left out; or a quantile function's
            values at equally spaced ranks.
        reference: shape (B,), counts of the reference in ordered bins.
        edges: shape (B - 1,), the bins' inner edges, strictly increasing; a bin holds the values above its
            lower and up to its upper edge.

    Returns:
        The conversions that fit equally well, best first; at most three, and none where there is no such or
        where more of them fit.

    Raises:
        ValueError: the shapes do not fit or a number is not finite.

    Example:
        >>> miles = np.random.default_rng(0).gamma(3, 300, 5000)
        >>> edges = np.quantile(miles, np.arange(1, 10) / 10)
        >>> print(*unit_change(miles * 1.609, [500] * 10, edges))
        x 1.609: miles to kilometres or mph to km/h?
    """
    values = np.sort(np.asarray(live, dtype=np.float64))
    counts, places = np.asarray(reference, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    if values.ndim != 1 or counts.ndim != 1 or places.shape != (counts.size - 1,):
        msg = f"live must have the shape (N,), and {counts.size} bins need {counts.size - 1} inner edges"
        raise ValueError(msg)
    if not (np.isfinite(values).all() and np.isfinite(counts).all() and np.isfinite(places).all()):
        msg = "live, reference and edges: must be finite"
        raise ValueError(msg)
    total = float(counts.sum())
    if values.size < MIN_OBSERVATIONS or total < MIN_OBSERVATIONS:
        return ()
    shares = np.cumsum(counts)[:-1] / total
    inner = (shares > 0) & (shares < 1)
    places, shares = places[inner], shares[inner]
    if np.unique(shares).size < _MIN_EDGES:
        return ()
    unchanged = _gap(values, places, shares, 1.0, 0.0)
    chance = _CHANCE * math.sqrt(1 / values.size + 1 / total)
    tolerated = min(_MISFIT + chance, unchanged / _BETTER_THAN_NOTHING)
    # The live value that stands where each edge stood.
    moved = values[np.minimum(np.ceil(shares * values.size).astype(np.intp), values.size) - 1]
    shifted = min(_gap(values, places, shares, 1.0, shift) for shift in (moved - places).tolist())
    fitting = []
    for conversion in CONVERSIONS:
        factor, offset, _ = conversion
        gap = _gap(values, places, shares, factor, offset)
        if gap > tolerated or (factor != 1 and gap > shifted / _BETTER_THAN_A_SHIFT):
            continue
        within = max(_ROUNDED, min(_FACTOR_WITHIN * abs(math.log(factor)), _FACTOR_WITHIN_AT_MOST))
        if offset or abs(_fitted(values, places, shares, factor, offset)) <= within:
            fitting.append((gap, conversion))
    fitting.sort(key=lambda fit: fit[0])
    named = tuple(conversion for gap, conversion in fitting if gap <= fitting[0][0] + chance)
    return named if len(named) <= _MAX_NAMED else ()


def unit_change_of_samples(live: ArrayLike, reference: ArrayLike) -> tuple[Conversion, ...]:
    """Find the well-known conversions of units that map one sample, or quantile function, onto the other.

    See `unit_change`, which is asked with the percentiles of the reference as edges.

    Args:
        live: shape (N,), finite values in any order, or a quantile function's values at equally spaced ranks.
        reference: shape (M,), likewise.

    Raises:
        ValueError: a shape does not fit or a number is not finite.
    """
    values = np.sort(np.asarray(reference, dtype=np.float64))
    if values.ndim != 1 or not np.isfinite(values).all():
        msg = "reference: must be finite numbers, one-dimensional"
        raise ValueError(msg)
    if not values.size:
        return ()
    edges = np.unique(np.quantile(values, np.arange(1, 100) / 100, method="inverted_cdf"))
    counts = np.diff(np.searchsorted(values, edges, side="right"), prepend=0, append=values.size)
    return unit_change(live, counts, edges)


def _gap(
    values: NDArray[np.float64], edges: NDArray[np.float64], shares: NDArray[np.float64], factor: float, offset: float
) -> float:
    """Return the largest difference of the distribution functions at the converted edges.

    Args:
        values: live values in order.
        edges: places in the reference's unit.
        shares: share of the reference up to each.
        factor: the conversion's factor.
        offset: its offset.
    """
    converted = factor * edges
    slack = _ROUNDED * np.abs(converted)
    low = np.searchsorted(values, converted + offset - slack, side="right") / values.size
    high = np.searchsorted(values, converted + offset + slack, side="right") / values.size
    return float(np.maximum(np.maximum(low - shares, shares - high), 0.0).max())


def _fitted(
    values: NDArray[np.float64], edges: NDArray[np.float64], shares: NDArray[np.float64], factor: float, offset: float
) -> float:
    """Return by how much, as a logarithm, the factor is from the one near it that leaves the smallest gap."""
    steps = np.linspace(-_SEARCHED, _SEARCHED, _STEPS)
    gaps = np.array([_gap(values, edges, shares, factor * math.exp(step), offset) for step in steps.tolist()])
    return float(np.median(steps[gaps <= gaps.min()]))
