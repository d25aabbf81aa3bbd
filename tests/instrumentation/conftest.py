"""A host with OpenTelemetry of its own, and a receiver that reads what windvane sends through OTLP."""

from __future__ import annotations

import gzip
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

if TYPE_CHECKING:
    from collections.abc import Iterator


class OtlpReceiver:
    """An OTLP/HTTP receiver on a free loopback port that keeps every message."""

    def __init__(self) -> None:
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.traces: list[ExportTraceServiceRequest] = []
        self.raw: list[bytes] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.raw.append(body)
                if self.path == "/v1/metrics":
                    receiver.metrics.append(ExportMetricsServiceRequest.FromString(body))
                elif self.path == "/v1/traces":
                    receiver.traces.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def points(self, name: str, **wanted: str) -> list[tuple[dict[str, Any], float]]:
        """Return attributes and value of each number point, the last one per attribute set and instance."""
        return self.points_of(self.metrics, name, **wanted)

    @staticmethod
    def points_of(requests: list[Any], name: str, **wanted: str) -> list[tuple[dict[str, Any], float]]:
        """As `points`, of some of the messages only."""
        latest: dict[tuple[Any, ...], tuple[dict[str, Any], float]] = {}
        for request in requests:
            for resource in request.resource_metrics:
                instance = attributes_of(resource.resource.attributes).get("service.instance.id")
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        if metric.name != name:
                            continue
                        for point in getattr(metric, metric.WhichOneof("data")).data_points:
                            attributes = attributes_of(point.attributes)
                            value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
                            latest[instance, *sorted(attributes.items())] = (attributes, value)
        return [pair for pair in latest.values() if wanted.items() <= pair[0].items()]

    def spans(self) -> list[Any]:
        return [
            span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


def attributes_of(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


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
