"""The queue between a call and the counters, and the one thread that empties it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Final

import numpy as np

from windvane import _events, semconv
from windvane._capture import bytes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from windvane._capture import Capture, Column, Snapshot
    from windvane._counters import ModelCounters
    from windvane.prediction import Prediction

__all__ = ["CPU_SHARE", "MAX_HELD_BYTES", "Worker", "lost"]

MAX_HELD_BYTES: Final = 16 * 2**20
"""Bytes, by estimate, in calls that wait or are being counted; what comes on top is dropped and counted.

One larger call is taken while there is no other.
"""

CPU_SHARE: Final = 0.5
"""Share of one core that the worker takes at most; the queue overflows where that is not enough."""

_CALL_BYTES: Final = 700
_CELL_BYTES: Final = 8
"""A number in an array."""

_ROWS_PER_MEASUREMENT: Final = 16
"""Of single rows one in so many is measured, and taken for those that follow."""
_SAMPLED_ROWS: Final = 8
"""Rows of a call that are looked at for values that are no numbers."""

_SLICE: Final = 0.0001
"""Seconds of CPU that the worker takes before it rests: about as long a call may have to wait for the interpreter."""

_LONG_SLICE: Final = 0.005
"""The same while the queue fills up, since it may take as long to get the interpreter back from a busy service."""

_DRAIN_INTERVAL: Final = 0.1
"""Seconds between two drains; a queue that fills up wakes the worker sooner."""

_logger = logging.getLogger("windvane")


class Worker:
    """Empties the queue in a daemon thread, which the first record starts."""

    def __init__(self, before_batch: Callable[[Callable[[], None]], None]) -> None:
        """Make an empty queue; no thread yet.

        Args:
            before_batch: called in the thread before each batch, and several times a second where there is none; it
                gets what it is to call now and then, which may sleep.
        """
        self._before_batch = before_batch
        self.reset()

    def reset(self) -> None:
        """Begin anew: what a forked child inherits belongs to its parent."""
        self._lock = threading.Lock()
        self._queue: deque[Prediction] = deque()
        self._held_bytes = 0
        self._waiting = 0
        self._rested_at = 0.0
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
        call.queued_at = time.monotonic()
        try:
            size = _held_bytes(call)
        except Exception:  # noqa: BLE001 - an object of the caller's may raise anything when asked for its size
            call.snapshot = call.captured_output = None
            call.captured_probabilities = []
            size = _CALL_BYTES
            lost(call.counters, "capture_failed")
        with self._lock:
            held = self._held_bytes
            fits = not held or held + size <= MAX_HELD_BYTES
            if fits:
                self._held_bytes = held + size
                self._queue.append(call)
        if not fits:
            _count_durations(call.counters, [call])
            lost(call.counters, "queue_full")
            return
        if self._thread is None:
            self._start()
        if held + size > MAX_HELD_BYTES // 4:
            self._wake.set()

    def drain(self, timeout: float) -> bool:
        """Wait until everything queued so far is counted; False where that takes longer than `timeout` seconds."""
        if self._thread is None:
            return True
        self._wake.set()
        with self._idle:
            self._waiting += 1
            try:
                return self._idle.wait_for(lambda: not self._queue and not self._busy, timeout)
            finally:
                self._waiting -= 1

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
                size = self._held_bytes  # of these calls alone: the last ones are counted
                self._busy = bool(calls)
            with contextlib.suppress(Exception):  # it counts its own faults
                self._before_batch(self._rest)
            if calls:
                self.lag = time.monotonic() - calls[0].queued_at
                try:
                    _count(calls, self._rest)
                except Exception:  # noqa: BLE001 - the thread must outlive any fault
                    for call in calls:
                        call.counters.faults += 1
                del calls
                with self._idle:
                    self._held_bytes -= size
                    self._busy = False
                    self._idle.notify_all()

    def _rest(self) -> None:
        """Sleep in proportion to the CPU taken since the last rest, unless somebody waits for the counts."""
        used = time.thread_time() - self._rested_at
        behind = self._held_bytes > MAX_HELD_BYTES // 4
        if used < (_LONG_SLICE if behind else _SLICE):
            return
        if not self._waiting:
            time.sleep(used * (1 / CPU_SHARE - 1))
        self._rested_at = time.thread_time()


def lost(counters: ModelCounters, reason: str, records: int = 1) -> None:
    """Count the records of calls that are lost, and log the first for each reason, without values or messages."""
    if counters.drop(reason, records):
        name, version = counters.declaration[:2]
        _logger.warning("%s %s: records are lost (%s); logged once, counted from now on", name, version, reason)


def _held_bytes(call: Prediction) -> int:
    """Estimate what a call holds, a number of the caller's included; values within frames count as numbers."""
    output = call.captured_output
    size = _CALL_BYTES if output is None or type(output) is tuple else _CALL_BYTES + bytes_of(output)
    for table in call.captured_probabilities:
        size += table.nbytes
    if call.snapshot is None or call.snapshot[1] is None:
        return size
    kind, content, rows = call.snapshot[:3]
    capture = call.capture
    if kind == "tuples":
        if rows == 1:
            # Looking at each value of each row would cost as much as the snapshot itself.
            if capture.unmeasured_rows == 0:
                capture.unmeasured_rows = _ROWS_PER_MEASUREMENT
                capture.row_bytes = bytes_of(content[0])
            capture.unmeasured_rows -= 1
            return size + capture.row_bytes
        sample = content[:: rows // _SAMPLED_ROWS + 1]
        return size + sum(map(bytes_of, sample)) * rows // max(1, len(sample))
    if kind == "array":
        return size + bytes_of(content)
    columns = len(content[0]) if kind == "named" else capture.row_values
    return size + rows * columns * _CELL_BYTES


def _count_durations(counters: ModelCounters, calls: Iterable[Prediction]) -> None:
    by_error: defaultdict[str | None, list[Prediction]] = defaultdict(list)
    for call in calls:
        by_error[call.error_type].append(call)
    for error_type, group in by_error.items():
        counters.observe_calls(error_type, [call.seconds for call in group], [call.span_context for call in group])


def _count(calls: deque[Prediction], rest: Callable[[], None]) -> None:
    by_model: defaultdict[ModelCounters, list[Prediction]] = defaultdict(list)
    for call in calls:
        by_model[call.counters].append(call)
    for counters, group in by_model.items():
        try:
            _count_durations(counters, group)
        except Exception:  # noqa: BLE001 - one model must not take the others with it
            lost(counters, "internal_error", len(group))
        _hand_keys_on(counters, group, rest)
        for capture, snapshot, joined in _merged(group):
            try:
                _count_rows(counters, capture, snapshot, joined, rest)
            except Exception:  # noqa: BLE001 - as above
                lost(counters, "processing_failed", len(joined))
        _count_outputs(counters, group, rest)
        try:
            failed = _events.emit(counters, group, rest)
        except Exception:  # noqa: BLE001 - as above
            failed = len(group)
        if failed:
            lost(counters, "event_failed", failed)


def _hand_keys_on(counters: ModelCounters, calls: list[Prediction], rest: Callable[[], None]) -> None:
    """Have the keys of predictions sent, where they are declared."""
    if counters.key_sender is None:
        return
    for call in calls:
        rest()
        try:
            unnamed = counters.key_sender.submit(counters, call.keyed_tokens())
        except Exception:  # noqa: BLE001 - one call must not take the others with it
            unnamed = 1
        if unnamed:
            lost(counters, "key_dropped", unnamed)


def _count_rows(
    counters: ModelCounters, capture: Capture, snapshot: Snapshot, calls: list[Prediction], rest: Callable[[], None]
) -> None:
    rows = snapshot[2]
    counters.observe_rows(rows)
    if not rows:
        return
    unread = counters.observe_inputs(_paced(capture.columns(snapshot), rest))
    if capture.event_times:
        unread += counters.observe_ages(capture.event_time_columns(snapshot), _called(calls))
    if unread:
        lost(counters, "unsupported_input")
    _count_unexpected(counters, capture.unexpected(snapshot))


def _count_outputs(counters: ModelCounters, calls: list[Prediction], rest: Callable[[], None]) -> None:
    for output, records in _merged_outputs(calls):
        try:
            rest()
            counters.observe_output(output)
        except Exception:  # noqa: BLE001 - one call must not take the others with it
            lost(counters, "processing_failed", records)
    if counters.takes_probabilities:
        try:
            rest()
            counters.observe_probabilities(table for call in calls for table in call.captured_probabilities)
        except Exception:  # noqa: BLE001 - as above
            lost(counters, "processing_failed", len(calls))


def _paced(columns: Iterable[Column | None], rest: Callable[[], None]) -> Iterator[Column | None]:
    for column in columns:
        rest()
        yield column


def _count_unexpected(counters: ModelCounters, values: int) -> None:
    if counters.observe_unexpected(values):
        name, version = counters.declaration[:2]
        _logger.warning(
            "%s %s: rows have names that the baseline does not know; logged once, counted from now on as the %s "
            "violations of %s. The names stay here, as they are text from outside",
            name,
            version,
            semconv.UNEXPECTED,
            semconv.UNEXPECTED_FEATURE,
        )


def _called(calls: list[Prediction]) -> NDArray[np.float64]:
    """Return when the call of each row began, in seconds since 1970-01-01 UTC."""
    wall_clock = time.time() - time.monotonic()
    begun = [wall_clock + call.queued_at - call.seconds for call in calls]
    return np.repeat(begun, [call.snapshot[2] for call in calls if call.snapshot is not None])


def _merged(calls: list[Prediction]) -> list[tuple[Capture, Snapshot, list[Prediction]]]:
    """Join the small snapshots of rows into one, since counting has a price per column and batch.

    With each come the calls that it is made of.
    """
    small: defaultdict[Capture, list[Prediction]] = defaultdict(list)
    merged: list[tuple[Capture, Snapshot, list[Prediction]]] = []
    for call in calls:
        if call.snapshot is None:
            continue
        if call.snapshot[0] == "tuples":
            small[call.capture].append(call)
        else:
            merged.append((call.capture, call.snapshot, [call]))
    for capture, joined in small.items():
        snapshots = [call.snapshot for call in joined if call.snapshot is not None]
        rows = [row for snapshot in snapshots for row in snapshot[1]]
        merged.append((capture, ("tuples", rows, len(rows), sum(snapshot[3] for snapshot in snapshots)), joined))
    return merged


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
