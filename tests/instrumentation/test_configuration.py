"""Setting up OpenTelemetry, and the end of a process; each in a process of its own, since providers are global."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest
from receivers import attributes_of

from windvane import semconv

if TYPE_CHECKING:
    from pathlib import Path

    from receivers import OtlpReceiver

PREAMBLE = """
import os, sys, threading, time
import numpy as np
import windvane
from opentelemetry import metrics, trace

def make_model(name="m"):
    frame = {"x": np.arange(1000.0), "y": np.arange(1000.0)}
    baseline = windvane.Baseline.from_frame(frame, model=name, version="1", output="y")
    return windvane.Model(name, version="1", baseline=baseline)
"""


def run(code: str, endpoint: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    if endpoint:
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PREAMBLE + textwrap.dedent(code)],
        env={**variables, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def counted(otlp: OtlpReceiver, feature: str = "x") -> float:
    points = otlp.points(semconv.FEATURE_OBSERVATIONS.name, **{semconv.FEATURE_NAME.name: feature})
    return sum(value for _, value in points)


PREDICT = """
    predict = make_model().predict(lambda rows: [1.0] * len(rows))
    for _ in range(100):
        predict([{"x": 5.0}, {"x": 7.0}])
"""


def test_a_service_without_opentelemetry_gets_it_from_the_environment(otlp: OtlpReceiver) -> None:
    """After configure, spans and both kinds of metrics arrive by the time the process has ended."""
    done = run(f"windvane.configure()\n{textwrap.dedent(PREDICT)}", otlp.endpoint, OTEL_SERVICE_NAME="svc")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert counted(otlp) == 200
    assert counted(otlp, "y") == 200
    assert len(otlp.spans()) == 100
    assert sum(value for _, value in otlp.points(semconv.PREDICTION_ROWS.name)) == 200


EVENTS = """
    events = windvane.PredictionEvents(ratio=1, values=["x"])
    predict = windvane.Model("e", version="1", features=["x"], events=events).predict(lambda rows: 1.0)
"""


@pytest.mark.parametrize("flush", [True, False], ids=["flushed", "at the end of the process"])
def test_events_arrive_in_the_trace_of_their_call(otlp: OtlpReceiver, flush: bool) -> None:  # noqa: FBT001 - a parameter
    """They go through a logger provider of configure's own, also when the model was declared before."""
    end = "assert windvane.flush(10)\nos._exit(0)" if flush else ""
    done = run(f"{textwrap.dedent(EVENTS)}\nwindvane.configure()\npredict({{'x': 5.0}})\n{end}", otlp.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    (record,), (span,) = otlp.records(), otlp.spans()
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert record.event_name == semconv.PREDICTION_EVENT.name
    attributes = attributes_of(record.attributes)
    assert attributes[semconv.EVENT_NAME.name] == semconv.PREDICTION_EVENT.name
    assert attributes[semconv.PREDICTION_ID.name] == f"{span.trace_id.hex()}-{span.span_id.hex()}"
    assert span.start_time_unix_nano <= record.time_unix_nano <= span.end_time_unix_nano + 10**9
    row, features = record.body.kvlist_value.values
    assert (row.key, row.value.int_value) == ("row", 0)
    assert (features.key, features.value.kvlist_value.values[0].value.double_value) == ("features", 5.0)


def test_without_events_no_log_record_leaves(otlp: OtlpReceiver) -> None:
    """What the service logs is its own affair, though a logger provider is there."""
    code = f"""
        import logging
        windvane.configure()
        logging.getLogger("service").critical("passenger 7")
        {textwrap.indent(textwrap.dedent(PREDICT), " " * 8).strip()}
        assert windvane.flush(10)
    """
    assert run(code, otlp.endpoint).returncode == 0
    assert otlp.spans()
    assert otlp.logs == []


def test_events_are_turned_off_by_the_standard_variable(otlp: OtlpReceiver) -> None:
    """OTEL_LOGS_EXPORTER=none leaves traces and metrics."""
    code = f"windvane.configure()\n{textwrap.dedent(EVENTS)}\npredict({{'x': 5.0}})\nassert windvane.flush(10)"
    done = run(code, otlp.endpoint, OTEL_LOGS_EXPORTER="none")
    assert (done.returncode, done.stderr) == (0, "")
    assert otlp.logs == []
    assert len(otlp.spans()) == 1


def test_without_the_logs_of_the_sdk_the_rest_is_configured(otlp: OtlpReceiver) -> None:
    """Its modules have private names; a version without them costs events, which the log says."""
    code = """
        sys.modules["opentelemetry.sdk._logs"] = None
        windvane.configure()
        make_model().predict(lambda rows: 1.0)({"x": 5.0})
        assert windvane.flush(10)
    """
    done = run(code, otlp.endpoint)
    assert done.returncode == 0, done.stderr
    assert "events cannot be exported" in done.stderr
    assert counted(otlp) == 1
    assert len(otlp.spans()) == 1


def test_the_providers_of_the_host_are_kept(otlp: OtlpReceiver) -> None:
    """Configure replaces nothing, and a second call adds nothing."""
    done = run(
        """
        from opentelemetry import _logs
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.trace import TracerProvider
        tracers, meters, loggers = TracerProvider(), MeterProvider(), LoggerProvider()
        trace.set_tracer_provider(tracers)
        metrics.set_meter_provider(meters)
        _logs.set_logger_provider(loggers)
        windvane.configure()
        windvane.configure()
        assert trace.get_tracer_provider() is tracers
        assert metrics.get_meter_provider() is meters
        assert _logs.get_logger_provider() is loggers
        """,
        otlp.endpoint,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_providers_may_be_set_after_the_model_is_declared(otlp: OtlpReceiver) -> None:
    """A model declared at import time works with providers that the host sets later."""
    done = run(
        """
        predict = make_model().predict(lambda rows: 1.0)
        time.sleep(1.5)
        windvane.configure()
        predict({"x": 5.0})
        """,
        otlp.endpoint,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert counted(otlp) == 1
    assert len(otlp.spans()) == 1


def test_without_providers_nothing_is_sent(otlp: OtlpReceiver) -> None:
    """A process that has set up nothing opens no connection."""
    done = run(PREDICT, otlp.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    assert otlp.raw == []


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"},
    ],
    ids=["disabled", "no exporters"],
)
def test_telemetry_can_be_turned_off(otlp: OtlpReceiver, variables: dict[str, str]) -> None:
    """The standard switches turn everything off."""
    done = run(f"windvane.configure()\n{textwrap.dedent(PREDICT)}", otlp.endpoint, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert otlp.raw == []


def test_an_unknown_protocol_is_refused_by_name() -> None:
    """Configure names the variable and what would be right."""
    done = run("windvane.configure()", OTEL_EXPORTER_OTLP_PROTOCOL="http/json")
    assert done.returncode == 1
    assert "OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is not spoken here; use grpc or http/protobuf" in done.stderr


def test_a_dead_collector_delays_no_call_and_the_end_by_five_seconds_at_most() -> None:
    """Calls return at once, and the process ends within its deadline."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    begin = time.monotonic()
    done = run(
        f"""
        windvane.configure()
        {textwrap.indent(textwrap.dedent(PREDICT), " " * 8).strip()}
        begin = time.monotonic()
        predict({{"x": 5.0}})
        assert time.monotonic() - begin < 1
        """,
        f"http://127.0.0.1:{port}",
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - begin < 12  # five seconds of it for the end; the rest is the start on a slow machine


def test_a_flush_gives_up_at_its_timeout() -> None:
    """A Collector that takes connections and never answers costs a flush its timeout and no more."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = run(
            """
            windvane.configure()
            make_model().predict(lambda rows: 1.0)({"x": 5.0})
            begin = time.monotonic()
            assert windvane.flush(1.0) is False
            assert time.monotonic() - begin < 2
            os._exit(0)
            """,
            f"http://127.0.0.1:{silent.getsockname()[1]}",
        )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_child_processes_count_for_themselves(otlp: OtlpReceiver, tmp_path: Path, method: str) -> None:
    """What a parent counted before a fork is counted once, under the parent's instance id."""
    script = f"""{PREAMBLE}
import multiprocessing

windvane.configure()
predict = make_model().predict(lambda rows: [1.0] * len(rows))

def work():
    for _ in range(50):
        predict([{{"x": 5.0}}, {{"x": 7.0}}])
    assert windvane.flush(10)

if __name__ == "__main__":
    for _ in range(10):
        predict({{"x": 1.0}})
    assert windvane.flush(10)
    context = multiprocessing.get_context("{method}")
    children = [context.Process(target=work) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
"""
    path = tmp_path / "main.py"
    path.write_text(script)
    variables = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, path],
        env={**variables, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert counted(otlp) == 10 + 2 * 100
