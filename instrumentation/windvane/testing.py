"""Asserts in unit tests what a decorated function emits.

With pytest, import the fixture in `conftest.py`; elsewhere use `capture()` as a context manager. Neither
needs a Collector, sends anything nor changes OpenTelemetry's global providers.

    # conftest.py
    from windvane.testing import captured_telemetry  # noqa: F401 - a fixture

    # test_flights.py
    def test_distance_is_watched(captured_telemetry):
        predict([{"distance": 500.0, "carrier": "AA"}])
        assert captured_telemetry.rows == 1
        assert captured_telemetry.violations("distance") == {}

The fixture is no pytest plugin with an entry point, since that would import windvane, numpy and
OpenTelemetry in every run of pytest wherever windvane is installed.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from opentelemetry import trace

from windvane import _events, _runtime, prediction, semconv
from windvane._counters import Totals
from windvane.declaration import did_you_mean
from windvane.errors import DeclarationError

try:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON
except ModuleNotFoundError as error:  # pragma: no cover - proved where only the wheel is installed
    _message = f"windvane.testing needs {error.name}: pip install 'windvane[otlp]'"
    raise ModuleNotFoundError(_message, name=error.name) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

    from windvane.outcomes import Series

__all__ = ["PredictionEvent", "PredictionSpan", "Signals", "capture"]

_DRAIN_SECONDS: Final = 10.0

T = TypeVar("T")

_Models: TypeAlias = dict[tuple[str, str], Totals]

_NOTHING: Final = Totals(0, Counter(), {}, {}, Counter(), 0, {})


@dataclass(frozen=True, slots=True)
class PredictionSpan:
    """The span of one call.

    Attributes:
        name: name of the span.
        attributes: its attributes.
        error_type: class name of the exception that ended the call; None for success.
        seconds: how long the span lasted.
        context: its identity; the `parent` of spans below it.
        parent: identity of the caller's span; None where the call had none.
    """

    name: str
    attributes: dict[str, Any]
    error_type: str | None
    seconds: float
    context: SpanContext
    parent: SpanContext | None


@dataclass(frozen=True, slots=True)
class PredictionEvent:
    """An event about one row of a call, or about the call; see `windvane.PredictionEvents`.

    Attributes:
        attributes: its attributes.
        body: the row's position, and the features and the output as far as they are declared; None without such.
        severity: `INFO`, or `ERROR` where the call failed.
        context: identity of the call's span; None where the call had none.
    """

    attributes: dict[str, Any]
    body: dict[str, Any] | None
    severity: str
    context: SpanContext | None


class _Recorded(NamedTuple):
    models: _Models
    spans: list[PredictionSpan]
    events: list[PredictionEvent]
    reports: Counter[Series]


class Signals:
    """What windvane emitted since `capture()` was entered, as plain data.

    Every reading first waits until all calls that have ended are counted, so no test sleeps. After the
    `with` block the signals stay as they were at its end.
    """

    def __init__(self, read: Callable[[], _Recorded]) -> None:
        """Wrap what gives the signals of each model; `capture()` makes these objects."""
        self._read = read

    def of(self, model: str, version: str | None = None) -> Signals:
        """Return the signals of one model only.

        Args:
            model: name of the model.
            version: its version; by default every version of it.

        Raises:
            DeclarationError: no such model is declared in this process.
        """

        def selected(name: object, its_version: object) -> bool:
            return name == model and version in (None, its_version)

        def selected_by(attributes: dict[str, Any]) -> bool:
            return selected(attributes.get(semconv.MODEL_NAME.name), attributes.get(semconv.MODEL_VERSION.name))

        def read() -> _Recorded:
            recorded = self._read()
            return _Recorded(
                {key: totals for key, totals in recorded.models.items() if selected(*key)},
                [span for span in recorded.spans if selected_by(span.attributes)],
                [event for event in recorded.events if selected_by(event.attributes)],
                Counter({series: n for series, n in recorded.reports.items() if selected(*series.values[:2])}),
            )

        declared = self._read().models
        if not any(selected(*key) for key in declared):
            names = sorted({name for name, _ in declared})
            which = f"of({model!r})" if version is None else f"of({model!r}, {version!r})"
            msg = f"{which}: no such model is declared in this process{did_you_mean(model, names)}"
            raise DeclarationError(msg)
        return Signals(read)

    @property
    def predictions(self) -> list[PredictionSpan]:
        """The spans of the calls, in the order in which they ended; without those the sampler dropped."""
        return list(self._read().spans)

    @property
    def events(self) -> list[PredictionEvent]:
        """The events of the calls, in the order in which they were emitted; in a test declare a ratio of 1."""
        return list(self._read().events)

    @property
    def durations(self) -> Counter[str | None]:
        """How many durations were recorded, by the type of the error that ended the call; None for success."""
        return _sum(totals.calls for totals in self._totals())

    @property
    def rows(self) -> int:
        """Rows passed to the model."""
        return sum(totals.rows for totals in self._totals())

    @property
    def dropped(self) -> Counter[str]:
        """Records that were lost, by reason; empty where all is well."""
        return _sum(totals.dropped for totals in self._totals())

    @property
    def unexpected(self) -> int:
        """Values under names that the model's baseline does not know."""
        return sum(totals.unexpected for totals in self._totals())

    @property
    def outcomes(self) -> Counter[str]:
        """Outcomes that were counted in this process, by result: `right`, `wrong`, `unjudged`."""
        return self._reported(semconv.OUTCOME_COUNT)

    @property
    def feedback(self) -> Counter[str]:
        """Feedback that was counted in this process, by kind."""
        return self._reported(semconv.FEEDBACK_RECEIVED)

    def ages(self, feature: str) -> Counter[float]:
        """Return how old the events behind a feature were, by the upper bound of the histogram's bucket in seconds.

        Args:
            feature: name of the feature, or of the column of event times where that alone is declared.

        Raises:
            DeclarationError: no model measures the age of such a feature, or several that were called do.
        """
        return self._of_feature("ages", feature, lambda totals: totals.ages)

    def observations(self, feature: str) -> Counter[str]:
        """Return how many values of a feature, or of the output, fell into each bin.

        Args:
            feature: name of the feature; a model counts it where its baseline has it.

        Raises:
            DeclarationError: no model has such a feature, or several that were called have.
        """
        return self._of_feature("observations", feature, lambda totals: totals.observations)

    def violations(self, feature: str) -> Counter[str]:
        """Return how many values of a feature, or of the output, were amiss, by kind.

        Args:
            feature: name of the feature; a model counts it where its baseline has it.

        Raises:
            DeclarationError: no model has such a feature, or several that were called have.
        """
        return self._of_feature("violations", feature, lambda totals: totals.violations)

    def _reported(self, metric: semconv.Metric) -> Counter[str]:
        found: Counter[str] = Counter()
        for series, number in self._read().reports.items():
            if series.metric == metric.name and number:
                found[str(series.values[3])] += number
        return found

    def _totals(self) -> list[Totals]:
        return list(self._read().models.values())

    def _of_feature(self, method: str, feature: str, pick: Callable[[Totals], dict[str, Counter[T]]]) -> Counter[T]:
        models = self._read().models
        holders = {key: totals for key, totals in models.items() if feature in pick(totals)}
        if not holders:
            known = sorted({name for totals in models.values() for name in pick(totals)})
            close = did_you_mean(feature, known)
            msg = f"{method}({feature!r}): no declared model has such a feature{close}"
            raise DeclarationError(msg)
        # Bins of two models are not the same even where they are named alike.
        called = [key for key, totals in holders.items() if totals.calls]
        if len(called) > 1:
            names = " and ".join(f"{name!r} {version!r}" for name, version in called)
            msg = f"{method}({feature!r}): {names} both have it; choose one with .of(model, version)"
            raise DeclarationError(msg)
        return pick(holders[called[0]])[feature] if called else Counter()


@contextmanager
def capture() -> Iterator[Signals]:
    """Capture what every model of this process emits within the block.

    Counters of a model live as long as the process, so differences since entry are reported, and tests
    that follow each other do not see each other's calls. Tests that run at the same time in threads of
    one process do.

    Spans are read from the global tracer provider where it is OpenTelemetry's SDK; else windvane's spans
    go to a provider in memory for the length of the block. The global providers stay what they are.

    Example:
        >>> import windvane
        >>> from windvane.testing import capture
        >>> doubler = windvane.Model("captured-doubler", version="1")
        >>> predict = doubler.predict(lambda rows: [2 * row["x"] for row in rows])
        >>> with capture() as signals:
        ...     answer = predict([{"x": 1}, {"x": 2}])
        >>> signals.rows, signals.durations[None], signals.predictions[0].name
        (2, 1, 'predict captured-doubler')
    """
    before, reported_before = _drained_totals(), _reports()
    sink = _Sink([], [])
    final: list[_Recorded] = []

    def read() -> _Recorded:
        if final:
            return final[0]
        now = _drained_totals()
        models = {key: _since(before.get(key, _NOTHING), totals) for key, totals in now.items()}
        return _Recorded(models, list(sink.spans), list(sink.events), _reports() - reported_before)

    _recording.start(sink)
    try:
        yield Signals(read)
    finally:
        try:
            final.append(read())  # while events, which the worker emits, still come here
        finally:
            _recording.stop(sink)


def _drained_totals() -> _Models:
    if not _runtime.worker.drain(_DRAIN_SECONDS):
        msg = f"windvane's worker has not counted every call within {_DRAIN_SECONDS:g} s"
        raise TimeoutError(msg)
    totals: _Models = {}
    for counters in _runtime.models():
        name, version = counters.declaration[:2]
        totals[name, version] = counters.totals()
    return totals


def _reports() -> Counter[Series]:
    """Return how many outcomes and how much feedback have been counted."""
    counted = {semconv.OUTCOME_COUNT.name, semconv.FEEDBACK_RECEIVED.name}
    return Counter({series: int(n) for series, n in _runtime.ledger.sums().items() if series.metric in counted})


def _since(before: Totals, now: Totals) -> Totals:
    none: Counter[str] = Counter()
    no_ages: Counter[float] = Counter()
    return Totals(
        now.rows - before.rows,
        now.calls - before.calls,
        {name: counts - before.observations.get(name, none) for name, counts in now.observations.items()},
        {name: counts - before.violations.get(name, none) for name, counts in now.violations.items()},
        now.dropped - before.dropped,
        now.unexpected - before.unexpected,
        {name: counts - before.ages.get(name, no_ages) for name, counts in now.ages.items()},
    )


def _sum(counters: Iterable[Counter[T]]) -> Counter[T]:
    total: Counter[T] = Counter()
    for counter in counters:
        total.update(counter)
    return total


class _Sink(NamedTuple):
    spans: list[PredictionSpan]
    events: list[PredictionEvent]


class _RecordingLogger:
    """Takes events in the place of the host's logger, and hands them on to it."""

    def __init__(self, logger: Any, take: Callable[[PredictionEvent], None]) -> None:  # noqa: ANN401 - OpenTelemetry's
        self._logger = logger
        self._take = take

    def enabled(self, **record: Any) -> bool:  # noqa: ANN401 - OpenTelemetry's
        return record["event_name"] == semconv.PREDICTION_EVENT.name or bool(self._logger.enabled(**record))

    def emit(self, **record: Any) -> None:  # noqa: ANN401 - OpenTelemetry's
        if record["event_name"] == semconv.PREDICTION_EVENT.name:
            context = trace.get_current_span(record.get("context")).get_span_context()
            self._take(
                PredictionEvent(
                    record["attributes"], record["body"], record["severity_text"], context if context.is_valid else None
                )
            )
        if self._logger.enabled(event_name=record["event_name"]):
            self._logger.emit(**record)


class _Recording(SpanProcessor):
    """Hands windvane's ended spans, and its events, to the captures under way.

    OpenTelemetry has no way to take a span processor out again, so each provider gets this one object
    once; between captures it has nowhere to hand spans to.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sinks: list[_Sink] = []
        self._providers: weakref.WeakSet[TracerProvider] = weakref.WeakSet()
        self._own_provider: TracerProvider | None = None
        self._replaced: trace.Tracer | None = None
        self._get_logger: Callable[[], Any] = vars(_events)["_get_logger"]

    def start(self, sink: _Sink) -> None:
        """Have windvane's spans and events recorded and put into `sink`."""
        with self._lock:
            tracer = self._tracer_of(trace.get_tracer_provider()) or self._tracer_of(self._in_memory_provider())
            if not self._sinks:
                self._replaced = vars(prediction)["_tracer"]
            vars(prediction)["_tracer"] = tracer
            vars(_events)["_get_logger"] = lambda: _RecordingLogger(self._get_logger(), self._take_event)
            self._sinks.append(sink)

    def stop(self, sink: _Sink) -> None:
        """Put no more into `sink`; after the last one, spans and events go where they went before."""
        with self._lock:
            self._sinks = [other for other in self._sinks if other is not sink]
            if not self._sinks:
                vars(prediction)["_tracer"] = self._replaced
                vars(_events)["_get_logger"] = self._get_logger

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that has ended."""
        scope = span.instrumentation_scope
        if scope is None or scope.name != semconv.SCOPE_NAME:
            return
        attributes = dict(span.attributes or {})
        error_type = attributes.get(semconv.ERROR_TYPE.name)
        nanoseconds = (span.end_time or 0) - (span.start_time or 0)
        taken = PredictionSpan(
            span.name,
            attributes,
            None if error_type is None else str(error_type),
            nanoseconds / 1e9,
            span.get_span_context() or trace.INVALID_SPAN_CONTEXT,
            span.parent,
        )
        with self._lock:
            for sink in self._sinks:
                sink.spans.append(taken)

    def _take_event(self, event: PredictionEvent) -> None:
        with self._lock:
            for sink in self._sinks:
                sink.events.append(event)

    def _tracer_of(self, provider: object) -> trace.Tracer | None:
        """Return a tracer whose spans come here; None where the provider cannot record."""
        if not isinstance(provider, TracerProvider):
            return None
        tracer = provider.get_tracer(semconv.SCOPE_NAME, installed_version("windvane"), schema_url=semconv.SCHEMA_URL)
        if isinstance(tracer, trace.NoOpTracer):  # OTEL_SDK_DISABLED
            return None
        if provider not in self._providers:
            self._providers.add(provider)
            provider.add_span_processor(self)
        return tracer

    def _in_memory_provider(self) -> TracerProvider:
        if self._own_provider is None:
            self._own_provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
            # Test suites often set OTEL_SDK_DISABLED to silence their service; this provider sends nothing anyway.
            self._own_provider._disabled = False  # noqa: SLF001
        return self._own_provider


_recording: Final = _Recording()


try:
    import pytest
except ModuleNotFoundError:  # other frameworks use capture()
    pass
else:

    @pytest.fixture
    def captured_telemetry() -> Iterator[Signals]:
        """What windvane emits during the test; see `Signals`."""
        with capture() as signals:
            yield signals

    __all__ += ["captured_telemetry"]
