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
from receivers import OtlpReceiver

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
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._reader])
        self.tracer = self.tracer_provider.get_tracer("host")

    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def clear_spans(self) -> None:
        self._spans.clear()

    def measured(self, name: str, **wanted: str) -> list[Any]:
        """Return the data points of a metric on the host's own meter provider."""
        _runtime.worker.drain(10)  # a flush would take the exemplars
        data = self._reader.get_metrics_data()
        found: list[Any] = []
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        found += [p for p in metric.data.data_points if wanted.items() <= dict(p.attributes).items()]
        return found


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
