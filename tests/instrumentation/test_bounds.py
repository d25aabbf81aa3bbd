"""Under overload and the oddest traffic, memory, series and the worker's CPU stay bounded, and losses are counted.

Each test has a process of its own, since it measures one. Memory is what the process has resident
(`/proc/self/statm`) above what it had after a warm-up: the model declared, 2,000 calls counted and exported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from receivers import OtlpReceiver, attributes_of

from windvane import semconv

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTES = 30

PREPARE = """
import json, os, random, resource, sys, threading, time
import numpy as np
import windvane
from windvane import _worker

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

rng = np.random.default_rng(0)
columns = {f"f{i}": rng.normal(size=500) for i in range(25)}
columns |= {f"c{i}": rng.choice(["a", "b", "c"], 500) for i in range(5)}
windvane.configure()
baseline = windvane.Baseline.from_frame(columns, model="m", version="1")
predict = windvane.Model("m", version="1", baseline=baseline).predict(lambda rows: 0.5)

def known(k):
    return {f"f{i}": k * 0.1 + i for i in range(25)} | {f"c{i}": "abc"[i % 3] for i in range(5)}

for k in range(2000):
    predict(known(k))
assert windvane.flush(20)
before = resident()
"""

OVERLOAD = """
rows_of = {
    "dicts": lambda k: known(k),
    "lists of dicts": lambda k: [known(k + i) for i in range(10)],
    "arrays": lambda k: np.full((100, 30), float(k)),
    "objects": lambda k: np.array([[f"{k} {i}" * 50 for i in range(30)] for _ in range(20)], dtype=object),
    "long texts": lambda k: known(k) | {"c0": f"{k}" * 20_000},
    "long texts for numbers": lambda k: known(k) | {"f0": f"{k}" * 20_000},
    "long texts in lists": lambda k: [known(k) | {"c0": f"{k}" * 2_000} for _ in range(10)],
}[sys.argv[1]]
_worker.CPU_SHARE = 1e-9  # from the next rest on the worker sleeps for years
worst = before
for k in range(int(sys.argv[2])):
    predict(rows_of(k))
    worst = max(worst, resident())
totals = windvane._runtime.models()[0].totals()
print(json.dumps({"growth": worst - before, "queue_full": totals.dropped["queue_full"]}))
sys.stdout.flush()
os._exit(0)  # nobody waits for the worker
"""


def run(script: str, *arguments: str, endpoint: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + script, *arguments],
        env=environment(endpoint),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def environment(endpoint: str) -> dict[str, str]:
    variables = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    # Spans would be the host's memory and CPU, not windvane's.
    own = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_TRACES_SAMPLER": "always_off",
    }
    return {**variables, **own}


@pytest.mark.parametrize(
    ("rows", "calls"),
    [
        ("dicts", 20_000),
        ("lists of dicts", 3_000),
        ("arrays", 2_000),
        ("objects", 2_000),
        ("long texts", 3_000),
        ("long texts for numbers", 3_000),
        ("long texts in lists", 3_000),
    ],
)
def test_while_the_worker_stalls_memory_is_bounded_and_drops_are_counted(
    rows: str, calls: int, otlp: OtlpReceiver
) -> None:
    """The queue is bounded in bytes, whatever the values are."""
    result = run(OVERLOAD, rows, str(calls), endpoint=otlp.endpoint)
    assert result["queue_full"] > calls * 0.1
    assert result["growth"] < MEGABYTES * 1e6


SHARE = """
rows = np.ones((10_000, 30))
worker = next(thread for thread in threading.enumerate() if thread.name == "windvane-worker")
clock = time.pthread_getcpuclockid(worker.ident)
begin, cpu = time.monotonic(), time.clock_gettime(clock)
while time.monotonic() < begin + 3:
    predict(rows)
    time.sleep(0.001)
share = (time.clock_gettime(clock) - cpu) / (time.monotonic() - begin)
totals = windvane._runtime.models()[0].totals()
print(json.dumps({"share": share, "queue_full": totals.dropped["queue_full"], "rows": totals.rows}))
sys.stdout.flush()
os._exit(0)
"""


def test_the_worker_takes_half_a_core_at_most(otlp: OtlpReceiver) -> None:
    """A service on few cores keeps them; what the worker has no time for is dropped and counted."""
    result = run(SHARE, endpoint=otlp.endpoint)
    assert result["share"] < 0.6
    assert result["queue_full"] > 0
    assert result["rows"] > 10_000


RANDOM = """
input()
random.seed(0)
worst = before
for k in range(int(sys.argv[1])):
    row = {f"f{i}": random.random() for i in range(25) if random.random() < 0.9}
    row |= {f"c{i}": f"category {random.random()}" for i in range(5)}
    row |= {f"feature {random.random()}": random.random()}
    predict(row)
    worst = max(worst, resident()) if k % 100 == 0 else worst
assert windvane.flush(20)
print(json.dumps({"growth": worst - before}))
"""


def series(otlp: OtlpReceiver) -> Iterator[tuple[Any, ...]]:
    for request in otlp.metrics:
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in getattr(metric, metric.WhichOneof("data")).data_points:
                        yield metric.name, *sorted(attributes_of(point.attributes).items())


def test_random_categories_and_names_of_features_make_no_series_and_no_memory(otlp: OtlpReceiver) -> None:
    """What callers send decides how high counters are, never how many there are.

    `make bench` does the same with a million calls.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", PREPARE.replace("before =", "print(flush=True)\nbefore =") + RANDOM, "30000"],
        env=environment(otlp.endpoint),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        # A first loss and a first unexpected name would show their series at zero all the same.
        at_start = set(series(otlp))
        out, errors = process.communicate("\n", timeout=120)
        assert process.returncode == 0, errors
    finally:
        process.kill()
        process.wait()
    assert json.loads(out)["growth"] < MEGABYTES * 1e6
    assert set(series(otlp)) == at_start
    violations = otlp.points(semconv.FEATURE_VIOLATIONS.name, **{semconv.FEATURE_NAME.name: "c0"})
    assert sum(value for _, value in violations) > 0
