"""The queue between a call and the counters, and the one thread that empties it."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from windvane import _instruments
from windvane._capture import Snapshot

if TYPE_CHECKING:
    from windvane._capture import Capture, Column
    from windvane._counters import ModelCounters

__all__ = ["MAX_QUEUED_VALUES", "Record", "Worker"]

MAX_QUEUED_VALUES: Final = 2_000_000
"""Values that may wait; what comes on top is dropped and counted. One larger call is taken while nothing waits."""

_DRAIN_INTERVAL: Final = 0.1
"""Seconds between two drains; a queue that fills up wakes the worker sooner."""

_logger = logging.getLogger("windvane")


class Record(NamedTuple):
    """One call, as the worker needs it."""

    counters: ModelCounters
    capture: Capture
    snapshot: Snapshot | None
    output: Column | None
    queued_at: float

    @property
    def values(self) -> int:
        """Upper estimate of the values held, so that memory is bounded and not the number of calls."""
        rows = self.snapshot.rows if self.snapshot else 0
        return 1 + rows * (self.capture.width + 1)


class Worker:
    """Empties the queue in a daemon thread, which the first record starts."""

    def __init__(self) -> None:
        """Make an empty queue; no thread yet."""
        self.reset()

    def reset(self) -> None:
        """Begin anew: what a forked child inherits belongs to its parent."""
        self._lock = threading.Lock()
        self._queue: deque[Record] = deque()
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
            return sum(record.snapshot.rows for record in self._queue if record.snapshot)

    def submit(self, record: Record) -> None:
        """Queue a record, or drop and count it where the queue is full; never waits."""
        values = record.values
        with self._lock:
            queued = self._queued_values
            if queued and queued + values > MAX_QUEUED_VALUES:
                fits = False
            else:
                fits = True
                self._queued_values = queued + values
                self._queue.append(record)
        if not fits:
            lost(record.counters, "queue_full")
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
                records = list(self._queue)
                self._queue.clear()
                self._queued_values = 0
                self._busy = bool(records)
            if records:
                self.lag = time.monotonic() - records[0].queued_at
                try:
                    _count(records)
                except Exception:  # noqa: BLE001 - the thread must outlive any fault
                    for record in records:
                        lost(record.counters, "internal_error")
                with self._idle:
                    self._busy = False
                    self._idle.notify_all()


def lost(counters: ModelCounters, reason: str) -> None:
    """Count a loss, and log the first for each reason; no value and no message goes into the log."""
    if counters.drop(reason):
        name, version = counters.declaration[:2]
        _logger.warning("%s %s: records are lost (%s); logged once, counted from now on", name, version, reason)


def _count(records: list[Record]) -> None:
    by_model: defaultdict[ModelCounters, list[Record]] = defaultdict(list)
    for record in records:
        by_model[record.counters].append(record)
    for counters, group in by_model.items():
        for capture, snapshot in _merged(group):
            try:
                _instruments.rows.add(snapshot.rows, counters.labels)
                if snapshot.rows and counters.observe_inputs(capture.columns(snapshot)):
                    lost(counters, "unsupported_input")
            except Exception:  # noqa: BLE001 - one batch must not take the others with it
                lost(counters, "processing_failed")
        for output in _merged_outputs(group):
            try:
                counters.observe_output(output)
            except Exception:  # noqa: BLE001 - as above
                lost(counters, "processing_failed")


def _merged(records: list[Record]) -> list[tuple[Capture, Snapshot]]:
    """Join the small snapshots of rows into one, since counting has a price per column and batch."""
    tuples: defaultdict[Capture, list[tuple[object, ...]]] = defaultdict(list)
    merged: list[tuple[Capture, Snapshot]] = []
    for record in records:
        if record.snapshot is None:
            continue
        if record.snapshot.kind == "tuples":
            tuples[record.capture].extend(record.snapshot.content)
        else:
            merged.append((record.capture, record.snapshot))
    return [*((c, Snapshot("tuples", rows, len(rows))) for c, rows in tuples.items()), *merged]


def _merged_outputs(records: list[Record]) -> list[Column]:
    small: list[object] = []
    outputs: list[Column] = []
    for record in records:
        if isinstance(record.output, tuple | list):
            small.extend(record.output)
        elif record.output is not None:
            outputs.append(record.output)
    return [small, *outputs] if small else outputs
