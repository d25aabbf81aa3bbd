"""Figures, each against a named rival in the same run; never part of the tests, since machines differ.

Prints one line per figure and writes them to `build/benchmarks.json`: a list of objects with the keys
name, value, unit, rival, rival_value, ratio, goal and met.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import windvane

if TYPE_CHECKING:
    from collections.abc import Callable

_FEATURES = 30
_CALLS = 2000
_ROUNDS = 15


@dataclass(frozen=True)
class Figure:
    """One measured figure; the ratio is what a goal is set on."""

    name: str
    value: float
    unit: str
    rival: str
    rival_value: float
    ratio: float
    goal: float
    met: bool


def against(name: str, ours: Callable[[], None], rival: str, theirs: Callable[[], None], goal: float) -> Figure:
    """Time both in turn, so that a machine that slows down slows both; medians over the rounds."""
    own: list[float] = []
    other: list[float] = []
    for _ in range(_ROUNDS):
        for function, times in ((theirs, other), (ours, own)):
            begin = time.perf_counter()
            for _ in range(_CALLS):
                function()
            times.append((time.perf_counter() - begin) / _CALLS * 1e6)
            windvane.flush(0.5)
    ratio = statistics.median(a / b for a, b in zip(own, other, strict=True))
    return Figure(
        name, statistics.median(own), "us per call", rival, statistics.median(other), ratio, goal, met=ratio <= goal
    )


def hot_path(sampled: Any, name: str) -> Figure:
    """Our call with every feature counted, against a span and a histogram written by hand without any."""
    rng = np.random.default_rng(0)
    columns = {f"f{i}": rng.normal(size=2000) for i in range(_FEATURES)}
    baseline = windvane.Baseline.from_frame(columns, model=name, version="1")
    row = {column: float(values[0]) for column, values in columns.items()}
    model = windvane.Model(name, version="1", baseline=baseline)
    ours = model.predict(lambda _row: 0.5)
    tracer = trace.get_tracer("by-hand")
    histogram = metrics.get_meter("by-hand").create_histogram("predict.duration", unit="s")
    attributes = {"model": name, "version": "1"}

    def by_hand() -> None:
        with tracer.start_as_current_span("predict", attributes=attributes):
            begin = time.perf_counter()
            histogram.record(time.perf_counter() - begin, attributes)

    def decorated() -> None:
        ours(row)

    del sampled
    return against(name, decorated, "start_as_current_span + Histogram.record", by_hand, 0.85)


def main() -> None:
    """Measure everything."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    figures = [hot_path(True, "hot-path-sampled")]
    for f in figures:
        sys.stdout.write(
            f"{f.name}: {f.value:.1f} {f.unit}, {f.rival}: {f.rival_value:.1f}, ratio {f.ratio:.2f}, "
            f"goal {f.goal:.2f}, {'met' if f.met else 'not met'}\n"
        )
    target = Path("build/benchmarks.json")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")


if __name__ == "__main__":
    main()
