"""How soon a shift is a ticket: `python tests/simulation/fast.py`.

Against one fixed threshold of PSI over an hour for the whole fleet, the lowest that raises no more false tickets than
ours do in a month without drift, and against the customary 0.2, whose false tickets `quiet.py` counts. Also told is
what the reference's dispersion costs where rows come in clusters, and what it costs where they do not.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

import numpy as np
from emulation import episodes, fixed, ticket
from traffic import DAY, Feature, Shift, features, live, reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_ROWS: Final = (500, 5000, 50_000)
_CASES: Final[tuple[tuple[Shift, float], ...]] = (
    ("sudden", 0.05),
    ("sudden", 0.1),
    ("sudden", 0.2),
    ("sudden", 0.4),
    ("gradual", 0.2),
    ("gradual", 0.4),
    ("nulls", 0.02),
    ("nulls", 0.1),
    ("category", 0.0),
    ("unit", 0.6),
)
_BEFORE: Final = 9
_AFTER: Final = 3


def equal_threshold(cluster: int, *, number: int, days: int) -> float:
    """Return the lowest fixed threshold with no more false tickets than ours, over models of all sizes."""
    ours, maxima = 0, []
    for rows in (*_ROWS, 1500, 15_000):
        rng = np.random.default_rng([3, cluster, rows])
        for feature in features(number, seasonal=1 / 3, cluster=cluster, rng=rng):
            base, dispersion = reference(feature, rows, 30, rng)
            counts = live(feature, rows, days, rng)
            ours += len(episodes(ticket(counts, base, dispersion)))
            maxima.append((counts, base))
    for threshold in np.geomspace(0.05, 10, 60):
        if sum(len(episodes(fixed(counts, base, threshold))) for counts, base in maxima) <= ours:
            return float(threshold)
    return np.inf


def _delay(
    feature: Feature, rows: int, shift: tuple[Shift, float], seeds: int, rules: list[Callable[..., NDArray[np.bool_]]]
) -> list[str]:
    begin = _BEFORE * DAY
    delays: list[list[float]] = [[] for _ in rules]
    for seed in range(seeds):
        rng = np.random.default_rng([seed, rows])
        base, dispersion = reference(feature, rows, 30, rng)
        start = begin + int(rng.integers(DAY))
        counts = live(feature, rows, _BEFORE + _AFTER, rng, shift=(*shift, start))
        for rule, found in zip(rules, delays, strict=True):
            fired = [minute for minute in episodes(rule(counts, base, dispersion)) if minute >= start]
            found.append(fired[0] - start if fired else np.inf)
    return [_told(float(np.median(found))) for found in delays]


def _told(minutes: float) -> str:
    if not np.isfinite(minutes):
        return "never"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=15, help="repetitions, of which the median delay is told")
    options = parser.parse_args()
    for label, cluster in (("independent rows", 1), ("clusters of 1 to 20 rows", 20)):
        threshold = equal_threshold(cluster, number=12, days=30)
        sys.stdout.write(f"\n{label}; the fixed threshold with as few false tickets as ours is PSI {threshold:.2f}\n")
        rules: list[Callable[..., NDArray[np.bool_]]] = [
            ticket,
            lambda counts, base, _dispersion: ticket(counts, base, 1.0),
            lambda counts, base, _dispersion, t=threshold: fixed(counts, base, t),
            lambda counts, base, _dispersion: fixed(counts, base, 0.2),
        ]
        heads = ("ours", "without dispersion", f"PSI {threshold:.2f}", "PSI 0.2")
        sys.stdout.write(f"{'kind':>10} {'size':>5} {'rows a day':>10}  {''.join(f'{head:>20}' for head in heads)}\n")
        feature = Feature(np.append(np.full(10, 0.0998), 0.002), 0.0, cluster)
        for kind, size in _CASES:
            for rows in _ROWS:
                told = "".join(f"{delay:>20}" for delay in _delay(feature, rows, (kind, size), options.seeds, rules))
                sys.stdout.write(f"{kind:>10} {size:5.2f} {rows:10,}  {told}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
