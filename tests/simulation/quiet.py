"""False tickets in a month without drift: `python tests/simulation/quiet.py`.

All models go through the numpy emulation; those of `--prometheus` also through the shipped rules in a real Prometheus,
each rule at its own interval.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Final

import numpy as np
from emulation import budget_episodes, burning, episodes, fixed, shifted_anew, ticket
from through_prometheus import DRIFT_OBJECTIVE, Model, fired
from traffic import features, live, reference

_ROWS: Final = (50, 50_000)
"""A day, of the smallest and the largest model."""


def _month(cluster: int, number: int, *, options: argparse.Namespace, through: bool) -> tuple[list[int], str]:
    """Return a model's tickets by ours (drift and its budget), PSI 0.1 and PSI 0.2, and what fired in Prometheus."""
    rng = np.random.default_rng([options.seed, cluster, number])
    rows = np.geomspace(*_ROWS, options.models)[number]
    tickets = np.zeros(3, int)
    anew = []
    model = Model({}, {}, {}, options.days)
    for i, feature in enumerate(features(options.features, seasonal=1 / 3, cluster=cluster, rng=rng)):
        base, dispersion = reference(feature, rows, options.reference_days, rng)
        counts = live(feature, rows, options.days, rng)
        tickets += [
            len(episodes(holds))
            for holds in (ticket(counts, base, dispersion), fixed(counts, base, 0.1), fixed(counts, base, 0.2))
        ]
        anew.append(shifted_anew(counts, base, dispersion))
        model.add(f"f{i:02d}", counts, base, dispersion)
    tickets[0] += len(budget_episodes(burning(np.array(anew), DRIFT_OBJECTIVE)))
    found = ", ".join(f"{name} {len(names)}" for name, names in sorted(fired(model).items())) if through else ""
    return tickets.tolist(), found or ("none" if through else "")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=20, help="with 50 to 50,000 rows a day")
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--reference-days", type=int, default=60)
    parser.add_argument("--prometheus", type=int, default=0, metavar="N", help="as many models also through Prometheus")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chosen = set(np.linspace(0, options.models - 1, options.prometheus).round().astype(int).tolist())
    rows_per_day = np.geomspace(*_ROWS, options.models)
    with ProcessPoolExecutor() as pool:
        for label, cluster in (("independent rows", 1), ("clusters of 1 to 50 rows", 50)):
            sys.stdout.write(f"\n{label}: tickets per model in {options.days} days\n")
            sys.stdout.write(f"{'rows a day':>12}  {'ours':>6}  {'PSI 0.1':>8}  {'PSI 0.2':>8}  through Prometheus\n")
            months = [
                pool.submit(_month, cluster, number, options=options, through=number in chosen)
                for number in range(options.models)
            ]
            for rows, month in zip(rows_per_day, months, strict=True):
                tickets, found = month.result()
                sys.stdout.write(f"{rows:12,.0f}  {tickets[0]:6}  {tickets[1]:8}  {tickets[2]:8}  {found}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
