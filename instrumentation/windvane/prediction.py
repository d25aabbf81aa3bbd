"""One call under way: its span, its clock and its place in the queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Self

from opentelemetry import context, trace
from opentelemetry.trace import StatusCode

from windvane import _runtime, semconv
from windvane._capture import UnsupportedError
from windvane._version import __version__
from windvane._worker import lost

if TYPE_CHECKING:
    from types import TracebackType

    from windvane._capture import Capture, Column, Snapshot
    from windvane._counters import ModelCounters

__all__ = ["Prediction"]

_UNSET: Final = object()

_tracer: Final = trace.get_tracer(semconv.SCOPE_NAME, __version__, schema_url=semconv.SCHEMA_URL)
"""The host's, also where the host sets its provider after this."""


class Prediction:
    """One call under way, as a context manager; afterwards the record that the worker counts.

    Nothing here is dear: on the caller's time there are a span, a snapshot and an entry in a queue. The
    worker counts the duration with the span's identity, so that an exemplar leads to it.

    Attributes:
        output: what the model answered; set it before the block ends.
    """

    __slots__ = (
        "_span",
        "_start",
        "_token",
        "capture",
        "captured_output",
        "counters",
        "error_type",
        "output",
        "queued_at",
        "seconds",
        "snapshot",
        "span_context",
    )

    output: object
    captured_output: Column | None
    snapshot: Snapshot | None
    span_context: trace.SpanContext | None
    error_type: str | None
    seconds: float
    queued_at: float

    def __init__(self, counters: ModelCounters, capture: Capture, rows: object) -> None:
        """Take the snapshot; the clock starts on entry."""
        self.counters = counters
        self.capture = capture
        self.output = _UNSET
        self.captured_output = self.snapshot = self.span_context = self.error_type = None
        self._span: trace.Span | None = None
        try:
            self.snapshot = capture.snapshot(rows)
        except UnsupportedError:
            lost(counters, "unsupported_input")
        except Exception:  # noqa: BLE001 - an object of the caller's may raise anything
            lost(counters, "capture_failed")

    def __enter__(self) -> Self:
        """Start the span, under the caller's, and the clock."""
        counters = self.counters
        counters.active.append(None)
        try:
            attributes: dict[str, Any] = counters.span_attributes
            if self.snapshot is not None and self.snapshot[2] != 1:
                attributes = {**attributes, semconv.PREDICTION_ROW_COUNT.name: self.snapshot[2]}
            span = _tracer.start_span(counters.span_name, attributes=attributes)
            self._token: Any = context.attach(trace.set_span_in_context(span))
            self._span = span
            self.span_context = span.get_span_context()
        except Exception:  # noqa: BLE001 - telemetry is lost before the application is harmed
            lost(counters, "internal_error")
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """End the span and queue the rest; an exception goes on to the caller."""
        self.seconds = time.perf_counter() - self._start
        try:
            if error_class is not None:
                self._fail(error_class)
        except Exception:  # noqa: BLE001 - as above
            lost(self.counters, "internal_error")
        try:
            self._leave()
        except Exception:  # noqa: BLE001 - a span processor of the host's may raise
            lost(self.counters, "internal_error")
        try:
            self._queue()
        except Exception:  # noqa: BLE001 - as above
            lost(self.counters, "internal_error")

    def _fail(self, error_class: type[BaseException]) -> None:
        self.error_type = f"{error_class.__module__}.{error_class.__qualname__}".removeprefix("builtins.")
        if self._span is not None:
            # The message may hold a feature's value: only the type leaves the process.
            self._span.set_attribute(semconv.ERROR_TYPE.name, self.error_type)
            self._span.set_status(StatusCode.ERROR)

    def _leave(self) -> None:
        if self.counters.active:  # a fork within the call has emptied it
            self.counters.active.pop()
        if self._span is not None:
            context.detach(self._token)
            self._span.end()
            self._span = None

    def _queue(self) -> None:
        output, self.output = self.output, None
        if self.counters.takes_output and self.error_type is None and output is not _UNSET:
            try:
                rows = None if self.snapshot is None else self.snapshot[2]
                self.captured_output = self.capture.output(output, rows)
            except UnsupportedError:
                lost(self.counters, "unsupported_output")
            except Exception:  # noqa: BLE001 - an object of the model's may raise anything
                lost(self.counters, "capture_failed")
        _runtime.worker.submit(self)
