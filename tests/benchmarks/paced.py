"""Times a prediction of 1 ms that is called 200 times a second.

The argument says what is timed: `bare` is the function alone, in a process without OpenTelemetry; `by-hand` has a
span and a histogram around it; `watched` is the function under `Model.predict` with 30 features.

For each line on standard input, a number of calls, it answers with one line of JSON: the duration of each call in
seconds.
"""

from __future__ import annotations

import json
import sys
import time

_RATE = 200
_SECONDS = 0.001
_FEATURES = 30


def predict(_row: dict[str, float]) -> float:
    """Keep the interpreter busy for a millisecond."""
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        pass
    return 0.5


timed = predict
if sys.argv[1] != "bare":
    import logging

    import windvane

    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # some Collectors here fail on purpose
    windvane.configure()
if sys.argv[1] == "by-hand":
    from by_hand import watched_by_hand

    timed = watched_by_hand(predict)
if sys.argv[1] == "watched":
    import numpy as np

    rng = np.random.default_rng(0)
    columns = {f"f{i}": rng.normal(size=2000) for i in range(_FEATURES)}
    baseline = windvane.Baseline.from_frame(columns, model="paced", version="1")
    timed = windvane.Model("paced", version="1", baseline=baseline).predict(predict)

row = {f"f{i}": 0.1 * i for i in range(_FEATURES)}
for line in sys.stdin:
    durations = []
    begin = time.perf_counter()
    for call in range(int(line)):
        # An absolute schedule: a slow call does not thin out what follows.
        due = begin + call / _RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        called = time.perf_counter()
        timed(row)
        durations.append(time.perf_counter() - called)
    sys.stdout.write(json.dumps(durations) + "\n")
    sys.stdout.flush()
