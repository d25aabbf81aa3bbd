"""Sends chunks of profiles through OTLP, on a thread and from a queue of their own.

A log record of this size would push others out of a shared queue, and one that is refused would take a whole batch
with it. A chunk that could not be sent is tried again: its id and index let whoever stores it tell that it came twice.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from windvane import _events, semconv
from windvane._export import host_has_sdk_metrics, importing
from windvane._sender import Sender
from windvane._worker import lost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.resources import Resource

    from windvane._counters import ModelCounters
    from windvane._profiler import Chunk

__all__ = ["MAX_QUEUED_BYTES", "ProfileSender"]

MAX_QUEUED_BYTES: Final = 16 * 2**20
"""Of bodies that wait; what is oldest goes, and is counted."""

_BATCH_BYTES: Final = 2**20
"""Of bodies in one message: well below the 4 MiB at which gRPC messages end."""

_POLL_INTERVAL: Final = 1.0
"""Seconds between two looks whether the host has set up its SDK by now."""

_PAUSE_AFTER_FAULT: Final = 1.0
"""Seconds that the thread rests after a fault of its own."""

_logger = logging.getLogger("windvane")


class ProfileSender(Sender["tuple[ModelCounters, Chunk]"]):
    """Sends what is submitted, in order as far as nothing fails.

    Args:
        resource: gives the resource of this process.
    """

    def __init__(self, resource: Callable[[], Resource]) -> None:
        """Make an empty queue; the first chunk starts the thread."""
        self._resource = resource
        super().__init__("windvane-profiles")

    def reset(self) -> None:
        """Begin anew: what a forked child inherits belongs to its parent."""
        super().reset()
        self._queued_bytes = 0
        self._exporter: LogRecordExporter | None = None
        self._warned = False
        self.exports: Counter[str] = Counter()

    @property
    def queued_bytes(self) -> int:
        """Bytes of bodies that wait."""
        return self._queued_bytes

    def submit(self, counters: ModelCounters, chunks: Sequence[Chunk]) -> None:
        """Queue chunks of a model; never waits."""
        with self._condition:
            self._queue.extend((counters, chunk) for chunk in chunks)
            self._queued_bytes += sum(len(chunk.body) for chunk in chunks)
            dropped = []
            while self._queued_bytes > MAX_QUEUED_BYTES:
                dropped.append(self._pop()[0])
            self._awake()
        for whose in dropped:
            lost(whose, "profile_dropped")

    def flush(self, timeout: float) -> bool:
        """Send what waits, now; False where that takes longer than `timeout` seconds or fails."""
        if not host_has_sdk_metrics():  # nothing can be sent, and waiting would not help
            return not self._queue
        return super().flush(timeout)

    def _pop(self) -> tuple[ModelCounters, Chunk]:
        pair = self._queue.popleft()
        self._queued_bytes -= len(pair[1].body)
        return pair

    def _work(self) -> None:
        last = False
        while not last:
            batch: list[tuple[ModelCounters, Chunk]] = []
            try:
                last = self._send_next(batch)
            except Exception:  # noqa: BLE001 - the thread must outlive any fault
                for counters, _ in batch:
                    counters.faults += 1
                with self._condition:
                    self._sending = False
                    self._failures += 1
                    last = self._stopping
                    self._condition.notify_all()
                time.sleep(_PAUSE_AFTER_FAULT)
        if self._exporter is not None:
            self._exporter.shutdown()  # type: ignore[no-untyped-call] # the SDK gives it no types

    def _send_next(self, batch: list[tuple[ModelCounters, Chunk]]) -> bool:
        """Wait for chunks and send some; tell whether that was the end.

        Args:
            batch: where those that are sent are put.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._queue or self._stopping)
            if host_has_sdk_metrics():
                self._take(batch)
            last = self._stopping
        if batch:
            error = self._send([chunk for _, chunk in batch])
            self.exports[error] += 1
            if self._exporter is None:
                for counters, _ in batch:
                    lost(counters, "profile_dropped")
            with self._condition:
                self._sending = False
                self._failures = self._failures + 1 if error else 0
                if error and self._exporter is not None:
                    # Behind the others, so that one which is refused for ever does not hold them up.
                    self._queue.extend(batch)
                    self._queued_bytes += sum(len(chunk.body) for _, chunk in batch)
                self._condition.notify_all()
        with self._condition:
            if last and (not self._queue or self._failures or not batch):
                return True
            if not batch:
                self._pause(_POLL_INTERVAL)
            elif self._failures:
                self._pause()
        return False

    def _take(self, batch: list[tuple[ModelCounters, Chunk]]) -> None:
        """Take what is sent together: after a failure one chunk, lest a single one that is refused stop them all."""
        size = 0
        while self._queue and (
            not batch or (not self._failures and size + len(self._queue[0][1].body) <= _BATCH_BYTES)
        ):
            batch.append(self._pop())
            size += len(batch[-1][1].body)
        self._sending = bool(batch)

    def _send(self, chunks: list[Chunk]) -> str:
        """Send some chunks; return what went wrong, or nothing."""
        try:
            if self._exporter is None:
                with importing:
                    self._exporter = _events.make_log_exporter()
            if self._exporter is None:
                self._warn("OTEL_LOGS_EXPORTER turns logs off")
                return "no_exporter"
            result = self._exporter.export(self._records(chunks))
        except Exception as error:  # noqa: BLE001 - the thread must outlive any fault
            if self._exporter is None:
                self._warn(str(error))
            return type(error).__qualname__
        return "" if result.name == "SUCCESS" else "export_failed"

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            _logger.warning("profiles are declared and cannot be exported, so they are dropped: %s", why)

    def _records(self, chunks: list[Chunk]) -> list[Any]:
        with importing:
            from opentelemetry._logs import LogRecord  # noqa: PLC0415 - a private name may go away
            from opentelemetry.sdk._logs import ReadableLogRecord  # noqa: PLC0415 - the SDK is an extra
            from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

        scope = InstrumentationScope(semconv.SCOPE_NAME, semconv.VERSION, semconv.SCHEMA_URL)
        now = time.time_ns()
        return [
            ReadableLogRecord(
                LogRecord(
                    timestamp=chunk.time_ns,
                    observed_timestamp=now,
                    event_name=semconv.PROFILE_EVENT.name,
                    attributes=dict(chunk.attributes),
                    body=chunk.body,
                ),
                self._resource(),
                scope,
            )
            for chunk in chunks
        ]
