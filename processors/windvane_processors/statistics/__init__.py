"""Drift statistics as pure functions of counts and samples, on numpy alone.

Two histograms over the same bins, which the serving process compares by the same functions; two samples or
quantile functions (`samples`); and the search for a change of unit (`units`). docs/statistics.md says which to
choose when.
"""

from __future__ import annotations

from windvane._statistics import (
    ChiSquared,
    chi_squared,
    hellinger,
    js_divergence,
    ks,
    noise_floor,
    psi,
    standard_deviation,
    total_variation,
    wasserstein,
)
from windvane_processors.statistics.samples import ks_of_samples, wasserstein_of_samples
from windvane_processors.statistics.units import CONVERSIONS, Conversion, unit_change, unit_change_of_samples

__all__ = [
    "CONVERSIONS",
    "ChiSquared",
    "Conversion",
    "chi_squared",
    "hellinger",
    "js_divergence",
    "ks",
    "ks_of_samples",
    "noise_floor",
    "psi",
    "standard_deviation",
    "total_variation",
    "unit_change",
    "unit_change_of_samples",
    "wasserstein",
    "wasserstein_of_samples",
]
