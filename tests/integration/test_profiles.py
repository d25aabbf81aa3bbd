"""Profiles of several processes reach the store through the real Collector, each row once, whatever is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from windvane.profiles import DatasetProfile
from windvane_processors.demo.flights import training_flights
from windvane_processors.profile_store import ProfileStore
from windvane_processors.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("profiles")]

PROCESSES = 4
ROWS = 12_000
CLIENT = httpx.Client(trust_env=False, timeout=30)


class Service:
    """The profile service as a process that can be killed."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._folder = folder
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "windvane", "process", str(self._folder), "--listen", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(
            command, env={**os.environ, "OTEL_SDK_DISABLED": "true"}, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if CLIENT.get(f"http://127.0.0.1:{self.port}/healthz").status_code == 200:
                    return
            time.sleep(0.05)
        raise TimeoutError

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Twice:
    """Stands before the service and passes on what comes, twice; the answer is that of the second time."""

    def __init__(self, service: Service) -> None:
        self.passed = 0
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                kept = {name: self.headers[name] for name in ("content-type", "content-encoding") if self.headers[name]}
                try:
                    for _ in range(2):
                        url = f"http://127.0.0.1:{service.port}{self.path}"
                        answer = CLIENT.post(url, content=body, headers=kept)
                    relay.passed += 1
                    self.send_response(answer.status_code)
                    self.send_header("content-type", answer.headers["content-type"])
                    self.send_header("content-length", str(len(answer.content)))
                    self.end_headers()
                    self.wfile.write(answer.content)
                except httpx.HTTPError:
                    self.send_error(503)

            def log_message(self, *_arguments: object) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def flights() -> dict[str, Any]:
    """Some columns of real flights, missing values among them."""
    frame = training_flights().head(ROWS)
    return {
        "distance": frame["distance"].to_numpy(np.int64),
        "temp": frame["temp"].to_numpy(np.float64),
        "carrier": frame["carrier"].to_numpy(str),
    }


@pytest.fixture(params=["calm", "killed"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Stack, Service, Twice, bool]]:
    """The Collector, what doubles its requests, and the service behind."""
    service = Service(tmp_path / "store")
    twice = Twice(service)
    try:
        with Stack(profiles=twice.endpoint) as stack:
            yield stack, service, twice, request.param == "killed"
    finally:
        twice.close()
        service.process.kill()
        service.process.wait()


def test_four_processes_give_one_profile_of_all_rows(
    run: tuple[Stack, Service, Twice, bool], flights: dict[str, Any], tmp_path: Path
) -> None:
    """Each record delivered twice; then also the service killed ten times, and the Collector restarted."""
    stack, service, twice, killed = run
    np.savez(tmp_path / "rows.npz", **flights)
    variables = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_http,
        "OTEL_METRIC_EXPORT_INTERVAL": "60000",
        "OTEL_TRACES_EXPORTER": "none",
    }
    script = Path(__file__).with_name("profiled.py")
    processes = [
        subprocess.Popen([sys.executable, script, tmp_path / "rows.npz", str(share), str(PROCESSES)], env=variables)
        for share in range(PROCESSES)
    ]
    try:
        if killed:
            for round_ in range(10):
                time.sleep(0.4)
                service.kill()
                if round_ == 4:
                    stack.kill("otelcol")
                    stack.start("otelcol")
                service.start()
        assert [process.wait(60) for process in processes] == [0] * PROCESSES
    finally:
        for process in processes:
            process.kill()
            process.wait()
    store = ProfileStore(tmp_path / "store")
    deadline = time.monotonic() + 60
    while (merged := store.read("flight-delay", "1")) is None or any(
        name not in merged.columns or merged.columns[name].counts.n < len(flights[name]) for name in flights
    ):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert twice.passed > 0
    time.sleep(1)  # what would come too often comes now
    merged = store.read("flight-delay", "1")
    assert merged is not None
    whole = DatasetProfile(frequent_items_minimum=1)
    whole.track({name: column.tolist() for name, column in flights.items()})
    for name, expected in whole.columns.items():
        found = merged.columns[name]
        assert found.counts == expected.counts
        assert found.types == expected.types
        assert found.moments.mean == pytest.approx(expected.moments.mean)
        assert found.moments.m2 == pytest.approx(expected.moments.m2)
        assert (found.minimum, found.maximum) == (expected.minimum, expected.maximum)
    carriers = merged.columns["carrier"].frequent_items
    assert carriers is not None
    names, numbers = np.unique(flights["carrier"], return_counts=True)
    assert {item.value: item.estimate for item in carriers.items} == dict(
        zip(names.tolist(), numbers.tolist(), strict=True)
    )
