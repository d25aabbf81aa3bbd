"""A Collector that is dead, silent or resets connections harms no call and no end; on its return nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from receivers import OtlpReceiver

import windvane
from windvane import semconv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT = """
import json, os, sys, time
import windvane

begin_of_process = time.monotonic()
windvane.configure()
predict = windvane.Model("m", version="1", baseline=os.environ["BASELINE"]).predict(lambda rows: 0.5)
row = {f"f{i}": 0.1 * i for i in range(30)}
seconds = []
end = time.monotonic() + 4
while time.monotonic() < end:
    begin = time.perf_counter()
    predict(row)
    seconds.append(time.perf_counter() - begin)
    time.sleep(0.002)
seconds.sort()
print(json.dumps({"calls": len(seconds), "p50": seconds[len(seconds) // 2], "worst": seconds[-1], "at": time.time()}))
sys.stdout.flush()
"""


class Fault:
    """A server on loopback that takes connections and misbehaves."""

    def __init__(self, *, reset: bool) -> None:
        self._reset = reset
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.connections = 0
        self._held: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connections += 1
                if self._reset:
                    connection.recv(100)
                    # A linger of zero seconds makes close() send RST.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.close()
                else:
                    self._held.append(connection)  # never answers

    def close(self) -> None:
        self._server.close()
        for connection in self._held:
            connection.close()


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    """A baseline of 30 features."""
    rng = np.random.default_rng(0)
    path = tmp_path / "baseline.json"
    columns = {f"f{i}": rng.normal(size=500) for i in range(30)}
    windvane.Baseline.from_frame(columns, model="m", version="1").save(path)
    return path


@contextlib.contextmanager
def faulty(kind: str) -> Iterator[str]:
    if kind == "dead":
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        return
    fault = Fault(reset=kind == "resetting")
    try:
        yield f"http://127.0.0.1:{fault.port}"
        assert fault.connections > 0
    finally:
        fault.close()


@pytest.mark.parametrize("kind", ["dead", "silent", "resetting"])
def test_a_faulty_collector_delays_no_call_and_the_end_by_five_seconds_at_most(kind: str, baseline: Path) -> None:
    """No call waits for the network; the process ends within its deadline."""
    with faulty(kind) as endpoint:
        variables = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={
                **variables,
                "BASELINE": str(baseline),
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                "OTEL_METRIC_EXPORT_INTERVAL": "200",
                "OTEL_BSP_SCHEDULE_DELAY": "200",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        ended = time.time()
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    result = json.loads(done.stdout)
    assert result["calls"] > 200
    # Anything that waited for the network would take its timeout of ten seconds; a busy machine is not that slow.
    assert result["worst"] < 1
    assert ended - result["at"] < 6.5


def test_on_the_return_of_the_collector_the_counters_are_right(tmp_path: Path, baseline: Path) -> None:
    """What was counted while nobody listened is in the next export."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = (
        SCRIPT
        + f"""
while not os.path.exists({str(tmp_path / "back")!r}):
    time.sleep(0.1)
predict(row)
assert windvane.flush(20)
"""
    )
    variables = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={
            **variables,
            "BASELINE": str(baseline),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        calls = json.loads(process.stdout.readline())["calls"] + 1
        receiver = OtlpReceiver(port)
        try:
            (tmp_path / "back").touch()
            assert process.wait(60) == 0
            points = receiver.points(semconv.FEATURE_OBSERVATIONS.name, **{semconv.FEATURE_NAME.name: "f0"})
            assert sum(value for _, value in points) == calls
        finally:
            receiver.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
