"""The stack as real processes: telemetry arrives, nothing is lost, nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from receivers import OtlpReceiver, WebhookReceiver

from windvane.errors import StackError
from windvane_processors.stack import Ports, Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from opentelemetry.sdk.metrics.export import MetricExporter

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("stack_binaries")]

COUNT = "trial_count_total"
ALWAYS = """
groups:
  - name: trial
    rules:
      - alert: Trial
        expr: vector(1)
        labels: {team: arrivals, severity: page}
"""


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return result


class Sender:
    """An OpenTelemetry SDK that counts, and exports when it is told to."""

    def __init__(self, exporter: MetricExporter, resource: Mapping[str, str | int]) -> None:
        # An interval that no test reaches.
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        self._provider = MeterProvider([reader], resource=Resource({"service.name": "trial", **resource}))
        self._counter = self._provider.get_meter("trial").create_counter("trial.count", unit="{thing}")

    def count(self, number: int = 1) -> None:
        self._counter.add(number)
        assert self._provider.force_flush()

    def close(self) -> None:
        self._provider.shutdown()


@contextlib.contextmanager
def sender(stack: Stack, resource: Mapping[str, str | int]) -> Iterator[Sender]:
    with contextlib.closing(Sender(OTLPMetricExporter(endpoint=f"{stack.otlp_http}/v1/metrics"), resource)) as made:
        yield made


def value(stack: Stack, expression: str) -> float | None:
    samples = stack.query(expression)
    return samples[0].value if samples else None


def is_open(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def addresses(stack: Stack) -> list[str]:
    return [stack.otlp_http, stack.otlp_grpc, stack.prometheus_url, stack.alertmanager_url]


@pytest.mark.parametrize("prometheus", ["prometheus", "prometheus-2"])
def test_restarts_and_outages_lose_no_sample(prometheus: str) -> None:
    """Every export stands in Prometheus in the end, with its own time, on both lines."""
    with Stack(prometheus=prometheus) as stack, sender(stack, {"service.instance.id": "one"}) as sdk:
        sdk.count()
        wait_until(lambda: value(stack, COUNT) == 1, "first count")
        stack.stop("prometheus")
        sdk.count()
        stack.restart("otelcol")
        sdk.count()
        sdk.count()
        stack.kill("otelcol")
        stack.start("otelcol")
        sdk.count()
        stack.start("prometheus")
        wait_until(lambda: value(stack, COUNT) == 5, "last count")
        wait_until(lambda: value(stack, f"count_over_time({COUNT}[10m])") == 5, "every export")
        assert value(stack, f"sum(sum_over_time({COUNT}[10m]))") == 1 + 2 + 3 + 4 + 5


@pytest.mark.parametrize("prometheus", ["prometheus", "prometheus-2"])
def test_wrong_clock_of_one_service_does_not_hold_up_the_others(prometheus: str) -> None:
    """Samples from long ago and from the future are dropped, the rest of the batch and all that follows arrive."""
    with Stack(prometheus=prometheus) as stack, sender(stack, {"service.instance.id": "one"}) as sdk:
        sdk.count()
        wait_until(lambda: value(stack, COUNT) == 1, "a sample of now")
        hours = 3600 * 10**9
        points = {"late": -30, "hours_late": -20, "timely": 0, "early": 2}
        message = {
            "resourceMetrics": [
                {
                    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "clocks"}}]},
                    "scopeMetrics": [
                        {"metrics": [gauge(name, time.time_ns() + late * hours) for name, late in points.items()]}
                    ],
                }
            ]
        }
        post(f"{stack.otlp_http}/v1/metrics", message)
        wait_until(lambda: stack.query("timely"), "the rest of the batch")
        sdk.count()
        wait_until(lambda: value(stack, COUNT) == 2, "what follows")
        at = time.time() + 3 * 3600
        found = stack.query('count by (__name__) (last_over_time({job="clocks"}[40h]))', at=at)
        assert {sample.labels["__name__"] for sample in found} == {"hours_late", "timely"}


def gauge(name: str, at: int) -> dict[str, Any]:
    return {"name": name, "gauge": {"dataPoints": [{"timeUnixNano": str(at), "asDouble": 1}]}}


def post(url: str, message: dict[str, Any]) -> None:
    headers = {"content-type": "application/json"}
    asked = urllib.request.Request(url, data=json.dumps(message).encode(), headers=headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310 - loopback
        assert answer.status == 200


@pytest.fixture(scope="module")
def running() -> Iterator[Stack]:
    """A stack that nobody stops parts of."""
    with Stack() as stack:
        yield stack


def test_process_is_told_by_job_and_instance(running: Stack) -> None:
    """Two instances write two series; what else is known of them stands in target_info."""
    with (
        sender(running, {"service.instance.id": "a", "deployment.environment.name": "test"}) as one,
        sender(running, {"service.instance.id": "b"}) as two,
    ):
        one.count(2)
        two.count(3)
        by_instance = f'sum by (job, instance) ({COUNT}{{instance=~"a|b"}})'
        samples = wait_until(lambda: len(found := running.query(by_instance)) == 2 and found, "two series")
        told = {sample.labels["instance"]: (sample.labels["job"], sample.value) for sample in samples}
        assert told == {"a": ("trial", 2), "b": ("trial", 3)}
        (target,) = running.query('target_info{instance="a"}')
        assert target.labels["deployment_environment_name"] == "test"


def test_instance_is_made_of_host_and_process_where_the_sdk_names_none(running: Stack) -> None:
    """SDKs before 1.45 set no service.instance.id: two workers would write into one series."""
    with sender(running, {"host.name": "pod-7", "process.pid": 42}) as sdk:
        sdk.count()
        wait_until(lambda: running.query(f'{COUNT}{{instance="pod-7:42"}}'), "a series of its own")


def test_grpc_arrives_as_well(running: Stack) -> None:
    """On the address that the stack names."""
    exporter = GrpcExporter(endpoint=running.otlp_grpc, insecure=True)
    with contextlib.closing(Sender(exporter, {"service.instance.id": "grpc"})) as sdk:
        sdk.count(4)
        wait_until(lambda: value(running, f'{COUNT}{{instance="grpc"}}') == 4, "the count")


def test_spans_without_a_back_end_are_accepted(running: Stack) -> None:
    """A service that traces gets no error where nobody takes the spans."""
    exporter = OTLPSpanExporter(endpoint=f"{running.otlp_http}/v1/traces")
    spans = TracerProvider()
    kept: list[Any] = []

    class Keep(SimpleSpanProcessor):
        def on_end(self, span: Any) -> None:
            kept.append(exporter.export([span]))

    spans.add_span_processor(Keep(exporter))
    spans.get_tracer("trial").start_span("trial").end()
    spans.shutdown()
    assert [result.name for result in kept] == ["SUCCESS"]


def test_spans_survive_a_restart_on_their_way_to_the_back_end() -> None:
    """With an address for traces they go there, and wait on disk until it takes them."""
    with contextlib.closing(OtlpReceiver()) as backend, Stack(traces=backend.endpoint) as stack:
        spans = TracerProvider()
        spans.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{stack.otlp_http}/v1/traces")))
        spans.get_tracer("trial").start_span("before").end()
        stack.kill("otelcol")
        stack.start("otelcol")
        spans.get_tracer("trial").start_span("after").end()
        spans.shutdown()
        wait_until(lambda: {span.name for span in backend.spans()} >= {"before", "after"}, "both spans")


def test_log_records_survive_a_restart_on_their_way_to_the_back_end() -> None:
    """With an address for logs they go there, and wait on disk until it takes them; their maps stay maps."""
    with contextlib.closing(OtlpReceiver()) as backend, Stack(logs=backend.endpoint) as stack:
        logs = LoggerProvider()
        logs.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(endpoint=f"{stack.otlp_http}/v1/logs")))
        logger = logs.get_logger("trial")
        logger.emit(event_name="before", body={"row": 0, "features": {"distance": 1.5}})
        stack.kill("otelcol")
        stack.start("otelcol")
        logger.emit(event_name="after")
        logs.shutdown()
        wait_until(lambda: {record.event_name for record in backend.records()} >= {"before", "after"}, "both records")
        before = next(record for record in backend.records() if record.event_name == "before")
        assert [field.key for field in before.body.kvlist_value.values] == ["row", "features"]


def test_alert_reaches_the_webhook_of_its_team() -> None:
    """Through Prometheus and Alertmanager, with the times that were asked for; other rules take its place."""
    with (
        contextlib.closing(WebhookReceiver()) as hooks,
        Stack(
            rules={"trial.yml": ALWAYS},
            evaluation_interval="1s",
            webhooks={"arrivals-oncall": f"{hooks.endpoint}/oncall"},
            routing={"group_wait": "1s", "group_interval": "1s", "resolve_timeout": "1m"},
        ) as stack,
    ):
        wait_until(lambda: hooks.alerts, "the alert", seconds=60)
        receiver, alert = hooks.alerts[0]
        assert (receiver, alert["status"], alert["labels"]["alertname"]) == ("oncall", "firing", "Trial")
        with pytest.raises(StackError, match="Prometheus refuses the rules"):
            stack.reload_rules({"broken.yml": "groups: 1"})
        stack.reload_rules({"trial.yml": ALWAYS.replace("vector(1)", "vector(1) > 1")})
        wait_until(lambda: hooks.alerts[-1][1]["status"] == "resolved", "its end", seconds=60)


def test_query_refused_by_prometheus_is_an_error(running: Stack) -> None:
    """With what Prometheus says, and so is one that gives no vector."""
    with pytest.raises(StackError, match=r"Prometheus refuses 'sum\('.*parse error"):
        running.query("sum(")
    with pytest.raises(StackError, match="gives a scalar, not a vector"):
        running.query("1")


def test_unknown_receiver_is_an_error() -> None:
    """A typing error must not silently leave an alert undelivered."""
    with (
        pytest.raises(StackError, match="no receiver arivals-oncall; there are unowned, arrivals-channel"),
        Stack(webhooks={"arivals-oncall": "http://127.0.0.1:1"}),
    ):
        pass


def test_nothing_is_left_after_the_context(tmp_path: Path) -> None:
    """Also when it ends with an exception; a folder that was named keeps logs and data."""
    stack = Stack(workdir=tmp_path / "work")
    pids: list[int] = []

    def break_off() -> None:
        with stack:
            pids.extend(child.pid for child in stack.processes.values())
            assert all(map(is_open, addresses(stack)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert len(pids) == 3
    assert not any(map(is_running, pids))
    assert not any(map(is_open, addresses(stack)))
    assert (tmp_path / "work" / "otelcol.log").stat().st_size > 0
    with pytest.raises(StackError, match="otelcol is not running"):
        _ = stack.processes["otelcol"].pid


def test_part_that_cannot_start_ends_the_others_and_tells_why() -> None:
    """Its log's end is in the message."""
    ports = Ports.free()
    with pytest.raises(StackError) as caught, Stack(ports=ports, rules={"broken.yml": "groups: 1"}):
        pass
    assert "prometheus ended with exit code" in str(caught.value)
    assert "cannot unmarshal" in str(caught.value)
    assert not is_open(f":{ports.alertmanager}")


def test_port_that_is_taken_is_told() -> None:
    """Chosen ports are kept to; another server there is not taken for ours."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = Ports.free()._replace(prometheus=other.getsockname()[1])
        with pytest.raises(StackError, match=r"(?s)prometheus ended.*address already in use"), Stack(ports=ports):
            pass


def test_free_ports_are_chosen_anew_when_one_is_taken_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between choice and use another program may take one."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        choices = [Ports.free()._replace(alertmanager=other.getsockname()[1]), Ports.free()]
        monkeypatch.setattr(Ports, "free", lambda: choices.pop(0))
        with Stack() as stack:
            assert choices == []
            assert all(map(is_open, addresses(stack)))


_PARENT = """
import json, time
from windvane_processors.stack import Stack
with Stack() as stack:
    pids = [child.pid for child in stack.processes.values()]
    print(json.dumps([pids, stack.otlp_http, stack.prometheus_url, stack.alertmanager_url]), flush=True)
    time.sleep(120)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_when_the_program_dies(how: signal.Signals) -> None:
    """Killed, it cannot stop its parts itself."""
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with parent:
        try:
            assert parent.stdout is not None
            pids, *urls = json.loads(parent.stdout.readline())
            assert all(map(is_running, pids))
            parent.send_signal(how)
            assert parent.wait(20) != 0
        finally:
            parent.kill()
    wait_until(lambda: not any(map(is_running, pids)), "the end of its processes")
    wait_until(lambda: not any(map(is_open, urls)), "closed ports")


def test_command_runs_the_stack_until_ctrl_c() -> None:
    """It prints the addresses, and leaves nothing open."""
    process = subprocess.Popen(
        [sys.executable, "-m", "windvane", "stack", "run", "--free-ports"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        try:
            assert process.stdout is not None
            told = [process.stdout.readline() for _ in range(4)]
            urls = re.findall(r"http://127\.0\.0\.1:\d+", "".join(told))
            assert len(urls) == 4
            assert all(map(is_open, urls))
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        finally:
            process.kill()
    assert not any(map(is_open, urls))


def test_command_lists_and_finds(stack_binaries: dict[str, Path]) -> None:
    """`list --json` and `build` agree with what was found."""

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "windvane", "stack", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    listed = json.loads(run("list", "--json"))
    assert {row["name"]: row["path"] for row in listed} == {name: str(path) for name, path in stack_binaries.items()}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", row["version"]) for row in listed)
    assert "windvane-collector" in run("list") or "otelcol" in run("list")
    assert run("build", "promtool") == f"promtool\t{stack_binaries['promtool']}\n"


def test_collector_tells_its_own_health(running: Stack) -> None:
    """Prometheus scrapes it, so that a queue that grows is seen. Last here, since a scrape is seconds away."""
    wait_until(lambda: value(running, 'up{job="windvane-collector"}') == 1, "a scrape", seconds=40)
    assert running.query("otelcol_exporter_queue_size")
