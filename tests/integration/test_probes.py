"""From a known case that breaks to the owner's pager, over a real service, Collector, Prometheus and Alertmanager."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from receivers import OtlpReceiver, WebhookReceiver

from windvane_dashboards.rules import Timings, render
from windvane_processors.stack import Stack, answers

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300), pytest.mark.xdist_group("probes")]

CASES = {
    "model": "flight-delay",
    "cases": [
        {
            "name": "long flight",
            "request": {"path": "/predict", "json": [{"distance": 2500}]},
            "expect": {"json": {"/0": {"approx": 0.5, "within": 0.1}}},
            "timeout": 1,
        }
    ],
}


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.2)
    return result


def test_a_model_that_answers_nonsense_pages_its_owner_while_its_traffic_looks_healthy(tmp_path: Path) -> None:
    """Nothing else fires; the page goes on when the service dies; and probes that end are missed."""
    hooks, traces = WebhookReceiver(), OtlpReceiver()
    cases = tmp_path / "cases.json"
    cases.write_text(json.dumps(CASES))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    children: list[subprocess.Popen[bytes]] = []

    def told(name: str, status: str = "firing") -> list[tuple[str, dict[str, Any]]]:
        return [
            (path, alert)
            for path, alert in list(hooks.alerts)
            if alert["labels"]["alertname"] == name and alert["status"] == status
        ]

    def runs(result: str) -> float:
        return sum(value for _, value in stack.query(f'ml_probe_runs_total{{ml_probe_result="{result}"}}'))

    try:
        with Stack(
            workdir=tmp_path / "stack",
            rules=render(timings=Timings().faster(60)),
            evaluation_interval="1s",
            webhooks={n: f"{hooks.endpoint}/{n}" for n in ("unowned", "arrivals-channel", "arrivals-oncall")},
            routing={"group_wait": "0s", "group_interval": "1s"},
            traces=traces.endpoint,
        ) as stack:
            environment = {
                **os.environ,
                "OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_http,
                "OTEL_METRIC_EXPORT_INTERVAL": "1000",
                "OTEL_BSP_SCHEDULE_DELAY": "500",
                "WINDVANE_PROBE_KEY": "what service and probes share: a secret",
            }
            service = [sys.executable, Path(__file__).with_name("probed.py"), str(port)]
            children.append(subprocess.Popen(service, env=environment))
            wait_for(lambda: answers(f"{url}/docs"), 30, "service")
            command = [sys.executable, "-m", "windvane", "probe", "run", cases, "--url", url, "--interval", "1"]
            children.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))

            wait_for(lambda: runs("passed") >= 10, 60, "ten runs that pass")
            assert runs("failed") == runs("error") == 0
            for _ in range(5):
                httpx.post(f"{url}/predict", json=[{"distance": 100}, {"distance": 200}]).raise_for_status()
            wait_for(lambda: stack.query("sum(ml_prediction_rows_total) > 0"), 30, "traffic")
            assert hooks.alerts == []

            httpx.post(f"{url}/break").raise_for_status()
            ((path, page),) = wait_for(lambda: told("MLProbeFailing"), 60, "page")
            assert path == "arrivals-oncall"
            assert page["labels"] == {
                "alertname": "MLProbeFailing",
                "ml_model_name": "flight-delay",
                "ml_probe_name": "long flight",
                "severity": "critical",
                "team": "arrivals",
            }
            assert page["annotations"]["runbook_url"] == "https://wiki.example.com/flight-delay"
            assert {alert["labels"]["alertname"] for _, alert in hooks.alerts} == {"MLProbeFailing"}
            probes = {span.trace_id for span in traces.spans() if span.name == "probe long flight"}
            assert probes & {span.trace_id for span in traces.spans() if span.name == "predict flight-delay"}

            # What probes ask is no traffic.
            assert [value for _, value in stack.query("sum(ml_prediction_rows_total)")] == [10]
            assert [value for _, value in stack.query("sum(ml_prediction_duration_seconds_count)")] == [5]

            children[0].kill()
            wait_for(lambda: runs("error") >= 20, 60, "runs without an answer")
            assert told("MLProbeFailing", "resolved") == []

            children[1].send_signal(signal.SIGTERM)
            assert children[1].wait(20) == 0
            ((path, ticket),) = wait_for(lambda: told("MLProbeStopped"), 60, "ticket")
            assert (path, ticket["labels"]["team"]) == ("arrivals-channel", "arrivals")
    finally:
        for child in children:
            child.kill()
            child.wait()
        hooks.close()
        traces.close()
