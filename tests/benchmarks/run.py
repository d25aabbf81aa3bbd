"""Figures, each against a named rival in the same run; never part of the tests, since machines differ.

Prints one line per figure and writes them to `build/benchmarks.json`: a list of objects with the keys
name, value, unit, rival, rival_value, ratio, goal and met.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from opentelemetry import metrics, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, SamplingResult

import windvane
from windvane import _runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FEATURES = 30
_CALLS = 1000
_ROUNDS = 31
_SINK = Path(__file__).with_name("sink.py")


@dataclass(frozen=True)
class Figure:
    """One measured figure; the goal is set on the ratio."""

    name: str
    value: float
    unit: str
    rival: str
    rival_value: float
    ratio: float
    goal: float

    @property
    def met(self) -> bool:
        """Whether the ratio is within its goal."""
        return self.ratio <= self.goal


class Switch(Sampler):
    """Samples everything or nothing, as `on` says at the moment."""

    on = True

    def should_sample(self, *args: object, **kwargs: object) -> SamplingResult:
        """Ask the sampler that is switched on."""
        return (ALWAYS_ON if self.on else ALWAYS_OFF).should_sample(*args, **kwargs)  # type: ignore[arg-type]

    def get_description(self) -> str:
        """Name this sampler."""
        return "Switch"


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], calls: int) -> tuple[list[float], list[float]]:
    """Time both in turn, round by round, in microseconds per call: a machine that slows down slows both."""
    own: list[float] = []
    other: list[float] = []
    for _ in range(_ROUNDS):
        for function, times in ((theirs, other), (ours, own)):
            begin = time.perf_counter()
            for _ in range(calls):
                function()
            times.append((time.perf_counter() - begin) / calls * 1e6)
            windvane.flush(1)  # neither pays for what the other left
    return own, other


def figure(name: str, times: tuple[list[float], list[float]], rival: str, goal: float) -> Figure:
    """Make a figure of medians over the rounds; the ratio is the median of the rounds' ratios."""
    own, other = times
    ratio = statistics.median(a / b for a, b in zip(own, other, strict=True))
    return Figure(name, statistics.median(own), "us per call", rival, statistics.median(other), ratio, goal)


def hot_path(sampler: Switch) -> Iterator[Figure]:
    """Our call with 30 features counted, against a span and a histogram by hand without any."""
    rng = np.random.default_rng(0)
    columns = {f"f{i}": rng.normal(size=2000) for i in range(_FEATURES)}
    baseline = windvane.Baseline.from_frame(columns, model="hot-path", version="1")
    row = {column: float(values[0]) for column, values in columns.items()}
    ours = windvane.Model("hot-path", version="1", baseline=baseline).predict(lambda _row: 0.5)
    tracer = trace.get_tracer("by-hand")
    histogram = metrics.get_meter("by-hand").create_histogram("predict.duration", unit="s")
    attributes = {"model": "hot-path", "version": "1"}

    def by_hand() -> float:
        with tracer.start_as_current_span("predict", attributes=attributes):
            begin = time.perf_counter()
            result = 0.5
            histogram.record(time.perf_counter() - begin, attributes)
        return result

    for sampler.on, name in ((True, "hot-path-sampled"), (False, "hot-path-unsampled")):
        times = in_turn(lambda: ours(row), by_hand, _CALLS)
        yield figure(name, times, "start_as_current_span + Histogram.record, nothing counted", 0.85)


def frame() -> Iterator[Figure]:
    """A frame of 10,000 rows and 30 features, whose prediction takes 20 ms, against the bare function."""
    import pandas as pd  # noqa: PLC0415 - the other figures do not need it

    rng = np.random.default_rng(0)
    columns = {f"f{i}": rng.normal(size=10_000) for i in range(_FEATURES)}
    baseline = windvane.Baseline.from_frame(columns, model="frame", version="1")
    rows = pd.DataFrame(columns)

    def predict(_rows: pd.DataFrame) -> float:
        end = time.perf_counter() + 0.020
        while time.perf_counter() < end:
            pass
        return 0.5

    ours = windvane.Model("frame", version="1", baseline=baseline).predict(predict)
    times = in_turn(lambda: ours(rows), lambda: predict(rows), 5)
    yield figure("frame-10000x30-predict-20ms", times, "the function alone", 1.05)


def throughput() -> Iterator[Figure]:
    """How fast the worker counts what was queued, against the goal itself: a rate has no rival."""
    import pandas as pd  # noqa: PLC0415 - the other figures do not need it

    rng = np.random.default_rng(0)
    columns = {f"f{i}": rng.normal(size=10_000) for i in range(_FEATURES)}
    baseline = windvane.Baseline.from_frame(columns, model="throughput", version="1")
    predict = windvane.Model("throughput", version="1", baseline=baseline).predict(lambda _rows: 0.5)
    frame = pd.DataFrame(columns)
    cases = (("frame-cells", frame, 10_000 * _FEATURES, 10e6), ("dict-rows", frame.to_dict("records"), 10_000, 200e3))
    for name, rows, units, wanted in cases:
        rates = []
        for _ in range(_ROUNDS):
            _runtime.worker.drain(30)
            begin = time.perf_counter()
            for _ in range(3):
                predict(rows)
            _runtime.worker.drain(30)
            rates.append(3 * units / (time.perf_counter() - begin))
        rate = statistics.median(rates)
        yield Figure(f"worker-{name}", rate, "per second", "goal", wanted, wanted / rate, 1.0)


def import_time() -> Iterator[Figure]:
    """The import, against what every service with numpy and OpenTelemetry imports anyway."""

    def seconds(statement: str) -> float:
        code = f"import time; begin = time.perf_counter(); {statement}; print(time.perf_counter() - begin)"
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    ours, theirs = [], []
    for _ in range(_ROUNDS):
        theirs.append(seconds("import opentelemetry.metrics, numpy") * 1e6)
        ours.append(seconds("import windvane") * 1e6)
    yield figure("import", (ours, theirs), "import opentelemetry.metrics and numpy", 1.3)


@contextlib.contextmanager
def otlp_sink() -> Iterator[str]:
    """A receiver in a process of its own, so that the exporters work as they do in production."""
    sink = subprocess.Popen([sys.executable, _SINK], stdout=subprocess.PIPE, text=True)
    try:
        assert sink.stdout is not None
        yield f"http://127.0.0.1:{int(sink.stdout.readline())}"
    finally:
        sink.kill()
        sink.wait()


def main() -> None:
    """Measure everything, or the groups that are named."""
    groups: dict[str, Callable[[Switch], Iterator[Figure]]] = {
        "hot-path": hot_path,
        "frame": lambda _sampler: frame(),
        "throughput": lambda _sampler: throughput(),
        "import": lambda _sampler: import_time(),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[*groups, []], help="what to measure; everything by default")
    chosen = parser.parse_args().groups or list(groups)
    figures: list[Figure] = []
    with otlp_sink() as endpoint:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        os.environ["OTEL_METRIC_EXPORT_INTERVAL"] = "1000"
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # the receiver is gone before the exporters
        windvane.configure()
        sampler = Switch()
        trace.get_tracer_provider().sampler = sampler  # type: ignore[attr-defined]
        for group in chosen:
            for measured in groups[group](sampler):
                figures.append(measured)
                sys.stdout.write(
                    f"{measured.name}: {measured.value:,.1f} {measured.unit}; {measured.rival}: "
                    f"{measured.rival_value:,.1f}; ratio {measured.ratio:.3f}, goal {measured.goal:.2f}, "
                    f"{'met' if measured.met else 'not met'}\n"
                )
                sys.stdout.flush()
    target = Path("build/benchmarks.json")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps([{**asdict(f), "met": f.met} for f in figures], indent=2) + "\n")


if __name__ == "__main__":
    main()
