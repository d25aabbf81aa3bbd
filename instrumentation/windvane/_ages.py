"""Ages: how long before a prediction the events happened that its features tell of.

An event time is a number of seconds since 1970-01-01 UTC, a date or time of Python, numpy, pandas, polars or Arrow, or
an ISO 8601 text; without a time zone it is UTC, and a date is its midnight.

| event time                               | counts as                              |
|------------------------------------------|----------------------------------------|
| absent, None, NaN, pandas' NA and NaT    | violation `missing`                    |
| anything else that is no time            | violation `type`                       |
| more than a day after the call, infinite | violation `range`                      |
| up to a day after the call               | age 0: the clocks are apart            |
| at or before the start of the call       | its age                                |

A time given in milliseconds is far in the future, so it is a violation and not a fresh event.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from windvane import semconv
from windvane._durations import Durations, HistogramValue
from windvane.bins import _as_list, _is_null, _number, _plain, _types, no_violations

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["AGE_BOUNDS", "AGE_VIOLATIONS", "Ages", "epoch_seconds"]

_MINUTE: Final = 60.0
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR

AGE_BOUNDS: Final = (
    1.0, 5.0, 15.0, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR,
    _DAY, 3 * _DAY, 7 * _DAY, 28 * _DAY,
)  # fmt: skip
"""Bucket bounds of the age histogram in seconds, the same for every model, from a stream to a monthly table."""

AGE_VIOLATIONS: Final = ("missing", "type", "range")
"""Kinds of violations that event times can have."""

_KINDS: Final = semconv.VIOLATION_KIND.values
_MISSING, _TYPE, _RANGE = map(_KINDS.index, AGE_VIOLATIONS)

_MAX_AHEAD: Final = _DAY
"""Seconds that an event may lie after the call: clocks are never further apart."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - times without a zone are compared with it
_NUMBERS: Final = frozenset({int, float, type(None)})


class Ages:
    """Ages of the events of one column, in seconds; not locked.

    Attributes:
        column: name of the column that holds the event times.
        features: names under which the ages are exported.
        violations: event times that give no age, in the order of `semconv.VIOLATION_KIND.values`.
    """

    __slots__ = ("_ages", "column", "features", "violations")

    def __init__(self, column: str, features: Sequence[str]) -> None:
        """Begin at zero."""
        self.column = column
        self.features = tuple(features)
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._ages = Durations(AGE_BOUNDS)
        self.violations = no_violations()

    @property
    def shown(self) -> bool:
        """Whether the histogram has been read; the first reading shows zeros."""
        return self._ages.shown

    def observe(self, values: NDArray[Any] | Sequence[object], called: NDArray[np.float64] | float) -> None:
        """Count a column of event times.

        Args:
            values: event times, shape (n,).
            called: when the calls began, in seconds since 1970-01-01 UTC; shape (n,) or one for all.
        """
        seconds, unreadable = epoch_seconds(values)
        with np.errstate(all="ignore"):
            ages = called - seconds
        absent = int(np.count_nonzero(np.isnan(ages)))
        fitting = ages[np.isfinite(ages) & (ages >= -_MAX_AHEAD)]
        self.violations[_MISSING] += absent - unreadable
        self.violations[_TYPE] += unreadable
        self.violations[_RANGE] += ages.size - absent - fitting.size
        if fitting.size:
            self._ages.observe(np.maximum(fitting, 0.0))

    def buckets(self) -> Counter[float]:
        """Return how many ages fell into each bucket so far, by its upper bound in seconds."""
        return self._ages.buckets()

    def take(self) -> HistogramValue:
        """Read the histogram."""
        return self._ages.take()


def epoch_seconds(values: NDArray[Any] | Sequence[object]) -> tuple[NDArray[np.float64], int]:
    """Convert a column of times to seconds since 1970-01-01 UTC.

    Args:
        values: shape (n,), of any type; see the module.

    Returns:
        Shape (n,), NaN where a time is missing or cannot be read, and how many cannot be read.
    """
    if isinstance(values, np.ndarray) and values.ndim == 1:
        if values.dtype.kind == "M":
            return _seconds_of_datetimes(values), 0
        if values.dtype.kind in "fiu":
            return values.astype(np.float64), 0
    column = _as_list(values)
    if _types(column) <= _NUMBERS:
        try:
            return np.array(column, dtype=np.float64), 0  # None becomes NaN
        except OverflowError:
            pass
    seconds: list[float] = []
    unreadable = 0
    for value in column:
        try:
            read = _READERS.get(type(value), _seconds)
            seconds.append(read(value))
        except Exception:  # noqa: BLE001 - a value's own methods may raise anything
            seconds.append(math.nan)
            unreadable += 1
    return np.array(seconds, dtype=np.float64), unreadable


def _seconds_of_datetimes(times: NDArray[Any]) -> NDArray[np.float64]:
    seconds: NDArray[np.float64] = times.astype("datetime64[us]").astype(np.int64) / 1e6
    seconds[np.isnat(times)] = np.nan
    return seconds


def _seconds_of_datetime(time: datetime) -> float:
    return (time - (_EPOCH if time.tzinfo else _NAIVE_EPOCH)).total_seconds()


def _seconds_of_text(text: str) -> float:
    return _seconds_of_datetime(datetime.fromisoformat(text))


_READERS: Final[dict[type, Callable[[Any], float]]] = {datetime: _seconds_of_datetime, str: _seconds_of_text}
"""What reads the usual types, without a look at what else a value could be."""


def _seconds(value: object) -> float:
    """Return the seconds of a value of any type, NaN where it is missing; an exception where it is no time."""
    plain = _plain(value)
    if _is_null(plain):
        return math.nan
    if isinstance(plain, str):
        return _seconds_of_text(plain)
    if isinstance(plain, datetime):
        return _seconds_of_datetime(plain)
    if isinstance(plain, date):
        return _seconds_of_datetime(datetime(plain.year, plain.month, plain.day, tzinfo=UTC))
    if isinstance(plain, np.datetime64):
        return float(_seconds_of_datetimes(np.array([plain]))[0])
    if isinstance(plain, bool | np.bool_):
        msg = "no time"
        raise TypeError(msg)
    return _number(plain)
