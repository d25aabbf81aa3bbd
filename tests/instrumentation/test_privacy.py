"""What a user's data holds never leaves the process by default."""

from __future__ import annotations

import hashlib
import hmac
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


EVENTS = f"""
import windvane

windvane.configure()

class OddError(Exception):
    pass

def model(name, **events):
    events = windvane.PredictionEvents(ratio=1, **events)
    return windvane.Model(name, version="1", features=["distance", "carrier", "tail"], events=events)

row = {{
    "distance": "{CANARY}-distance",
    "carrier": "{CANARY}-carrier",
    "tail": "{CANARY}-tail",
    "{CANARY}-key": "{CANARY}-id",
}}

def call(declared):
    @declared.predict
    def predict(rows):
        return ["{CANARY}-output"]

    @declared.predict
    def fail(rows):
        raise OddError("{CANARY}-message")

    predict([row])
    try:
        fail([row])
    except OddError:
        pass

call(model("nothing"))
call(model("some", values=["carrier"], hashed=["tail"]))
assert windvane.flush(10)
"""


OUTCOMES = f"""
import base64, logging
import windvane
from windvane.tokens import TokenKeys, unverified

logging.basicConfig(level=logging.DEBUG)
windvane.configure()
number = 987654.125
frame = {{"tail": ["{CANARY}-tail", "b"] * 50, "distance": [number, 1.0] * 50, "minutes": list(range(100))}}
baseline = windvane.Baseline.from_frame(frame, model="m", version="1", output="minutes")
model = windvane.Model(
    "m", version="1", baseline=baseline, outcomes=windvane.Outcomes("regression", segment="tail")
)
ranked = windvane.Model("r", version="1", outcomes=windvane.Outcomes("ranking"))

@model.predict
def predict(rows):
    return [12.5]

@ranked.predict
def rank(rows):
    return ["{CANARY}-item", "b"]

row = {{"tail": "{CANARY}-tail", "distance": number, "{CANARY}-key": "{CANARY}-id"}}
predict([row])
rank([row])
for one, actual in ((model, 55555.25), (ranked, "{CANARY}-item")):
    (token,) = one.tokens()
    body = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert b"canary" not in body
    assert unverified(token)[0].segment in (None, "c00", "c01")
    assert one.outcome(token, actual) == 1
    assert one.outcome([token, "{CANARY}-token", None], ["{CANARY}-actual"] * 3) == (0 if one is model else 1)
    assert one.feedback(token, "accepted") == 1
assert windvane.flush(10)
"""


def test_outcomes_carry_no_value_of_an_input_an_item_or_a_token(otlp: OtlpReceiver) -> None:
    """Neither in tokens nor in metrics, events and the log, also where what is reported is wrong; nor does a secret."""
    key = "0123456789abcdef0123456789abcdef"
    variables = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", OUTCOMES],
        env={**variables, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint, "WINDVANE_TOKEN_KEYS": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    everything = b"".join(otlp.raw)
    # The baseline's own category is the name of its bin.
    assert CANARY not in done.stderr
    assert everything.count(CANARY.encode()) == everything.count(f"{CANARY}-tail".encode())
    names = {record.event_name for record in otlp.records()}
    assert names == {semconv.OUTCOME_EVENT.name, semconv.FEEDBACK_EVENT.name}
    for text in (key, "987654", "55555"):
        assert text.encode() not in everything
        assert text not in done.stderr
    assert sum(value for _, value in otlp.points(semconv.OUTCOME_COUNT.name)) == 3


def test_of_events_only_what_is_declared_is_in_any_byte_that_leaves(otlp: OtlpReceiver) -> None:
    """With events on and nothing declared no canary leaves; else the allowed value as it is, the hashed as digest."""
    key = "0123456789abcdef0123456789abcdef"
    variables = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", EVENTS],
        env={**variables, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint, "WINDVANE_HASH_KEY": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    everything = b"".join(otlp.raw)
    assert everything.count(CANARY.encode()) == everything.count(f"{CANARY}-carrier".encode()) == 2
    digest = hmac.new(key.encode(), f"{CANARY}-tail".encode(), hashlib.sha256).hexdigest()[:32]
    assert everything.count(digest.encode()) == 2
    assert key.encode() not in everything
    assert len(otlp.records()) == 4
    assert [record.severity_text for record in otlp.records()] == ["INFO", "ERROR"] * 2


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


HEALTH_SCRIPT = f"""
import logging
import numpy as np
import pandas as pd
import windvane

logging.basicConfig(level=logging.DEBUG)
windvane.configure()
frame = {{"distance": np.arange(1000.0), "score": np.arange(1000.0)}}
baseline = windvane.Baseline.from_frame(frame, model="m", version="1", output="score")
with_baseline = windvane.Model("m", version="1", baseline=baseline, event_time="seen_at")
without = windvane.Model("plain", version="1", features=["distance", "carrier"], event_time={{"carrier": "seen_at"}})
random = np.random.default_rng()
for model in (with_baseline, without):
    predict = model.predict(lambda rows: f"{CANARY}-output")
    rows = []
    for _ in range(20):
        # Numbers that no figure of ours would come by, as texts and as numbers.
        number = int(random.integers(10**8)) * 10**8 + 7731_7731
        rows.append({{
            "distance": number,
            "carrier": f"{CANARY}-{{number}}",
            f"{CANARY}-{{number}}": number,
            "seen_at": random.choice([f"{CANARY}-time", "2031-07-31T07:31:00", str(number), None]),
        }})
        predict(rows[-1])
    predict(rows)
    predict(pd.DataFrame(rows))
assert windvane.flush(10)
"""


def test_no_unexpected_name_event_time_or_value_is_in_any_byte_that_leaves(otlp: OtlpReceiver) -> None:
    """Random keys, values and event times are counted, with and without a baseline, and stay in the process."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", HEALTH_SCRIPT],
        env={**variables, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kinds = {
        (a[semconv.MODEL_NAME.name], a[semconv.FEATURE_NAME.name], a[semconv.VIOLATION_KIND.name]): value
        for a, value in otlp.points(semconv.FEATURE_VIOLATIONS.name)
    }
    # Each row twice, and a frame of twenty rows has all twenty columns in each.
    assert kinds["m", "_OTHER", "unexpected"] >= 400
    assert kinds["m", "seen_at", "type"] > 0
    assert kinds["plain", "seen_at", "type"] > 0
    observed = otlp.points(semconv.FEATURE_OBSERVATIONS.name, **{semconv.MODEL_NAME.name: "plain"})
    assert {a[semconv.FEATURE_NAME.name] for a, _ in observed} == {"distance", "carrier", "output"}
    assert sum(value for _, value in observed) >= 120
    for canary in (CANARY, "77317731", "2031-07-31"):
        assert canary not in done.stderr
        assert not [body for body in otlp.raw if canary.encode() in body]
