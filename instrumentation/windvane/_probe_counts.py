"""What the probes of one process have found, and how it reads as metric streams."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from windvane import semconv
from windvane._durations import Durations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import SpanContext

    from windvane._counters import Point, Stream

__all__ = ["MAX_PROBES", "ProbeCounts", "ProbeKey"]

MAX_PROBES: Final = 100
"""Probes that a process counts; each has some thirty series."""


class ProbeKey(NamedTuple):
    """What the results of a probe are counted under.

    Attributes:
        model: name of the model that is asked.
        version: its version; None for whichever answers.
        name: of the probe.
    """

    model: str
    version: str | None
    name: str

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of its data points."""
        named = (
            (semconv.MODEL_NAME, self.model),
            (semconv.MODEL_VERSION, self.version),
            (semconv.PROBE_NAME, self.name),
        )
        return {attribute.name: value for attribute, value in named if value is not None}


class ProbeCounts:
    """Counts the runs of probes in this process, until a fork starts it anew."""

    def __init__(self) -> None:
        """Begin without a probe."""
        self._results: dict[ProbeKey, Counter[str]] = {}
        self._durations: dict[ProbeKey, Durations] = {}
        self.reset()

    def reset(self) -> None:
        """Begin at zero, with a lock of this process's own."""
        self._lock = threading.Lock()
        self._results = {key: Counter() for key in self._results}
        self._durations = {key: Durations() for key in self._results}
        self.start_time_ns = time.time_ns()

    def __bool__(self) -> bool:
        """Whether there is any probe."""
        return bool(self._results)

    @property
    def shown(self) -> bool:
        """Whether every series has been exported; the first time, it is at zero."""
        with self._lock:
            return all(durations.shown for durations in self._durations.values())

    def declare(self, key: ProbeKey) -> bool:
        """Begin to export a probe; False where there are too many already."""
        with self._lock:
            if key not in self._results:
                if len(self._results) >= MAX_PROBES:
                    return False
                self._results[key] = Counter()
                self._durations[key] = Durations()
            return True

    def add(self, key: ProbeKey, result: str, seconds: float, span: SpanContext | None) -> None:
        """Count a run of a declared probe."""
        with self._lock:
            self._results[key][result] += 1
            self._durations[key].observe([seconds], [span])

    def streams(self) -> Iterator[Stream]:
        """Read everything that is exported; a series is shown at zero first."""
        with self._lock:
            runs: list[Point] = []
            durations: list[Point] = []
            for key, results in self._results.items():
                first = not self._durations[key].shown
                for result in semconv.PROBE_RESULT.values:
                    attributes = {**key.attributes, semconv.PROBE_RESULT.name: result}
                    runs.append((attributes, 0 if first else results[result]))
                durations.append((key.attributes, self._durations[key].take()))
        yield semconv.PROBE_RUNS, runs
        yield semconv.PROBE_DURATION, durations
