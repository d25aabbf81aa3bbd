"""A service for the integration tests: sends rows through a decorated model until it is told to stop.

Reads one JSON object a line: `{"mode": "sound" | "broken"}` changes the traffic, `{"stop": path}` ends it,
flushes, and writes every row's distance by mode into that file.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from pathlib import Path

import numpy as np
from opentelemetry import trace

import windvane

windvane.configure()
model = windvane.Model(
    "flight-delay",
    version="7",
    baseline=sys.argv[1],
    owner=windvane.Owner(team="arrivals", severity="critical", runbook_url="https://wiki.example.com/flight-delay"),
    objectives=windvane.Objectives(availability=0.999, latency=(2.5, 0.99)),
)
tracer = trace.get_tracer("host")
state = {"mode": "sound"}
sent: dict[str, list[float]] = {"sound": [], "broken": []}
stopped = threading.Event()


@model.predict
def predict(rows: list[dict[str, object]]) -> list[float]:
    return [0.5 for _ in rows]


def traffic() -> None:
    rng = np.random.default_rng(1)
    # Every hundredth of sorted distances at a time: any few seconds hold the same distribution, so that
    # what a window of a minute saw can be compared with all rows, however slow the machine is.
    every_distance = np.sort(rng.gamma(4.0, 250.0, 1000))
    for tick in itertools.count():
        if stopped.wait(0.05):
            return
        mode = state["mode"]
        factor = 1.6 if mode == "broken" else 1.0
        distances = (every_distance[tick % 100 :: 100] * factor).tolist()
        carriers = rng.choice(["AA", "UA", "DL"], 10).tolist()
        rows = [
            {"distance": distance} if mode == "broken" else {"distance": distance, "carrier": carrier}
            for distance, carrier in zip(distances, carriers, strict=True)
        ]
        with tracer.start_as_current_span("request"):
            predict(rows)
        sent[mode].extend(distances)


thread = threading.Thread(target=traffic)
thread.start()
for line in sys.stdin:
    order = json.loads(line)
    if "mode" in order:
        state["mode"] = order["mode"]
    else:
        stopped.set()
        thread.join()
        begin = time.monotonic()
        flushed = windvane.flush(20)
        Path(order["stop"]).write_text(
            json.dumps({"sent": sent, "flushed": flushed, "seconds": time.monotonic() - begin})
        )
        break
