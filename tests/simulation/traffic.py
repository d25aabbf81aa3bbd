"""Traffic of models whose features do not drift, and of some that do, as counts by minute and bin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from windvane._baseline_builder import dispersion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["DAY", "Counts", "Feature", "Shift", "features", "live", "reference"]

DAY: Final = 1440
"""Minutes."""

Counts: TypeAlias = "NDArray[np.int64]"
"""Rows, shape (minutes, bins)."""

Shift: TypeAlias = Literal["sudden", "gradual", "category", "unit", "nulls"]

_BLOCKS: Final = 50
_BLOCK_ROWS: Final = 200


@dataclass(frozen=True, slots=True)
class Feature:
    """What a feature's values are without drift.

    Attributes:
        shares: of its bins, at the mean of all seasons; the last bin is for missing values.
        season: how far its bins tilt through the day, and half as far at the weekend; 0 for not at all.
        cluster: largest size of the clusters that its rows come in; sizes are even from 1 on.
    """

    shares: NDArray[np.float64]
    season: float
    cluster: int


def features(number: int, *, seasonal: float, cluster: int, rng: np.random.Generator) -> Iterator[Feature]:
    """Make features: even deciles, categories by Zipf's law, or any shares; some with seasons.

    Args:
        number: how many.
        seasonal: share of the features that have seasons.
        cluster: as in `Feature`.
        rng: what decides.
    """
    for _ in range(number):
        bins = int(rng.integers(4, 12))
        kind = rng.integers(3)
        if kind == 0:
            shares = np.full(bins, 1 / bins)
        elif kind == 1:
            shares = 1 / np.arange(1, bins + 1) ** 1.2
        else:
            shares = rng.dirichlet(np.full(bins, 2.0))
        nulls = rng.choice([0.0, 0.002, 0.05])
        shares = np.append(shares / shares.sum() * (1 - nulls), nulls)
        season = rng.uniform(0.2, 1.5) if rng.random() < seasonal else 0.0
        yield Feature(shares, season, cluster)


def _rates(rows_per_day: float, minutes: int) -> NDArray[np.float64]:
    """Rows a minute: a tenth at night of what comes by day, half at the weekend."""
    minute = np.arange(minutes)
    rate = (1 + 0.8 * np.sin(2 * np.pi * (minute / DAY - 0.3))) * np.where(minute // DAY % 7 >= 5, 0.5, 1.0)
    return rate / rate.mean() * rows_per_day


def _shares(feature: Feature, minutes: int) -> NDArray[np.float64]:
    minute = np.arange(minutes)
    wave = np.sin(2 * np.pi * minute / DAY) + 0.5 * (minute // DAY % 7 >= 5)
    slope = np.append(np.arange(len(feature.shares) - 1) / (len(feature.shares) - 2) - 0.5, 0.0)
    shares: NDArray[np.float64] = feature.shares * np.exp(feature.season * wave[:, None] * slope)
    return shares / shares.sum(axis=1, keepdims=True)


def live(
    feature: Feature,
    rows_per_day: float,
    days: int,
    rng: np.random.Generator,
    *,
    shift: tuple[Shift, float, int] | None = None,
) -> Counts:
    """Count the rows of some days, by minute.

    Args:
        feature: what its values are.
        rows_per_day: mean over the week.
        days: how many.
        rng: what decides.
        shift: kind, size and first minute of a drift. The size is the share of rows that change their bin; a gradual
            one takes a day to get there.
    """
    shares = _shares(feature, days * DAY)
    if shift:
        kind, size, begin = shift
        shares[begin:] = _shifted(shares[begin:], kind, size)
    rates = _rates(rows_per_day / DAY, days * DAY)
    if feature.cluster == 1:
        return rng.poisson(rates[:, None] * shares)
    clusters = rng.poisson(rates[:, None] * shares / ((1 + feature.cluster) / 2))
    where = np.nonzero(clusters)
    number = clusters[where]
    sizes = rng.integers(1, feature.cluster + 1, number.sum())
    counts = np.zeros_like(clusters)
    counts[where] = np.bincount(np.repeat(np.arange(len(number)), number), sizes, len(number)).astype(np.int64)
    return counts


def _shifted(shares: NDArray[np.float64], kind: Shift, size: float) -> NDArray[np.float64]:
    minutes, bins = shares.shape
    to = np.zeros(bins)
    amount = np.full(minutes, size)
    if kind == "nulls":
        to[-1] = 1.0
    elif kind == "unit":  # every value is larger by a factor: the upper tenths take all
        to[bins - 2] = 1.0
    elif kind == "category":  # the largest one is lost to the others
        lost = shares.copy()
        lost[:, 0] = 0
        return lost / lost.sum(axis=1, keepdims=True)
    else:
        to[: (bins - 1) // 2] = 2 / (bins - 1)
        to /= to.sum()
        if kind == "gradual":
            amount = size * np.minimum(np.arange(minutes) / DAY, 1.0)
    return shares * (1 - amount[:, None]) + amount[:, None] * to


def reference(feature: Feature, rows_per_day: float, days: int, rng: np.random.Generator) -> tuple[Counts, float]:
    """Count a reference of some days in the feature's bins, and measure its dispersion as the baseline does.

    Returns:
        Rows of each bin, and the dispersion.
    """
    counts = live(feature, rows_per_day, days, rng)
    rows = np.cumsum(counts.sum(axis=1))
    number = max(1, min(_BLOCKS, int(rows[-1]) // _BLOCK_ROWS))
    cuts = np.searchsorted(rows, rows[-1] * np.arange(1, number) / number)
    blocks = np.array([block.sum(axis=0) for block in np.split(counts, cuts)])
    return counts.sum(axis=0), dispersion(blocks[blocks.sum(axis=1) > 0])
