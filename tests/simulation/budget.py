"""What the drift budget's quantile costs: `python tests/simulation/budget.py`.

False tickets in a month without drift where rows come in clusters, and how long it takes until the budget burns when so
many of thirty features shift at once.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np
from emulation import BUDGET, SHIFTED, TICKET, budget_episodes, burning, shifted_anew
from through_prometheus import DRIFT_OBJECTIVE
from traffic import DAY, features, live, reference

if TYPE_CHECKING:
    from collections.abc import Iterable

_QUANTILES: Final = (SHIFTED, BUDGET, TICKET)
_FEATURES: Final = 30
_MODELS: Final = np.geomspace(50, 50_000, 20)
_CLUSTER: Final = 50
_BEFORE, _AFTER = 15 * DAY + 600, 5 * DAY


def _tickets(
    rows: float, cluster: int, days: int, *, key: Iterable[int], size: float = 0, number: int = 0
) -> list[list[int]]:
    """Return for each quantile the minutes of a model's tickets; so many features shift by a size, or none."""
    rng = np.random.default_rng([*key])
    anew: dict[float, list[object]] = {quantile: [] for quantile in _QUANTILES}
    for i, feature in enumerate(features(_FEATURES, seasonal=1 / 3, cluster=cluster, rng=rng)):
        base, dispersion = reference(feature, rows, 60, rng)
        counts = live(feature, rows, days, rng, shift=("sudden", size, _BEFORE) if i < number else None)
        for quantile in _QUANTILES:
            anew[quantile].append(shifted_anew(counts, base, dispersion, quantile=quantile))
    return [budget_episodes(burning(np.array(anew[quantile]), DRIFT_OBJECTIVE)) for quantile in _QUANTILES]


def _hours(tickets: list[int]) -> float:
    """Return the hours from the shift to the first ticket after it."""
    return min(((minute - _BEFORE) / 60 for minute in tickets if minute >= _BEFORE), default=np.inf)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="months of each of the 20 models")
    options = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        heads = "  ".join(f"{quantile:8g}" for quantile in _QUANTILES)
        sys.stdout.write(f"clusters of 1 to {_CLUSTER} rows: tickets in {options.seeds} months by quantile\n")
        sys.stdout.write(f"{'rows a day':>12}  {heads}\n")
        months = [
            [pool.submit(_tickets, rows, _CLUSTER, 30, key=(seed, i)) for seed in range(options.seeds)]
            for i, rows in enumerate(_MODELS)
        ]
        for rows, some in zip(_MODELS, months, strict=True):
            found = np.array([list(map(len, month.result())) for month in some])
            told = "  ".join(f"{total:5} ({most})" for total, most in zip(found.sum(0), found.max(0), strict=True))
            sys.stdout.write(f"{rows:12,.0f}  {told}\n")
        sys.stdout.write("\nindependent rows: hours until a ticket by quantile, median of three\n")
        sys.stdout.write(f"{'rows a day':>12}  {'size':>5}  {'features':>8}  {heads}\n")
        cases = [(rows, size, number) for rows in (5000, 50_000) for size in (0.05, 0.1, 0.2) for number in (3, 10, 30)]
        delays = [
            [
                pool.submit(_tickets, rows, 1, (_BEFORE + _AFTER) // DAY, key=(seed, rows), size=size, number=number)
                for seed in range(3)
            ]
            for rows, size, number in cases
        ]
        for (rows, size, number), some in zip(cases, delays, strict=True):
            hours = np.median([list(map(_hours, month.result())) for month in some], axis=0)
            told = "  ".join(f"{hour:8.1f}" if np.isfinite(hour) else f"{'never':>8}" for hour in hours)
            sys.stdout.write(f"{rows:12,}  {size:5}  {number:8}  {told}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
