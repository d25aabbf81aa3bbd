"""Statistics of two samples of numbers.

The values of a quantile function at equally spaced ranks, such as a sketch gives, stand for a sample; the
result is then exact to the spacing of the ranks.

Every function raises ValueError where a sample is empty, not one-dimensional or not finite.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["ks_of_samples", "wasserstein_of_samples"]


def ks_of_samples(live: ArrayLike, reference: ArrayLike) -> float:
    """Return the two-sample Kolmogorov-Smirnov statistic, exactly: the largest |F - G| anywhere.

    See `windvane_processors.statistics.ks` for its meaning and source.

    Args:
        live: shape (N,), finite, in any order.
        reference: shape (M,), likewise.

    Example:
        >>> ks_of_samples([1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0])
        0.5
    """
    _, gaps = _gaps(live, reference)
    return float(np.abs(gaps).max())


def wasserstein_of_samples(live: ArrayLike, reference: ArrayLike, *, scale: float = 1.0) -> float:
    """Return the Wasserstein-1 (earth mover's) distance, exactly.

    See `windvane_processors.statistics.wasserstein` for its meaning and source. Here outliers count as far as
    they lie.

    Args:
        live: shape (N,), finite, in any order.
        reference: shape (M,), likewise.
        scale: the distance that counts as 1, above 0.

    Raises:
        ValueError: the scale does not fit.

    Example:
        >>> wasserstein_of_samples([1.0, 2.0], [4.0, 5.0])
        3.0
    """
    if not (math.isfinite(scale) and scale > 0):
        msg = f"scale: {scale!r} must be a finite number above 0"
        raise ValueError(msg)
    points, gaps = _gaps(live, reference)
    return float(np.sum(np.abs(gaps[:-1]) * np.diff(points))) / scale


def _gaps(live: ArrayLike, reference: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return every value of either side, in order, and the difference of the distribution functions at it."""
    sides = []
    for name, values in (("live", live), ("reference", reference)):
        side = np.sort(np.asarray(values, dtype=np.float64))
        if side.ndim != 1 or not side.size or not np.isfinite(side).all():
            msg = f"{name}: must be finite numbers, one-dimensional and at least one"
            raise ValueError(msg)
        sides.append(side)
    points = np.unique(np.concatenate(sides))
    n, m = (np.searchsorted(side, points, side="right") / side.size for side in sides)
    return points, n - m
