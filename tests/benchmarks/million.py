"""Calls a model a million times with random categories and random names of features.

Prints as JSON by how many bytes resident memory grew at most above what it was after the warm-up (the model
declared, 2,000 calls counted and exported), and the number of series exported before and after.
"""

from __future__ import annotations

import json
import random
import resource
import sys
from pathlib import Path

import numpy as np

import windvane
from windvane import _runtime

_WARM_UP = 2000


def resident() -> int:
    """Return the bytes that are resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def series() -> int:
    """Count the data points of an export."""
    return sum(len(points) for counters in _runtime.models() for _, points in counters.streams())


def row() -> dict[str, object]:
    """Make a row of 30 features with a tenth of the numbers missing, and one feature that nobody knows."""
    numbers: dict[str, object] = {f"f{i}": random.random() for i in range(25) if random.random() < 0.9}  # noqa: S311 - no secret
    categories = {f"c{i}": f"category {random.random()}" for i in range(5)}  # noqa: S311 - as above
    return numbers | categories | {f"feature {random.random()}": random.random()}  # noqa: S311 - as above


random.seed(0)
rng = np.random.default_rng(0)
columns = {f"f{i}": rng.normal(size=500) for i in range(25)}
columns |= {f"c{i}": rng.choice(["a", "b", "c"], 500) for i in range(5)}
windvane.configure()
baseline = windvane.Baseline.from_frame(columns, model="million", version="1")
predict = windvane.Model("million", version="1", baseline=baseline).predict(lambda _row: 0.5)
for _ in range(_WARM_UP):
    predict(row())
windvane.flush(30)
before, series_before = resident(), series()
worst = before
for call in range(int(sys.argv[1])):
    predict(row())
    if call % 1000 == 0:
        worst = max(worst, resident())
windvane.flush(30)
totals = _runtime.models()[0].totals()
counted = {"rows": totals.rows - _WARM_UP, "dropped": totals.dropped.total()}
sys.stdout.write(json.dumps({"grown": worst - before, "series": [series_before, series()], **counted}) + "\n")
