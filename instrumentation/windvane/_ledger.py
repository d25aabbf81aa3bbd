"""What one process has counted of outcomes and feedback, and how it reads as metric streams."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from windvane import semconv
from windvane._durations import HistogramValue
from windvane.errors import TokenError
from windvane.outcomes import LAG_BOUNDS, Caps, Series, feedback_key, judge, lag_of, series_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from windvane._counters import Point, Stream
    from windvane.outcomes import Key
    from windvane.tokens import Token, TokenKeys

__all__ = ["MAX_EVENTS_PER_SECOND", "Ledger", "Reported", "Sums", "streams_of"]

MAX_EVENTS_PER_SECOND: Final = 100
"""Events of outcomes and feedback that leave a process; the counters tell of all."""

_METRICS: Final = {metric.name: metric for metric in semconv.METRICS}
_LAG: Final = semconv.OUTCOME_LAG.name
_EVENTS_DROPPED: Final = Series(semconv.OUTCOME_EVENTS_DROPPED.name, ())
_MAX_KNOWN: Final = 10_000


class Reported(NamedTuple):
    """What became of what was reported.

    Attributes:
        counted: tokens of what was counted, with the result of each outcome, or the kind of feedback.
        refused: position and error of each that was not.
    """

    counted: list[tuple[Token, str]]
    refused: list[tuple[int, TokenError]]


class _Cells(NamedTuple):
    """The sums that a key stands for, each a list of the one number, and an attribute's value of the first."""

    value: str
    cells: tuple[list[float], ...]


class Sums:
    """Adds increments up, of any number of deployments; not locked.

    Attributes:
        caps: of deployments, classes, segments and kinds of feedback.
    """

    __slots__ = ("_cells", "_known", "caps")

    def __init__(self) -> None:
        """Begin without a series."""
        self._cells: dict[Series, list[float]] = {}
        self._known: dict[Key, _Cells] = {}
        self.caps = Caps()

    @property
    def values(self) -> dict[Series, float]:
        """The sum of each series."""
        return {series: cell[0] for series, cell in self._cells.items()}

    def add(self, token: Token, actual: object, now: float) -> str:
        """Count an outcome, by its `increments`, and return its result.

        Raises:
            TokenError: it cannot be counted; nothing was.
        """
        (key, amounts), (lag_key, lag_amounts) = judge(token, actual, now, self.caps)
        known = self._known
        lag = known.get(lag_key) or self._learn(lag_key)
        outcome = known.get(key) or self._learn(key)
        for cell, amount in zip(outcome.cells, amounts, strict=True):
            cell[0] += amount
        for cell, amount in zip(lag.cells, lag_amounts, strict=True):
            cell[0] += amount
        return outcome.value

    def add_feedback(self, token: Token, kind: object) -> str:
        """Count feedback and return its kind, by which it is counted.

        Raises:
            TokenError: it cannot be counted; nothing was.
        """
        key = feedback_key(token, kind, self.caps)
        feedback = self._known.get(key) or self._learn(key)
        feedback.cells[0][0] += 1
        return feedback.value

    def note(self, series: Series, amount: int) -> None:
        """Add to a series that is of no deployment."""
        self._cells.setdefault(series, [0])[0] += amount

    def _learn(self, key: Key) -> _Cells:
        series = series_of(key)
        self.caps.admit(series[0].values[:3])
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        value = series[0].values[3] if len(series[0].values) > 3 else None  # noqa: PLR2004 - behind the deployment
        known = _Cells(str(value), tuple(self._cells.setdefault(each, [0]) for each in series))
        self._known[key] = known
        return known


class Ledger:
    """Counts what is reported in this process, until a fork starts it anew."""

    def __init__(self) -> None:
        """Start from zero."""
        self._opened = False
        self.reset()

    def reset(self) -> None:
        """Begin at zero, with a lock of this process's own."""
        self._lock = threading.Lock()
        self._sums = Sums()
        self._shown: set[Series] = set()
        self._events = float(MAX_EVENTS_PER_SECOND)
        self._events_at = time.monotonic()
        self.start_time_ns = time.time_ns()
        if self._opened:
            self.open()

    def open(self) -> None:
        """Show what is refused from zero on: outcomes are going to be reported."""
        with self._lock:
            self._opened = True
            for reason in semconv.OUTCOME_REFUSAL.values:
                self._sums.note(_refusals(reason), 0)
            self._sums.note(_EVENTS_DROPPED, 0)

    @property
    def shown(self) -> bool:
        """Whether every series has been exported; the first time, it is at zero."""
        with self._lock:
            return self._shown.issuperset(self._sums.values)

    def outcomes(self, keys: TokenKeys, reported: Iterable[tuple[str, object]], *, model: str | None) -> Reported:
        """Count outcomes.

        Args:
            keys: what the tokens were signed with.
            reported: each token with what came true; some thousands at once, as others wait meanwhile.
            model: the only model whose tokens are taken; None for any.
        """
        return self._count(keys, reported, model, Sums.add)

    def feedback(self, keys: TokenKeys, reported: Iterable[tuple[str, object]], *, model: str | None) -> Reported:
        """Count feedback.

        Args:
            keys: what the tokens were signed with.
            reported: each token with the kind of feedback; some thousands at once.
            model: the only model whose tokens are taken; None for any.
        """
        return self._count(keys, reported, model, _add_feedback)

    def refuse(self, reasons: Iterable[str]) -> None:
        """Count what was refused before it came here, by the values of `windvane.outcome.refusal`."""
        with self._lock:
            for reason in reasons:
                self._sums.note(_refusals(reason), 1)

    def take_events(self, wanted: int) -> int:
        """Return how many of so many events may leave now, within `MAX_EVENTS_PER_SECOND`; the rest is counted."""
        with self._lock:
            now = time.monotonic()
            filled = self._events + (now - self._events_at) * MAX_EVENTS_PER_SECOND
            self._events, self._events_at = min(filled, MAX_EVENTS_PER_SECOND), now
            taken = min(wanted, int(self._events))
            self._events -= taken
            self._sums.note(_EVENTS_DROPPED, wanted - taken)
            return taken

    def drop_events(self, number: int) -> None:
        """Count events that could not be sent."""
        with self._lock:
            self._sums.note(_EVENTS_DROPPED, number)

    def sums(self) -> dict[Series, float]:
        """Return the sum of each series so far."""
        with self._lock:
            return self._sums.values

    def streams(self) -> Iterator[Stream]:
        """Read everything that is exported; a series is shown at zero first."""
        with self._lock:
            read = list(streams_of(self._sums.values, self._shown))
        yield from read

    def _count(
        self,
        keys: TokenKeys,
        reported: Iterable[tuple[str, object]],
        model: str | None,
        add: Callable[[Sums, Token, object, float], str],
    ) -> Reported:
        counted: list[tuple[Token, str]] = []
        refused: list[tuple[int, TokenError]] = []
        now = time.time()
        with self._lock:
            sums = self._sums
            for position, (text, value) in enumerate(reported):
                try:
                    token = keys.read(text)
                    _check_model(token, model)
                    counted.append((token, add(sums, token, value, now)))
                except TokenError as error:
                    sums.note(_refusals(error.reason), 1)
                    refused.append((position, error))
        return Reported(counted, refused)


def _add_feedback(sums: Sums, token: Token, kind: object, now: float) -> str:
    lag_of(token, now)  # one that is too old is refused
    return sums.add_feedback(token, kind)


def _check_model(token: Token, model: str | None) -> None:
    if model is not None and token.model != model:
        msg = f"the token is of another model than {model!r}"
        raise TokenError(msg, "model")


def _refusals(reason: str) -> Series:
    return Series(semconv.OUTCOMES_REFUSED.name, (reason,))


def streams_of(sums: Mapping[Series, float], shown: set[Series]) -> Iterator[Stream]:
    """Read sums as metric streams.

    A series that was never read is shown at zero the first time, since Prometheus' `increase()` does not see what it
    counted before its first sample.

    Args:
        sums: the sums.
        shown: the series that have been read; those read now are added.
    """
    points: defaultdict[str, list[Point]] = defaultdict(list)
    lags: defaultdict[tuple[str | None, ...], dict[int | None, float]] = defaultdict(dict)
    for series, value in sums.items():
        read = value if series in shown else type(value)()
        if series.metric == _LAG:
            lags[series.values][series.bucket] = read
        else:
            points[series.metric].append((_attributes(series), read))
    shown.update(sums)
    for name, read_points in points.items():
        yield _METRICS[name], read_points
    if lags:
        yield semconv.OUTCOME_LAG, [(_attributes(Series(_LAG, v)), _histogram(buckets)) for v, buckets in lags.items()]


def _attributes(series: Series) -> dict[str, Any]:
    named = zip(_METRICS[series.metric].attributes, series.values, strict=True)
    return {attribute.name: value for attribute, value in named if value is not None}


def _histogram(buckets: Mapping[int | None, float]) -> HistogramValue:
    counts = [int(buckets.get(i, 0)) for i in range(len(LAG_BOUNDS) + 1)]
    # The extremes are not kept: a store could not add them up.
    return HistogramValue(LAG_BOUNDS, counts, buckets.get(None, 0.0), None, None, [])
