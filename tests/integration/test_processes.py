"""Counts are exact over forks, restarts of workers and signals, through the real Collector and Prometheus."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest

import windvane
from windvane import semconv
from windvane_processors.stack import Stack, answers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300), pytest.mark.xdist_group("processes")]

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack without rules; these tests read raw counters."""
    with Stack(rules={}) as running:
        yield running


@pytest.fixture
def service(stack: Stack, tmp_path: Path) -> dict[str, str]:
    """Environment of a service with a baseline, exporting very often."""
    values = np.random.default_rng(0).normal(size=1000)
    baseline = windvane.Baseline.from_frame({"x": values, "y": values}, model="prefork", version="1", output="y")
    baseline.save(tmp_path / "baseline.json")
    variables = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    return {
        **variables,
        "BASELINE": str(tmp_path / "baseline.json"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_http,
        "OTEL_METRIC_EXPORT_INTERVAL": "50",
        "OTEL_SERVICE_NAME": tmp_path.name,
        "PYTHONPATH": str(HERE),
    }


def counted(stack: Stack, service: dict[str, str], metric: semconv.Metric, selector: str = "") -> float:
    """Sum over every process that ever was, the last value of each."""
    job = f'job="{service["OTEL_SERVICE_NAME"]}"'
    found = stack.query(f"sum(last_over_time({metric.prometheus_name}{{{job}{selector}}}[1h]))")
    return found[0].value if found else 0


def settled(stack: Stack, service: dict[str, str], metric: semconv.Metric, wanted: float, selector: str = "") -> float:
    deadline = time.monotonic() + 15
    while (value := counted(stack, service, metric, selector)) != wanted and time.monotonic() < deadline:
        time.sleep(0.3)
    return value


X = f',{semconv.FEATURE_NAME.label}="x"'


@pytest.mark.parametrize(
    "kind", [["--worker-class=sync"], ["--worker-class=gthread", "--threads=2"]], ids=["sync", "threads"]
)
def test_prefork_workers_that_come_and_go_count_every_call_once(
    stack: Stack, service: dict[str, str], kind: list[str], tmp_path: Path
) -> None:
    """Four gunicorn workers, each replaced every hundred calls while the parent exports, lose and double nothing."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = (tmp_path / "gunicorn.log").open("wb")
    command = [sys.executable, "-m", "gunicorn", f"--bind=127.0.0.1:{port}", "--workers=4", "--preload", *kind]
    master = subprocess.Popen(
        [*command, "--max-requests=100", "--graceful-timeout=20", "prefork:app"], env=service, stdout=log, stderr=log
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + 30
        calls = 0
        while not answers(url):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        calls += 1

        certificates = ssl.create_default_context()  # a tenth of a second for each client that makes its own

        def call(_number: int) -> int:
            transport = httpx.HTTPTransport(retries=5, verify=certificates)
            with httpx.Client(transport=transport, timeout=20) as client:
                return int(client.get(url).status_code == 200)

        with ThreadPoolExecutor(8) as pool:
            calls += sum(pool.map(call, range(1000)))
        assert calls == 1001
    finally:
        master.send_signal(signal.SIGTERM)
        try:
            master.wait(30)
        finally:
            master.kill()
            master.wait()
            log.close()
    assert settled(stack, service, semconv.FEATURE_OBSERVATIONS, 2 * calls, X) == 2 * calls, Path(log.name).read_text()
    assert settled(stack, service, semconv.PREDICTION_ROWS, 2 * calls) == 2 * calls
    assert counted(stack, service, semconv.RECORDS_DROPPED) == 0


FORKS = """
import os, socket, sys, threading, time
import windvane

exporting = threading.Event()

def accept_and_stay_silent(listener):
    while True:
        connections.append(listener.accept()[0])
        exporting.set()

connections = []
listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=accept_and_stay_silent, args=(listener,), daemon=True).start()
real = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
windvane.configure()
predict = windvane.Model("prefork", version="1", baseline=os.environ["BASELINE"]).predict(lambda rows: 0.5)
for _ in range(1000):
    predict({"x": 1.0})  # the parent's own, which nobody answers for
assert exporting.wait(20)
time.sleep(0.1)
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = real  # an exporter is made anew after a fork
children = []
for _ in range(4):
    assert not windvane.flush(0.01), "the export must be under way"
    child = os.fork()
    if not child:
        for _ in range(250):
            predict({"x": 1.0})
        os._exit(not windvane.flush(20))
    children.append(child)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children), flush=True)
os._exit(0)
"""


def test_workers_forked_in_the_middle_of_an_export_count_every_call_once(stack: Stack, service: dict[str, str]) -> None:
    """What the parent has counted, and its export that hangs, stay the parent's; the children give exactly K."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS], env=service, stdout=subprocess.PIPE, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["0"] * 4
    assert settled(stack, service, semconv.FEATURE_OBSERVATIONS, 1000, X) == 1000
    assert counted(stack, service, semconv.PREDICTION_ROWS) == 1000
    assert counted(stack, service, semconv.RECORDS_DROPPED) == 0
