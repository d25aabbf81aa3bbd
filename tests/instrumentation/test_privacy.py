"""What a user's data holds never leaves the process by default."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from windvane import semconv

if TYPE_CHECKING:
    from receivers import OtlpReceiver

CANARY = "canary-7d1f"

SCRIPT = f"""
import logging
import numpy as np
import pandas as pd
import windvane

logging.basicConfig(level=logging.DEBUG)
windvane.configure()
rng = np.random.default_rng(0)
frame = {{"distance": rng.uniform(0, 100, 1000), "carrier": rng.choice(["AA", "UA"], 1000), "label": ["a", "b"] * 500}}
baseline = windvane.Baseline.from_frame(frame, model="m", version="1", output="label")
predict = windvane.Model("m", version="1", baseline=baseline).predict(lambda rows: "{CANARY}-output")

class Odd:
    def __str__(self): return "{CANARY}-str"
    __repr__ = __str__

class OddError(Exception):
    pass

rows = [
    {{"distance": 1.0, "carrier": "{CANARY}-value"}},
    {{"distance": "{CANARY}-type", "carrier": Odd()}},
    {{"distance": 2.0, "carrier": "AA", "{CANARY}-key": "{CANARY}-id"}},
    {{"{CANARY}-only-key": 1}},
]
for row in rows:
    predict(row)
predict(rows)
predict(pd.DataFrame(rows))
predict("{CANARY}-rows")
predict(Odd())

@windvane.Model("raising", version="1").predict
def fail(rows):
    raise OddError("{CANARY}-message")

for argument in rows:
    try:
        fail(argument)
    except OddError:
        pass
assert windvane.flush(10)
"""


def test_no_value_key_id_or_message_is_in_any_byte_that_leaves(otlp: OtlpReceiver) -> None:
    """Canaries in values, keys, ids, objects and exception messages appear neither in OTLP nor in the log."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**variables, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stderr
    assert len(otlp.raw) >= 3
    assert not [body for body in otlp.raw if CANARY.encode() in body]
    # The test sees what it should not see only if everything did arrive.
    assert sum(value for _, value in otlp.points(semconv.FEATURE_OBSERVATIONS.name)) > 0
    errors = [span for span in otlp.spans() if span.status.code == 2]
    assert len(errors) == 4
    assert any(b"OddError" in body for body in otlp.raw)
