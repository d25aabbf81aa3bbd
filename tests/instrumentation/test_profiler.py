"""Models that declare profiles send one for each window, whole, and nobody else's records are touched by it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from receivers import OtlpReceiver, attributes_of

import windvane
from windvane import _profile_sender, _runtime, semconv
from windvane._profiler import MAX_CHUNK_BYTES
from windvane.profiles import DatasetProfile

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.instrumentation.conftest import Host

START, DURATION = semconv.PROFILE_WINDOW_START.name, semconv.PROFILE_WINDOW_DURATION.name
ID, INDEX, COUNT = semconv.PROFILE_ID.name, semconv.PROFILE_CHUNK_INDEX.name, semconv.PROFILE_CHUNK_COUNT.name


def chunks(receiver: OtlpReceiver, model: str) -> list[tuple[dict[str, Any], bytes]]:
    """Return the attributes and the body of each chunk of a model that came."""
    records = [(attributes_of(record.attributes), record) for record in receiver.records()]
    return [
        (attributes, record.body.bytes_value)
        for attributes, record in records
        if record.event_name == semconv.PROFILE_EVENT.name and attributes[semconv.MODEL_NAME.name] == model
    ]


def merged(bodies: list[bytes]) -> DatasetProfile:
    profile = DatasetProfile()
    for body in bodies:
        profile += DatasetProfile.deserialize(body)
    return profile


def sent(host: Host, model: str) -> list[tuple[dict[str, Any], bytes]]:
    assert windvane.flush(10)
    return chunks(host.otlp, model)


def declare(name: str, **options: Any) -> Callable[[Any], Any]:
    profiles = windvane.ProfileEvents(**options)
    model = windvane.Model(name, version="1", features=["x", "c"], profiles=profiles)
    return model.predict(lambda rows: 0.5 if isinstance(rows, dict) else np.full(len(rows), 0.5))


class Clock:
    """The time of the profiler's windows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_700_000_100.0
        monkeypatch.setattr("windvane._profiler.time", self)

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that the test sets."""
    return Clock(monkeypatch)


def test_a_profile_holds_every_value_of_its_window(host: Host, model_name: str, clock: Clock) -> None:
    """Inputs and output, in the window in which they were counted, under the names of the contract."""
    predict = declare(model_name, window=60)
    for i in range(30):
        predict({"x": float(i), "c": "ab"[i % 2]})
    predict([{"x": None, "c": "a"}, {"x": 7, "c": "b"}])
    found = sent(host, model_name)
    [(attributes, body)] = found
    assert attributes[START] == clock.now - clock.now % 60
    assert (attributes[DURATION], attributes[INDEX], attributes[COUNT]) == (60, 0, 1)
    assert attributes[semconv.PROFILE_CHUNK_CHECKSUM.name] == hashlib.sha256(body).hexdigest()
    assert attributes[semconv.MODEL_VERSION.name] == "1"
    assert attributes[semconv.EVENT_NAME.name] == semconv.PROFILE_EVENT.name
    profile = DatasetProfile.deserialize(body)
    assert profile.dataset_timestamp.timestamp() == attributes[START]
    assert profile.metadata == {"ml.model.name": model_name, "ml.model.version": "1"}
    counts = {name: column.counts for name, column in profile.columns.items()}
    assert {name: (count.n, count.null) for name, count in counts.items()} == {
        "x": (32, 1),
        "c": (32, 0),
        "output": (32, 0),
    }
    frequent = profile.columns["c"].frequent_items
    assert frequent is not None
    assert {item.value: item.estimate for item in frequent.items} == {"a": 16, "b": 16}


def test_a_window_that_is_over_closes_without_a_further_call(host: Host, model_name: str, clock: Clock) -> None:
    """The worker looks by itself."""
    predict = declare(model_name, window=60)
    predict({"x": 1.0, "c": "a"})
    assert _runtime.worker.drain(5)
    clock.now += 60
    deadline = time.monotonic() + 10
    while not chunks(host.otlp, model_name) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(chunks(host.otlp, model_name)) == 1


def test_a_clock_that_jumps_loses_nothing(host: Host, model_name: str, clock: Clock) -> None:
    """Forward, back to a window that was closed, and before 1970: profiles of one window add up."""
    predict = declare(model_name, window=60)
    times = [clock.now, clock.now + 10_000, clock.now, -5000.0, clock.now + 60]
    for now in times:
        clock.now = now
        predict([{"x": 1.0, "c": "a"}] * 3)
        assert _runtime.worker.drain(5)
    found = sent(host, model_name)
    rows: Counter[int] = Counter()
    for attributes, body in found:
        rows[attributes[START]] += DatasetProfile.deserialize(body).columns["x"].counts.n
    assert rows.total() == 15
    assert rows[times[0] - times[0] % 60] in {3, 6}
    assert len({attributes[ID] for attributes, _ in found}) == len(found)


def test_a_column_that_changes_its_type_within_a_window_is_whole(host: Host, model_name: str) -> None:
    """Numbers, then texts, arrays between."""
    predict = declare(model_name, window=86_400)
    predict({"x": 1, "c": "a"})
    predict(np.array([[1.5, 2.0], [2.5, 3.0]]))
    predict({"x": "one", "c": None})
    predict({"x": True, "c": b"bytes"})
    column = merged([body for _, body in sent(host, model_name)]).columns["x"]
    assert (column.counts.n, column.types.integral, column.types.fractional) == (5, 1, 2)
    assert (column.types.string, column.types.boolean) == (1, 1)


def test_rare_values_stay_where_they_are(host: Host, model_name: str) -> None:
    """Frequent items below the minimum, or all where they are switched off, are in no byte that leaves."""
    declare(model_name, frequent_items_minimum=3)(
        [{"x": 1.0, "c": c} for c in ["often-seen"] * 3 + ["canary-rare"] * 2]
    )
    off = f"{model_name}.off"
    declare(off, frequent_items=False)([{"x": 1.0, "c": "canary-off"}] * 50)
    host.otlp.raw.clear()
    assert windvane.flush(10)
    sent_bytes = b"".join(host.otlp.raw)
    assert b"often-seen" in sent_bytes
    assert b"canary-" not in sent_bytes


def test_chunks_stay_below_their_limit_and_are_profiles_of_their_own(host: Host, model_name: str) -> None:
    """Many columns, some of long texts that alone would be larger than a chunk may be."""
    names = [f"f{i}" for i in range(40)]
    texts = [f"{i:04}" + "雪" * 130 for i in range(760)]
    model = windvane.Model(
        model_name,
        version="1",
        features=[*names, "t"],
        profiles=windvane.ProfileEvents(frequent_items_minimum=1),
    )
    rng = np.random.default_rng(0)
    frame = {name: rng.normal(size=len(texts) * 3) for name in names}
    rows = [{**{name: frame[name][i] for name in names}, "t": texts[i % len(texts)]} for i in range(len(texts) * 3)]
    for begin in range(0, len(rows), 380):
        model.predict(lambda _rows: None)(rows[begin : begin + 380])
        assert _runtime.worker.drain(10)
    found = sent(host, model_name)
    assert len(found) > 2
    assert max(len(body) for _, body in found) <= MAX_CHUNK_BYTES
    assert [attributes[INDEX] for attributes, _ in found] == list(range(len(found)))
    assert {attributes[COUNT] for attributes, _ in found} == {len(found)}
    assert len({attributes[ID] for attributes, _ in found}) == 1
    columns = [name for _, body in found for name in DatasetProfile.deserialize(body).columns]
    assert sorted(columns) == sorted([*names, "t", "output"])
    assert merged([body for _, body in found]).columns["t"].counts.n == len(rows)


def test_many_threads_add_up(host: Host, model_name: str) -> None:
    """Calls on three threads, with flushes among them."""
    predict = declare(model_name)

    def work() -> None:
        for i in range(200):
            predict({"x": float(i), "c": "a"})

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        windvane.flush(10)
    for thread in threads:
        thread.join()
    found = sent(host, model_name)
    assert merged([body for _, body in found]).columns["x"].counts.n == 600


def test_a_column_that_cannot_be_profiled_takes_no_other_with_it(
    host: Host, model_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted as lost, and into its bins all the same."""
    predict = declare(model_name)
    track = DatasetProfile.track

    def fail_on_c(self: DatasetProfile, columns: dict[str, Any]) -> None:
        if "c" in columns:
            raise RuntimeError
        track(self, columns)

    monkeypatch.setattr(DatasetProfile, "track", fail_on_c)
    predict({"x": 1.0, "c": "a"})
    found = sent(host, model_name)
    assert merged([body for _, body in found]).columns["x"].counts.n == 1
    assert windvane.flush(10)
    wanted = {semconv.MODEL_NAME.name: model_name}
    assert host.otlp.points(semconv.RECORDS_DROPPED.name, **wanted, **{semconv.DROP_REASON.name: "profile_failed"}) == [
        (wanted | {"ml.model.version": "1", semconv.DROP_REASON.name: "profile_failed"}, 1)
    ]
    observed = host.otlp.points(semconv.FEATURE_OBSERVATIONS.name, **wanted, **{semconv.FEATURE_NAME.name: "c"})
    assert sum(value for _, value in observed) == 1


ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.lists(st.floats(), max_size=3),
    st.datetimes(),
    st.decimals(),
    st.just(object()),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(ANY, min_size=1, max_size=12))
def test_any_values_are_counted(host: Host, values: list[object]) -> None:
    """Whatever a column holds, each of its values counts."""
    model = windvane.Model("any-values", version="1", features=["x"], profiles=windvane.ProfileEvents())
    model.predict(lambda _rows: None)([{"x": value} for value in values])
    host.otlp.logs.clear()
    found = sent(host, "any-values")
    assert merged([body for _, body in found]).columns["x"].counts.n == len(values)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 7}, "divide a day"),
        ({"window": 0}, "divide a day"),
        ({"window": 300.0}, "divide a day"),
        ({"window": True}, "divide a day"),
        ({"frequent_items": 1}, "True or False"),
        ({"frequent_items_minimum": 0}, "1 or more"),
    ],
)
def test_a_declaration_that_cannot_be_used_is_refused(options: dict[str, Any], words: str) -> None:
    """The message names the field and what it must be."""
    with pytest.raises(windvane.DeclarationError, match=words):
        windvane.ProfileEvents(**options)


def test_without_the_extra_the_declaration_says_what_to_install(
    model_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the first call."""
    monkeypatch.setitem(sys.modules, "datasketches", None)
    with pytest.raises(windvane.DeclarationError, match=r"pip install 'windvane\[profiles,otlp\]'"):
        declare(model_name)


OUTAGE = """
import sys, time, windvane
windvane.configure()
model = windvane.Model("m", version="1", features=["x"], profiles=windvane.ProfileEvents())
predict = model.predict(lambda row: 0.5)
for line in sys.stdin:
    for i in range(int(line)):
        predict({"x": float(i)})
    print(windvane.flush(1.5), flush=True)
begin = time.monotonic()
from windvane import _runtime
_runtime.shut_down()
print(time.monotonic() - begin, flush=True)
"""


def start(code: str, endpoint: str, **environment: str) -> subprocess.Popen[str]:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "3600000", **environment}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_an_outage_of_the_receiver_loses_nothing_and_doubles_nothing(otlp: OtlpReceiver) -> None:
    """What could not be sent waits; under one key there is never other content."""
    port = int(otlp.endpoint.rsplit(":", 1)[1])
    process = start(OUTAGE, otlp.endpoint)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        answers = []
        for rows, up in ((10, True), (20, False), (30, True)):
            if not up:
                otlp.close()
            elif not answers or answers[-1] == "False\n":
                again = otlp if not answers else OtlpReceiver(port)
            process.stdin.write(f"{rows}\n")
            process.stdin.flush()
            answers.append(process.stdout.readline())
        shutdown = float(process.communicate(timeout=20)[0])
    finally:
        process.kill()
        process.wait()
    try:
        assert answers[:2] == ["True\n", "False\n"]
        assert shutdown < 5.5
        by_key: defaultdict[tuple[str, int], set[bytes]] = defaultdict(set)
        for attributes, body in chunks(otlp, "m") + chunks(again, "m"):
            by_key[attributes[ID], attributes[INDEX]].add(body)
        assert all(len(bodies) == 1 for bodies in by_key.values())
        assert merged([body for bodies in by_key.values() for body in bodies]).columns["x"].counts.n == 60
    finally:
        again.close()


FORK = """
import os, windvane
windvane.configure()
model = windvane.Model("m", version="1", features=["x"], profiles=windvane.ProfileEvents())
predict = model.predict(lambda row: 0.5)
for i in range(5):
    predict({"x": 1.0})
child = os.fork()
for i in range(7 if child else 11):
    predict({"x": 1.0})
assert windvane.flush(10)
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
else:
    os._exit(0)
"""


def test_a_fork_doubles_nothing(otlp: OtlpReceiver) -> None:
    """The child begins an empty profile, under ids of its own."""
    process = start(FORK, otlp.endpoint)
    process.communicate(timeout=30)
    assert process.returncode == 0
    found = chunks(otlp, "m")
    assert sum(DatasetProfile.deserialize(body).columns["x"].counts.n for _, body in found) == 23
    assert len({attributes[ID] for attributes, _ in found}) == len(found) == 2
    instances = {
        attributes_of(resource.resource.attributes)["service.instance.id"]
        for request in otlp.logs
        for resource in request.resource_logs
    }
    assert len(instances) == 2


NONE = """
import windvane
windvane.configure()
model = windvane.Model("m", version="1", features=["x"], profiles=windvane.ProfileEvents())
model.predict(lambda row: 0.5)({"x": 1.0})
windvane.flush(5)
windvane.flush(5)
"""


def test_logs_that_are_turned_off_are_said_once_and_counted(otlp: OtlpReceiver) -> None:
    """`OTEL_LOGS_EXPORTER=none` and profiles do not go together."""
    done = subprocess.run(
        [sys.executable, "-c", NONE],
        env={
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint,
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_METRIC_EXPORT_INTERVAL": "3600000",
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr.count("OTEL_LOGS_EXPORTER turns logs off") == 1
    dropped = otlp.points(semconv.RECORDS_DROPPED.name, **{semconv.DROP_REASON.name: "profile_dropped"})
    assert [value for _, value in dropped] == [1]


def test_a_queue_that_is_full_drops_the_oldest_and_counts_it(
    host: Host, model_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that wait are bounded while nothing can be sent."""
    predict = declare(model_name)
    monkeypatch.setattr(_profile_sender, "host_has_sdk_metrics", lambda: False)
    monkeypatch.setattr(_profile_sender, "MAX_QUEUED_BYTES", 5000)
    for i in range(6):
        predict([{"x": float(i), "c": "a"}] * 10)
        assert not windvane.flush(5)
        assert _runtime.profile_sender.queued_bytes <= 5000
    monkeypatch.undo()
    host.otlp.logs.clear()
    kept = merged([body for _, body in sent(host, model_name)]).columns["x"].counts.n
    lost = host.otlp.points(
        semconv.RECORDS_DROPPED.name,
        **{semconv.MODEL_NAME.name: model_name, semconv.DROP_REASON.name: "profile_dropped"},
    )
    assert kept == 60 - 10 * lost[-1][1]
    assert 0 < kept < 60
