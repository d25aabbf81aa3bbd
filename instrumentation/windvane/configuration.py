"""Sets up OpenTelemetry for a service that has not done so itself."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace
from opentelemetry.metrics._internal import _ProxyMeterProvider

from windvane import _events, _runtime
from windvane._export import make_metric_exporter, protocol_of
from windvane.errors import DeclarationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["configure"]

_logger = logging.getLogger("windvane")


def configure() -> None:
    """Send traces, metrics and events through OTLP, as the standard `OTEL_*` environment variables say.

    Makes a tracer, a meter and a logger provider only where the process has none yet: a service that
    sets up OpenTelemetry itself keeps what it has, and a second call adds nothing. Read are
    `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_*` (endpoint, headers,
    protocol ...), `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` and `OTEL_LOGS_EXPORTER` (`otlp` or
    `none`), `OTEL_TRACES_SAMPLER`, `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_BLRP_*` and `OTEL_SDK_DISABLED`.

    Through the logger provider go the events of models that declare some; what the service itself logs
    is not collected.

    What it makes is shut down at exit, within five seconds also when no Collector answers; and by SIGTERM,
    where that would end the process at once: no handler of the service or its server is replaced.

    Raises:
        DeclarationError: the extra `otlp` is not installed, or the protocol is unknown.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return
    try:
        _make_tracer_provider()
        _make_meter_provider()
        _make_logger_provider()
        _runtime.flush_on_sigterm()
    except ModuleNotFoundError as error:
        msg = f"configure() needs {error.name}: pip install 'windvane[otlp]'"
        raise DeclarationError(msg) from error
    except ValueError as error:
        raise DeclarationError(str(error)) from error


def _make_tracer_provider() -> None:
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the SDK is an extra
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    exporter = _make_span_exporter()
    if exporter is None:
        return
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    _runtime.exporter.at_stop(provider.shutdown)


def _make_meter_provider() -> None:
    if not isinstance(metrics.get_meter_provider(), _ProxyMeterProvider):
        return
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - the SDK is an extra
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415

    exporter = make_metric_exporter()
    if exporter is None:
        return
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)], shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    _runtime.exporter.at_stop(provider.shutdown)


def _make_logger_provider() -> None:
    try:
        provider = _events.make_logger_provider()
    except ImportError as error:
        # Traces and metrics, which are stable, must not depend on what is not.
        _logger.warning("events cannot be exported, since OpenTelemetry's logs are not there: %s", error)
        return
    if provider is not None:
        _runtime.exporter.at_stop(provider.shutdown)


def _make_span_exporter() -> SpanExporter | None:
    if os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "otlp":
        return None
    if protocol_of("TRACES") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter as HttpExporter,
    )

    return HttpExporter()
