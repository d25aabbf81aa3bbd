"""False alerts of outcomes that come as ever, and how soon it is told that they do not.

`python tests/simulation/outcomes.py`: predictions of models with days, nights and weekends, of which a share gets an
outcome, after a while or by a job. The rules of `rules/outcomes.py` are emulated with numpy, looked at every hour as
their windows are of whole hours.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import numpy as np
from emulation import episodes, window
from traffic import DAY, Feature, live, reference

from windvane.outcomes import LAG_BOUNDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_DAY, _WEEK = 24, 7 * 24
_USUAL, _HALF, _ROOT_DIFFERENCE = 20, 0.5, 10
_PENDING, _KEEP = 6, {"MLOutcomesStopped": 0, "MLOutcomeCoverage": 1}
_PAST_WEEKS: Final = 3
"""Weeks before anything is counted: the rules compare with them."""

_AGES: Final = ((0, 0, 3), (6, 3, 15), (24, 15, 48), (72, 48, 120), (168, 120, 336))
"""Offset that is looked back for a median lag, from and below, in hours: `aged` in the rules."""

_REFERENCE_DAYS: Final = 30


def _due(made: NDArray[np.int64], lag: str, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the hour at which the outcome of each prediction comes.

    Args:
        made: hour of each prediction.
        lag: how outcomes come.
        rng: what decides.
    """
    if lag == "an hour later":
        return made + 1
    if lag == "a day later, by a factor of three":
        return made + rng.lognormal(np.log(24), np.log(3), len(made)).astype(np.int64)
    if lag == "four days later":
        return made + 96
    # By a job, which comes by up to three hours later at times.
    day = made // _DAY + 1
    if lag == "nightly on working days":
        day += np.array([0, 0, 0, 0, 0, 2, 1])[day % 7]
    late = rng.integers(0, 4, int(day.max(initial=0)) + 1)
    hours: NDArray[np.int64] = day * _DAY + 2 + late[day]
    return hours


_LAGS: Final = (
    "an hour later",
    "a day later, by a factor of three",
    "four days later",
    "nightly",
    "nightly on working days",
)


def _ago(series: NDArray[np.float64], hours: int) -> NDArray[np.float64]:
    return np.concatenate([np.full(hours, np.nan), series[: len(series) - hours]])


def _median_lag(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Prometheus' quantile of histograms, in hours, of counts of shape (hours, buckets)."""
    bounds = np.array([0.0, *LAG_BOUNDS, LAG_BOUNDS[-1]]) / 3600
    below = np.cumsum(window(counts, _WEEK), axis=1)
    rank = below[:, -1:] / 2
    bucket = (below < rank).sum(axis=1)
    at = np.arange(len(counts))
    before = np.where(bucket > 0, below[at, np.maximum(bucket - 1, 0)], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        part = (rank[:, 0] - before) / (below[at, bucket] - before)
    return bounds[bucket] + part * (bounds[bucket + 1] - bounds[bucket])


def alerts(
    predictions: NDArray[np.int64],
    dispersion: float,
    lag: str,
    kept: Callable[[int], float],
    rng: np.random.Generator,
) -> dict[str, NDArray[np.bool_]]:
    """Tell at which hours the condition of each alert holds.

    Args:
        predictions: of each hour.
        dispersion: as the baseline measures it on answers.
        lag: how outcomes come.
        kept: gives the share of the outcomes due in an hour that are reported.
        rng: what decides.
    """
    hours = len(predictions)
    made = np.repeat(np.arange(hours), predictions)
    due = _due(made, lag, rng)
    shares = np.array([kept(hour) for hour in range(hours)])
    come = due < hours
    come[come] = rng.random(come.sum()) < shares[due[come]]
    made, due = made[come], due[come]
    outcomes = np.bincount(due, minlength=hours).astype(float)
    buckets = np.searchsorted(LAG_BOUNDS, (due - made + rng.random(len(made)) - 0.5).clip(0) * 3600)
    lags = np.zeros((hours, len(LAG_BOUNDS) + 1))
    np.add.at(lags, (due, buckets), 1)

    day_outcomes, day_rows = window(outcomes, _DAY), window(predictions.astype(float), _DAY)
    median = _median_lag(lags)
    aged = np.full(hours, np.nan)
    for offset, least, most in _AGES:
        chosen = (median >= least) & (median < most)
        aged[chosen] = _ago(day_rows, offset)[chosen]
    with np.errstate(invalid="ignore", divide="ignore"):
        coverage = np.where(aged > 0, day_outcomes / aged, np.nan)
        fewer_due = aged < _HALF * _ago(aged, _WEEK)
        usual = np.array([np.median(day_outcomes[max(0, hour - _WEEK + 1) : hour + 1 : 6]) for hour in range(hours)])
        least = _USUAL * dispersion
        stopped = (day_outcomes == 0) & (_ago(day_outcomes, _WEEK) >= least) & (usual >= least) & ~fewer_due
        dropped = (coverage > 0) & ~fewer_due
        for past in (_ago(coverage, _DAY), _ago(coverage, _WEEK)):
            dropped &= coverage < _HALF * past
            dropped &= 2 * (np.sqrt(aged * past) - np.sqrt(day_outcomes)) > _ROOT_DIFFERENCE * np.sqrt(dispersion)
    return {"MLOutcomesStopped": stopped, "MLOutcomeCoverage": dropped}


def predictions(rows: float, cluster: int, days: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], float]:
    """Make predictions by the hour, from so many a day, and measure the dispersion of their answers as a baseline."""
    counts = live(Feature(np.array([1.0, 0.0, 0.0]), 0.0, cluster), rows, days, rng)
    hours: NDArray[np.int64] = counts.sum(axis=1).reshape(days * DAY // 60, 60).sum(axis=1)
    _, dispersion = reference(Feature(np.append(np.full(10, 0.1), 0.0), 0.0, cluster), rows, _REFERENCE_DAYS, rng)
    return hours, dispersion


def quiet(models: int, days: int) -> None:
    """Print false alerts."""
    sizes = np.geomspace(50, 50_000, models)
    sys.stdout.write(f"false alerts of {models} models in {days} days, for each way that outcomes come\n")
    begin = _PAST_WEEKS * _WEEK
    for label, cluster in (("independent", 1), ("clusters of 1 to 50", 50)):
        for lag in _LAGS:
            for share in (1.0, 0.1):
                found: defaultdict[str, int] = defaultdict(int)
                for number, rows in enumerate(sizes):
                    rng = np.random.default_rng([cluster, number, int(100 * share), _LAGS.index(lag)])
                    made, dispersion = predictions(rows, cluster, 7 * _PAST_WEEKS + days, rng)
                    for name, holds in alerts(made, dispersion, lag, lambda _, share=share: share, rng).items():
                        found[name] += sum(
                            hour >= begin for hour in episodes(holds, pending=_PENDING, keep=_KEEP[name])
                        )
                told = ", ".join(f"{name} {number}" for name, number in found.items())
                sys.stdout.write(f"{label}, {lag}, {share:.0%} get one: {told}\n")
                sys.stdout.flush()


def fast() -> None:
    """Print delays."""
    sys.stdout.write(
        "hours until an alert, median of five, when a share only of the outcomes comes from a Tuesday on\n"
    )
    begin = _PAST_WEEKS * _WEEK + _DAY + 10
    for rows in (500, 5000, 50_000):
        for lag in _LAGS:
            for left in (0.0, 0.1, 0.3):
                delays: defaultdict[str, list[float]] = defaultdict(list)
                for seed in range(5):
                    rng = np.random.default_rng([seed, rows])
                    made, dispersion = predictions(rows, 1, 7 * _PAST_WEEKS + 14, rng)

                    def kept(hour: int, left: float = left) -> float:
                        return left if hour >= begin else 1.0

                    for name, holds in alerts(made, dispersion, lag, kept, rng).items():
                        fired = [
                            hour - begin
                            for hour in episodes(holds, pending=_PENDING, keep=_KEEP[name])
                            if hour >= begin
                        ]
                        delays[name].append(fired[0] if fired else np.inf)
                told = ", ".join(f"{name} {np.median(one):.0f}" for name, one in delays.items())
                sys.stdout.write(f"{rows} a day, {lag}, {left:.0%} come: {told}\n")
                sys.stdout.flush()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=20, help="with 50 to 50,000 predictions a day")
    parser.add_argument("--days", type=int, default=30)
    options = parser.parse_args()
    quiet(options.models, options.days)
    fast()


if __name__ == "__main__":
    main()
