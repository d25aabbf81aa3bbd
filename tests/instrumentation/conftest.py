"""A host with OpenTelemetry of its own, and a receiver that reads what windvane sends through OTLP."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from receivers import OtlpReceiver, attributes_of

import windvane
from windvane import _runtime

if TYPE_CHECKING:
    from collections.abc import Iterator


class Host:
    """The host's own OpenTelemetry, kept in memory, and the receiver of windvane's distributions."""

    def __init__(self, otlp: OtlpReceiver) -> None:
        self.otlp = otlp
        self._spans = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meter_provider = MeterProvider([InMemoryMetricReader()])
        self.tracer = self.tracer_provider.get_tracer("host")

    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def clear_spans(self) -> None:
        self._spans.clear()

    def measured(self, name: str, **wanted: str) -> list[Any]:
        """Return the last data points of a metric, one for each attribute set, with all of its exemplars."""
        assert windvane.flush(10)
        latest: dict[tuple[Any, ...], Any] = {}
        for request in self.otlp.metrics:
            for metric in request.resource_metrics[0].scope_metrics[0].metrics:
                if metric.name != name:
                    continue
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    attributes = attributes_of(point.attributes)
                    if wanted.items() <= attributes.items():
                        key = tuple(sorted(attributes.items()))
                        earlier = latest[key].exemplar_spans if key in latest else []
                        latest[key] = Measured(attributes, point, earlier)
        return list(latest.values())


class Measured:
    """A data point."""

    def __init__(self, attributes: dict[str, Any], point: Any, earlier_exemplars: list[int]) -> None:
        self.attributes = attributes
        self.point = point
        exemplars = getattr(point, "exemplars", [])
        self.exemplar_spans = earlier_exemplars + [int.from_bytes(exemplar.span_id, "big") for exemplar in exemplars]

    @property
    def value(self) -> float:
        return self.point.as_int if self.point.WhichOneof("value") == "as_int" else self.point.as_double

    @property
    def count(self) -> int:
        return int(self.point.count)


@pytest.fixture(scope="session")
def _host() -> Iterator[Host]:
    otlp = OtlpReceiver()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint)
        # Exports happen when a test flushes.
        environment.setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
        host = Host(otlp)
        trace.set_tracer_provider(host.tracer_provider)
        metrics.set_meter_provider(host.meter_provider)
        yield host
        # The export thread reads the endpoint once, so the receiver stays until the process ends.


@pytest.fixture
def host(_host: Host) -> Host:
    """The host, without the spans of earlier tests."""
    _host.clear_spans()
    _host.otlp.metrics.clear()
    return _host


@pytest.fixture(autouse=True, scope="module")
def _no_models_of_other_modules() -> Iterator[None]:
    """A process exports every model it has declared, which would make each test slower than the one before."""
    before = set(_runtime._models)
    yield
    for name in set(_runtime._models) - before:
        del _runtime._models[name]


@pytest.fixture
def otlp() -> Iterator[OtlpReceiver]:
    """A receiver for processes that a test starts."""
    receiver = OtlpReceiver()
    try:
        yield receiver
    finally:
        receiver.close()


@pytest.fixture
def model_name(request: pytest.FixtureRequest) -> str:
    """A name of the test's own, since a process declares each model version once."""
    return str(request.node.name).replace("[", ".").replace("]", "").replace(" ", "-")[:100]


def totals(points: list[tuple[dict[str, Any], float]], key: str) -> dict[str, float]:
    """Sum the values by one attribute."""
    sums: dict[str, float] = defaultdict(float)
    for attributes, value in points:
        sums[attributes[key]] += value
    return dict(sums)
