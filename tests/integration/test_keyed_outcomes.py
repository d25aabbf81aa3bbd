"""Predictions are known to the service's store by the caller's own keys, of which only digests leave the process."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from process_service import ProcessService

import windvane
from windvane import _runtime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "an example of a secret of 32 characters"  # noqa: S105
JSON = {"content-type": "application/json"}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessService]:
    """A service with a store, which this process knows."""
    store = f"sqlite:{tmp_path / 'outcomes.db'}"
    service = ProcessService("--outcomes-store", store, WINDVANE_TOKEN_KEYS=SECRET)
    monkeypatch.setenv("WINDVANE_TOKEN_KEYS", SECRET)
    monkeypatch.setenv("WINDVANE_PROCESS_ENDPOINT", service.endpoint)
    try:
        yield service
    finally:
        service.kill()
        _runtime.key_sender.reset()


def model(version: str) -> windvane.Model:
    return windvane.Model(
        "keyed", version=version, features=["x"], outcomes=windvane.Outcomes("binary", key="order_id")
    )


def report(service: ProcessService, keys: list[Any]) -> dict[str, Any]:
    items = [{"model": "keyed", "key": key, "actual": True} for key in keys]
    status, answer = service.send("/v1/outcomes", json.dumps({"outcomes": items}).encode(), JSON)
    assert status == 200
    told: dict[str, Any] = json.loads(answer)
    return told


def sent() -> None:
    """Everything counted here is handed to the service."""
    assert _runtime.worker.drain(10)
    assert _runtime.key_sender.flush(30)


def test_outcomes_are_reported_by_key(service: ProcessService) -> None:
    """Of rows as mappings and of frames, one by one and in batches; numbers and texts, before the outcome and after."""
    predict = model("1").predict(lambda rows: np.full(len(rows), 0.9))
    predict([{"x": 1.0, "order_id": "a"}, {"x": 2.0, "order_id": 7}, {"x": 3.0, "order_id": "c"}])
    predict(pd.DataFrame({"x": [1.0, 2.0], "order_id": np.array([8, 9])}))
    sent()
    assert report(service, ["a", 7, "c", 8, "9"])["counted"] == 5
    assert report(service, ["late", "a"]) == {"counted": 0, "waiting": 1, "duplicates": 1, "refused": []}
    predict([{"x": 1.0, "order_id": "late"}])
    sent()
    assert report(service, ["late"])["duplicates"] == 1


def test_what_the_service_does_not_take_is_sent_again(service: ProcessService) -> None:
    """After it has come back; calls go on meanwhile."""
    predict = model("2").predict(lambda rows: [0.9] * len(rows))
    service.kill()
    begin = time.monotonic()
    for number in range(50):
        predict([{"x": 1.0, "order_id": f"order {number}"}])
    assert time.monotonic() - begin < 5
    assert _runtime.worker.drain(10)
    assert not _runtime.key_sender.flush(5)
    service.start()
    sent()
    assert report(service, [f"order {number}" for number in range(50)])["counted"] == 50


def test_rows_without_a_key_are_counted_as_lost(service: ProcessService) -> None:
    """As are those of data that lack the column; the call is as it was."""
    declared = model("3")
    predict = declared.predict(lambda rows: [0.9] * len(rows))
    assert predict([{"x": 1.0}, {"x": 1.0, "order_id": None}, {"x": 1.0, "order_id": "a"}]) == [0.9] * 3
    sent()
    assert declared._counters.totals().dropped["key_dropped"] == 2
    assert report(service, ["a"])["counted"] == 1


def test_no_key_leaves_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only digests of keys are sent, with the bearer token in its header."""
    bodies: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            bodies.append((self.headers["authorization"], body))
            answer = b'{"counted": 0, "waiting": 1, "duplicates": 0, "refused": []}'
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        monkeypatch.setenv("WINDVANE_TOKEN_KEYS", SECRET)
        monkeypatch.setenv("WINDVANE_PROCESS_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("WINDVANE_PROCESS_TOKEN", "bearer")
        model("4").predict(lambda rows: [0.9])([{"x": 1.0, "order_id": "canary-4711"}])
        sent()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        _runtime.key_sender.reset()
    ((authorization, body),) = bodies
    assert authorization == "Bearer bearer"
    assert b"canary" not in body
    (item,) = json.loads(body)["predictions"]
    assert set(item) == {"key_digest", "token"}


def test_keys_need_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its address the declaration is refused, with what to set."""
    monkeypatch.setenv("WINDVANE_TOKEN_KEYS", SECRET)
    monkeypatch.delenv("WINDVANE_PROCESS_ENDPOINT", raising=False)
    with pytest.raises(windvane.DeclarationError, match="WINDVANE_PROCESS_ENDPOINT"):
        model("5")
