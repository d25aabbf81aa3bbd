"""Measures all CPU of a process per call: the caller's, the worker's and the exporters'.

The argument says what is called: `by-hand`, a span and a histogram, or `watched`, `Model.predict` with 30 features
counted. For each line on standard input, a number of calls, it makes the calls, exports once, and answers with
microseconds of CPU per call.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from by_hand import watched_by_hand

import windvane
from windvane import _runtime

_FEATURES = 30
_CHUNK = 1000


def predict(_row: dict[str, float]) -> float:
    """Do nothing."""
    return 0.5


windvane.configure()
timed: Any
if sys.argv[1] == "by-hand":
    timed = watched_by_hand(predict)
else:
    rng = np.random.default_rng(0)
    columns = {f"f{i}": rng.normal(size=2000) for i in range(_FEATURES)}
    baseline = windvane.Baseline.from_frame(columns, model="cpu", version="1")
    timed = windvane.Model("cpu", version="1", baseline=baseline).predict(predict)

row = {f"f{i}": 0.1 * i for i in range(_FEATURES)}
for line in sys.stdin:
    begin = time.process_time()
    for call in range(int(line)):
        timed(row)
        if call % _CHUNK == 0:
            _runtime.worker.drain(5)  # nothing is to be dropped: that would be cheap
    windvane.flush(5)
    sys.stdout.write(f"{(time.process_time() - begin) / int(line) * 1e6}\n")
    sys.stdout.flush()
