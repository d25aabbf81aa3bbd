"""One call under way: its span, its clock and its place in the queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from opentelemetry import context, trace
from opentelemetry.trace import StatusCode

from windvane import _events, _runtime, semconv
from windvane._capture import UnsupportedError
from windvane._probe_mark import is_probe
from windvane._version import __version__
from windvane._worker import lost
from windvane.bins import category_of
from windvane.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from windvane._capture import Capture, Column, Snapshot
    from windvane._counters import ModelCounters
    from windvane._issuer import CallTokens

__all__ = ["NO_OUTCOMES", "Prediction", "RowsOf", "StreamPrediction"]

RowsOf: TypeAlias = "Callable[[tuple[Any, ...], Mapping[str, Any]], object]"
"""Takes the rows out of the arguments of a call."""

NO_OUTCOMES: Final = "the model declares no outcomes; pass outcomes=windvane.Outcomes(...) to windvane.Model"

_UNSET: Final = object()
_CANCELLATIONS: Final = frozenset({"GeneratorExit", "CancelledError", "Cancelled"})
"""How generators, asyncio and trio end what nobody waits for any more; each is no `Exception`."""
_MAX_STREAM_OUTPUTS: Final = 10_000
"""Outputs of one stream that are kept until it ends."""

_tracer: Final = trace.get_tracer(semconv.SCOPE_NAME, __version__, schema_url=semconv.SCHEMA_URL)
"""The host's, also where the host sets its provider after this."""


class Prediction:
    """One call under way, as a context manager; afterwards the record that the worker counts.

    Nothing here is dear: on the caller's time there are a span, a snapshot and an entry in a queue. The
    worker counts the duration with the span's identity, so that an exemplar leads to it.

    Entry and exit let no exception of windvane's or of a provider's out: what they lose becomes a fault
    of the model's counters. (Adding one there is no call, so it cannot fail in turn.)

    Attributes:
        output: what the model answered; set it before the block ends.
    """

    __slots__ = (
        "_call_tokens",
        "_context",
        "_span",
        "_start",
        "_token",
        "capture",
        "captured_output",
        "captured_probabilities",
        "counters",
        "error_type",
        "exception_message",
        "output",
        "queued_at",
        "seconds",
        "snapshot",
        "span_context",
    )

    output: object
    captured_output: Column | None
    captured_probabilities: list[NDArray[np.float64]]
    snapshot: Snapshot | None
    span_context: trace.SpanContext | None
    error_type: str | None
    exception_message: str | None
    seconds: float
    queued_at: float

    def __init__(
        self,
        counters: ModelCounters,
        capture: Capture,
        rows_of: RowsOf,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Take the snapshot; the clock starts on entry."""
        self.counters = counters
        self.capture = capture
        self.output = _UNSET
        self.captured_output = self.snapshot = self.span_context = self.error_type = self.exception_message = None
        self.captured_probabilities = []
        self._span: trace.Span | None = None
        self._context: Any = None
        self._token: Any = None
        self._call_tokens: CallTokens | None = None
        try:
            self._take_snapshot(rows_of, args, kwargs)
        except Exception:  # noqa: BLE001 - telemetry is lost before the application is harmed
            counters.faults += 1

    @property
    def tokens(self) -> list[str | None]:
        """The tokens of the call after the block, one for each row, to report outcomes by.

        None where an output cannot be a prediction; no token at all before the end, and after an exception.

        Raises:
            DeclarationError: the model declares no outcomes.
        """
        if self.counters.issuer is None:
            raise DeclarationError(NO_OUTCOMES)
        return [] if self._call_tokens is None else self._call_tokens.texts()

    def __enter__(self) -> Self:
        """Start the span, under the caller's, and the clock."""
        self.counters.active.append(None)
        try:
            self._start_span()
            self._token = context.attach(self._context)
        except Exception:  # noqa: BLE001 - as above
            self.counters.faults += 1
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """End the span and queue the rest; an exception goes on to the caller."""
        self.seconds = time.perf_counter() - self._start
        if self.counters.active:  # a fork within the call has emptied it
            self.counters.active.pop()
        try:
            if error_class is not None:
                self._fail(error_class, error)
        except Exception:  # noqa: BLE001 - as above
            self.counters.faults += 1
        try:
            if self._token is not None:
                context.detach(self._token)
            self._end_span()
        except Exception:  # noqa: BLE001 - a span processor of the host's may raise
            self.counters.faults += 1
        try:
            self._queue()
        except Exception:  # noqa: BLE001 - as above
            self.counters.faults += 1

    def _take_snapshot(self, rows_of: RowsOf, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        try:
            self.snapshot = self.capture.snapshot(rows_of(args, kwargs))
        except UnsupportedError:
            lost(self.counters, "unsupported_input")
        except Exception:  # noqa: BLE001 - an object of the caller's may raise anything
            lost(self.counters, "capture_failed")

    def _start_span(self) -> None:
        counters = self.counters
        attributes: dict[str, Any] = counters.span_attributes
        if self.snapshot is not None and self.snapshot[2] != 1:
            attributes = {**attributes, semconv.PREDICTION_ROW_COUNT.name: self.snapshot[2]}
        self._span = span = _tracer.start_span(counters.span_name, attributes=attributes)
        self._context = trace.set_span_in_context(span)
        self.span_context = span.get_span_context()

    def _fail(self, error_class: type[BaseException], error: BaseException | None) -> None:
        # Whoever asked has gone away; the model has not failed.
        cancelled = not issubclass(error_class, Exception) and error_class.__name__ in _CANCELLATIONS
        name = f"{error_class.__module__}.{error_class.__qualname__}".removeprefix("builtins.")
        self.error_type = semconv.CANCELLED if cancelled else name
        if self._span is not None:
            # The message may hold a feature's value: only the type leaves the process, unless declared otherwise.
            self._span.set_attribute(semconv.ERROR_TYPE.name, self.error_type)
            if not cancelled:
                self._span.set_status(StatusCode.ERROR)
        if error is not None and not cancelled:
            self.exception_message = _events.exception_message(self.counters, self._span, error, name)

    def _end_span(self) -> None:
        if self._span is not None:
            self._span.end()
            self._span = None
        self._context = self._token = None  # while this is queued it must not hold the span

    def _queue(self) -> None:
        output, self.output = self.output, None
        if self.counters.takes_output and self.error_type is None and output is not _UNSET:
            rows = None if self.snapshot is None else self.snapshot[2]
            self.captured_output = self._take_output(output, rows)
        self._keep_tokens(self.captured_output)
        self._submit()

    def _submit(self) -> None:
        if not is_probe():  # its own runs are counted where it runs; here it is no traffic
            _runtime.worker.submit(self)

    def keyed_tokens(self) -> Iterator[tuple[str | None, str]]:
        """Give the token of each prediction with the caller's own key of its row; None where there is none."""
        if self._call_tokens is None or self.snapshot is None or not self.snapshot[2]:
            return
        keys = self.capture.key_column(self.snapshot)
        texts = self._call_tokens.texts()
        names = [None] * len(texts) if keys is None else [category_of(key) for key in keys]
        for name, text in zip(names, texts, strict=True):
            if text is not None:
                yield name, text

    def _keep_tokens(self, outputs: Column | None) -> None:
        if self.counters.issuer is not None:
            try:
                self._call_tokens = self.counters.issuer.issue(self, outputs)
            except Exception:  # noqa: BLE001 - the rest of the call is to be counted all the same
                self.counters.faults += 1

    def _take_output(self, output: object, rows: int | None) -> Column | None:
        column = None
        try:
            column = self.capture.output(output, rows)
            if self.counters.takes_probabilities and len(self.captured_probabilities) < _MAX_STREAM_OUTPUTS:
                self.captured_probabilities.append(self.capture.probabilities(output, rows))
        except UnsupportedError:
            lost(self.counters, "unsupported_output")
        except Exception:  # noqa: BLE001 - an object of the model's may raise anything
            lost(self.counters, "capture_failed")
        return column


class StreamPrediction(Prediction):
    """A call that answers item by item: its span lasts as long as the stream, and each item is an output.

    Between the items the code of whoever reads them runs, so the span is the current one only within a step.

    Attributes:
        step: context manager around each piece of work of the stream; set `output` within it.
    """

    __slots__ = ("_outputs", "_predicted", "step")

    def __enter__(self) -> Self:
        """Start the span and the clock."""
        self.counters.active.append(None)
        self._outputs: list[object] = []
        self._predicted: list[object] = []
        self.step = _Step(self)
        try:
            self._start_span()
        except Exception:  # noqa: BLE001 - telemetry is lost before the application is harmed
            self.counters.faults += 1
        self._start = time.perf_counter()
        return self

    @property
    def context(self) -> Any:  # noqa: ANN401 - OpenTelemetry's
        """The context in which the stream runs; None where its span could not be started."""
        return self._context

    def keep_item(self) -> None:
        """Take a snapshot of the item that a step has given."""
        output, self.output = self.output, _UNSET
        if output is _UNSET or not self.counters.takes_output:
            return
        column = self._take_output(output, None)
        if self.counters.issuer is not None and len(self._predicted) < _MAX_STREAM_OUTPUTS:
            self._predicted.extend([None] if column is None else column)  # so that items and tokens stay in step
        if column is None:
            return
        if len(self._outputs) + len(column) > _MAX_STREAM_OUTPUTS:
            lost(self.counters, "queue_full")
        else:
            self._outputs.extend(column)

    def _queue(self) -> None:
        # What was given out before the stream broke off was an answer all the same.
        self.captured_output = self._outputs or None
        self._keep_tokens(self._predicted)
        self._submit()


class _Step:
    """One step of a stream; like entry and exit of a prediction it lets no exception out."""

    __slots__ = ("_prediction", "_token")

    def __init__(self, prediction: StreamPrediction) -> None:
        self._prediction = prediction

    def __enter__(self) -> None:
        self._token: Any = None
        try:
            if self._prediction.context is not None:
                self._token = context.attach(self._prediction.context)
        except Exception:  # noqa: BLE001 - telemetry is lost before the application is harmed
            self._prediction.counters.faults += 1

    def __exit__(self, *_exception: object) -> None:
        try:
            if self._token is not None:
                context.detach(self._token)
            self._prediction.keep_item()
        except Exception:  # noqa: BLE001 - as above
            self._prediction.counters.faults += 1
