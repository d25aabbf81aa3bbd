"""Receivers on free loopback ports that keep what they get: of OTLP, and of Alertmanager's webhooks."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def read_body(handler: BaseHTTPRequestHandler) -> bytes:
    body = handler.rfile.read(int(handler.headers["content-length"]))
    return gzip.decompress(body) if handler.headers.get("content-encoding") == "gzip" else body


def answer_empty(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "0")
    handler.end_headers()


class _Server:
    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class WebhookReceiver(_Server):
    """Keeps every alert that Alertmanager delivers, with the path it was delivered to."""

    def __init__(self) -> None:
        self.alerts: list[tuple[str, dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                for alert in json.loads(read_body(self))["alerts"]:
                    receiver.alerts.append((self.path.removeprefix("/"), alert))
                answer_empty(self)

            def log_message(self, *_args: object) -> None:
                """Stay silent."""

        super().__init__(Handler)


class OtlpReceiver(_Server):
    """An OTLP/HTTP receiver on a free loopback port that keeps every message."""

    def __init__(self, port: int = 0) -> None:
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.traces: list[ExportTraceServiceRequest] = []
        self.logs: list[ExportLogsServiceRequest] = []
        self.raw: list[bytes] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = read_body(self)
                receiver.raw.append(body)
                if self.path == "/v1/metrics":
                    receiver.metrics.append(ExportMetricsServiceRequest.FromString(body))
                elif self.path == "/v1/traces":
                    receiver.traces.append(ExportTraceServiceRequest.FromString(body))
                elif self.path == "/v1/logs":
                    receiver.logs.append(ExportLogsServiceRequest.FromString(body))
                answer_empty(self)

            def log_message(self, *_args: object) -> None:
                """Stay silent."""

        super().__init__(Handler, port)

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

    def records(self) -> list[Any]:
        return [
            record
            for request in self.logs
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]


def attributes_of(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
