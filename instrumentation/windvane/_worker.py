"""The queue between a call and the counters, and the one thread that empties it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from windvane._capture import Capture, Column, Snapshot
    from windvane._counters import ModelCounters
    from windvane.prediction import Prediction

__all__ = ["MAX_QUEUED_VALUES", "Worker", "lost"]

MAX_QUEUED_VALUES: Final = 2_000_000
"""Values that may wait; what comes on top is dropped and counted. One larger call is taken while nothing waits."""

_DRAIN_INTERVAL: Final = 0.1
"""Seconds between two drains; a queue that fills up wakes the worker sooner."""

_logger = logging.getLogger("windvane")


class Worker:
    """Empties the queue in a daemon thread, which the first record starts."""

    def __init__(self) -> None:
        """Make an empty queue; no thread yet."""
        self.reset()

    def reset(self) -> None:
        """Begin anew: what a forked child inherits belongs to its parent."""
        self._lock = threading.Lock()
        self._queue: deque[Prediction] = deque()
        self._queued_values = 0
        self._wake = threading.Event()
        self._idle = threading.Condition(self._lock)
        self._busy = False
        self._thread: threading.Thread | None = None
        self.lag = 0.0

    @property
    def queued_rows(self) -> int:
        """Rows that wait."""
        with self._lock:
            return sum(call.snapshot[2] for call in self._queue if call.snapshot is not None)

    def submit(self, call: Prediction) -> None:
        """Queue a call; never waits.

        Where the queue is full its values are dropped and counted; its duration is recorded all the same.
        """
        # An upper estimate of the values held, so that memory is bounded and not the number of calls.
        values = 1 if call.snapshot is None else 1 + call.snapshot[2] * call.capture.row_values
        call.queued_at = time.monotonic()
        with self._lock:
            queued = self._queued_values
            fits = not queued or queued + values <= MAX_QUEUED_VALUES
            if fits:
                self._queued_values = queued + values
                self._queue.append(call)
        if not fits:
            _count_durations(call.counters, [call])
            lost(call.counters, "queue_full")
            return
        if self._thread is None:
            self._start()
        if queued + values > MAX_QUEUED_VALUES // 4:
            self._wake.set()

    def drain(self, timeout: float) -> bool:
        """Wait until everything queued so far is counted; False where that takes longer than `timeout` seconds."""
        if self._thread is None:
            return True
        self._wake.set()
        with self._idle:
            return self._idle.wait_for(lambda: not self._queue and not self._busy, timeout)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="windvane-worker", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.wait(_DRAIN_INTERVAL)
            self._wake.clear()
            with self._lock:
                calls, self._queue = self._queue, deque()
                self._queued_values = 0
                self._busy = bool(calls)
            if calls:
                self.lag = time.monotonic() - calls[0].queued_at
                try:
                    _count(calls)
                except Exception:  # noqa: BLE001 - the thread must outlive any fault
                    for call in calls:
                        call.counters.faults += 1
                del calls
                with self._idle:
                    self._busy = False
                    self._idle.notify_all()


def lost(counters: ModelCounters, reason: str, records: int = 1) -> None:
    """Count the records of calls that are lost, and log the first for each reason, without values or messages."""
    if counters.drop(reason, records):
        name, version = counters.declaration[:2]
        _logger.warning("%s %s: records are lost (%s); logged once, counted from now on", name, version, reason)


def _count_durations(counters: ModelCounters, calls: Iterable[Prediction]) -> None:
    by_error: defaultdict[str | None, list[Prediction]] = defaultdict(list)
    for call in calls:
        by_error[call.error_type].append(call)
    for error_type, group in by_error.items():
        counters.observe_calls(error_type, [call.seconds for call in group], [call.span_context for call in group])


def _count(calls: deque[Prediction]) -> None:
    by_model: defaultdict[ModelCounters, list[Prediction]] = defaultdict(list)
    for call in calls:
        by_model[call.counters].append(call)
    for counters, group in by_model.items():
        try:
            _count_durations(counters, group)
        except Exception:  # noqa: BLE001 - one model must not take the others with it
            lost(counters, "internal_error", len(group))
        for capture, snapshot, records in _merged(group):
            try:
                rows = snapshot[2]
                counters.observe_rows(rows)
                if rows and counters.observe_inputs(capture.columns(snapshot)):
                    lost(counters, "unsupported_input")
            except Exception:  # noqa: BLE001 - as above
                lost(counters, "processing_failed", records)
        for output, records in _merged_outputs(group):
            try:
                counters.observe_output(output)
            except Exception:  # noqa: BLE001 - as above
                lost(counters, "processing_failed", records)


def _merged(calls: list[Prediction]) -> list[tuple[Capture, Snapshot, int]]:
    """Join the small snapshots of rows into one, since counting has a price per column and batch.

    With each comes the number of calls that it is made of.
    """
    tuples: defaultdict[Capture, list[tuple[object, ...]]] = defaultdict(list)
    joined: Counter[Capture] = Counter()
    merged: list[tuple[Capture, Snapshot, int]] = []
    for call in calls:
        if call.snapshot is None:
            continue
        kind, content, _ = call.snapshot
        if kind == "tuples":
            tuples[call.capture].extend(content)
            joined[call.capture] += 1
        else:
            merged.append((call.capture, call.snapshot, 1))
    return [*((capture, ("tuples", rows, len(rows)), joined[capture]) for capture, rows in tuples.items()), *merged]


def _merged_outputs(calls: list[Prediction]) -> list[tuple[Column, int]]:
    """Join the small outputs; with each comes the number of calls that it is made of."""
    small: list[object] = []
    joined = 0
    outputs: list[tuple[Column, int]] = []
    for call in calls:
        if isinstance(call.captured_output, tuple | list):
            small.extend(call.captured_output)
            joined += 1
        elif call.captured_output is not None:
            outputs.append((call.captured_output, 1))
    return [(small, joined), *outputs] if small else outputs
