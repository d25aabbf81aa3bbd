"""What one process has counted of outcomes and feedback, and how it reads as metric streams."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from windvane import semconv
from windvane._durations import HistogramValue
from windvane.errors import TokenError
from windvane.outcomes import LAG_BOUNDS, Caps, Series, increments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from windvane._counters import Point, Stream
    from windvane.tokens import Token, TokenKeys

__all__ = ["Ledger", "Reported", "Sums", "streams_of"]

_METRICS: Final = {metric.name: metric for metric in semconv.METRICS}
_LAG: Final = semconv.OUTCOME_LAG.name


class Reported(NamedTuple):
    """What became of what was reported.

    Attributes:
        counted: tokens of what was counted, with the result; None for feedback.
        refused: position and error of each that was not.
    """

    counted: list[tuple[Token, str | None]]
    refused: list[tuple[int, TokenError]]


class Sums:
    """Adds increments up, of any number of deployments; not locked.

    Attributes:
        values: the sum of each series.
        caps: of its classes and segments.
    """

    __slots__ = ("caps", "values")

    def __init__(self) -> None:
        """Begin without a series."""
        self.values: Counter[Series] = Counter()
        self.caps = Caps()

    def add(self, token: Token, actual: object, now: float) -> str:
        """Count an outcome and return its result.

        Raises:
            TokenError: it cannot be counted; nothing was.
        """
        added = list(increments(token, actual, now, self.caps))
        for series, amount in added:
            self.values[series] += amount  # type: ignore[assignment] # sums of errors are no whole numbers
        return str(added[0][0].values[3])

    def add_feedback(self, token: Token, kind: str) -> None:
        """Count feedback."""
        self.values[Series(semconv.FEEDBACK_RECEIVED.name, (token.model, token.version, token.variant, kind))] += 1


class Ledger:
    """Counts what is reported in this process, until a fork starts it anew."""

    def __init__(self) -> None:
        """Start from zero."""
        self.reset()

    def reset(self) -> None:
        """Begin at zero, with a lock of this process's own."""
        self._lock = threading.Lock()
        self._sums = Sums()
        self._shown: set[Series] = set()
        self._refused: Counter[str] = Counter()
        self.start_time_ns = time.time_ns()

    @property
    def shown(self) -> bool:
        """Whether every series has been exported; the first time, it is at zero."""
        with self._lock:
            return self._shown.issuperset(self._sums.values)

    def outcomes(self, keys: TokenKeys, reported: Iterable[tuple[str, object]], *, model: str | None) -> Reported:
        """Count outcomes.

        Args:
            keys: what the tokens were signed with.
            reported: each token with what came true.
            model: the only model whose tokens are taken; None for any.
        """
        now = time.time()
        counted: list[tuple[Token, str | None]] = []
        refused: list[tuple[int, TokenError]] = []
        with self._lock:
            for position, (text, actual) in enumerate(reported):
                try:
                    token = keys.read(text)
                    _check_model(token, model)
                    counted.append((token, self._sums.add(token, actual, now)))
                except TokenError as error:
                    self._refused[error.reason] += 1
                    refused.append((position, error))
        return Reported(counted, refused)

    def feedback(self, keys: TokenKeys, reported: Iterable[tuple[str, str]], *, model: str | None) -> Reported:
        """Count feedback.

        Args:
            keys: what the tokens were signed with.
            reported: each token with the kind of feedback.
            model: the only model whose tokens are taken; None for any.
        """
        counted: list[tuple[Token, str | None]] = []
        refused: list[tuple[int, TokenError]] = []
        with self._lock:
            for position, (text, kind) in enumerate(reported):
                try:
                    token = keys.read(text)
                    _check_model(token, model)
                    self._sums.add_feedback(token, kind)
                    counted.append((token, None))
                except TokenError as error:
                    self._refused[error.reason] += 1
                    refused.append((position, error))
        return Reported(counted, refused)

    def streams(self) -> Iterator[Stream]:
        """Read everything that is exported; a series is shown at zero first."""
        with self._lock:
            read = list(streams_of(self._sums.values, self._shown))
            refused = list(self._refused.items())
        yield from read
        yield (
            semconv.OUTCOMES_REFUSED,
            [({semconv.OUTCOME_REFUSAL.name: reason}, number) for reason, number in refused],
        )


def _check_model(token: Token, model: str | None) -> None:
    if model is not None and token.model != model:
        msg = f"the token is of another model than {model!r}"
        raise TokenError(msg, "model")


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
        read = value if series in shown else 0
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
    # The extremes are not kept: they do not add up over processes.
    return HistogramValue(LAG_BOUNDS, counts, buckets.get(None, 0.0), 0.0, 0.0, [])
