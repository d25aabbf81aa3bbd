"""Statistics of two histograms over the same bins.

Throughout, n are the counts of live values and m those of the reference in each of B bins, N and M their
sums. Bins that are empty on both sides are never used: they would only add noise. PSI, the Jensen-Shannon
divergence and the Hellinger distance are computed from smoothed shares, p = (n + 0.5) / (N + B / 2) and q
likewise (Krichevsky and Trofimov, "The performance of universal encoding", IEEE Transactions on Information
Theory 27, 1981), so that a bin that only one side uses gives a large and not an infinite value; these are
the numbers that windvane's Prometheus rules record. The others need no smoothing and get none.

Every function raises ValueError where the counts do not fit: shapes differ, a count is negative or not
finite, or one side holds no observations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ChiSquared",
    "chi_squared",
    "hellinger",
    "js_divergence",
    "ks",
    "noise_floor",
    "psi",
    "standard_deviation",
    "total_variation",
    "wasserstein",
]

_SMOOTHING: Final = 0.5
_NOISE_QUANTILE: Final = 3.09
"""Standard normal quantile of 0.999: chance passes the noise floor once in a thousand windows."""


class ChiSquared(NamedTuple):
    """Result of Pearson's chi-squared test.

    Attributes:
        statistic: the test's statistic, 0 or more.
        degrees_of_freedom: used bins less one.
        p_value: probability of at least such a statistic without drift.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float


def psi(live: ArrayLike, reference: ArrayLike) -> float:
    """Return the population stability index: the sum of (p - q) ln(p / q).

    It is the symmetric Kullback-Leibler divergence of Jeffreys ("An invariant form for the prior probability
    in estimation problems", Proceedings of the Royal Society A 186, 1946), 0 for equal shares and without
    upper limit. Small bins that change by a large ratio weigh much. By custom of credit scoring 0.1 is a
    moderate and 0.25 a large shift (Siddiqi, "Credit Risk Scorecards", Wiley 2006), whatever the sample's
    size; but without any drift its mean is about (1/N + 1/M)(B - 1), which is 0.09 for 100 rows in ten bins.
    So compare it with `noise_floor`.

    Args:
        live: shape (B,), counts.
        reference: shape (B,), counts.

    Example:
        >>> round(psi([50, 50], [70, 30]), 3)
        0.166
    """
    p, q = _smoothed(live, reference)
    return float(np.sum((p - q) * np.log(p / q)))


def js_divergence(live: ArrayLike, reference: ArrayLike) -> float:
    """Return the Jensen-Shannon divergence in bits: how much one value tells of the side that it came from.

    It is the sum of p/2 log2(p / r) + q/2 log2(q / r) for r = (p + q) / 2 (Lin, "Divergence measures based on
    the Shannon entropy", IEEE Transactions on Information Theory 37, 1991), 0 for equal shares and 1 for
    sides that have no bin in common. Its root is a metric. Small bins hardly weigh. Without drift its mean
    is about (1/N + 1/M)(B - 1) / (8 ln 2); small divergences are PSI / (8 ln 2). Smoothing keeps it below 1
    for small samples.

    Args:
        live: shape (B,), counts.
        reference: shape (B,), counts.

    Example:
        >>> round(js_divergence([50, 50], [70, 30]), 3)
        0.03
    """
    p, q = _smoothed(live, reference)
    r = (p + q) / 2
    # Rounding may leave a hair below zero.
    return max(0.0, float(np.sum(p * np.log2(p / r) + q * np.log2(q / r))) / 2)


def hellinger(live: ArrayLike, reference: ArrayLike) -> float:
    """Return the Hellinger distance: the root of 1 - sum of sqrt(p q).

    Hellinger, "Neue Begruendung der Theorie quadratischer Formen von unendlichvielen Veraenderlichen",
    Journal fuer die reine und angewandte Mathematik 136, 1909. It is a metric, 0 for equal shares and 1 for
    sides that have no bin in common, and treats both sides alike. Without drift its square is about
    (1/N + 1/M)(B - 1) / 8 in the mean, so it is not small for small samples: 0.11 for 100 rows in ten bins.

    Args:
        live: shape (B,), counts.
        reference: shape (B,), counts.

    Example:
        >>> round(hellinger([50, 50], [70, 30]), 3)
        0.144
    """
    p, q = _smoothed(live, reference)
    return math.sqrt(max(0.0, 1 - float(np.sum(np.sqrt(p * q)))))  # rounding may leave a hair below zero


def noise_floor(live: ArrayLike, reference: ArrayLike, *, dispersion: float = 1.0) -> float:
    """Return the PSI that chance alone passes once in a thousand times.

    Without drift PSI is about (1/N + 1/M) times chi-squared with B - 1 degrees of freedom (Yurdakul,
    "Statistical properties of population stability index", Western Michigan University, 2018). The floor is
    its 0.999 quantile, by the approximation of Wilson and Hilferty ("The distribution of chi-square", PNAS
    17, 1931), which is within 4 %. Rows that come in clusters differ more than independent rows: their floor
    is higher by the dispersion, which `windvane baseline build` measures. Bins in which a handful of values
    are expected make PSI a little smaller than said, so the floor errs on the quiet side; below 100 live
    values it says nothing.

    Args:
        live: shape (B,), counts.
        reference: shape (B,), counts.
        dispersion: how many times more blocks of the reference's rows differ than independent rows would.

    Raises:
        ValueError: the dispersion is below 1 or not finite.

    Example:
        >>> round(noise_floor([50, 50], [700, 300]), 3)
        0.123
    """
    if not (math.isfinite(dispersion) and dispersion >= 1):
        msg = f"dispersion: {dispersion!r} must be a finite number, at least 1"
        raise ValueError(msg)
    n, m = _used(live, reference)
    freedom = max(n.size - 1, 1)
    spread = 2 / (9 * freedom)
    quantile = freedom * (1 - spread + _NOISE_QUANTILE * math.sqrt(spread)) ** 3
    return float((1 / n.sum() + 1 / m.sum()) * quantile * dispersion)


def total_variation(live: ArrayLike, reference: ArrayLike) -> float:
    """Return the total variation distance: half the sum of |n/N - m/M|.

    Levin and Peres, "Markov Chains and Mixing Times", AMS 2017, section 4.1. It is a metric from 0 to 1 and
    the plainest of all to read: the share of the values that would have to move to another bin. Without
    drift its mean is about sqrt((1/N + 1/M) / (2 pi)) times the sum of sqrt(q (1 - q)).

    Args:
        live: shape (B,), counts.
        reference: shape (B,), counts.

    Example:
        >>> round(total_variation([50, 50], [70, 30]), 3)
        0.2
    """
    n, m = _used(live, reference)
    return float(np.abs(n / n.sum() - m / m.sum()).sum()) / 2


def chi_squared(live: ArrayLike, reference: ArrayLike, *, dispersion: float = 1.0) -> ChiSquared:
    """Test with Pearson's chi-squared whether both sides can have come from one distribution.

    The statistic is the sum over the used bins of (n sqrt(M/N) - m sqrt(N/M))^2 / (n + m), which is the one
    of the 2 x B contingency table (Pearson, Philosophical Magazine 50, 1900; Press and others, "Numerical
    Recipes", Cambridge 2007, equation 14.3.3). The p value is exact for the chi-squared distribution
    (Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.4.4 and 26.4.5), which describes the
    statistic well where about five values are expected in each bin (Cochran, "Some methods for strengthening
    the common chi-squared tests", Biometrics 10, 1954). For rows in clusters the statistic is divided by
    their dispersion before the p value is taken, the first-order correction of Rao and Scott ("The analysis of
    categorical data from complex sample surveys", Journal of the American Statistical Association 76, 1981).

    The p value says whether there is any difference, not how large it is: with enough rows every difference
    is significant. One used bin gives a statistic of 0 and a p value of 1.

    Args:
        live: shape (B,), counts.
        reference: shape (B,), counts.
        dispersion: how many times more blocks of the reference's rows differ than independent rows would.

    Raises:
        ValueError: the dispersion is below 1 or not finite.

    Example:
        >>> result = chi_squared([50, 50], [70, 30])
        >>> round(result.statistic, 3), result.degrees_of_freedom, round(result.p_value, 4)
        (8.333, 1, 0.0039)
    """
    if not (math.isfinite(dispersion) and dispersion >= 1):
        msg = f"dispersion: {dispersion!r} must be a finite number, at least 1"
        raise ValueError(msg)
    n, m = _used(live, reference)
    ratio = math.sqrt(float(m.sum() / n.sum()))
    statistic = float(np.sum((n * ratio - m / ratio) ** 2 / (n + m)))
    freedom = n.size - 1
    return ChiSquared(statistic, freedom, _chi_squared_tail(statistic / dispersion, freedom))


def ks(live: ArrayLike, reference: ArrayLike) -> float:
    """Return the two-sample Kolmogorov-Smirnov statistic over ordered bins.

    It is the largest |F - G| at the bins' edges, F and G being the cumulative shares (Smirnov, "Table for
    estimating the goodness of fit of empirical distributions", Annals of Mathematical Statistics 19, 1948),
    from 0 to 1. It is at most what the samples themselves give (`ks_of_samples`), since the largest difference
    may lie within a bin; so a test with it is conservative (Conover, "A Kolmogorov goodness-of-fit test for
    discontinuous distributions", Journal of the American Statistical Association 67, 1972). It sees shifts of
    the middle best and of the tails hardly. Without drift it exceeds 1.95 sqrt(1/N + 1/M) once in a thousand
    times at most.

    Args:
        live: shape (B,), counts in the order of the bins, without those of values that have no place in it
            (missing ones, for instance).
        reference: shape (B,), counts, likewise.

    Example:
        >>> round(ks([10, 20, 70], [30, 40, 30]), 3)
        0.4
    """
    n, m = _used(live, reference)
    return float(np.abs(np.cumsum(n / n.sum() - m / m.sum())).max())


def wasserstein(live: ArrayLike, reference: ArrayLike, edges: ArrayLike, *, scale: float = 1.0) -> float:
    """Return the Wasserstein-1 (earth mover's) distance over ordered bins.

    It is the area between the two distribution functions, the integral of |F - G|: how far a value moves on
    the average (Vallender, "Calculation of the Wasserstein distance between probability distributions on the
    line", Theory of Probability and its Applications 18, 1974). The values of a bin count as spread evenly
    over it, those of a bin without width as lying on its edge. Bins that are open at an end are given no
    width: values beyond the outermost inner edges then count as lying on them (as in a winsorised sample), and
    no outlier decides the result.

    In the feature's own unit it cannot be compared between features. Over the reference's standard deviation
    it can (as Evidently does), and for a plain shift of the mean it is then Cohen's d, of which 0.2 is small,
    0.5 medium and 0.8 large ("Statistical Power Analysis for the Behavioral Sciences", 1988). Without drift it
    falls with the root of the number of values.

    Args:
        live: shape (B,), counts in the order of the bins.
        reference: shape (B,), counts, likewise.
        edges: shape (B + 1,), finite and not decreasing; bin i lies from edges[i] to edges[i + 1].
        scale: the distance that counts as 1, above 0; `standard_deviation` of the reference, for instance.

    Raises:
        ValueError: the edges or the scale do not fit.

    Example:
        >>> wasserstein([0, 10, 0], [10, 0, 0], [0.0, 5.0, 10.0, 20.0])
        5.0
    """
    n, m = _counts(live, reference)
    places = _edges(edges, n.size)
    if not (math.isfinite(scale) and scale > 0):
        msg = f"scale: {scale!r} must be a finite number above 0"
        raise ValueError(msg)
    gaps = np.concatenate([[0.0], np.cumsum(n / n.sum() - m / m.sum())])
    left, right = np.abs(gaps[:-1]), np.abs(gaps[1:])
    total = left + right
    # Where the difference changes its sign within the bin, it bounds two triangles, and otherwise a trapezium.
    crossing = gaps[:-1] * gaps[1:] < 0
    heights = np.where(crossing, (left**2 + right**2) / np.where(crossing, total, 1.0), total) / 2
    return float(np.sum(heights * np.diff(places))) / scale


def standard_deviation(counts: ArrayLike, edges: ArrayLike) -> float:
    """Return the standard deviation of a histogram's values, spread evenly over each bin.

    Args:
        counts: shape (B,).
        edges: shape (B + 1,), finite and not decreasing.

    Raises:
        ValueError: the edges do not fit.

    Example:
        >>> round(standard_deviation([5, 5], [0.0, 6.0, 12.0]) ** 2, 6)  # a width of 12: 12^2 / 12
        12.0
    """
    n, _ = _counts(counts, counts)
    places = _edges(edges, n.size)
    shares, widths = n / n.sum(), np.diff(places)
    middles = places[:-1] + widths / 2
    mean = float(np.sum(shares * middles))
    return math.sqrt(float(np.sum(shares * ((middles - mean) ** 2 + widths**2 / 12))))


def _counts(live: ArrayLike, reference: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sides = []
    for name, counts in (("live", live), ("reference", reference)):
        side = np.asarray(counts, dtype=np.float64)
        if side.ndim != 1 or not np.isfinite(side).all() or (side < 0).any():
            msg = f"{name}: counts must be one-dimensional, finite and not negative"
            raise ValueError(msg)
        if not side.any():
            msg = f"{name}: holds no observations"
            raise ValueError(msg)
        sides.append(side)
    if sides[0].shape != sides[1].shape:
        msg = f"live has {sides[0].size} bins, reference {sides[1].size}; count both with the same bins"
        raise ValueError(msg)
    return sides[0], sides[1]


def _used(live: ArrayLike, reference: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the counts of the bins that either side uses."""
    n, m = _counts(live, reference)
    used = n + m > 0
    return n[used], m[used]


def _smoothed(live: ArrayLike, reference: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n, m = _used(live, reference)
    p, q = n + _SMOOTHING, m + _SMOOTHING
    return p / p.sum(), q / q.sum()


def _edges(edges: ArrayLike, bins: int) -> NDArray[np.float64]:
    places = np.asarray(edges, dtype=np.float64)
    if places.shape != (bins + 1,) or not np.isfinite(places).all() or (np.diff(places) < 0).any():
        msg = f"edges: must be {bins + 1} finite numbers that do not decrease, for {bins} bins"
        raise ValueError(msg)
    return places


def _chi_squared_tail(statistic: float, freedom: int) -> float:
    """Return the probability that chi-squared exceeds a value: a finite sum for whole degrees of freedom."""
    if not freedom or not statistic:
        return 1.0
    half = statistic / 2
    odd = freedom % 2
    tail = math.erfc(math.sqrt(half)) if odd else 0.0
    powers = np.arange(freedom // 2) + odd / 2
    logarithms = powers * math.log(half) - half - np.array([math.lgamma(power + 1) for power in powers.tolist()])
    return min(1.0, tail + float(np.exp(logarithms).sum()))
