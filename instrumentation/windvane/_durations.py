"""Histograms of durations, such as those of calls, counted in bulk.

A synchronous instrument of the SDK costs about 8 us per call and inherits its parent's sums over a fork.
Counting many calls at once costs a fraction of that, is exact over forks, and shows zeros before the
first call.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from windvane.declaration import DURATION_BOUNDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from opentelemetry.trace import SpanContext

__all__ = ["MAX_ERROR_TYPES", "Durations", "Exemplar", "HistogramValue"]

MAX_ERROR_TYPES: Final = 50
"""Types of errors with a histogram of their own; any further one counts as `_OTHER`, OpenTelemetry's word for it."""


class Exemplar(NamedTuple):
    """A sampled call that fell into a bucket, and the span that shows it."""

    seconds: float
    time_ns: int
    span: SpanContext


class HistogramValue(NamedTuple):
    """The histogram at one moment; bucket i holds `bounds[i-1] < x <= bounds[i]`, the last all above.

    The extremes are None where they are not known.
    """

    bounds: tuple[float, ...]
    bucket_counts: list[int]
    sum: float
    minimum: float | None
    maximum: float | None
    exemplars: list[Exemplar]


class Durations:
    """Durations in seconds.

    Args:
        bounds: bucket bounds; by default those of calls.

    Attributes:
        shown: whether it has been read; the first reading shows zeros, since Prometheus' `increase()` does
            not see what a series counted before its first sample.
    """

    __slots__ = ("_bounds", "_counts", "_edges", "_exemplars", "_maximum", "_minimum", "_sum", "shown")

    def __init__(self, bounds: tuple[float, ...] = DURATION_BOUNDS) -> None:
        """Begin at zero."""
        self._bounds = bounds
        self._edges = np.array(bounds)
        self._counts = np.zeros(len(bounds) + 1, dtype=np.int64)
        self._sum = 0.0
        self._minimum = np.inf
        self._maximum = 0.0
        self._exemplars: dict[int, Exemplar] = {}
        self.shown = False

    def observe(
        self, seconds: Sequence[float] | NDArray[np.float64], spans: Sequence[SpanContext | None] | None = None
    ) -> None:
        """Count durations, at least one.

        Args:
            seconds: the durations.
            spans: the span of each, where it has one; the last sampled one of each bucket becomes its
                exemplar.
        """
        values = np.asarray(seconds)
        buckets = np.searchsorted(self._edges, values, side="left")
        self._counts += np.bincount(buckets, minlength=len(self._counts))
        self._sum += float(values.sum())
        self._minimum = min(self._minimum, float(values.min()))
        self._maximum = max(self._maximum, float(values.max()))
        if spans is None:
            return
        now = time.time_ns()
        for bucket, value, span in zip(buckets.tolist(), seconds, spans, strict=True):
            if span is not None and span.trace_flags.sampled:
                self._exemplars[bucket] = Exemplar(value, now, span)

    @property
    def calls(self) -> int:
        """Durations counted so far."""
        return int(self._counts.sum())

    def buckets(self) -> Counter[float]:
        """Return how many durations fell into each bucket so far, by its upper bound; the last is infinite."""
        return Counter(dict(zip([*self._bounds, math.inf], self._counts.tolist(), strict=True)))

    def take(self) -> HistogramValue:
        """Read the histogram, and its exemplars since the last reading."""
        if not self.shown or not self._counts.any():
            self.shown = True
            return HistogramValue(self._bounds, [0] * len(self._counts), 0.0, 0.0, 0.0, [])
        exemplars, self._exemplars = list(self._exemplars.values()), {}
        return HistogramValue(self._bounds, self._counts.tolist(), self._sum, self._minimum, self._maximum, exemplars)
