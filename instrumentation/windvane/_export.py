"""Sends every metric through OTLP on a thread of its own.

A synchronous instrument costs about 10 us per data point, the SDK caps every stream at 2000 attribute
sets, and a model has hundreds of bins; and over a fork the SDK's sums are counted twice or, where it meets
an export, no more at all. So the data points are made from the counters once per interval and handed to an
OTLP exporter as they are. The host's meter provider is not touched.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics, trace

from windvane import semconv
from windvane._background import Background
from windvane._durations import HistogramValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.sdk.metrics.export import DataT, HistogramDataPoint, Metric, MetricExporter, MetricsData
    from opentelemetry.sdk.resources import Resource

    from windvane._counters import Stream

__all__ = ["Exporter", "host_has_sdk_metrics", "importing", "make_metric_exporter", "protocol_of"]

_logger = logging.getLogger("windvane")

_POLL_INTERVAL: Final = 1.0
"""Seconds between two looks whether the host has set up its SDK by now."""

_INSTANCE_ID: Final = "service.instance.id"

_BATCH_SIZE: Final = 4000
"""Data points per message: at about 200 bytes each well below the 4 MiB at which gRPC messages end."""


importing: Final = threading.RLock()
"""Held while a thread of windvane's imports: in a child that is forked meanwhile the module stays locked for ever."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=importing.acquire, after_in_parent=importing.release, after_in_child=importing.release)

_IMPORTED_LATE: Final = ("netrc", "encodings.idna")
"""What an HTTP client imports with its first request."""


class Exporter(Background):
    """Exports the streams of all models every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds.

    Args:
        read: gives the streams and the time since which their counters count, per model.
        any_unshown: whether a model's counters have never been exported; their first export is zeros.
        instance_id: `service.instance.id` of what is exported, where it does not belong to this process alone.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[tuple[int, Stream]]],
        any_unshown: Callable[[], bool],
        instance_id: str | None = None,
    ) -> None:
        """Make it; `start` starts the thread."""
        self._instance_id = instance_id
        self._read = read
        self._any_unshown = any_unshown
        self._closing: list[Callable[[], object]] = []
        self._failed = False
        self._parents_instance: object = None
        super().__init__("windvane-export")

    def reset(self) -> None:
        """Begin anew: in a forked child the parent's thread is gone and its connection is not ours."""
        super().reset()
        self._requested = 0
        self._completed = 0
        self._exporter: MetricExporter | None = None
        self._resource: Resource | None = None
        self.exports: Counter[str] = Counter()

    def reset_after_fork(self) -> None:
        """As `reset`, under an instance id of the child's own.

        Runs before the SDK's own hooks, which give the host's providers new ids: what they have now is
        the parent's.
        """
        resource = _host_resource()
        self._parents_instance = resource.attributes.get(_INSTANCE_ID) if resource is not None else None
        self.reset()

    def at_stop(self, close: Callable[[], object]) -> None:
        """Call this on the export thread after the last export; a thread cannot be started at exit."""
        self._closing.append(close)

    def start(self) -> None:
        """Start the thread, once per process, or have it export a new model at once."""
        with self._condition:
            self._requested += 1
            self._condition.notify_all()
            self._start()

    def flush(self, timeout: float) -> bool:
        """Export now; False where that takes longer than `timeout` seconds or there is nothing to export with."""
        with self._condition:
            if self._thread is None:
                return False
            self._requested += 1
            ticket = self._requested
            self._condition.notify_all()
            done = self._condition.wait_for(lambda: self._completed >= ticket, timeout)
            return done and self._exporter is not None

    def _work(self) -> None:
        interval = _interval_seconds()
        while True:
            with self._condition:
                ticket = self._requested
                last = self._stopping
            try:
                self._export(awaited=last or ticket > self._completed)
            except Exception as raised:  # noqa: BLE001 - the thread must outlive any fault
                self.exports[type(raised).__qualname__] += 1
            with self._condition:
                self._completed = ticket
                self._condition.notify_all()
                wait = interval if self._exporter is not None else _POLL_INTERVAL
                if not last:
                    self._condition.wait_for(lambda: self._stopping or self._requested > self._completed, wait)
            if last:
                break
        closing = [self._exporter.shutdown] if self._exporter is not None else []
        for close in [*self._closing, *closing]:
            try:
                close()
            except Exception:  # noqa: BLE001 - the others are to be closed all the same
                _logger.warning("a provider could not be shut down cleanly")

    def _export(self, *, awaited: bool) -> None:
        if self._exporter is None:
            self._exporter = self._make_exporter()
        if self._exporter is None:
            return
        # Whoever waits wants the counts, not the zeros before them.
        for _ in range(2 if awaited and self._any_unshown() else 1):
            result = self._exporter.export(self._metrics_data())
            self.exports["" if result.name == "SUCCESS" else "export_failed"] += 1

    def _make_exporter(self) -> MetricExporter | None:
        if not host_has_sdk_metrics():
            return None
        try:
            with importing:
                for module in _IMPORTED_LATE:
                    importlib.import_module(module)
                return make_metric_exporter()
        except Exception:
            if not self._failed:
                self._failed = True
                _logger.exception("distributions cannot be exported")
            return None

    def resource(self) -> Resource:
        """The host's resource, with an instance id of this process alone.

        Two processes under one instance id would write the same series; SDKs before 1.45 set none.
        """
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the SDK is an extra

        with self._condition:
            if self._resource is None:
                resource = _host_resource() or Resource.create()
                if self._instance_id is not None:
                    resource = resource.merge(Resource({_INSTANCE_ID: self._instance_id}))
                elif resource.attributes.get(_INSTANCE_ID) in (None, self._parents_instance):
                    resource = resource.merge(Resource({_INSTANCE_ID: str(uuid.uuid4())}))
                self._resource = resource
            return self._resource

    def _metrics_data(self) -> MetricsData:
        with importing:
            from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics  # noqa: PLC0415
            from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

        resource = self.resource()
        scope = InstrumentationScope(semconv.SCOPE_NAME, semconv.VERSION, semconv.SCHEMA_URL)
        streams = _joined(self._read(), time.time_ns())
        return MetricsData(
            [ResourceMetrics(resource, [ScopeMetrics(scope, streams, semconv.SCHEMA_URL)], semconv.SCHEMA_URL)]
        )


def make_metric_exporter() -> MetricExporter | None:
    """Make the OTLP metric exporter that the standard `OTEL_*` variables describe, None where they say none.

    Raises:
        ModuleNotFoundError: the extra `otlp` is not installed.
        ValueError: the protocol is unknown.
    """
    if os.environ.get("OTEL_METRICS_EXPORTER", "otlp").strip().lower() != "otlp":
        return None
    if protocol_of("METRICS") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (  # noqa: PLC0415
            OTLPMetricExporter as GrpcExporter,
        )

        return GrpcExporter(max_export_batch_size=_BATCH_SIZE)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
        OTLPMetricExporter as HttpExporter,
    )

    return HttpExporter(max_export_batch_size=_BATCH_SIZE)


def protocol_of(signal: str) -> str:
    """Return the OTLP protocol for `TRACES`, `METRICS` or `LOGS` by the standard variables: `grpc` or `http/protobuf`.

    Raises:
        ValueError: the variable names something else.
    """
    for variable in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(variable, "").strip().lower()
        if protocol in {"grpc", "http/protobuf"}:
            return protocol
        if protocol:
            msg = f"{variable}: {protocol!r} is not spoken here; use grpc or http/protobuf"
            raise ValueError(msg)
    return "http/protobuf"


def host_has_sdk_metrics() -> bool:
    """Whether the global meter provider is the SDK's; asking must not import the SDK."""
    sdk = sys.modules.get("opentelemetry.sdk.metrics")
    return sdk is not None and isinstance(metrics.get_meter_provider(), sdk.MeterProvider)


def _host_resource() -> Resource | None:
    """The resource of the host's SDK, where it has one; asking must not import the SDK."""
    resources = sys.modules.get("opentelemetry.sdk.resources")
    if resources is None:
        return None
    for resource in (
        getattr(trace.get_tracer_provider(), "resource", None),
        getattr(getattr(metrics.get_meter_provider(), "_sdk_config", None), "resource", None),
    ):
        if isinstance(resource, resources.Resource):
            found: Resource = resource
            return found
    return None


def _interval_seconds() -> float:
    try:
        milliseconds = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "60000"))
    except ValueError:
        milliseconds = 0.0
    return milliseconds / 1000 if milliseconds > 0 else 60.0


def _joined(streams: Iterable[tuple[int, Stream]], now_ns: int) -> list[Metric]:
    """Join the streams of all models into one metric per name, as OTLP wants it."""
    from opentelemetry.sdk.metrics.export import (  # noqa: PLC0415
        AggregationTemporality,
        Gauge,
        Histogram,
        Metric,
        NumberDataPoint,
        Sum,
    )

    points: dict[semconv.Metric, list[Any]] = {}
    for start_ns, (metric, pairs) in streams:
        points.setdefault(metric, []).extend(
            _histogram_point(attributes, start_ns, now_ns, value)
            if isinstance(value, HistogramValue)
            else NumberDataPoint(attributes, start_ns, now_ns, value)
            for attributes, value in pairs
        )
    cumulative = AggregationTemporality.CUMULATIVE
    make_data: dict[str, Callable[[list[Any]], DataT]] = {
        "counter": lambda data_points: Sum(data_points, cumulative, is_monotonic=True),
        "updowncounter": lambda data_points: Sum(data_points, cumulative, is_monotonic=False),
        "gauge": Gauge,
        "histogram": lambda data_points: Histogram(data_points, cumulative),
    }
    return [
        Metric(metric.name, metric.description, metric.unit, make_data[metric.instrument](data_points))
        for metric, data_points in points.items()
        if data_points
    ]


def _histogram_point(
    attributes: dict[str, Any], start_ns: int, now_ns: int, value: HistogramValue
) -> HistogramDataPoint:
    from opentelemetry.sdk.metrics import Exemplar  # noqa: PLC0415 - the SDK is an extra
    from opentelemetry.sdk.metrics.export import HistogramDataPoint  # noqa: PLC0415

    return HistogramDataPoint(
        attributes=attributes,
        start_time_unix_nano=start_ns,
        time_unix_nano=now_ns,
        count=sum(value.bucket_counts),
        sum=value.sum,
        bucket_counts=value.bucket_counts,
        explicit_bounds=value.bounds,
        min=value.minimum,  # type: ignore[arg-type] # OTLP has no extremes where they are not known
        max=value.maximum,  # type: ignore[arg-type]
        exemplars=[
            Exemplar({}, exemplar.seconds, exemplar.time_ns, exemplar.span.span_id, exemplar.span.trace_id)
            for exemplar in value.exemplars
        ],
    )
