"""The drift tickets, emulated with numpy: what `rules/drift.py` and `rules/budget.py` compute, for a month in a moment.

`test_emulation.py` proves on the same counts that Prometheus finds the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from traffic import DAY, Counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BUDGET",
    "HOUR",
    "SHIFTED",
    "TICKET",
    "budget_episodes",
    "burning",
    "episodes",
    "fixed",
    "floor",
    "psi",
    "shifted_anew",
    "ticket",
    "window",
]

HOUR: Final = 60
WEEK: Final = 7 * DAY
SHIFTED, BUDGET, TICKET = 3.09, 4.0, 6.0
_MIN_ROWS: Final = 100
_INTERVAL, _DAY_INTERVAL = 4, 20
_PENDING, _KEEP = 12, 28
"""Ten and thirty minutes, as evaluations every four make them: the latter from four minutes after the last sight."""
_BUDGET_PENDING, _BUDGET_KEEP = 15, 5
_BUDGET_PAIRS: Final = ((3, 24, 2), (1, 72, 6))
"""Burn rate, hours of the long and of the short window."""


def window(counts: NDArray[Any], steps: int) -> NDArray[Any]:
    """Add up the counts of the last steps along the first axis, at each step."""
    total = np.cumsum(
        np.concatenate([np.zeros_like(counts[:1]), counts]), axis=0, dtype=np.result_type(counts, np.int64)
    )
    first = np.maximum(np.arange(1, len(total)) - steps, 0)
    return total[1:] - total[first]


def psi(counts: Counts, reference: Counts, minutes: int) -> tuple[NDArray[np.float64], ...]:
    """Return PSI of the last minutes at each minute (NaN below 100 rows), the rows and the used bins."""
    live = window(counts, minutes)
    used = (live + reference) > 0
    bins, rows = used.sum(axis=1), live.sum(axis=1)
    p = (live + 0.5) / (rows + 0.5 * bins)[:, None]
    q = (reference + 0.5) / (reference.sum() + 0.5 * bins)[:, None]
    value = np.where(used, (p - q) * np.log(p / q), 0.0).sum(axis=1)
    return np.where(rows >= _MIN_ROWS, value, np.nan), rows, bins


def floor(
    rows: NDArray[np.float64], bins: NDArray[np.float64], reference_rows: float, dispersion: float, quantile: float
) -> NDArray[np.float64]:
    """Return the PSI that chance passes with the probability of a normal quantile."""
    freedom = np.maximum(bins - 1, 1)
    chance = (1 - 2 / (9 * freedom) + quantile * np.sqrt(2 / (9 * freedom))) ** 3
    with np.errstate(divide="ignore"):
        result: NDArray[np.float64] = (1 / rows + 1 / reference_rows) * freedom * chance * dispersion
    return result


def _past(value: NDArray[np.float64], ago: int, half_width: int) -> NDArray[np.float64]:
    """Return the largest value around a time ago, 0 where there is none."""
    padded = np.concatenate([np.zeros(2 * half_width), np.nan_to_num(value)])
    largest = sliding_window_view(padded, 2 * half_width + 1).max(axis=1)
    past = np.zeros(len(value))
    past[ago - half_width :] = largest[: len(value) - ago + half_width]
    return past


def _evaluated(holds: NDArray[np.bool_], interval: int) -> NDArray[np.bool_]:
    """Return what a rule that is evaluated every so many minutes tells at each minute."""
    return holds[np.arange(len(holds)) // interval * interval]


def ticket(counts: Counts, reference: Counts, dispersion: float, *, quantile: float = TICKET) -> NDArray[np.bool_]:
    """Tell at which minutes the condition of a drift ticket holds."""
    m = float(reference.sum())
    hour, rows, bins = psi(counts, reference, HOUR)
    with np.errstate(invalid="ignore"):
        above = hour > floor(rows, bins, m, dispersion, quantile)
        past = np.maximum(_past(hour, DAY, HOUR), _past(hour, WEEK, HOUR))
        news = _evaluated(above & (hour > np.where(past > 0, 2 * past, 0.25)), _INTERVAL)
        day, rows, bins = psi(counts, reference, DAY)
        above = day > floor(rows, bins, m, dispersion, quantile)
        past = _past(day, WEEK, 6 * HOUR)
        whole = np.arange(len(counts)) >= DAY
        return news | _evaluated(above & np.where(past > 0, day > 2 * past, whole), _DAY_INTERVAL)


def shifted_anew(
    counts: Counts, reference: Counts, dispersion: float, *, quantile: float = BUDGET
) -> NDArray[np.float64]:
    """Return 1 for each minute at which a feature counts for the drift budget, else 0; NaN below 100 rows."""
    hour, rows, bins = psi(counts, reference, HOUR)
    week, day = _past(hour, WEEK, HOUR), _past(hour, DAY, HOUR)
    above = hour > floor(rows, bins, float(reference.sum()), dispersion, quantile)
    result: NDArray[np.float64] = np.where(np.isnan(hour), np.nan, above & (hour > 2 * np.where(week > 0, week, day)))
    return result


def burning(features: NDArray[np.float64], objective: float) -> NDArray[np.bool_]:
    """Tell at which minutes the drift budget burns.

    Args:
        features: what `shifted_anew` gives, shape (features, minutes); all are equally important.
        objective: share of the time and of the features without a shift.
    """
    judged = ~np.isnan(features)
    number = judged.sum(axis=0)
    share = np.where(judged, features, 0.0).sum(axis=0) / np.maximum(number, 1)

    def mean(hours: int) -> NDArray[np.float64]:
        minutes = window(number[:, None] > 0, hours * HOUR)[:, 0]
        total: NDArray[np.float64] = window(share[:, None], hours * HOUR)[:, 0] / np.maximum(minutes, 1)
        return total

    enough = window(number[:, None] > 0, DAY)[:, 0] >= HOUR
    burns = [np.minimum(mean(long), mean(short)) > rate * (1 - objective) for rate, long, short in _BUDGET_PAIRS]
    return enough & np.any(burns, axis=0)


def fixed(counts: Counts, reference: Counts, threshold: float) -> NDArray[np.bool_]:
    """Tell at which minutes PSI over an hour is above a fixed threshold, with 100 rows at least."""
    with np.errstate(invalid="ignore"):
        return _evaluated(psi(counts, reference, HOUR)[0] > threshold, _INTERVAL)


def budget_episodes(holds: NDArray[np.bool_]) -> list[int]:
    """Return the minutes at which a burning drift budget becomes an alert."""
    return episodes(holds, pending=_BUDGET_PENDING, keep=_BUDGET_KEEP)


def episodes(holds: NDArray[np.bool_], *, pending: int = _PENDING, keep: int = _KEEP) -> list[int]:
    """Return the steps at which a condition becomes an alert: after `for`, apart by more than `keep_firing_for`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], holds.view(np.int8), [0]]))).reshape(-1, 2)
    fired: list[int] = []
    until = -1
    for begin, end in edges:
        if begin <= until:
            until = max(until, end + keep)
        elif end - begin > pending:
            fired.append(int(begin) + pending)
            until = end + keep
    return fired
