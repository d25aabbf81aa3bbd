"""What a careful developer writes without windvane: a span and a duration, and nothing counted of the data."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace

if TYPE_CHECKING:
    from collections.abc import Callable

_ATTRIBUTES = {"model": "by-hand", "version": "1"}


def watched_by_hand(predict: Callable[[Any], float]) -> Callable[[Any], float]:
    """Put a span and a histogram around a function."""
    tracer = trace.get_tracer("by-hand")
    histogram = metrics.get_meter("by-hand").create_histogram("predict.duration", unit="s")

    def watched(rows: Any) -> float:
        with tracer.start_as_current_span("predict", attributes=_ATTRIBUTES):
            begin = time.perf_counter()
            result = predict(rows)
            histogram.record(time.perf_counter() - begin, _ATTRIBUTES)
        return result

    return watched
