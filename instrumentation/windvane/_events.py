"""Makes prediction events of calls, and emits them through OpenTelemetry's logs.

The one module that touches the logs API, which opentelemetry-python still keeps under a private name: it is
looked up when something is emitted, so that its absence costs events and nothing else. All of it but
`exception_message` runs on the worker's thread.
"""

from __future__ import annotations

import math
import os
import sys
import time
import traceback
from contextlib import contextmanager
from datetime import date, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

import numpy as np
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from windvane import semconv
from windvane._export import protocol_of
from windvane._version import __version__
from windvane.bins import _is_null, _plain
from windvane.declaration import did_you_mean
from windvane.errors import DeclarationError
from windvane.events import HASH_KEY, MAX_EVENT_ROWS, MIN_HASH_KEY_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import UnionType

    from opentelemetry._logs import Logger
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import LogRecordExporter

    from windvane._counters import ModelCounters
    from windvane.events import PredictionEvents
    from windvane.prediction import Prediction
    from windvane.tokens import Token

__all__ = [
    "Emitter",
    "any_value",
    "emit",
    "exception_message",
    "logger_provider",
    "make_logger_provider",
    "report_record",
    "sending",
]

AnyValue: TypeAlias = "str | bool | int | float | bytes | list[AnyValue] | dict[str, AnyValue] | None"
"""What an attribute or body may hold, in OTLP's terms."""

# A batch of the SDK has 512 records, and a message by gRPC 4 MiB: one record too large loses its whole batch. So
# an event has 8 KiB at most: 5,500 bytes of body, 1 KiB of message, and names and types of bounded length.
_MAX_BODY_BYTES: Final = 5500
_MAX_VALUE_BYTES: Final = 1024
_MIN_VALUE_BYTES: Final = 40
"""What a digest takes; any number takes less."""
_MAX_MESSAGE_BYTES: Final = 1024
_MAX_TYPE_BYTES: Final = 256
_MAX_STACKTRACE_BYTES: Final = 8192
_MAX_HASHED_BYTES: Final = 1_000_000
_BODY_OVERHEAD: Final = 100
_FIELD_OVERHEAD: Final = 12  # tags and lengths of a name and its value
_NESTED_OVERHEAD: Final = 6
_MAX_DEPTH: Final = 4
_DIGEST_BYTES: Final = 16
_INT64: Final = range(-(2**63), 2**63)
_MAX_DECIMAL_BITS: Final = 2048
"""Longer integers are written in hex: Python limits the conversion of long decimals, and it takes long."""
_TRACE_ID_LIMIT: Final = 2**64
"""The SDK's sampler looks at the lower half of a trace id."""
_CUT: Final = "…"


def exception_message(counters: ModelCounters, span: Span | None, error: BaseException, error_type: str) -> str | None:
    """Record an exception on the span and return its message, where the model is declared so; else return None.

    Runs in the call. The span gets what `record_exception` would give it, within bounds.
    """
    if not counters.declaration.exception_messages:
        return None
    message, _ = _bounded_text(str(error), _MAX_MESSAGE_BYTES)
    if span is not None and span.is_recording():
        trace = "".join(traceback.format_exception(error))
        span.set_status(StatusCode.ERROR, message)
        span.add_event(
            semconv.EXCEPTION_SPAN_EVENT,
            {
                semconv.EXCEPTION_TYPE.name: error_type,
                semconv.EXCEPTION_MESSAGE.name: message,
                # The end is where it happened.
                semconv.EXCEPTION_STACKTRACE.name: trace.encode("utf-8", "replace")[-_MAX_STACKTRACE_BYTES:].decode(
                    "utf-8", "ignore"
                ),
            },
        )
    return message


def emit(counters: ModelCounters, calls: Iterable[Prediction], rest: Callable[[], None]) -> int:
    """Emit the events of calls of one model; return for how many calls that failed.

    Args:
        counters: what counts the calls.
        calls: the calls.
        rest: is called before each event leaves, and may sleep.
    """
    emitter = counters.emitter
    if emitter is None:
        return 0
    sampled = [call for call in calls if emitter.samples(call)]
    if not sampled:
        return 0
    failed = 0
    try:
        with sending(semconv.PREDICTION_EVENT) as logger:
            if logger is None:
                return 0
            for call in sampled:
                try:
                    for record in emitter.records(call):
                        rest()
                        logger.emit(**record)
                except Exception:  # noqa: BLE001 - one call must not take the others with it
                    failed += 1
    except Exception:  # noqa: BLE001 - also where there is no logs API any more
        return len(sampled)
    return failed


@contextmanager
def sending(event: semconv.Event) -> Iterator[Logger | None]:
    """Give a logger of the host's provider; None where nobody wants the event."""
    # Keeps the host's instrumentation from tracing what an exporter does that sends at once.
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # noqa: FBT003 - OpenTelemetry's signature
    try:
        logger = _get_logger()
        yield logger if logger.enabled(event_name=event.name) else None
    finally:
        detach(token)


def report_record(event: semconv.Event, token: Token, value: str) -> dict[str, Any]:
    """Make the log record of an outcome or of feedback, in the trace of its prediction.

    Args:
        event: `ml.outcome` or `ml.feedback`.
        token: the prediction's.
        value: the outcome's result, or the kind of feedback.
    """
    from opentelemetry._logs import SeverityNumber  # noqa: PLC0415 - a private name may go away

    attributes = {
        semconv.EVENT_NAME.name: event.name,
        semconv.MODEL_NAME.name: token.model,
        semconv.MODEL_VERSION.name: token.version,
        semconv.PREDICTION_ID.name: token.prediction_id,
        event.attributes[-1].name: value,
    }
    if token.variant is not None:
        attributes[semconv.MODEL_VARIANT.name] = token.variant
    span = SpanContext(token.trace_id, token.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return {
        "timestamp": time.time_ns(),
        "severity_number": SeverityNumber.INFO,
        "severity_text": "INFO",
        "attributes": attributes,
        "event_name": event.name,
        "body": None,
        "context": set_span_in_context(NonRecordingSpan(span)),
    }


def _get_logger() -> Logger:
    """Return a logger of the host's provider, also where the host sets its provider after this."""
    from opentelemetry._logs import get_logger  # noqa: PLC0415 - a private name may go away

    return get_logger(semconv.SCOPE_NAME, __version__, schema_url=semconv.SCHEMA_URL)


def logger_provider() -> object:
    """Return the global logger provider; None where nobody has looked for one."""
    logs = sys.modules.get("opentelemetry._logs")
    return None if logs is None else logs.get_logger_provider()


def host_has_logger_provider() -> bool:
    """Whether somebody has set the global logger provider.

    Raises:
        ImportError: OpenTelemetry's logs are no more where they were.
    """
    from opentelemetry._logs import get_logger_provider  # noqa: PLC0415 - a private name may go away
    from opentelemetry._logs._internal import ProxyLoggerProvider  # noqa: PLC0415

    return not isinstance(get_logger_provider(), ProxyLoggerProvider)


def make_logger_provider() -> LoggerProvider | None:
    """Make a provider that sends through OTLP, and make it the global one.

    Returns:
        None where there is one already, or the standard `OTEL_*` variables say that no logs leave.

    Raises:
        ImportError: the extra `otlp` is not installed, or the SDK's logs are no more where they were.
        ValueError: the protocol is unknown.
    """
    from opentelemetry._logs import set_logger_provider  # noqa: PLC0415 - a private name may go away

    if host_has_logger_provider():
        return None
    exporter = make_log_exporter()
    if exporter is None:
        return None
    from opentelemetry.sdk._logs import LoggerProvider  # noqa: PLC0415 - the SDK is an extra
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor  # noqa: PLC0415

    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    set_logger_provider(provider)
    return provider


def make_log_exporter() -> LogRecordExporter | None:
    """Make the OTLP log exporter that the standard `OTEL_*` variables describe, None where they say none.

    Raises:
        ImportError: the extra `otlp` is not installed, or the exporter is no more where it was.
        ValueError: the protocol is unknown.
    """
    if os.environ.get("OTEL_LOGS_EXPORTER", "otlp").strip().lower() != "otlp":
        return None
    if protocol_of("LOGS") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import (  # noqa: PLC0415 - an extra
            OTLPLogExporter as GrpcExporter,
        )

        return GrpcExporter()
    from opentelemetry.exporter.otlp.proto.http._log_exporter import (  # noqa: PLC0415 - an extra
        OTLPLogExporter as HttpExporter,
    )

    return HttpExporter()


class Emitter:
    """Makes log records of the calls of one model.

    Args:
        events: the declaration.
        labels: attributes of every event.
        features: names of the model's features, in the order in which a capture gives their columns.
        output: name of the model's output, where it is captured.

    Raises:
        DeclarationError: a name is none of the model's, the names do not fit into an event, or the key of the
            digests is missing or short.
    """

    def __init__(
        self, events: PredictionEvents, labels: Mapping[str, str], features: Sequence[str], output: str | None
    ) -> None:
        """Check the names, and read the key where it is needed."""
        self._bound = round(events.ratio * _TRACE_ID_LIMIT)
        known = [*features, *([output] if output else [])]
        for field, names in (("values", events.values), ("hashed", events.hashed)):
            for name in names:
                if name not in known:
                    raise DeclarationError(_unknown_name(field, name, known))
        self._key = _key() if events.hashed else b""
        hashed = frozenset(events.hashed)
        named = hashed.union(events.values)
        self._features = [(i, name, name in hashed) for i, name in enumerate(features) if name in named]
        self._output = output if output in named else None
        self._output_hashed = output in hashed
        self._value_bytes = _value_bytes(named)
        self._attributes = {semconv.EVENT_NAME.name: semconv.PREDICTION_EVENT.name, **labels}

    def samples(self, call: Prediction) -> bool:
        """Tell whether the call has events, as OpenTelemetry's `TraceIdRatioBased` sampler would."""
        span = call.span_context
        if span is None or not span.is_valid:
            return int.from_bytes(os.urandom(8), "big") < self._bound
        return span.trace_id % _TRACE_ID_LIMIT < self._bound

    def records(self, call: Prediction) -> Iterator[dict[str, Any]]:
        """Make the log records of a call: one for each of its rows where values are declared, else one."""
        from opentelemetry._logs import SeverityNumber  # noqa: PLC0415 - a private name may go away

        failed = call.error_type not in {None, semconv.CANCELLED}
        record = {
            "timestamp": time.time_ns() - int((time.monotonic() - call.queued_at) * 1e9),
            "severity_number": SeverityNumber.ERROR if failed else SeverityNumber.INFO,
            "severity_text": "ERROR" if failed else "INFO",
            "attributes": self._attributes_of(call),
            "event_name": semconv.PREDICTION_EVENT.name,
        }
        if call.span_context is not None:
            record["context"] = set_span_in_context(NonRecordingSpan(call.span_context))
        for body in self._bodies(call):
            yield {**record, "body": body}

    def _attributes_of(self, call: Prediction) -> dict[str, Any]:
        attributes: dict[str, Any] = {**self._attributes, semconv.PREDICTION_SECONDS.name: call.seconds}
        span = call.span_context
        if span is not None and span.is_valid:
            attributes[semconv.PREDICTION_ID.name] = f"{span.trace_id:032x}-{span.span_id:016x}"
        if call.snapshot is not None:
            attributes[semconv.PREDICTION_ROW_COUNT.name] = call.snapshot[2]
        if call.error_type is not None:
            attributes[semconv.ERROR_TYPE.name] = _bounded_text(call.error_type, _MAX_TYPE_BYTES)[0]
        if call.exception_message is not None:
            attributes[semconv.EXCEPTION_MESSAGE.name] = call.exception_message
        return attributes

    def _bodies(self, call: Prediction) -> Iterator[dict[str, AnyValue] | None]:
        output = call.captured_output if self._output is not None else None
        rows = 0
        if call.snapshot is not None:
            rows = call.snapshot[2]
        elif output is not None:
            rows = len(output)
        if not rows or not (self._features or self._output):
            yield None
            return
        chosen = _spread(rows)
        columns = self._columns(call, chosen)
        for place, row in enumerate(chosen):
            cut = 0
            body: dict[str, AnyValue] = {semconv.EVENT_ROW.name: row}
            if columns:
                features: dict[str, AnyValue] = {}
                for (_, name, hashed), column in zip(self._features, columns, strict=True):
                    features[name], was_cut = self._value(None if column is None else column[place], hashed=hashed)
                    cut += was_cut
                body[semconv.EVENT_FEATURES.name] = features
            if output is not None and (len(output) == rows or rows == 1):
                # A stream answers one row with many items.
                answer = output[row] if len(output) == rows else list(output)
                body[semconv.EVENT_OUTPUT.name], was_cut = self._value(answer, hashed=self._output_hashed)
                cut += was_cut
            if cut:
                body[semconv.EVENT_TRUNCATED.name] = cut
            yield body

    def _columns(self, call: Prediction, chosen: list[int]) -> list[list[object] | None]:
        """Return for each feature the values of the chosen rows; None where a column cannot be read."""
        if call.snapshot is None or not self._features:
            return []
        kind, content, rows, *rest = call.snapshot
        places = chosen
        if kind in {"tuples", "array"}:  # so that no column is made of all rows
            content = [content[row] for row in chosen] if kind == "tuples" else content[chosen]
            rows, places = len(chosen), list(range(len(chosen)))
        columns = list(call.capture.columns((kind, content, rows, *rest)))
        picked = [columns[position] for position, _, _ in self._features]
        return [None if column is None else [column[place] for place in places] for column in picked]

    def _value(self, value: object, *, hashed: bool) -> tuple[AnyValue, bool]:
        return _digest(value, self._key) if hashed else any_value(value, self._value_bytes)


def _unknown_name(field: str, name: str, known: list[str]) -> str:
    if not known:
        return f"PredictionEvents.{field}: {name!r} is none of the model's; give the model a baseline or features"
    return f"PredictionEvents.{field}: the model has no feature or output {name!r}{did_you_mean(name, known)}"


def _key() -> bytes:
    key = os.environ.get(HASH_KEY, "").strip()
    if len(key) < MIN_HASH_KEY_LENGTH:
        what = "is too short" if key else "is not set"
        msg = (
            f"PredictionEvents.hashed: the environment variable {HASH_KEY} {what}; it must hold a secret of at least "
            f"{MIN_HASH_KEY_LENGTH} characters, such as `openssl rand -hex 32` gives"
        )
        raise DeclarationError(msg)
    return key.encode()


def _value_bytes(names: Iterable[str]) -> int:
    """Return how many bytes each value may have, so that an event of all of them never exceeds its size."""
    lengths = [len(name.encode("utf-8", "replace")) + _FIELD_OVERHEAD for name in names]
    share = (_MAX_BODY_BYTES - _BODY_OVERHEAD - sum(lengths)) // max(len(lengths), 1)
    if share < _MIN_VALUE_BYTES:
        msg = (
            f"PredictionEvents: values of {len(lengths)} names do not fit into an event of {_MAX_BODY_BYTES} bytes; "
            "name fewer features"
        )
        raise DeclarationError(msg)
    return min(share, _MAX_VALUE_BYTES)


def _spread(rows: int) -> list[int]:
    """Choose the rows that get an event, evenly spread."""
    number = min(rows, MAX_EVENT_ROWS)
    return [i * rows // number for i in range(number)]


def any_value(value: object, limit: int) -> tuple[AnyValue, bool]:
    """Make of any value one that OTLP can carry and JSON can hold, since back ends write bodies as JSON.

    Missing values are None. Numbers, booleans, texts, bytes, and lists and mappings of these stay what they are.
    Times are texts in ISO 8601, durations seconds. Integers beyond 64 bits, decimals, infinities and UUIDs are
    texts. A value of another type, or one that raises when it is read, is left out.

    Args:
        value: any object.
        limit: bytes that the value may have in OTLP, at least 40.

    Returns:
        The value, and whether something of it was left out. A text that was cut ends with an ellipsis.
    """
    conversion = _Conversion(limit)
    return conversion.of(value, _MAX_DEPTH), conversion.cut


class _Conversion:
    """Converts one value, within so many bytes."""

    __slots__ = ("cut", "left")

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.cut = False

    def of(self, value: Any, depth: int) -> AnyValue:  # noqa: ANN401 - any object
        self.left -= _NESTED_OVERHEAD
        try:
            plain = _plain(value)
            return None if _is_null(plain) else self._of_plain(plain, depth)
        except Exception:  # noqa: BLE001 - a value's own methods may raise anything
            self.cut = True
            return None

    def _of_plain(self, value: Any, depth: int) -> AnyValue:  # noqa: ANN401 - any object
        kind = type(value)  # and not isinstance, which believes a value's own __class__
        for types, convert in _CONVERSIONS:
            if issubclass(kind, types):
                return convert(self, value)
        if depth and issubclass(kind, list | tuple | np.ndarray):
            return self._list(value, depth)
        if depth and issubclass(kind, dict):
            return self._map(value, depth)
        self.cut = True
        return None

    def text(self, text: str) -> str:
        bounded, cut = _bounded_text(text, max(self.left, 0))
        self.left -= len(bounded.encode())
        self.cut |= cut
        return bounded

    def integer(self, number: int) -> AnyValue:
        self.left -= 8
        if number in _INT64:
            return number
        return self.text(str(number) if number.bit_length() <= _MAX_DECIMAL_BITS else hex(number))

    def real(self, number: float) -> AnyValue:
        self.left -= 8
        if math.isfinite(number):
            return number
        return "Infinity" if number > 0 else "-Infinity"  # JSON has no such numbers; so protobuf's JSON writes them

    def binary(self, content: bytes) -> bytes:
        bounded = content[: max(self.left, 0)]
        self.left -= len(bounded)
        self.cut |= len(bounded) < len(content)
        return bounded

    def _list(self, values: Iterable[Any], depth: int) -> list[AnyValue]:
        converted: list[AnyValue] = []
        for value in values:
            if self.left < _MIN_VALUE_BYTES:
                self.cut = True
                break
            converted.append(self.of(value, depth - 1))
        return converted

    def _map(self, values: dict[Any, Any], depth: int) -> dict[str, AnyValue]:
        converted: dict[str, AnyValue] = {}
        for key, value in values.items():
            if self.left < 2 * _MIN_VALUE_BYTES or not isinstance(key, str):
                self.cut = True
                break
            self.left -= _NESTED_OVERHEAD
            # Room for the value is kept.
            name, cut = _bounded_text(str.__str__(key), self.left - _MIN_VALUE_BYTES)
            self.left -= len(name.encode())
            self.cut |= cut
            converted[name] = self.of(value, depth - 1)
        return converted


_CONVERSIONS: Final[tuple[tuple[type | UnionType, Callable[[_Conversion, Any], AnyValue]], ...]] = (
    (str, lambda conversion, value: conversion.text(str.__str__(value))),
    (bool | np.bool_, lambda _conversion, value: bool(value)),
    (timedelta, lambda _conversion, value: timedelta.total_seconds(value)),
    (np.timedelta64, lambda _conversion, value: float(value / np.timedelta64(1, "s"))),  # before numpy's integers
    (int | np.integer, lambda conversion, value: conversion.integer(int(value))),
    (float | np.floating, lambda conversion, value: conversion.real(float(value))),
    (bytes, lambda conversion, value: conversion.binary(bytes(value))),
    (date | time_of_day, lambda conversion, value: conversion.text(value.isoformat())),
    (np.datetime64 | Decimal | UUID, lambda conversion, value: conversion.text(str(value))),
)
"""How values of these types are converted; the first that fits counts."""


def _bounded_text(text: str, limit: int) -> tuple[str, bool]:
    """Cut a text to so many bytes of valid UTF-8, with an ellipsis at its end; tell whether it was longer."""
    # Half of a surrogate pair would make the exporter refuse the whole batch.
    encoded = text[: limit + 1].encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode(), False
    return encoded[: max(0, limit - len(_CUT.encode()))].decode("utf-8", "ignore") + _CUT, True


def _digest(value: object, key: bytes) -> tuple[AnyValue, bool]:
    """Return a value's keyed digest in hex, None where it is missing or cannot be written as a text."""
    import hmac  # noqa: PLC0415 - only who hashes needs it

    plain, cut = any_value(value, _MAX_HASHED_BYTES)
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)  # integers with missing values among them arrive as floats
    if cut or plain is None or isinstance(plain, list | dict):
        return None, plain is not None or cut
    content = plain if isinstance(plain, bytes) else str(plain).encode()
    return hmac.digest(key, content, "sha256")[:_DIGEST_BYTES].hex(), False
