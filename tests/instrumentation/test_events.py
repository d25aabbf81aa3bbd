"""Prediction events: what they carry, of which calls they tell, and that they stay small."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import hmac
import json
import random
import subprocess
import sys
import uuid
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._internal import _encode_value
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace import SpanContext

import windvane
from windvane import PredictionEvents, semconv
from windvane._events import Emitter, any_value
from windvane.events import HASH_KEY, MAX_EVENT_ROWS
from windvane.testing import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.instrumentation.conftest import Host

KEY = "0123456789abcdef0123456789abcdef"
EVENT_BYTES = 8192
FEATURES = ["distance", "carrier"]
ROWS = [{"distance": 500.0, "carrier": "AA"}, {"distance": None, "carrier": "UA"}]


def make_model(name: str, events: PredictionEvents | None, **declared: Any) -> windvane.Model:
    return windvane.Model(name, version="1", features=FEATURES, events=events, **declared)


def bodies(function: Callable[[], object]) -> list[dict[str, Any] | None]:
    with capture() as signals:
        function()
    assert signals.dropped == {}
    return [event.body for event in signals.events]


def test_an_event_without_declared_values_tells_of_the_call_and_carries_none(host: Host, model_name: str) -> None:
    """Model, duration, rows and identity are in it; there is one for the whole call, and it has no body."""
    predict = make_model(model_name, PredictionEvents(ratio=1), variant="canary").predict(lambda rows: 0.5)
    with capture() as signals:
        predict(ROWS)
    (event,) = signals.events
    (span,) = signals.predictions
    assert event.body is None
    assert event.severity == "INFO"
    assert event.context is not None
    assert (event.context.trace_id, event.context.span_id) == (span.context.trace_id, span.context.span_id)
    assert 0 < event.attributes.pop(semconv.PREDICTION_SECONDS.name) < 10
    assert event.attributes == {
        "event.name": "ml.prediction",
        "ml.model.name": model_name,
        "ml.model.version": "1",
        "ml.model.variant": "canary",
        "ml.prediction.id": f"{span.context.trace_id:032x}-{span.context.span_id:016x}",
        "ml.prediction.row_count": 2,
    }


def test_there_are_no_events_by_default(host: Host, model_name: str) -> None:
    """A model that declares none emits none."""
    predict = make_model(model_name, None).predict(lambda rows: 0.5)
    with capture() as signals:
        predict(ROWS)
    assert signals.events == []
    assert signals.rows == 2


def test_declared_values_leave_for_each_row_and_no_others(host: Host, model_name: str) -> None:
    """A feature, the output, both or neither: only what is named is in the body."""
    predict = make_model(model_name, PredictionEvents(ratio=1, values=["distance", "output"])).predict(
        lambda rows: [0.25, 0.75]
    )
    assert bodies(lambda: predict(ROWS)) == [
        {"row": 0, "features": {"distance": 500.0}, "output": 0.25},
        {"row": 1, "features": {"distance": None}, "output": 0.75},
    ]


def test_the_output_alone_can_be_declared(host: Host, model_name: str) -> None:
    """Under the name that the baseline has for it."""
    frame = {"x": np.arange(100.0), "delay": np.arange(100.0)}
    baseline = windvane.Baseline.from_frame(frame, model=model_name, version="1", output="delay")
    events = PredictionEvents(ratio=1, values=["delay"])
    model = windvane.Model(model_name, version="1", baseline=baseline, events=events)
    assert bodies(lambda: model.predict(lambda rows: np.array([7]))([{"x": 1}])) == [{"row": 0, "output": 7}]


def test_a_stream_is_one_answer_to_its_row(host: Host, model_name: str) -> None:
    """The items that it gave are a list."""

    @make_model(model_name, PredictionEvents(ratio=1, values=["output"])).predict
    def stream(row: Any) -> Iterator[float]:
        yield from (1.0, 2.0, 3.0)

    assert bodies(lambda: list(stream(ROWS[0]))) == [{"row": 0, "output": [1.0, 2.0, 3.0]}]


@pytest.mark.parametrize("shape", ["dicts", "pandas", "numpy", "sparse", "tuples"])
def test_of_a_large_call_ten_rows_have_an_event_with_their_own_values(host: Host, model_name: str, shape: str) -> None:
    """They are spread evenly over the call, and the number of its rows is in each."""
    table = np.arange(2000.0).reshape(1000, 2)
    rows: Any = {
        "dicts": lambda: [dict(zip(FEATURES, row, strict=True)) for row in table.tolist()],
        "pandas": lambda: pd.DataFrame(table, columns=FEATURES),
        "numpy": lambda: table,
        "sparse": lambda: scipy.sparse.csr_matrix(table),
        "tuples": lambda: list(map(tuple, table.tolist())),
    }[shape]()
    predict = make_model(model_name, PredictionEvents(ratio=1, values=["carrier", "output"])).predict(
        lambda rows: table[:, 0]
    )
    with capture() as signals:
        predict(rows)
    assert len(signals.events) == MAX_EVENT_ROWS
    assert [event.body for event in signals.events] == [
        {"row": row, "features": {"carrier": 2.0 * row + 1}, "output": 2.0 * row} for row in range(0, 1000, 100)
    ]
    assert {event.attributes["ml.prediction.row_count"] for event in signals.events} == {1000}


def test_a_call_whose_rows_cannot_be_read_has_an_event_all_the_same(host: Host, model_name: str) -> None:
    """What is known of it is told."""
    predict = make_model(model_name, PredictionEvents(ratio=1, values=["distance"])).predict(lambda rows: 0.5)
    with capture() as signals:
        predict(object())
    (event,) = signals.events
    assert event.body is None
    assert "ml.prediction.row_count" not in event.attributes


class FlightError(Exception):
    """Its message holds what somebody passed."""


def fail(model: windvane.Model, error: BaseException) -> None:
    @model.predict
    def predict(rows: Any) -> Any:
        raise error

    with pytest.raises(type(error)) as caught:
        predict(ROWS[:1])
    assert caught.value is error


def test_an_event_of_a_failed_call_is_an_error_with_its_type_and_no_message(host: Host, model_name: str) -> None:
    """The inputs that are declared are in it; the message is neither there nor on the span."""
    model = make_model(model_name, PredictionEvents(ratio=1, values=["distance", "output"]))
    with capture() as signals:
        fail(model, FlightError("passenger 7"))
    (event,) = signals.events
    assert event.severity == "ERROR"
    assert event.attributes["error.type"].endswith("FlightError")
    assert event.body == {"row": 0, "features": {"distance": 500.0}}
    assert "passenger" not in repr(event)
    (span,) = host.spans()
    assert span.events == ()
    assert span.status.description is None


def test_an_event_of_a_cancelled_call_is_no_error(host: Host, model_name: str) -> None:
    """Whoever asked has gone away; the model has not failed."""
    model = make_model(model_name, PredictionEvents(ratio=1), exception_messages=True)
    with capture() as signals:
        fail(model, asyncio.CancelledError("passenger 7"))
    (event,) = signals.events
    assert (event.severity, event.attributes["error.type"]) == ("INFO", "cancelled")
    assert "passenger" not in repr(event)


def test_messages_leave_by_a_switch_on_the_span_and_in_the_event(host: Host, model_name: str) -> None:
    """The span has the standard event and description; both messages are bounded."""
    model = make_model(model_name, PredictionEvents(ratio=1), exception_messages=True)
    with capture() as signals:
        fail(model, FlightError("passenger 7 " + "x" * 100_000))
    (event,) = signals.events
    message = event.attributes["exception.message"]
    assert message.startswith("passenger 7 xx")
    assert len(message.encode()) <= 1024
    (span,) = host.spans()
    (recorded,) = span.events
    assert recorded.name == "exception"
    assert recorded.attributes is not None
    assert recorded.attributes["exception.type"] == event.attributes["error.type"]
    assert recorded.attributes["exception.message"] == message == span.status.description
    assert len(str(recorded.attributes["exception.stacktrace"])) <= EVENT_BYTES


def test_the_stack_trace_tells_where_an_exception_was_raised(host: Host, model_name: str) -> None:
    """As `record_exception` writes it."""
    fail(make_model(model_name, None, exception_messages=True), FlightError("passenger 7"))
    (span,) = host.spans()
    (recorded,) = span.events
    assert recorded.attributes is not None
    trace = str(recorded.attributes["exception.stacktrace"])
    assert trace.startswith("Traceback (most recent call last):")
    assert "raise error" in trace
    assert trace.rstrip().endswith("FlightError: passenger 7")


def test_an_exception_that_cannot_be_written_changes_no_call(host: Host, model_name: str) -> None:
    """Its type is known all the same, and the fault is counted."""

    class UnwritableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    model = make_model(model_name, PredictionEvents(ratio=1), exception_messages=True)
    with capture() as signals:
        fail(model, UnwritableError())
    (event,) = signals.events
    assert event.attributes["error.type"].endswith("UnwritableError")
    assert "exception.message" not in event.attributes
    assert signals.dropped == {"internal_error": 1}
    (span,) = host.spans()
    assert not span.status.is_ok


@pytest.mark.parametrize("ratio", [0, 0.001, 0.3, 0.999, 1])
def test_calls_are_sampled_as_the_sampler_of_opentelemetry_does(ratio: float) -> None:
    """The same trace ids are in, so an event has its trace and all services of a trace agree."""
    emitter = Emitter(PredictionEvents(ratio=ratio), {}, [], None)
    sampler = TraceIdRatioBased(ratio)
    rng = random.Random(0)  # noqa: S311 - no secret
    bound = TraceIdRatioBased.get_bound_for_rate(ratio)
    ids = [rng.getrandbits(128) | 1 for _ in range(2000)]
    ids += [(1 << 64) + max(0, min(bound + i, (1 << 64) - 1)) for i in (-2, -1, 0, 1)]
    for trace_id in ids:
        call: Any = SimpleNamespace(span_context=SpanContext(trace_id, 1, is_remote=False))
        expected = sampler.should_sample(None, trace_id, "x").decision is Decision.RECORD_AND_SAMPLE
        assert emitter.samples(call) == expected


@pytest.mark.parametrize("ratio", [0, 0.5, 1])
def test_calls_without_a_span_are_sampled_at_random(ratio: float) -> None:
    """In the declared share."""
    emitter = Emitter(PredictionEvents(ratio=ratio), {}, [], None)
    call: Any = SimpleNamespace(span_context=None)
    share = sum(emitter.samples(call) for _ in range(10_000)) / 10_000
    assert share == pytest.approx(ratio, abs=0.03 if ratio == 0.5 else 0)


def digest_of(text: str) -> str:
    """Compute a digest apart from the implementation, as a reader of the documentation would."""
    return hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("AA", "AA"),
        ("Zürich", "Zürich"),
        ("x" * 10_000, "x" * 10_000),
        (42, "42"),
        (np.int32(42), "42"),
        (42.0, "42"),
        (0.5, "0.5"),
        (True, "True"),
        (2**80, str(2**80)),
        (dt.date(2013, 1, 31), "2013-01-31"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    ],
    ids=["ascii", "text", "long", "int", "int32", "integral", "float", "bool", "huge", "date", "uuid"],
)
def test_hashed_values_leave_as_a_keyed_digest(
    host: Host, model_name: str, monkeypatch: pytest.MonkeyPatch, value: object, text: str
) -> None:
    """It is HMAC-SHA-256 of the value's text, the first 16 bytes in hex."""
    monkeypatch.setenv(HASH_KEY, KEY)
    events = PredictionEvents(ratio=1, hashed=["carrier", "output"])
    predict = make_model(model_name, events).predict(lambda rows: "AA")
    assert bodies(lambda: predict({"distance": 1.0, "carrier": value})) == [
        {"row": 0, "features": {"carrier": digest_of(text)}, "output": digest_of("AA")}
    ]


def test_what_cannot_be_hashed_is_left_out(host: Host, model_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing value stays missing; an object of another type is counted as left out."""
    monkeypatch.setenv(HASH_KEY, KEY)
    predict = make_model(model_name, PredictionEvents(ratio=1, hashed=["carrier"])).predict(lambda rows: [0.0] * 3)
    rows = [{"distance": 1.0, "carrier": value} for value in (None, [1], object())]
    assert bodies(lambda: predict(rows)) == [
        {"row": 0, "features": {"carrier": None}},
        {"row": 1, "features": {"carrier": None}, "truncated": 1},
        {"row": 2, "features": {"carrier": None}, "truncated": 1},
    ]


@pytest.mark.parametrize(
    ("key", "told"),
    [(None, "is not set"), (" ", "is not set"), (KEY[:-1], "is too short")],
    ids=["none", "empty", "31"],
)
def test_hashing_needs_a_key(model_name: str, monkeypatch: pytest.MonkeyPatch, key: str | None, told: str) -> None:
    """The declaration names the variable; the key itself is in no message."""
    monkeypatch.delenv(HASH_KEY, raising=False)
    if key is not None:
        monkeypatch.setenv(HASH_KEY, key)
    with pytest.raises(windvane.DeclarationError, match=f"{HASH_KEY} {told}.* at least 32 characters") as caught:
        make_model(model_name, PredictionEvents(ratio=1, hashed=["carrier"]))
    assert KEY[:8] not in str(caught.value)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: PredictionEvents(ratio=1.5), r"PredictionEvents.ratio: 1.5 must be a share from 0 to 1"),
        (lambda: PredictionEvents(ratio=float("nan")), r"PredictionEvents.ratio: nan"),
        (lambda: PredictionEvents(ratio=True), r"PredictionEvents.ratio: True"),
        (lambda: PredictionEvents(ratio="all"), r"PredictionEvents.ratio: 'all'"),  # type: ignore[arg-type]
        (lambda: PredictionEvents(ratio=1, values="distance"), r"values: must be a list of names, not 'distance'"),
        (lambda: PredictionEvents(ratio=1, values=[""]), r"values: must be a non-empty text"),
        (lambda: PredictionEvents(ratio=1, values=["x"], hashed=["x"]), r"'x' stands twice"),
        (
            lambda: make_model("m", PredictionEvents(ratio=1, values=["distanse"])),
            r"PredictionEvents.values: the model has no feature or output 'distanse' \(did you mean 'distance'\?\)",
        ),
        (
            lambda: make_model("m", PredictionEvents(ratio=1, hashed=["carier"])),
            r"PredictionEvents.hashed: .* \(did you mean 'carrier'\?\)",
        ),
        (
            lambda: windvane.Model("m", version="1", events=PredictionEvents(ratio=1, values=["x"])),
            r"'x' is none of the model's; give the model a baseline or features",
        ),
        (lambda: windvane.Model("m", version="1", events=0.1), r"Model.events: must be a windvane.PredictionEvents"),  # type: ignore[arg-type]
        (lambda: windvane.Model("m", version="1", exception_messages=1), r"Model.exception_messages: must be"),  # type: ignore[arg-type]
        (
            lambda: windvane.Model(
                "m",
                version="1",
                features=[f"feature-{i}" for i in range(200)],
                events=PredictionEvents(ratio=1, values=[f"feature-{i}" for i in range(200)]),
            ),
            r"values of 200 names do not fit into an event of 5500 bytes; name fewer features",
        ),
    ],
)
def test_a_declaration_that_cannot_be_used_is_refused(declare: Callable[[], object], message: str) -> None:
    """The message names the field and the mend."""
    with pytest.raises(windvane.DeclarationError, match=message):
        declare()


def test_a_version_has_one_declaration_of_events(model_name: str) -> None:
    """The same again is the same model; another one is an error."""
    make_model(model_name, PredictionEvents(ratio=1, values=["distance"]))
    make_model(model_name, PredictionEvents(ratio=1, values=["distance"]))
    for events in (None, PredictionEvents(ratio=1)):
        with pytest.raises(windvane.DeclarationError, match="already declared in this process with other events"):
            make_model(model_name, events)
    with pytest.raises(windvane.DeclarationError, match="with other exception_messages"):
        make_model(model_name, PredictionEvents(ratio=1, values=["distance"]), exception_messages=True)


class Hostile:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]


class HostileList(list[Any]):
    """Cannot be read."""

    def __iter__(self) -> Any:
        raise RuntimeError


class EndlessList(list[Any]):
    """Has no end."""

    def __iter__(self) -> Any:
        while True:
            yield "x"


class OddText(str):
    """Says something else of itself."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError

    def encode(self, *_arguments: Any) -> bytes:
        raise RuntimeError


def endless() -> list[Any]:
    values: list[Any] = []
    values.append(values)
    return values


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(0, 20_000).map(lambda bits: -(2**bits)),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters()),  # with halves of surrogate pairs
    st.binary(max_size=3000),
    st.decimals(),
    st.fractions(),
    st.uuids(),
    st.datetimes(),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.floats(width=32).map(np.float32),
    st.integers(0, 255).map(np.uint8),
    st.floats().map(np.longdouble),
    st.booleans().map(np.bool_),
    st.sampled_from(
        [
            np.datetime64("NaT"),
            np.datetime64("2013-01-01"),
            np.timedelta64(3, "Y"),
            np.timedelta64(3, "s"),
            np.array(3.5),
            np.arange(10_000.0),
            np.array([[1, 2], [3, 4]]),
            np.array(["a", None], dtype=object),
            pd.NaT,
            pd.NA,
            pd.Timestamp("2013-01-01", tz="UTC"),
            pd.Series([1]),
            "x" * 100_000,
            "é" * 5000,
            OddText("odd"),
            endless(),
            {1, 2},
            object(),
            len,
        ]
    ),
    # Made when they are drawn: what shows or sorts strategies reads them.
    st.builds(Hostile),
    st.builds(HostileList),
    st.builds(EndlessList),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()) | st.integers(), inner)
)


def test_any_value_becomes_one_that_otlp_carries_within_its_bound(host: Host) -> None:
    """It never raises, never exceeds its bytes, and JSON can hold it, as back ends write bodies."""
    # An export that an earlier test has begun uses `random`, which Hypothesis takes for a strategy's doing.
    assert windvane.flush(10)

    @given(VALUES, st.integers(40, 2000))
    @example(["x" * 100] * 100, 40)
    @example({"é" * 100: "é" * 100}, 100)
    @example(-(2**63), 40)
    @example(10**5000, 40)
    def holds(value: object, limit: int) -> None:
        converted, _ = any_value(value, limit)
        assert _encode_value(converted).ByteSize() <= limit
        json.dumps(converted, allow_nan=False, default=lambda binary: binary.decode("latin-1"))
        assert plain(converted)

    holds()


def plain(value: object) -> bool:
    """Tell whether a value is of OTLP's own types alone, and no subclass of these."""
    if type(value) is list:
        return all(map(plain, value))
    if type(value) is dict:
        return all(type(key) is str and plain(inner) for key, inner in value.items())
    return type(value) in {type(None), bool, int, float, str, bytes}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(1.5), 1.5),
        (np.int64(3), 3),
        (np.bool_(True), True),  # noqa: FBT003 - the value under test
        (float("nan"), None),
        (pd.NA, None),
        (np.datetime64("NaT"), None),
        (float("inf"), "Infinity"),
        (-np.inf, "-Infinity"),
        (2**63 - 1, 2**63 - 1),
        (2**63, "9223372036854775808"),
        (Decimal("1.10"), "1.10"),
        (dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC), "2013-01-01T05:00:00+00:00"),
        (np.datetime64("2013-01-01T05:00"), "2013-01-01T05:00"),
        (dt.timedelta(minutes=2), 120.0),
        (np.timedelta64(1500, "ms"), 1.5),
        (b"\x00\xff", b"\x00\xff"),
        (np.array([1.0, np.nan]), [1.0, None]),
        ({"a": (1, "b")}, {"a": [1, "b"]}),
        ("half \ud800", "half ?"),
        (OddText("odd"), "odd"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_keep_their_meaning(value: object, expected: object) -> None:
    """Numbers stay numbers, times are ISO 8601, and what JSON cannot write is text."""
    converted, cut = any_value(value, 1000)
    assert (converted, type(converted), cut) == (expected, type(expected), False)


def test_an_integer_that_python_would_not_write_is_hex() -> None:
    """Its first digits are told, and that there are more."""
    converted, cut = any_value(10**5000, 1000)
    assert isinstance(converted, str)
    assert (converted[:2], converted[-1], cut) == ("0x", "…", True)


@pytest.mark.parametrize(
    "value",
    ["x" * 2000, "é" * 1000, [0.5] * 1000, {"k" * 2000: 1}, b"x" * 2000, object()],
    ids=["ascii", "text", "list", "mapping", "bytes", "object"],
)
def test_what_is_cut_is_said(host: Host, model_name: str, value: object) -> None:
    """In the event, by the number of values that are not whole; a cut text ends with an ellipsis."""
    predict = make_model(model_name, PredictionEvents(ratio=1, values=FEATURES)).predict(lambda rows: 0.5)
    (body,) = bodies(lambda: predict({"distance": 1.0, "carrier": value}))
    assert body is not None
    assert body["truncated"] == 1
    assert body["features"]["distance"] == 1.0
    if isinstance(value, str):
        assert body["features"]["carrier"].endswith(value[0] + "…")
        assert len(body["features"]["carrier"].encode()) > 900


def test_the_largest_event_has_eight_kibibytes(host: Host, model_name: str) -> None:
    """A batch of 512 of them, the SDK's default, is within the 4 MiB of a gRPC message."""
    names = [f"{'é' * 20}-{i:03}" for i in range(50)]
    model = windvane.Model(
        "m" * 128,
        version="v" * 128,
        variant="v" * 256,
        features=names,
        events=PredictionEvents(ratio=1, values=[*names, "output"]),
        exception_messages=True,
    )
    error = type("E" * 5000, (Exception,), {})("m" * 5000)
    with capture() as signals:
        model.predict(lambda rows: "o" * 5000)(dict.fromkeys(names, "é" * 5000))
        fail_with = model.predict(lambda rows: (_ for _ in ()).throw(error))
        with pytest.raises(type(error)):
            fail_with(dict.fromkeys(names, "é" * 5000))
    assert len(signals.events) == 2
    for event in signals.events:
        record: Any = ReadWriteLogRecord(
            SimpleNamespace(  # type: ignore[arg-type] # what the encoder reads of a record
                timestamp=2**62,
                observed_timestamp=2**62,
                span_id=2**63,
                trace_id=2**127,
                trace_flags=1,
                body=event.body,
                severity_text=event.severity,
                severity_number=None,
                attributes=event.attributes,
                event_name="ml.prediction",
            ),
            resource=Resource({}),
        )
        assert 5000 < encode_logs([record]).ByteSize() <= EVENT_BYTES


RUN = """
import logging, sys
import windvane
from windvane import _runtime

logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
model = windvane.Model("m", version="1", features=["x"], events=windvane.PredictionEvents(ratio=1, values=["x"]))
predict = model.predict(lambda rows: 0.5)
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN + code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_without_the_logs_api_calls_go_on_and_the_loss_is_counted_and_logged_once() -> None:
    """The module has a private name; a version of OpenTelemetry without it costs events and nothing else."""
    assert (
        run("""
sys.modules["opentelemetry._logs"] = None
for _ in range(3):
    assert predict({"x": 1.0}) == 0.5
    assert _runtime.worker.drain(5)
totals = _runtime.models()[0].totals()
print(totals.rows, dict(totals.dropped))
""")
        == "m 1: records are lost (event_failed); logged once, counted from now on\n3 {'event_failed': 3}\n"
    )


def test_a_processor_of_the_host_that_raises_harms_no_call_and_no_count() -> None:
    """One event that fails takes no other with it."""
    assert run("""
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor

class Failing(LogRecordProcessor):
    def on_emit(self, log_record):
        if log_record.log_record.body["features"]["x"] == 2.0:
            raise RuntimeError("mine")
        print("event", log_record.log_record.body["features"]["x"])
    def shutdown(self): pass
    def force_flush(self, timeout_millis=30000): return True

provider = LoggerProvider()
provider.add_log_record_processor(Failing())
predict({"x": 0.0})  # the host sets its provider late
set_logger_provider(provider)
for x in (1.0, 2.0, 3.0):
    assert predict({"x": x}) == 0.5
assert _runtime.worker.drain(5)
totals = _runtime.models()[0].totals()
print(totals.rows, dict(totals.dropped))
""").splitlines()[-4:] == [
        "event 1.0",
        "event 3.0",
        "m 1: records are lost (event_failed); logged once, counted from now on",
        "4 {'event_failed': 1}",
    ]


def test_without_a_logger_provider_nothing_is_lost() -> None:
    """As with spans: where the host takes none, none are made."""
    assert (
        run("""
assert predict({"x": 1.0}) == 0.5
assert _runtime.worker.drain(5)
print(dict(_runtime.models()[0].totals().dropped))
""")
        == "{}\n"
    )
